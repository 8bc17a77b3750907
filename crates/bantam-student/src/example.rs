//! Labelled texts, and their JSON Lines format.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The longest line in bytes.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The longest label in bytes.
pub const LABEL_BYTES_MAX: usize = 256;
/// The fewest rows of a label: one to train on and one to validate on.
pub const ROWS_PER_LABEL_MIN: usize = 2;

/// A text and its right label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Example {
    /// The text to classify.
    pub text: String,
    /// The right answer.
    pub label: String,
}

/// Reads `{"text", "label"}` rows, one JSON object per line; other keys and blank lines are ignored.
///
/// There is no minimum number of labels or of rows per label; [`read_training_examples`] checks these.
///
/// # Errors
/// [`ReadExamplesError`] if the file cannot be read or has no rows, or a row has no text or no label.
pub fn read_examples(path: &Path) -> Result<Vec<Example>, ReadExamplesError> {
    read_numbered(path, |_| Ok(()))
}

/// Reads rows like [`read_examples`], and checks that they can be trained on: at least two labels, and at least
/// [`ROWS_PER_LABEL_MIN`] rows for each.
///
/// # Errors
/// [`ReadExamplesError`], also if the rows cannot be trained on.
pub fn read_training_examples(path: &Path) -> Result<Vec<Example>, ReadExamplesError> {
    read_numbered(path, check_trainable)
}

fn read_numbered(
    path: &Path,
    check: impl FnOnce(&[(u64, Example)]) -> AtLine<()>,
) -> Result<Vec<Example>, ReadExamplesError> {
    let at = |line, kind| ReadExamplesError { path: path.to_owned(), line, kind };
    let file = File::open(path).map_err(|error| at(None, error.into()))?;
    let rows = parse_examples(&mut BufReader::new(file)).and_then(|rows| check(&rows).map(|()| rows));
    let rows = rows.map_err(|(line, kind)| at(line, kind))?;
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// Reads only the `"text"` of every row, which is all that a prediction needs.
pub fn read_texts(path: &Path) -> Result<Vec<String>, ReadExamplesError> {
    let mut texts = Vec::new();
    for_each_row_of(path, |row| {
        texts.push(field(row, "text")?);
        Ok(())
    })?;
    Ok(texts)
}

/// Returns whether two answers are equivalent: as JSON if both are, ignoring white space and the order of keys;
/// otherwise as texts, ignoring white space around them.
pub fn is_same_answer(given: &str, expected: &str) -> bool {
    match (serde_json::from_str::<Value>(given), serde_json::from_str::<Value>(expected)) {
        (Ok(given), Ok(expected)) => given == expected,
        _ => given.trim() == expected.trim(),
    }
}

/// Reads `{"text", "answer"}` rows, one JSON object per line: the expected answer to a text. An answer that is not a
/// string is kept as JSON; a row without an answer uses its `label`. There is no minimum number of rows per answer,
/// because these rows are not trained on.
pub fn read_answers(path: &Path) -> Result<Vec<Example>, ReadExamplesError> {
    let mut rows = Vec::new();
    for_each_row_of(path, |row| {
        let answer = match row.get("answer") {
            Some(Value::String(answer)) => answer.clone(),
            Some(answer) if !answer.is_null() => answer.to_string(),
            _ if row.get("label").is_some() => field(row, "label")?,
            _ => return Err(ReadExamplesErrorKind::Missing { key: "answer" }),
        };
        rows.push(Example { text: field(row, "text")?, label: answer });
        Ok(())
    })?;
    Ok(rows)
}

/// Why rows cannot be used, and where.
#[derive(Debug, thiserror::Error)]
#[error("read rows from {}{}", .path.display(), .line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct ReadExamplesError {
    /// The file.
    pub path: PathBuf,
    /// The line at fault, from 1, if it is one line.
    pub line: Option<u64>,
    /// What is wrong.
    #[source]
    pub kind: ReadExamplesErrorKind,
}

