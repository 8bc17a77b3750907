//! A model of the store to a smaller one, as a job.

use bantam_jobs::{FailureReason, JobContext, JobProgress};
use bantam_quantise::{QuantiseEvent, QuantiseReport, QuantiseRequest, QuantiseStoredError, quantise_stored};
use bantam_store::{Entry, Store};

use super::add::reason_of_import;
use crate::error::UseCaseError;
use crate::progress::PacedProgress;

/// How many windows of a comparison are between two notes of it.
const WINDOWS_A_NOTE: usize = 8;

impl UseCaseError for QuantiseStoredError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Encoder { .. } | Self::Name(_) => FailureReason::Invalid,
            Self::Store(error) => reason_of_import(error),
            _ => FailureReason::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Self::hint(self)
    }
}

/// Quantises a model into its own store, and compares both over a text if there is one. Reports numbers as progress,
/// and windows that were compared as notes.
///
/// # Errors
/// [`QuantiseStoredError`]; the store is as it was unless only the comparison failed.
pub fn quantise_model(
    store: &Store,
    source: &Entry,
    request: &QuantiseRequest,
    context: &JobContext,
) -> Result<QuantiseReport, QuantiseStoredError> {
    let mut progress = PacedProgress::new(context);
    let numbers = source.manifest.about.parameters;
    let mut done_before = 0_u64;
    let mut tell = |done: u64| {
        let (total, unit) = (Some(numbers), "numbers".to_owned());
        progress.tell(JobProgress { done: done.min(numbers), total, unit, ..JobProgress::default() });
    };
    let mut observer = |event: QuantiseEvent| match event {
        QuantiseEvent::Numbers { done } => {
            done_before = done_before.saturating_add(done);
            tell(done_before);
        }
        QuantiseEvent::Written => tell(numbers),
        QuantiseEvent::Compared { done, windows }
            if done == windows || done.is_multiple_of(WINDOWS_A_NOTE) =>
        {
            context.note(format!("compared {done} of {windows} windows"));
        }
        _ => {}
    };
    quantise_stored(store, source, request, &mut observer, &context.cancel_request())
}
