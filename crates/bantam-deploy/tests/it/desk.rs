//! A folder with a configuration and what it names, and a deployment of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_config::Env;
use bantam_deploy::{ConfigFile, Confirmations, DeploymentSource, Loaded, Refusal, Reload, Reloader};
use bantam_gateway::Deployment;
use bantam_student::{Example, LinearConfig};

/// A model on an upstream that nobody listens on.
pub(crate) const MODELS: &str = "
[routing]
ladder = ['far']
[upstreams.u]
dialect = 'openai'
base_url = 'http://127.0.0.1:9/v1'
[models.far]
upstream = 'u'
tier = 'local'
";

/// Confirms a text when its SHA-256 stands in a file.
struct ByFile(PathBuf);

impl Confirmations for ByFile {
    fn is_confirmed(&self, sha256: &str) -> bool {
        std::fs::read_to_string(&self.0).is_ok_and(|confirmed| confirmed.trim() == sha256)
    }

    fn file(&self) -> PathBuf {
        self.0.clone()
    }
}

/// A folder with a configuration.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new(config: &str) -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        desk.write("bantam.toml", config);
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Trains a student on rows of these labels and writes it; returns its hash.
    pub(crate) fn train(&self, name: &str, labels: [&str; 2]) -> String {
        let rows: Vec<Example> = (0..40)
            .map(|number: usize| {
                let label = labels[number % 2].to_owned();
                Example { text: format!("a text about {label}, number {number}"), label }
            })
            .collect();
        let (student, _) = bantam_student::linear::train(&rows, &LinearConfig::recommended()).unwrap();
        student.save(&self.path(name)).unwrap().to_hex()
    }

    pub(crate) fn source(&self) -> DeploymentSource {
        self.source_with(Arc::new(BTreeMap::<String, String>::new()))
    }

    pub(crate) fn source_with(&self, env: Arc<dyn Env + Send + Sync>) -> DeploymentSource {
        DeploymentSource {
            file: ConfigFile {
                path: self.path("bantam.toml"),
                overrides: Vec::new(),
                state_folder: self.path("state"),
                data_folder: self.path("data"),
                variable_names: Vec::new(),
            },
            env,
            confirmations: Arc::new(ByFile(self.path("confirmed"))),
        }
    }

    pub(crate) fn serve(&self) -> Serving {
        Serving::start(self.source())
    }
}

/// A deployment in force, and what watches its files.
pub(crate) struct Serving {
    pub(crate) reloader: Reloader,
    pub(crate) deployment: Deployment,
}

/// What a few looks came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Unchanged,
    Loaded,
    Refused(String),
}

impl Serving {
    pub(crate) fn start(source: DeploymentSource) -> Self {
        let read = source.read().map_err(|refusal| shown(&refusal)).unwrap();
        let (Loaded { built, .. }, reloader) = read.build().unwrap_or_else(|error| panic!("{error}"));
        Self { reloader, deployment: built.deployment }
    }

    /// Looks once.
    pub(crate) fn look(&mut self) -> Option<Seen> {
        match self.reloader.look(&self.deployment) {
            Reload::Unchanged => Some(Seen::Unchanged),
            Reload::Settling => None,
            Reload::Loaded(loaded) => {
                self.deployment = loaded.built.deployment;
                Some(Seen::Loaded)
            }
            Reload::Refused(refusal) => Some(Seen::Refused(shown(&refusal))),
        }
    }

    /// Looks until what has changed is taken over or refused.
    pub(crate) fn settle(&mut self) -> Seen {
        (0..20).find_map(|_| self.look()).expect("it settles")
    }

    pub(crate) fn watches(&self, path: &Path) -> bool {
        self.reloader.watched().any(|watched| watched == path)
    }

    pub(crate) fn terms(&self) -> Vec<&str> {
        self.reloader.serving().privacy.dictionary.iter().map(|term| &*term.term).collect()
    }
}

/// Returns a refusal with its causes.
pub(crate) fn shown(error: &Refusal) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
