//! The one place that writes to the terminal: data to standard output, everything else to standard error.

use std::io::{IsTerminal, Write};

use bantam_admin::printable;
pub(crate) use bantam_admin::table;

use crate::failure::Failure;

/// Writes a line of data. A closed pipe is the reader's decision, not an error.
pub(crate) fn line(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    let _ = out
        .write_all(text.as_ref().as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
}

/// Writes a result as one line of JSON.
pub(crate) fn json(result: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(result);
    line(text.map_err(|error| Failure::from_error("cannot write the result as JSON", &error))?);
    Ok(())
}

/// Writes facts, each behind its name.
pub(crate) fn facts(facts: &[(&str, String)]) {
    facts.iter().for_each(|(name, fact)| line(format!("{name:<14} {fact}")));
}

/// Writes a piece of an answer at once. Control characters do not reach a terminal.
pub(crate) fn text(text: &str) {
    let mut out = std::io::stdout().lock();
    let shown = match out.is_terminal() {
        true => printable(text),
        false => text.to_owned(),
    };
    let _ = out.write_all(shown.as_bytes()).and_then(|()| out.flush());
}

/// Writes a prompt for a person to answer.
pub(crate) fn prompt(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// Writes a line that is about the work, not its result.
pub(crate) fn note(text: impl AsRef<str>) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_ref().as_bytes()).and_then(|()| err.write_all(b"\n"));
}

/// Writes a failure and its hint.
pub(crate) fn failure(failure: &Failure, json: bool) {
    if json {
        let body = serde_json::json!({
            "error": {"message": failure.message(), "hint": failure.next_step(), "exit_code": failure.code()},
        });
        note(body.to_string());
        return;
    }
    let message = failure.message();
    // A configuration's mistakes come rendered, each with a mark of its own.
    let is_marked = ["error: ", "warning: "].iter().any(|mark| message.starts_with(mark));
    note(if is_marked { message.to_owned() } else { format!("error: {message}") });
    if let Some(hint) = failure.next_step() {
        note(format!("help: {hint}"));
    }
}

/// Returns whether progress may be drawn over itself.
pub(crate) fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}
