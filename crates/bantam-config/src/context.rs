//! What every section's reader may ask.

use std::path::{Path, PathBuf};

use crate::log::{Log, Problem};
use crate::origin::Found;
use crate::{Env, Files, MistakeKind, Purpose, Source, value};

/// The caller's source, environment and files.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// Text, folders and overrides.
    pub(crate) source: &'a Source<'a>,
    /// The environment.
    pub(crate) env: &'a dyn Env,
    /// The disk, as far as whether a file is there.
    pub(crate) files: &'a dyn Files,
}

impl Context<'_> {
    /// Returns `path` as seen from the configuration file's folder.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        self.source.folder.join(Path::new(path))
    }

    /// Records that a file that a setting names is not there.
    pub(crate) fn check_exists(&self, found: &Found<PathBuf>, log: &Log<'_>) {
        if self.files.exists(&found.value) {
            return;
        }
        let message = format!("names a file that is not there: {}", value::quote_path(&found.value));
        let problem = Problem::new(message).hint("paths start from the folder of the configuration file");
        match self.source.purpose {
            Purpose::Serve => log.problem(MistakeKind::Unreachable, &found.spot, problem),
            Purpose::LookUp => log.warn(MistakeKind::Unreachable, &found.spot, problem),
        }
    }
}
