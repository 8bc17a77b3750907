//! What errors of use cases have in common.

use std::error::Error;

use bantam_jobs::{FailureReason, JobFailure};

/// Why a use case failed, as front ends need it.
pub trait UseCaseError: Error {
    /// Returns what kind of failure it is.
    fn reason(&self) -> FailureReason;

    /// Returns what to do about it, where that is known.
    fn hint(&self) -> Option<String>;

    /// Returns the error with everything that caused it, as the failure of a job.
    fn to_failure(&self) -> JobFailure
    where
        Self: Sized,
    {
        JobFailure { reason: self.reason(), message: with_causes(self), hint: self.hint() }
    }
}

/// Returns an error and everything that caused it, on one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