/// What is wrong with a file of rows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadExamplesErrorKind {
    /// The file could not be read.
    #[error("cannot read the file")]
    Read(#[from] std::io::Error),
    /// The file has no rows.
    #[error("the file has no rows")]
    Empty,
    /// A line is too long.
    #[error("the line is longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// A line is not text.
    #[error("the line is not valid UTF-8 from byte {byte} on")]
    NotUtf8 {
        /// Offset in the line of the first invalid byte.
        byte: usize,
    },
    /// A line is not JSON.
    #[error("the line is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// A line is JSON, but not an object.
    #[error("the line is not a JSON object")]
    NotObject,
    /// A required key is missing.
    #[error("`{key}` is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value has the wrong type.
    #[error("`{key}` is not a string")]
    NotString {
        /// The key.
        key: &'static str,
    },
    /// The slots have the wrong type.
    #[error("`slots` is not an object that maps names to a value or a list of values")]
    NotSlots,
    /// A value is not in the text.
    #[error(
        "the value {value:?} of the slot `{slot}` does not occur in the text, or only within other values"
    )]
    ValueMissing {
        /// The slot.
        slot: String,
        /// The value.
        value: String,
    },
    /// A value is not at its stated position.
    #[error("the value {value:?} of the slot `{slot}` is not at byte {start} of the text")]
    ValueElsewhere {
        /// The slot.
        slot: String,
        /// The value.
        value: String,
        /// The stated position.
        start: usize,
    },
    /// The rows hold no values at all.
    #[error("no row has a value in its slots")]
    NoSlots,
    /// A label is empty.
    #[error("`label` is empty")]
    LabelEmpty,
    /// A label is too long.
    #[error("`label` is longer than {LABEL_BYTES_MAX} bytes")]
    LabelTooLong,
    /// There is only one label.
    #[error("every row has the label `{label}`")]
    OneLabel {
        /// The only label.
        label: String,
    },
    /// A label has too few rows to train and validate on.
    #[error("label `{label}` has {rows} row; at least {ROWS_PER_LABEL_MIN} are needed")]
    LabelTooRare {
        /// The label.
        label: String,
        /// The number of its rows.
        rows: usize,
    },
}

impl ReadExamplesErrorKind {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read(_) => "check that the path is right and the file is readable",
            Self::Empty => {
                "write one row per line, such as {\"text\": \"where is my card\", \"label\": \"card\"}"
            }
            Self::LineTooLong => "write one JSON object per line, and shorten the text",
            Self::NotUtf8 { .. } => "save the file as UTF-8",
            Self::NotJson(_) | Self::NotObject | Self::Missing { .. } | Self::NotString { .. } => {
                "a row is one line such as {\"text\": \"where is my card\", \"label\": \"card\"}"
            }
            Self::ValueElsewhere { .. } => {
                "`start` counts UTF-8 bytes from 0; correct it, or omit it to have the value searched for"
            }
            Self::NotSlots | Self::NoSlots => {
                "a row is one line such as {\"text\": \"a table for two\", \"slots\": {\"people\": [\"two\"]}}"
            }
            Self::ValueMissing { .. } => {
                "a value must be copied from the text exactly: correct the value, or remove it"
            }
            Self::LabelEmpty => "give the row a label, or remove it",
            Self::LabelTooLong => "a label is a short name; check that text and label are not swapped",
            Self::OneLabel { .. } => "add rows of at least one other label",
            Self::LabelTooRare { .. } => "add rows of this label, or remove it",
        }
    }
}

pub(crate) type AtLine<T> = Result<T, (Option<u64>, ReadExamplesErrorKind)>;

/// Returns the rows with their line numbers; a file without rows is an error.
fn parse_examples(source: &mut dyn BufRead) -> AtLine<Vec<(u64, Example)>> {
    let mut rows = Vec::new();
    for_each_row(source, |line, row| {
        let (text, label) = (field(row, "text")?, field(row, "label")?);
        if label.trim().is_empty() {
            return Err(ReadExamplesErrorKind::LabelEmpty);
        }
        if label.len() > LABEL_BYTES_MAX {
            return Err(ReadExamplesErrorKind::LabelTooLong);
        }
        rows.push((line, Example { text, label }));
        Ok(())
    })?;
    if rows.is_empty() { Err((None, ReadExamplesErrorKind::Empty)) } else { Ok(rows) }
}

