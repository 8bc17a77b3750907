//! How a command fails: what happened, what to do next, and the exit code that scripts see.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

/// The kinds of failure that exit codes tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
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
        let mut message = what.into();
        let mut cause = Some(error);
        while let Some(error) = cause {
            // Writing to a String cannot fail.
            let _ = write!(message, ": {error}");
            cause = error.source();
        }
        Self::new(Outcome::Failed, message)
    }

    /// Returns the failure with the next step to take.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
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

    /// Returns the exit code, as the README lists them.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    pub(crate) const fn code(&self) -> u8 {
        match self.outcome {
            Outcome::Failed => 1,
            Outcome::Usage => 2,
            Outcome::ModelMissing => 3,
            Outcome::Offline => 4,
            Outcome::Refused => 5,
            Outcome::GateFailed => 6,
            Outcome::Interrupted => 130,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_every_cause() {
        let inner = std::io::Error::other("disk gone");
        let outer = std::io::Error::other(inner);
        let failure = Failure::from_error("cannot save the student", &outer);
        assert!(failure.message().starts_with("cannot save the student: disk gone"));
        assert_eq!(failure.code(), 1);
    }
}
