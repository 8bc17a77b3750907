//! The one place that writes to the terminal: data to standard output, everything else to standard error.

use std::io::{IsTerminal, Write};

use crate::failure::Failure;

/// Writes a line of data. A closed pipe is the reader's decision and no error.
pub(crate) fn line(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    let _ = out
        .write_all(text.as_ref().as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
}

/// Writes a piece of an answer at once. On a terminal, what would command it is shown and not obeyed.
pub(crate) fn text(text: &str) {
    let mut out = std::io::stdout().lock();
    let shown = match out.is_terminal() {
        true => harmless(text),
        false => text.to_owned(),
    };
    let _ = out.write_all(shown.as_bytes()).and_then(|()| out.flush());
}

/// Writes what a person is to answer to.
pub(crate) fn prompt(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

fn harmless(text: &str) -> String {
    let is_command = |letter: &char| letter.is_control() && !matches!(letter, '\n' | '\t');
    text.chars().map(|letter| if is_command(&letter) { '\u{FFFD}' } else { letter }).collect()
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

/// Returns `rows` as aligned columns, the first row being the heading; numbers go to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let is_number =
        |cell: &str| cell.starts_with(|symbol: char| symbol.is_ascii_digit() || "$-+×".contains(symbol));
    let to_the_right: Vec<bool> = (0..columns)
        .map(|column| {
            let mut cells =
                rows.iter().skip(1).filter_map(|row| row.get(column)).filter(|cell| !cell.is_empty());
            column > 0 && cells.all(|cell| is_number(cell))
        })
        .collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).zip(&to_the_right).map(|((cell, width), right)| {
                let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
                if *right { format!("{gap}{cell}") } else { format!("{cell}{gap}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_writes_cannot_command_the_terminal() {
        assert_eq!(harmless("a\n\t\u{1b}[2Jb\r\u{9b}"), "a\n\t\u{FFFD}[2Jb\u{FFFD}\u{FFFD}");
    }

    #[test]
    fn columns_of_numbers_stand_to_the_right() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let lines = table(&[row(&["task", "requests"]), row(&["intent", "7"]), row(&["x", "1200"])]);
        assert_eq!(lines, ["task    requests", "intent         7", "x           1200"]);
    }
}
