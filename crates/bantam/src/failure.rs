//! How a command fails: what happened, what to do next, and the exit code that scripts see.

use std::error::Error;

use bantam_admin::{FindModelError, UseCaseError};
use bantam_deploy::{DeployError, DeployFault, FormError, ModelError, Refusal, StudentError};
use bantam_jobs::{FailureReason, JobError, JobFailure};
use bantam_types::with_causes;

use crate::hints;

/// The kinds of failure that exit codes tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 1: it did not work.
    Failed,
    /// 2: the command or its files are not understood.
    Usage,
    /// 3: a model is missing.
    ModelMissing,
    /// 4: the network is needed and may not be used.
    Offline,
    /// 5: a key or a budget refused it.
    Refused,
    /// 6: a gate said no.
    GateFailed,
    /// 130: interrupted.
    Interrupted,
}

impl Outcome {
    /// Returns the exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::ModelMissing => 3,
            Self::Offline => 4,
            Self::Refused => 5,
            Self::GateFailed => 6,
            Self::Interrupted => 130,
        }
    }
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    outcome: Outcome,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// Returns a failure with `message`: what was attempted, and why it did not work.
    pub(crate) fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into(), hint: None }
    }

    /// Returns a failure of doing `what` with an error and everything that caused it.
    pub(crate) fn from_error(what: impl Into<String>, error: &dyn Error) -> Self {
        Self::new(Outcome::Failed, format!("{}: {}", what.into(), with_causes(error)))
    }

    /// Returns the failure of a use case.
    pub(crate) fn from_use_case(error: &dyn UseCaseError) -> Self {
        Self::new(error.reason().into(), with_causes(error)).maybe_hint(error.hint())
    }

    /// Returns the failure with the next step to take.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the failure with the next step to take, where one is known.
    #[must_use]
    pub(crate) fn maybe_hint(self, hint: Option<impl Into<String>>) -> Self {
        Self { hint: hint.map(Into::into), ..self }
    }

    /// Returns the failure with another outcome.
    #[must_use]
    pub(crate) const fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the exit code.
    pub(crate) const fn code(&self) -> u8 {
        self.outcome.code()
    }
}

impl From<FailureReason> for Outcome {
    fn from(reason: FailureReason) -> Self {
        match reason {
            FailureReason::Failed => Self::Failed,
            FailureReason::Invalid => Self::Usage,
            FailureReason::NotFound => Self::ModelMissing,
            FailureReason::Offline => Self::Offline,
            FailureReason::Refused => Self::Refused,
            FailureReason::GateFailed => Self::GateFailed,
        }
    }
}

impl From<Failure> for JobError {
    fn from(failure: Failure) -> Self {
        let reason = match failure.outcome {
            Outcome::Interrupted => return Self::Cancelled,
            Outcome::Failed => FailureReason::Failed,
            Outcome::Usage => FailureReason::Invalid,
            Outcome::ModelMissing => FailureReason::NotFound,
            Outcome::Offline => FailureReason::Offline,
            Outcome::Refused => FailureReason::Refused,
            Outcome::GateFailed => FailureReason::GateFailed,
        };
        Self::Failed(JobFailure { reason, message: failure.message, hint: failure.hint })
    }
}

impl From<DeployFault> for Outcome {
    fn from(fault: DeployFault) -> Self {
        match fault {
            DeployFault::Invalid => Self::Usage,
            DeployFault::Missing => Self::ModelMissing,
            DeployFault::Failed => Self::Failed,
        }
    }
}

impl From<JobFailure> for Failure {
    fn from(failure: JobFailure) -> Self {
        Self { outcome: failure.reason.into(), message: failure.message, hint: failure.hint }
    }
}

impl From<DeployError> for Failure {
    fn from(error: DeployError) -> Self {
        Self::new(error.fault().into(), with_causes(&error)).hint(hints::for_deploy(&error))
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        DeployError::from(error).into()
    }
}

impl From<StudentError> for Failure {
    fn from(error: StudentError) -> Self {
        let hint = hints::for_student(&error);
        Self::from_error("cannot use the student", &error).outcome(error.fault().into()).hint(hint)
    }
}

impl From<FormError> for Failure {
    fn from(error: FormError) -> Self {
        Self::new(Outcome::Failed, with_causes(&error)).hint(hints::for_form(&error))
    }
}

impl From<FindModelError> for Failure {
    fn from(error: FindModelError) -> Self {
        let hint = hints::for_finding(&error);
        Self { hint, ..Self::from_use_case(&error) }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Read(error) => hints::for_missing_config(&error),
            Refusal::Mistakes(errors) => Self::new(Outcome::Usage, errors.to_string()),
            Refusal::Deploy(error) => error.into(),
            Refusal::Losses(_) => Self::new(Outcome::Failed, refusal.to_string())
                .hint("if that is meant: bantam config apply (or send SIGHUP, or restart the gateway)"),
            other => Self::new(Outcome::Failed, with_causes(&other)),
        }
    }
}
