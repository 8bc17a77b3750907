//! A folder of jobs, and work that a test lets go on when it wants.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use bantam_jobs::{JobContext, JobError, JobSpec, Jobs, JobsSettings};
use serde_json::{Value, json};

/// A folder of jobs.
pub(crate) struct Workshop {
    pub(crate) root: tempfile::TempDir,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.root.path().join("state/jobs")
    }

    /// Opens the folder as another process would.
    pub(crate) fn open(&self) -> Jobs {
        Jobs::open(self.settings()).unwrap()
    }

    pub(crate) fn settings(&self) -> JobsSettings {
        JobsSettings::new(self.folder())
    }
}

pub(crate) fn spec(kind: &str) -> JobSpec {
    JobSpec { kind: kind.to_owned(), parameters: json!({ "task": "desk" }) }
}

/// What a test says to work that waits.
pub(crate) enum Say {
    Progress(u64),
    End(Result<Value, JobError>),
}

/// Returns work that does what it is told, and how to tell it.
pub(crate) fn told() -> (Sender<Say>, impl FnOnce(&JobContext) -> Result<Value, JobError> + Send + 'static) {
    let (sender, receiver) = channel();
    (sender, move |context: &JobContext| listen(context, &receiver))
}

fn listen(context: &JobContext, receiver: &Receiver<Say>) -> Result<Value, JobError> {
    loop {
        context.check()?;
        match receiver.recv_timeout(std::time::Duration::from_millis(5)) {
            Ok(Say::Progress(done)) => context.progress(bantam_jobs::JobProgress {
                done,
                total: Some(10),
                unit: "rows".to_owned(),
                ..bantam_jobs::JobProgress::default()
            }),
            Ok(Say::End(result)) => return result,
            Err(_) => {}
        }
    }
}
