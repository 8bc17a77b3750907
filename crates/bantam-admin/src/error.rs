//! What errors of use cases have in common.

use std::error::Error;

use bantam_jobs::{FailureReason, JobFailure};
use bantam_types::with_causes;

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
