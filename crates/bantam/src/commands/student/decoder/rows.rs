//! Rows that a decoder learns from: texts with answers, conversations, or preferences.

use std::collections::HashMap;
use std::path::Path;

use bantam_student::{Example, normalised};
use bantam_train::{Key, Preference, ReadRowsErrorKind, RowWriter, TokenRow};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::failure::{Failure, Outcome};

/// Rows below which nothing can be held out and learnt.
const ROWS_MIN: usize = 20;
/// Bytes of a file of rows at most.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// What a row asks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Row {
    /// A text as the task gets it, and its answer.
    Asked {
        /// The text.
        text: String,
        /// The answer.
        answer: Value,
        /// Whether the answer was called a label.
        is_label: bool,
    },
    /// A conversation; all that the assistant says is learnt.
    Talk {
        /// Its messages.
        messages: Vec<Value>,
        /// The tools that it may call.
        tools: Vec<Value>,
    },
    /// Two answers to a conversation, the better one first.
    Pair {
        /// What comes before them.
        prompt: Vec<Value>,
        /// The better answer's messages.
        chosen: Vec<Value>,
        /// The other's.
        rejected: Vec<Value>,
    },
}

/// A row and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Numbered {
    /// The line of the file, from 1.
    pub(crate) line: usize,
    pub(crate) row: Row,
}

/// Reads rows, one JSON object in each line that is not empty.
pub(crate) fn read(path: &Path, instructions: Option<&str>) -> Result<Vec<Numbered>, Failure> {
    let what = || format!("cannot use the rows {}", path.display());
    let failed = |error: std::io::Error| {
        Failure::from_error(what(), &error).hint("check that the path is right and may be read")
    };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(Failure::new(Outcome::Failed, format!("{}: the file has {bytes} bytes", what()))
            .hint("train on a part of the rows: at most 1 GiB is read"));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let rows: Result<Vec<Numbered>, Failure> = lines
        .map(|(index, line)| {
            let row = row(line, instructions).map_err(|error| {
                Failure::new(Outcome::Failed, format!("{}: line {}: {error}", what(), index + 1)).hint(
                    "a row is one line such as {\"text\": \"2 lamps\", \"answer\": \"…\"}, {\"messages\": […]} or \
                     {\"prompt\": \"…\", \"chosen\": \"…\", \"rejected\": \"…\"}",
                )
            })?;
            Ok(Numbered { line: index + 1, row })
        })
        .collect();
    rows
}

/// Returns a task's recorded answers as rows.
pub(crate) fn recorded(rows: &[Example], is_label: bool) -> Vec<Numbered> {
    let asked = |example: &Example| Row::Asked {
        text: example.text.clone(),
        answer: example.label.clone().into(),
        is_label,
    };
    rows.iter().enumerate().map(|(index, row)| Numbered { line: index + 1, row: asked(row) }).collect()
}

fn row(line: &str, instructions: Option<&str>) -> Result<Row, String> {
    let json: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let has = |key: &str| json.get(key).is_some_and(|value| !value.is_null());
    let list = |key: &str| match json.get(key) {
        Some(Value::Array(items)) => Ok(items.clone()),
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(_) => Err(format!("`{key}` is no list")),
    };
    if has("messages") {
        return Ok(Row::Talk { messages: list("messages")?, tools: list("tools")? });
    }
    if has("chosen") {
        let answer = |key: &str| match json.get(key) {
            Some(Value::String(text)) => Ok(vec![json!({ "role": "assistant", "content": text })]),
            Some(Value::Array(messages)) => Ok(messages.clone()),
            _ => Err(format!("`{key}` is neither a text nor a list of messages")),
        };
        let prompt = match json.get("prompt") {
            Some(Value::String(text)) => talk(instructions.unwrap_or_default(), text),
            Some(Value::Array(messages)) => messages.clone(),
            _ => return Err("`prompt` is neither a text nor a list of messages".to_owned()),
        };
        return Ok(Row::Pair { prompt, chosen: answer("chosen")?, rejected: answer("rejected")? });
    }
    let Some(text) = json.get("text").and_then(Value::as_str) else {
        return Err("`text` is missing or no string".to_owned());
    };
    let (answer, is_label) = match (json.get("answer"), json.get("label")) {
        (Some(answer), _) if !answer.is_null() => (answer, false),
        (_, Some(label)) if label.is_string() => (label, true),
        _ => return Err("`answer` is missing".to_owned()),
    };
    Ok(Row::Asked { text: text.to_owned(), answer: answer.clone(), is_label })
}

/// What a student of these instructions reads before it answers a text.
pub(crate) fn talk(instructions: &str, text: &str) -> Vec<Value> {
    vec![json!({ "role": "system", "content": instructions }), json!({ "role": "user", "content": text })]
}

