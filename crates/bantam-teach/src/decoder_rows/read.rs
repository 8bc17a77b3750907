//! Reading a decoder's rows from JSON lines.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{DecoderRow, RowContent, conversation};

/// Bytes of a file of rows at most.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// A file of rows that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the rows {}", .path.display())]
pub struct DecoderRowsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub kind: DecoderRowsErrorKind,
}

/// What is wrong with a file of rows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecoderRowsErrorKind {
    /// It cannot be read.
    #[error("{0}")]
    Read(std::io::Error),
    /// It is longer than what is read.
    #[error("the file has {bytes} bytes")]
    TooLong {
        /// Its length.
        bytes: u64,
    },
    /// A line is not a row.
    #[error("line {line}: {what}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

impl DecoderRowsErrorKind {
    /// Returns what to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Read(_) => "check that the path is right and may be read",
            Self::TooLong { .. } => "train on a part of the rows: at most 1 GiB is read",
            Self::Line { .. } => {
                "a row is one line such as {\"text\": \"2 lamps\", \"answer\": \"…\"}, {\"messages\": […]} or \
                 {\"prompt\": \"…\", \"chosen\": \"…\", \"rejected\": \"…\"}"
            }
        }
    }
}

/// Reads rows, one JSON object in each line that is not empty. A prompt of preferences that is a text follows
/// `instructions`.
///
/// # Errors
/// [`DecoderRowsError`], when the file cannot be read or a line is not a row. Any number of rows is fine.
pub fn read_decoder_rows(
    path: &Path,
    instructions: Option<&str>,
) -> Result<Vec<DecoderRow>, DecoderRowsError> {
    read(path, instructions).map_err(|kind| DecoderRowsError { path: path.to_owned(), kind })
}

fn read(path: &Path, instructions: Option<&str>) -> Result<Vec<DecoderRow>, DecoderRowsErrorKind> {
    let bytes = std::fs::metadata(path).map_err(DecoderRowsErrorKind::Read)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(DecoderRowsErrorKind::TooLong { bytes });
    }
    let text = std::fs::read_to_string(path).map_err(DecoderRowsErrorKind::Read)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(index, line)| {
        let content = content_of(line, instructions)
            .map_err(|what| DecoderRowsErrorKind::Line { line: index + 1, what })?;
        Ok(DecoderRow { line: index + 1, content })
    };
    lines.map(row).collect()
}

fn content_of(line: &str, instructions: Option<&str>) -> Result<RowContent, String> {
    let json: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let has = |key: &str| json.get(key).is_some_and(|value| !value.is_null());
    if has("messages") {
        let messages = list(&json, "messages")?;
        return Ok(RowContent::Conversation { messages, tools: list(&json, "tools")? });
    }
    if has("chosen") {
        let prompt = match json.get("prompt") {
            Some(Value::String(text)) => conversation(instructions.unwrap_or_default(), text),
            Some(Value::Array(messages)) => messages.clone(),
            _ => return Err("`prompt` is neither a text nor a list of messages".to_owned()),
        };
        let (chosen, rejected) = (messages_of(&json, "chosen")?, messages_of(&json, "rejected")?);
        return Ok(RowContent::Pair { prompt, chosen, rejected });
    }
    let Some(text) = json.get("text").and_then(Value::as_str) else {
        return Err("`text` is missing or not a string".to_owned());
    };
    let (answer, is_label) = match (json.get("answer"), json.get("label")) {
        (Some(answer), _) if !answer.is_null() => (answer, false),
        (_, Some(label)) if label.is_string() => (label, true),
        _ => return Err("`answer` is missing".to_owned()),
    };
    Ok(RowContent::Question { text: text.to_owned(), answer: answer.clone(), is_label })
}

fn list(json: &Value, key: &str) -> Result<Vec<Value>, String> {
    match json.get(key) {
        Some(Value::Array(items)) => Ok(items.clone()),
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(_) => Err(format!("`{key}` is not a list")),
    }
}

/// An answer's messages, from a list of them or from a text.
fn messages_of(json: &Value, key: &str) -> Result<Vec<Value>, String> {
    match json.get(key) {
        Some(Value::String(text)) => Ok(vec![json!({ "role": "assistant", "content": text })]),
        Some(Value::Array(messages)) => Ok(messages.clone()),
        _ => Err(format!("`{key}` is neither a text nor a list of messages")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_every_form_are_read() {
        let is = |line: &str, expected: &dyn Fn(&RowContent) -> bool| {
            assert!(expected(&content_of(line, Some("Do.")).unwrap()), "{line}");
        };
        is(r#"{"text":"a","answer":{"b":1}}"#, &|row| {
            matches!(row, RowContent::Question { answer: Value::Object(_), .. })
        });
        is(r#"{"text":"a","label":"b"}"#, &|row| matches!(row, RowContent::Question { is_label: true, .. }));
        is(r#"{"messages":[{"role":"user","content":"a"}]}"#, &|row| {
            matches!(row, RowContent::Conversation { .. })
        });
        is(r#"{"prompt":"a","chosen":"b","rejected":"c"}"#, &|row| match row {
            RowContent::Pair { prompt, chosen, .. } => {
                *prompt == conversation("Do.", "a") && chosen[0]["content"] == "b"
            }
            _ => false,
        });
        for (line, expected) in [
            ("no", "expected"),
            ("{}", "`text`"),
            (r#"{"text":"a"}"#, "`answer`"),
            (r#"{"prompt":1,"chosen":"b"}"#, "`prompt`"),
            (r#"{"prompt":"a","chosen":"b"}"#, "`rejected`"),
            (r#"{"messages":"a"}"#, "`messages`"),
        ] {
            let error = content_of(line, None).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
