//! `strftime_now`: the date as templates write it into system prompts.

use jiff::civil::DateTime;
use minijinja::{Error, ErrorKind};

/// Returns `now` written by a `strftime` format.
pub(crate) fn written(now: DateTime, format: &str) -> Result<String, Error> {
    jiff::fmt::strtime::format(format, now).map_err(|error| {
        Error::new(ErrorKind::InvalidOperation, format!("strftime_now({format:?}): {error}"))
    })
}
