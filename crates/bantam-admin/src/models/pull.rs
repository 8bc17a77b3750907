//! Models from the hub.

use bantam_jobs::{FailureReason, JobContext, JobError, JobProgress};
use bantam_store::{HubSettings, ModelName, PullError, PullEvent, Store};
use bantam_types::with_causes;

use super::add::AddedModel;
use crate::error::UseCaseError;
use crate::text::bytes_text;

/// Why a model did not come. What has come of it stays for the next attempt.
#[derive(Debug, thiserror::Error)]
#[error("cannot pull {name}")]
pub struct PullModelError {
    /// The model.
    pub name: String,
    /// Why.
    #[source]
    pub source: PullError,
}

impl UseCaseError for PullModelError {
    fn reason(&self) -> FailureReason {
        match &self.source {
            error if error.is_refused() => FailureReason::Refused,
            error if error.is_missing() => FailureReason::NotFound,
            _ => FailureReason::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(self.source.hint())
    }
}

/// Brings a model from the hub. Reports bytes as progress, and retries as notes.
///
/// # Errors
/// [`JobError::Cancelled`] when the job is cancelled, or why the model did not come.
pub async fn pull_model(
    store: &Store,
    name: &ModelName,
    settings: &HubSettings,
    context: &JobContext,
) -> Result<AddedModel, JobError> {
    let mut pulling = Pulling { context: context.clone(), progress: JobProgress::default() };
    let mut tell = |event: PullEvent<'_>| pulling.tell(&event);
    let pulled = tokio::select! {
        pulled = store.pull(name, settings, &mut tell) => pulled,
        () = context.cancelled() => return Err(JobError::Cancelled),
    };
    match pulled {
        Ok(added) => Ok(AddedModel::of(&added)),
        Err(source) => Err(PullModelError { name: name.to_string(), source }.to_failure().into()),
    }
}

struct Pulling {
    context: JobContext,
    progress: JobProgress,
}

impl Pulling {
    fn tell(&mut self, event: &PullEvent<'_>) {
        match event {
            PullEvent::Chosen { name, files, bytes, commit } => {
                let unit = "bytes".to_owned();
                self.progress = JobProgress { total: Some(*bytes), unit, ..JobProgress::default() };
                let commit = commit.get(..12).unwrap_or(commit);
                let plural = if *files == 1 { "" } else { "s" };
                let size = bytes_text(*bytes);
                self.context.note(format!("{name}: {files} file{plural}, {size}, commit {commit}"));
            }
            PullEvent::File { path, .. } => self.progress.item = Some((*path).to_owned()),
            PullEvent::Resumed { bytes } => {
                self.progress.done += bytes;
                self.progress.skipped += bytes;
            }
            PullEvent::Restarted { bytes } => {
                self.progress.done = self.progress.done.saturating_sub(*bytes);
                self.progress.skipped = self.progress.skipped.saturating_sub(*bytes);
                self.context.note("the server cannot resume: starting again");
            }
            PullEvent::Advanced { bytes } => self.progress.done += bytes,
            PullEvent::Retry { reason, wait } => {
                let seconds = wait.as_secs_f64().ceil();
                self.context.note(format!("{}; trying again in {seconds:.0} s", with_causes(reason)));
            }
            _ => return,
        }
        self.context.progress(self.progress.clone());
    }
}
