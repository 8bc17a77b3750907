//! The three layers as one tree: the file's values, then what the environment and the command line set.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::context::Context;
use crate::log::{Log, Problem};
use crate::origin::{Place, Spot};
use crate::{MistakeKind, variables};

/// The largest file that is read; a real one has a few kilobytes.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// A value and where it was found.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The value.
    pub(crate) value: Value,
    /// Where the value was found.
    pub(crate) place: Place,
    /// Where its key was found; the same as `place` for an element of a list.
    pub(crate) key_place: Place,
}

/// A table's entries by key.
pub(crate) type Table = BTreeMap<String, Node>;

/// What a TOML value can be, and text from outside the file that takes the type its setting wants.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A string.
    String(String),
    /// A whole number; `None` when it is beyond 128 bits.
    Integer(Option<i128>),
    /// A number.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A date, a time or both.
    Date(String),
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(Table),
    /// Text from the environment or the command line.
    Loose(String),
}

impl Value {
    /// Returns the type's name with its article, for messages.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) | Self::Loose(_) => "a string",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Boolean(_) => "a boolean",
            Self::Date(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Returns the merged tree; syntax errors and impossible overrides go to the log.
pub(crate) fn read(context: &Context<'_>, log: &Log<'_>) -> Table {
    let source = context.source;
    if source.text.len() > TEXT_BYTES_MAX {
        let hint = "is this really a configuration file?".to_owned();
        log.plain(
            MistakeKind::Syntax,
            Place::Default,
            "the file is larger than 1 MiB".to_owned(),
            Some(hint),
        );
        return Table::new();
    }
    let (document, mistakes) = DeTable::parse_recoverable(source.text);
    for mistake in mistakes {
        let end = source.text.len();
        log.syntax(mistake.message(), mistake.span().unwrap_or(end..end));
    }
    let mut root = table(document.get_ref(), &Place::File);
    for variable in variables::ALL {
        if let Some(text) = context.env.get(variable.name) {
            let path: Vec<String> = variable.key.split('.').map(str::to_owned).collect();
            set(&mut root, &path, &text, &Place::Variable(variable.name));
        }
    }
    for flag in source.overrides {
        let spot = Spot { key: flag.key.clone(), place: Place::Flag };
        match key_path(&flag.key) {
            None => {
                let hint = "write keys as in TOML: `server.bind`, `models.\"llama3.2:3b\".tier`";
                log.problem(
                    MistakeKind::UnknownKey,
                    &spot,
                    Problem::new("is not the path of a key").hint(hint),
                );
            }
            Some(path) => {
                if !set(&mut root, &path, &flag.value, &Place::Flag) {
                    let problem =
                        Problem::new("leads into a value that is not a table").hint("set the whole value");
                    log.problem(MistakeKind::BadValue, &spot, problem);
                }
            }
        }
    }
    root
}

/// Parses text from outside the file as one TOML value, when it is one.
pub(crate) fn parse_loose(text: &str, place: &Place) -> Option<Value> {
    let parsed = DeValue::parse(text).ok()?;
    Some(value(parsed.get_ref(), &|_| place.clone()))
}

fn table(table: &DeTable<'_>, place: &dyn Fn(Range<usize>) -> Place) -> Table {
    table
        .iter()
        .map(|(key, entry)| {
            let node = Node {
                value: value(entry.get_ref(), place),
                place: place(entry.span()),
                key_place: place(key.span()),
            };
            (key.get_ref().to_string(), node)
        })
        .collect()
}

fn value(value: &DeValue<'_>, place: &dyn Fn(Range<usize>) -> Place) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(digits) => {
            Value::Integer(i128::from_str_radix(digits.as_str(), digits.radix()).ok())
        }
        DeValue::Float(digits) => Value::Float(digits.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(truth) => Value::Boolean(*truth),
        DeValue::Datetime(moment) => Value::Date(moment.to_string()),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| Node {
                    value: self::value(item.get_ref(), place),
                    place: place(item.span()),
                    key_place: place(item.span()),
                })
                .collect(),
        ),
        DeValue::Table(entries) => Value::Table(table(entries, place)),
    }
}

/// Puts a value at `path`, over what was there; returns whether the path leads through tables only.
fn set(root: &mut Table, path: &[String], text: &str, place: &Place) -> bool {
    let Some((last, tables)) = path.split_last() else { return false };
    let node = |value| Node { value, place: place.clone(), key_place: place.clone() };
    let mut current = root;
    for segment in tables {
        let next = current.entry(segment.clone()).or_insert_with(|| node(Value::Table(Table::new())));
        if let Value::Loose(written) = &next.value
            && let Some(parsed @ Value::Table(_)) = parse_loose(written, &next.place)
        {
            next.value = parsed;
        }
        let Value::Table(entries) = &mut next.value else { return false };
        current = entries;
    }
    current.insert(last.clone(), node(Value::Loose(text.to_owned())));
    true
}

/// Splits a dotted key; segments may stand in double quotes.
fn key_path(key: &str) -> Option<Vec<String>> {
    let mut path = Vec::new();
    let mut rest = key;
    loop {
        let (segment, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if segment.is_empty() || segment.contains('"') {
            return None;
        }
        path.push(segment.to_owned());
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None => return after.is_empty().then_some(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::key_path;

    #[test]
    fn splits_a_key_at_dots_outside_quotes() {
        let check = |key: &str, expected: &[&str]| assert_eq!(key_path(key).unwrap(), expected, "{key}");
        check("server.bind", &["server", "bind"]);
        check("models.\"llama3.2:3b\".tier", &["models", "llama3.2:3b", "tier"]);
        for bad in ["", ".", "a.", ".a", "a..b", "\"a", "\"a\"b", "a.\"\""] {
            assert_eq!(key_path(bad), None, "{bad}");
        }
    }
}
