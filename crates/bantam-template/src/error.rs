//! Errors of chat templates.

use minijinja::{Error, ErrorKind};

/// Why a chat template could not be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The template is longer than any published one.
    #[error("the chat template is {bytes} bytes long; the limit is {at_most}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The most bytes that are accepted.
        at_most: usize,
    },
    /// The source is not valid Jinja.
    #[error("the chat template has a syntax error at line {line}: {reason}")]
    Syntax {
        /// Line number, from 1.
        line: usize,
        /// The parser's message.
        reason: String,
    },
    /// The template called `raise_exception`, which is how templates refuse conversations.
    #[error("the model's chat template refuses this conversation (line {line}): {message}")]
    Raised {
        /// Line number, from 1.
        line: usize,
        /// The template's message.
        message: String,
    },
    /// The template exceeded its step limit. A step pays for an instruction, or for 64 bytes of text.
    #[error("the chat template did not finish within {steps} steps: it runs too long or writes too much")]
    Endless {
        /// The step limit.
        steps: u64,
    },
    /// The template used something that does not exist, or a call in it failed.
    #[error("the chat template failed at line {line}: {reason}")]
    Failed {
        /// Line number, from 1; 0 if unknown.
        line: usize,
        /// What went wrong.
        reason: String,
    },
}

/// Prefix that marks a `raise_exception` message inside a minijinja error.
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

/// Returns what went wrong, without the line, which is a separate field.
fn reason(error: &Error) -> String {
    let kind = error.kind().to_string();
    error.detail().map_or_else(|| kind.clone(), |detail| format!("{kind}: {detail}"))
}
