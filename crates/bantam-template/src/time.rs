//! `strftime_now`, with which templates write the date into system prompts.

use jiff::civil::DateTime;
use minijinja::{Error, ErrorKind};

/// Formats `now` with a `strftime` format.
pub(crate) fn strftime(now: DateTime, format: &str) -> Result<String, Error> {
    jiff::fmt::strtime::format(format, now).map_err(|error| {
        Error::new(ErrorKind::InvalidOperation, format!("strftime_now({format:?}): {error}"))
    })
}
