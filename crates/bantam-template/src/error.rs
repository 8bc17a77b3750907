//! What can go wrong with a template.

use minijinja::{Error, ErrorKind};

/// Why a chat template could not be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// Longer than any published template.
    #[error("the chat template has {bytes} bytes; at most {at_most} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The most that are read.
        at_most: usize,
    },
    /// It is not Jinja.
    #[error("the chat template does not parse, line {line}: {reason}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
    /// It ended itself with `raise_exception`, which is how templates refuse conversations.
    #[error("the model's chat template refuses this conversation (line {line}): {message}")]
    Raised {
        /// Where, from 1.
        line: usize,
        /// Its own words.
        message: String,
    },
    /// It took more steps than it is given.
    #[error("the chat template did not end within {steps} steps")]
    Endless {
        /// The steps it is given.
        steps: u64,
    },
    /// It used something that is not there.
    #[error("the chat template fails at line {line}: {reason}")]
    Failed {
        /// Where, from 1; 0 where that is unknown.
        line: usize,
        /// What went wrong.
        reason: String,
    },
}

/// Marks the words of `raise_exception` in minijinja's error.
pub(crate) const RAISED: &str = "raised: ";

impl TemplateError {
    pub(crate) fn of_syntax(error: &Error) -> Self {
        Self::Syntax { line: error.line().unwrap_or(0), reason: reason(error) }
    }

    pub(crate) fn of_run(error: &Error, steps: u64) -> Self {
        let line = error.line().unwrap_or(0);
        if let Some(message) = error.detail().and_then(|detail| detail.strip_prefix(RAISED)) {
            return Self::Raised { line, message: message.to_owned() };
        }
        match error.kind() {
            ErrorKind::OutOfFuel => Self::Endless { steps },
            _ => Self::Failed { line, reason: reason(error) },
        }
    }
}

/// Returns what went wrong without the place, which is a field of its own.
fn reason(error: &Error) -> String {
    let kind = error.kind().to_string();
    error.detail().map_or_else(|| kind.clone(), |detail| format!("{kind}: {detail}"))
}