impl Row {
    /// Returns what the row is about: rows that ask the same stay on one side of every split.
    pub(crate) fn question(&self) -> String {
        let texts = |messages: &[Value]| {
            let said = messages.iter().filter(|message| message["role"] == "user");
            said.filter_map(|message| message["content"].as_str()).collect::<Vec<_>>().join("\n")
        };
        match self {
            Self::Asked { text, .. } => text.clone(),
            Self::Talk { messages, .. } => texts(messages),
            Self::Pair { prompt, .. } => texts(prompt),
        }
    }

    /// Returns the text and the answer, where a student of `instructions` would be asked just that.
    pub(crate) fn asked(&self, instructions: &str, schema: Option<&Value>) -> Option<Example> {
        match self {
            Self::Asked { text, answer, .. } => {
                Some(Example { text: text.clone(), label: written(answer, schema) })
            }
            Self::Talk { messages, tools } if tools.is_empty() => {
                let (last, before) = messages.split_last()?;
                let text = before.last().and_then(|message| message["content"].as_str())?;
                let is_alike = last["role"] == "assistant" && before == talk(instructions, text);
                let label = last["content"].as_str()?.to_owned();
                is_alike.then(|| Example { text: text.to_owned(), label })
            }
            Self::Talk { .. } | Self::Pair { .. } => None,
        }
    }

    /// Writes the row as tokens.
    fn tokens(
        &self,
        writer: &RowWriter<'_>,
        instructions: &str,
        schema: Option<&Value>,
    ) -> Result<TokenRow, ReadRowsErrorKind> {
        match self {
            Self::Asked { text, answer, .. } => {
                let mut messages = talk(instructions, text);
                messages.push(json!({ "role": "assistant", "content": written(answer, schema) }));
                writer.talk(&messages, &[])
            }
            Self::Talk { messages, tools } => writer.talk(messages, tools),
            Self::Pair { .. } => Err(ReadRowsErrorKind::NoAnswer),
        }
    }
}

/// Writes rows of answers as tokens.
pub(crate) fn answers(
    rows: &[Numbered],
    writer: &RowWriter<'_>,
    (instructions, schema): (&str, Option<&Value>),
) -> Result<Vec<TokenRow>, Failure> {
    let write =
        |row: &Numbered| row.row.tokens(writer, instructions, schema).map_err(|kind| (row.line, kind));
    rows.iter().map(write).collect::<Result<_, _>>().map_err(unusable)
}

/// Writes rows of preferences as tokens.
pub(crate) fn preferences(rows: &[Numbered], writer: &RowWriter<'_>) -> Result<Vec<Preference>, Failure> {
    let write = |row: &Numbered| {
        let Row::Pair { prompt, chosen, rejected } = &row.row else {
            return Err((row.line, ReadRowsErrorKind::NoAnswer));
        };
        writer.preference(prompt, chosen, rejected).map_err(|kind| (row.line, kind))
    };
    rows.iter().map(write).collect::<Result<_, _>>().map_err(unusable)
}

fn unusable((line, kind): (usize, ReadRowsErrorKind)) -> Failure {
    let hint = kind.hint();
    Failure::from_error(format!("cannot use the row of line {line}"), &kind).hint(hint)
}

/// Returns the rows to learn from and those held out, about `share` of them. Rows that ask the same are on one side.
pub(crate) fn split(
    rows: Vec<Numbered>,
    share: f64,
    seed: u64,
) -> Result<(Vec<Numbered>, Vec<Numbered>), Failure> {
    if rows.len() < ROWS_MIN {
        let message = match rows.len() {
            0 => "there are no rows to learn from".to_owned(),
            count => format!("{count} rows are too few to hold some out and learn from the rest"),
        };
        return Err(Failure::new(Outcome::Failed, message)
            .hint(format!("at least {ROWS_MIN} are needed, and some hundreds make a student")));
    }
    let mut groups: HashMap<String, usize> = HashMap::new();
    let mut sizes: Vec<usize> = Vec::new();
    let places: Vec<usize> = rows
        .iter()
        .map(|row| {
            let count = groups.len();
            let group = *groups.entry(normalised(&row.row.question())).or_insert(count);
            sizes.resize(sizes.len().max(group + 1), 0);
            sizes[group] += 1;
            group
        })
        .collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    Key::new(seed).part(5).shuffle(&mut order);
    let wanted = ((rows.len() as f64 * share).round() as usize).max(1);
    let (mut is_held, mut held) = (vec![false; sizes.len()], 0);
    for group in order {
        if held + sizes[group] <= wanted && held + sizes[group] < rows.len() {
            is_held[group] = true;
            held += sizes[group];
        }
    }
    if held == 0 {
        return Err(Failure::new(Outcome::Failed, "the rows all ask the same, so that none can be held out")
            .hint("add rows that differ in their texts"));
    }
    let (held_out, learnt): (Vec<_>, Vec<_>) =
        rows.into_iter().zip(places).partition(|(_, group)| is_held[*group]);
    let rows = |pairs: Vec<(Numbered, usize)>| pairs.into_iter().map(|(row, _)| row).collect();
    Ok((rows(learnt), rows(held_out)))
}