/// Checks that there are at least two labels, and enough rows of each to train and to validate on.
fn check_trainable(rows: &[(u64, Example)]) -> AtLine<()> {
    let mut labels: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    for (line, row) in rows {
        labels.entry(&row.label).or_insert((*line, 0)).1 += 1;
    }
    if let (Some(label), 1) = (labels.keys().next(), labels.len()) {
        return Err((None, ReadExamplesErrorKind::OneLabel { label: (*label).to_owned() }));
    }
    let is_rare = |entry: &(&&str, &(u64, usize))| entry.1.1 < ROWS_PER_LABEL_MIN;
    match labels.iter().filter(is_rare).min_by_key(|(_, (line, _))| *line) {
        None => Ok(()),
        Some((label, (line, rows))) => {
            let label = (*label).to_owned();
            Err((Some(*line), ReadExamplesErrorKind::LabelTooRare { label, rows: *rows }))
        }
    }
}

/// Passes every row of a file to `found`; a file without rows is an error.
pub(crate) fn for_each_row_of(
    path: &Path,
    mut found: impl FnMut(&mut serde_json::Map<String, Value>) -> Result<(), ReadExamplesErrorKind>,
) -> Result<(), ReadExamplesError> {
    let at = |line, kind| ReadExamplesError { path: path.to_owned(), line, kind };
    let file = File::open(path).map_err(|error| at(None, error.into()))?;
    let mut is_empty = true;
    for_each_row(&mut BufReader::new(file), |_, row| {
        is_empty = false;
        found(row)
    })
    .map_err(|(line, kind)| at(line, kind))?;
    if is_empty { Err(at(None, ReadExamplesErrorKind::Empty)) } else { Ok(()) }
}

pub(crate) fn for_each_row(
    source: &mut dyn BufRead,
    mut found: impl FnMut(u64, &mut serde_json::Map<String, Value>) -> Result<(), ReadExamplesErrorKind>,
) -> AtLine<()> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let at = |kind| (Some(number), kind);
        let mut limited = std::io::Read::take(&mut *source, LINE_BYTES_MAX as u64 + 1);
        let read = limited.read_until(b'\n', &mut line).map_err(|error| at(error.into()))?;
        if read == 0 {
            break;
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(at(ReadExamplesErrorKind::LineTooLong));
        }
        let text = std::str::from_utf8(&line)
            .map_err(|error| at(ReadExamplesErrorKind::NotUtf8 { byte: error.valid_up_to() }))?;
        let text = if number == 1 { text.trim_start_matches('\u{feff}') } else { text };
        if text.trim().is_empty() {
            continue;
        }
        match serde_json::from_str(text).map_err(|error| at(ReadExamplesErrorKind::NotJson(error)))? {
            Value::Object(mut row) => found(number, &mut row).map_err(at)?,
            _ => return Err(at(ReadExamplesErrorKind::NotObject)),
        }
    }
    Ok(())
}

