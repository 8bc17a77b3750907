//! What every section's reader may ask.

use std::path::{Path, PathBuf};

use crate::{Env, Files, Source};

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
}
