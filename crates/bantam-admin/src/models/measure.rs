//! How fast a model runs on this machine.

use std::time::{SystemTime, UNIX_EPOCH};

use bantam_jobs::FailureReason;
use bantam_measure::{MeasureError, SpeedEvent, SpeedReport, SpeedRequest, measure};
use bantam_store::{Measurement, Store, StoreError};
use bantam_types::Cancel;

use super::find::{FindModelError, FoundModel, locate_model};
use crate::error::UseCaseError;

/// Why a model was not measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureModelError {
    /// It cannot be found.
    #[error(transparent)]
    Find(#[from] FindModelError),
    /// It cannot be opened or run.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// What was measured cannot be kept with the model.
    #[error("cannot keep the measurement")]
    Keep(#[from] StoreError),
}

impl UseCaseError for MeasureModelError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Find(error) => error.reason(),
            _ => FailureReason::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Find(error) => error.hint(),
            Self::Measure(error) => error.hint().map(str::to_owned),
            Self::Keep(_) => None,
        }
    }
}

/// Measures the model that `request` names: a file or folder if there is one, or else a model of the store, which
/// keeps how fast it was.
///
/// # Errors
/// When there is no such model, or it does not run.
pub fn measure_model(
    store: &Store,
    mut request: SpeedRequest,
    on_event: &mut dyn FnMut(SpeedEvent),
    cancel: &Cancel,
) -> Result<SpeedReport, MeasureModelError> {
    let found = match request.model.exists() {
        true => FoundModel { path: request.model.clone(), entry: None },
        false => locate_model(store, &request.model.to_string_lossy())?,
    };
    request.model = found.path;
    let report = measure(&request, on_event, cancel)?;
    if let (Some(entry), Some((prefill, decode))) = (&found.entry, report.speeds()) {
        store.record(entry, measurement(report.threads, (prefill, decode), "bench"))?;
    }
    Ok(report)
}

/// Returns tokens a second, of a prompt and of an answer, as the store keeps them with a model.
pub(crate) fn measurement(threads: usize, (prefill, decode): (f64, f64), by: &str) -> Measurement {
    Measurement {
        at_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        threads,
        prefill_tokens_per_s: prefill,
        decode_tokens_per_s: decode,
        by: by.to_owned(),
    }
}