pub(crate) fn field(
    row: &mut serde_json::Map<String, Value>,
    key: &'static str,
) -> Result<String, ReadExamplesErrorKind> {
    match row.remove(key) {
        Some(Value::String(value)) => Ok(value),
        Some(_) => Err(ReadExamplesErrorKind::NotString { key }),
        None => Err(ReadExamplesErrorKind::Missing { key }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = concat!(
        "{\"text\":\"a\",\"label\":\"x\"}\n{\"text\":\"b\",\"label\":\"x\"}\r\n\n",
        "{\"label\":\"y\",\"text\":\"c\",\"more\":[1]}\n{\"text\":\"\",\"label\":\"y\"}"
    );

    #[track_caller]
    fn check(content: impl AsRef<[u8]>, line: Option<u64>, message: &str) {
        let parsed = parse_examples(&mut content.as_ref()).and_then(|rows| check_trainable(&rows));
        let (found, kind) = parsed.expect_err("should be rejected");
        assert_eq!((found, kind.to_string().as_str()), (line, message));
        assert!(!kind.hint().is_empty());
    }

    #[test]
    fn reads_rows_in_order_and_ignores_other_keys_and_blank_lines() {
        let rows = parse_examples(&mut GOOD.as_bytes()).unwrap();
        let flat: Vec<_> = rows.iter().map(|(_, row)| (row.text.as_str(), row.label.as_str())).collect();
        assert_eq!(flat, [("a", "x"), ("b", "x"), ("c", "y"), ("", "y")]);
    }

    #[test]
    fn accepts_a_byte_order_mark() {
        assert!(parse_examples(&mut format!("\u{feff}{GOOD}").as_bytes()).is_ok());
    }

    #[test]
    fn reports_the_line_of_an_invalid_row() {
        check(format!("{GOOD}\n{{\"text\":\"a\"}}"), Some(6), "`label` is missing");
        check(format!("{GOOD}\n{{\"label\":\"a\"}}"), Some(6), "`text` is missing");
        check("{\"text\":1,\"label\":\"x\"}", Some(1), "`text` is not a string");
        check("{\"text\":\"a\",\"label\":null}", Some(1), "`label` is not a string");
        check("\n[1]\n", Some(2), "the line is not a JSON object");
        check("{\"text\":", Some(1), "the line is not JSON");
        check(b"{}\n{\"text\":\"\xff", Some(1), "`text` is missing");
        check(b"\n{\"text\":\"\xff", Some(2), "the line is not valid UTF-8 from byte 9 on");
        check("{\"text\":\"a\",\"label\":\" \"}", Some(1), "`label` is empty");
        let label = "x".repeat(LABEL_BYTES_MAX + 1);
        check(
            format!("{{\"text\":\"a\",\"label\":\"{label}\"}}"),
            Some(1),
            "`label` is longer than 256 bytes",
        );
        check(vec![b' '; LINE_BYTES_MAX + 1], Some(1), "the line is longer than 4194304 bytes");
    }

    #[test]
    fn rejects_rows_that_cannot_be_trained_on() {
        check("", None, "the file has no rows");
        check("\n \n", None, "the file has no rows");
        let one = "{\"text\":\"a\",\"label\":\"x\"}\n";
        check(one.repeat(3), None, "every row has the label `x`");
        let rare = format!("{}{{\"text\":\"a\",\"label\":\"y\"}}", one.repeat(3));
        check(rare, Some(4), "label `y` has 1 row; at least 2 are needed");
    }

    #[test]
    fn rows_to_evaluate_on_may_have_one_label_and_one_row_of_it() {
        let one = "{\"text\":\"a\",\"label\":\"x\"}\n";
        let rare = format!("{}{{\"text\":\"b\",\"label\":\"y\"}}", one.repeat(3));
        for (content, rows) in [(one.to_owned(), 1), (one.repeat(3), 3), (rare, 4)] {
            assert_eq!(parse_examples(&mut content.as_bytes()).unwrap().len(), rows);
        }
    }

    #[test]
    fn compares_answers_as_json_or_as_text() {
        assert!(
            is_same_answer(r#"{"a": 1, "b": 2}"#, r#"{"b":2,"a":1}"#) && is_same_answer(" lamp\n", "lamp")
        );
        assert!(!is_same_answer(r#"{"a": 1}"#, r#"{"a": 2}"#) && !is_same_answer("your lamp", "your Lamp"));
    }

    #[test]
    fn names_a_missing_file() {
        let error = read_examples(Path::new("/no/such/rows.jsonl")).unwrap_err();
        assert_eq!(error.to_string(), "read rows from /no/such/rows.jsonl");
        assert!(std::error::Error::source(&error).is_some());
    }
}