/// Returns the SHA-256 of rows, in hex.
pub(crate) fn hash(rows: &[Numbered]) -> String {
    let mut hash = Sha256::new();
    for row in rows {
        let parts: Vec<String> = match &row.row {
            Row::Asked { text, answer, .. } => vec![text.clone(), answer.to_string()],
            Row::Talk { messages, tools } => {
                vec![Value::from(messages.clone()).to_string(), Value::from(tools.clone()).to_string()]
            }
            Row::Pair { prompt, chosen, rejected } => {
                [prompt, chosen, rejected].map(|messages| Value::from(messages.clone()).to_string()).into()
            }
        };
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns an answer as it is learnt: a text as it is; JSON as the engine writes it, with members in the order of the
/// schema, because under a schema no other order can be written.
pub(crate) fn written(answer: &Value, schema: Option<&Value>) -> String {
    let parsed = match (answer, schema) {
        (Value::String(text), Some(_)) => serde_json::from_str(text).unwrap_or_else(|_| answer.clone()),
        _ => answer.clone(),
    };
    match (&parsed, schema) {
        (Value::String(text), None) => text.clone(),
        _ => {
            let mut written = String::new();
            write(&parsed, schema.unwrap_or(&Value::Null), &mut written);
            written
        }
    }
}

fn write(value: &Value, schema: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let known = schema.get("properties").and_then(Value::as_object);
            let place = |name: &str| {
                known.and_then(|known| known.keys().position(|key| key == name)).unwrap_or(usize::MAX)
            };
            let mut names: Vec<&String> = members.keys().collect();
            names.sort_by_key(|name| place(name));
            out.push('{');
            for (index, name) in names.into_iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push_str(": ");
                let of_member = schema.get("properties").and_then(|known| known.get(name));
                write(&members[name], of_member.unwrap_or(&Value::Null), out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write(item, schema.get("items").unwrap_or(&Value::Null), out);
            }
            out.push(']');
        }
        _ => out.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str, line: usize) -> Numbered {
        Numbered { line, row: Row::Asked { text: text.into(), answer: "x".into(), is_label: false } }
    }

    #[test]
    fn rows_of_every_form_are_read() {
        let is = |line: &str, expected: &dyn Fn(&Row) -> bool| {
            assert!(expected(&row(line, Some("Do.")).unwrap()), "{line}");
        };
        is(r#"{"text":"a","answer":{"b":1}}"#, &|row| {
            matches!(row, Row::Asked { answer: Value::Object(_), .. })
        });
        is(r#"{"text":"a","label":"b"}"#, &|row| matches!(row, Row::Asked { is_label: true, .. }));
        is(r#"{"messages":[{"role":"user","content":"a"}]}"#, &|row| matches!(row, Row::Talk { .. }));
        is(r#"{"prompt":"a","chosen":"b","rejected":"c"}"#, &|row| match row {
            Row::Pair { prompt, chosen, .. } => *prompt == talk("Do.", "a") && chosen[0]["content"] == "b",
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
            let error = row(line, None).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn answers_are_written_in_the_order_of_the_schema() {
        let schema = json!({ "properties": {
            "count": { "type": "integer" },
            "items": { "items": { "properties": { "a": {}, "b": {} } } },
        }});
        let answer = json!({ "items": [{ "b": "é\n", "a": null }], "other": true, "count": 2 });
        let expected = r#"{"count": 2, "items": [{"a": null, "b": "é\n"}], "other": true}"#;
        assert_eq!(written(&answer, Some(&schema)), expected);
        assert_eq!(written(&answer.to_string().into(), Some(&schema)), expected);
        assert_eq!(written(&"plain {text}".into(), None), "plain {text}");
    }

    #[test]
    fn rows_that_ask_the_same_are_never_on_both_sides() {
        let rows: Vec<Numbered> =
            (0..200).map(|line| asked(&format!("Order {}!", line % 50), line)).collect();
        let (learnt, held_out) = split(rows.clone(), 0.2, 7).unwrap();
        assert_eq!((learnt.len(), held_out.len()), (160, 40));
        for row in &held_out {
            assert!(learnt.iter().all(|other| other.row.question() != row.row.question()));
        }
        assert_eq!(split(rows.clone(), 0.2, 7).unwrap().1, held_out);
        assert_ne!(split(rows, 0.2, 8).unwrap().1, held_out);
        assert!(split(vec![asked("a", 1); 19], 0.2, 7).unwrap_err().message().contains("too few"));
        assert!(split(vec![asked("a", 1); 40], 0.2, 7).unwrap_err().message().contains("ask the same"));
    }

    #[test]
    fn a_conversation_is_asked_only_where_the_student_would_be_asked_just_that() {
        let row = |system: &str| {
            let mut messages = talk(system, "a");
            messages.push(json!({ "role": "assistant", "content": "b" }));
            Row::Talk { messages, tools: Vec::new() }
        };
        let expected = Example { text: "a".into(), label: "b".into() };
        assert_eq!(row("Do.").asked("Do.", None), Some(expected));
        assert_eq!(row("Other.").asked("Do.", None), None);
    }
}
