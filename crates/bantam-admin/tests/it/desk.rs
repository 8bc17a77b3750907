//! A folder with a configuration, and use cases run in it as jobs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bantam_config::{Config, Purpose};
use bantam_deploy::{ConfigFile, Disk};
use bantam_jobs::{JobContext, JobError, JobHandle, JobSpec, Jobs, JobsSettings};
use bantam_store::Store;
use serde_json::Value;

/// A priced model on an upstream that nobody listens on.
const MODELS: &str = "
[routing]
baseline = 'large'
ladder = ['large']
[upstreams.far]
dialect = 'openai'
base_url = 'http://127.0.0.1:9/v1'
[models.large]
upstream = 'far'
tier = 'frontier'
price = { input = 1.25, cached_input = 0.125, output = 10.0, as_of = '2026-11-01' }
";

/// Where one test happens.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(self.path("store"))
    }

    /// Returns a configuration of [`MODELS`] and more.
    pub(crate) fn config(&self, more: &str) -> Config {
        let file = ConfigFile {
            path: self.path("bantam.toml"),
            overrides: Vec::new(),
            state_folder: self.path("state"),
            data_folder: self.path("data"),
            variable_names: Vec::new(),
        };
        let env = BTreeMap::<String, String>::new();
        file.parse(&format!("{MODELS}{more}"), Purpose::LookUp, &env, &Disk).unwrap()
    }

    /// Starts work as a job; what it returns is the job's result.
    pub(crate) fn start(
        &self,
        work: impl FnOnce(&JobContext) -> Result<Value, JobError> + Send + 'static,
    ) -> JobHandle {
        let jobs = Jobs::open(JobsSettings::new(self.path("jobs"))).unwrap();
        jobs.submit(JobSpec { kind: "test".to_owned(), parameters: Value::Null }, work).unwrap()
    }
}
