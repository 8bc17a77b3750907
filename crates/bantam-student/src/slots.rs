//! Texts with the values to find in them, and their JSON Lines format.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;

use bantam_extract::Shape;
use serde_json::Value;

use crate::example::{
    AtLine, ReadExamplesError, ReadExamplesErrorKind, field, for_each_row, for_each_row_of,
};
use crate::tagger::cut::word_spans;

/// A value in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotSpan {
    /// The slot that it fills.
    pub slot: String,
    /// Its bytes in the text.
    pub range: Range<usize>,
}

/// A text and the values to find in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotExample {
    /// The text to search for values.
    pub text: String,
    /// What was said before the text, or asked for; empty if nothing was. The gateway passes the assistant's last
    /// message ([`bantam_wire::Call::said_before`]), so contexts of training rows should be such texts.
    pub context: String,
    /// The values, in the text's order. Values of different slots may overlap, as "8:00 tonight" and "tonight" do.
    pub spans: Vec<SlotSpan>,
}

/// Reads `{"text", "slots": {name: [values]}}` rows, one JSON object per line; a single value needs no list. A value is
/// a string that is searched for in the text, or `{"value": string, "start": bytes}`, which states its position, as in
/// the output of `bantam student predict`. A string or a list of strings in `context` (or `requested`) is what a
/// student sees before the text. Other keys and blank lines are ignored.
///
/// Checks that every value occurs in its text, and that there is at least one value.
pub fn read_slot_examples(path: &Path) -> Result<Vec<SlotExample>, ReadExamplesError> {
    let at = |line, kind| ReadExamplesError { path: path.to_owned(), line, kind };
    let file = File::open(path).map_err(|error| at(None, error.into()))?;
    parse(&mut BufReader::new(file)).map_err(|(line, kind)| at(line, kind))
}

/// Reads only the `"text"` and the context of every row, which is all that a prediction needs.
pub fn read_slot_texts(path: &Path) -> Result<Vec<(String, String)>, ReadExamplesError> {
    let mut texts = Vec::new();
    for_each_row_of(path, |row| {
        texts.push((field(row, "text")?, context(row)));
        Ok(())
    })?;
    Ok(texts)
}

/// A text and what should be found in it: values with their positions, or the whole answer.
#[derive(Debug, Clone, PartialEq)]
pub enum ExpectedRow {
    /// A row with `slots`.
    Slots(SlotExample),
    /// A row with an `answer`, parsed if it is JSON.
    Answer {
        /// The text to search for values.
        text: String,
        /// What was said before the text; empty if nothing was.
        context: String,
        /// The expected answer.
        answer: Value,
    },
}

/// Reads `{"text", "slots"}` or `{"text", "answer"}` rows, one JSON object per line: what should be found in a text.
/// The `context` (or `requested`) is read as by [`read_slot_examples`].
///
/// A value in `slots` may be missing from its text. A tagger cannot be trained on such a row, but its answers can be
/// checked against it.
pub fn read_expected_objects(path: &Path) -> Result<Vec<ExpectedRow>, ReadExamplesError> {
    let mut rows = Vec::new();
    for_each_row_of(path, |row| {
        let (text, context) = (field(row, "text")?, context(row));
        rows.push(match (row.remove("slots"), row.remove("answer")) {
            (Some(slots), _) => expected_slots(text, context, values(slots)?)?,
            (None, Some(Value::String(answer))) => {
                let answer = answer_json(&answer).unwrap_or(Value::String(answer));
                ExpectedRow::Answer { text, context, answer }
            }
            (None, Some(answer)) => ExpectedRow::Answer { text, context, answer },
            (None, None) => return Err(ReadExamplesErrorKind::Missing { key: "slots" }),
        });
        Ok(())
    })?;
    Ok(rows)
}

fn expected_slots(
    text: String,
    context: String,
    given: Vec<Given>,
) -> Result<ExpectedRow, ReadExamplesErrorKind> {
    match locate(&text, &given) {
        Ok(spans) => Ok(ExpectedRow::Slots(SlotExample { text, context, spans })),
        Err(ReadExamplesErrorKind::ValueMissing { .. }) => {
            let mut slots = serde_json::Map::new();
            for Given { slot, value, .. } in given {
                let of_slot = slots.entry(slot).or_insert_with(|| Value::Array(Vec::new()));
                of_slot.as_array_mut().into_iter().for_each(|values| values.push(value.trim().into()));
            }
            Ok(ExpectedRow::Answer { text, context, answer: Value::Object(slots) })
        }
        Err(error) => Err(error),
    }
}

/// Returns how many rows of a file have a `context` (or `requested`) that is not blank.
pub fn count_contexts(path: &Path) -> Result<u64, ReadExamplesError> {
    let mut count = 0;
    for_each_row_of(path, |row| {
        count += u64::from(!context(row).trim().is_empty());
        Ok(())
    })?;
    Ok(count)
}

/// Locates the values of a JSON answer in its text: each value itself or, with a schema, the words that are written as
/// that value ("two" for 2, "5 May 2026" for a date). `null` values are skipped.
///
/// # Errors
/// [`ReadExamplesErrorKind`] if the answer is not an object of values, or a value does not occur in the text.
pub fn slots_of_answer(
    text: &str,
    answer: &str,
    shape: &Shape,
) -> Result<SlotExample, ReadExamplesErrorKind> {
    let answer = answer_json(answer).ok_or(ReadExamplesErrorKind::NotSlots)?;
    let Value::Object(members) = answer else { return Err(ReadExamplesErrorKind::NotSlots) };
    let words: Vec<(usize, usize)> = word_spans(text).take(WORDS_MAX).collect();
    let mut found = Vec::new();
    for (slot, value) in members {
        let values = match value {
            Value::Array(values) => values,
            Value::Object(_) => return Err(ReadExamplesErrorKind::NotSlots),
            one => vec![one],
        };
        for value in values.into_iter().filter(|value| !value.is_null()) {
            let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let occurs =
                !plain.trim().is_empty() && text.to_lowercase().contains(&plain.trim().to_lowercase());
            let is_text = value.is_string() && occurs;
            let words = if is_text { None } else { written_as(text, &words, &slot, &value, shape) };
            found.push(Given { slot: slot.clone(), value: words.unwrap_or(plain), start: None });
        }
    }
    let spans = locate(text, &found)?;
    Ok(SlotExample { text: text.to_owned(), context: String::new(), spans })
}

/// Returns the JSON of an answer, which may be in a code fence.
pub fn answer_json(answer: &str) -> Option<Value> {
    let bare = answer.trim();
    let bare = bare.strip_prefix("```json").or_else(|| bare.strip_prefix("```")).unwrap_or(bare);
    serde_json::from_str(bare.trim_end_matches('`').trim()).ok()
}

/// Returns the shortest run of words that is written as `value`.
fn written_as(
    text: &str,
    words: &[(usize, usize)],
    slot: &str,
    value: &Value,
    shape: &Shape,
) -> Option<String> {
    let runs = (1..=RUN_MAX).flat_map(|length| words.windows(length));
    let texts = runs.map(|run| &text[run[0].0..run[run.len() - 1].1]);
    texts.into_iter().find(|text| shape.means(slot, text, value)).map(str::to_owned)
}

/// How many words of a text are searched for a value that is written differently, and the most words of such a value.
const WORDS_MAX: usize = 256;
const RUN_MAX: usize = 8;

/// Returns whether any row has a context, so that a student trained on them reads one.
pub(crate) fn have_context(rows: &[SlotExample]) -> bool {
    rows.iter().any(|row| !row.context.trim().is_empty())
}

/// Returns what a student sees before the text.
fn context(row: &mut serde_json::Map<String, Value>) -> String {
    let context = row.remove("context").or_else(|| row.remove("requested"));
    strings(context.unwrap_or(Value::Null)).unwrap_or_default().join(" , ")
}

fn parse(source: &mut dyn BufRead) -> AtLine<Vec<SlotExample>> {
    let mut rows = Vec::new();
    for_each_row(source, |_, row| {
        let text = field(row, "text")?;
        let slots = row.remove("slots").ok_or(ReadExamplesErrorKind::Missing { key: "slots" })?;
        let context = context(row);
        let spans = locate(&text, &values(slots)?)?;
        rows.push(SlotExample { text, context, spans });
        Ok(())
    })?;
    if rows.is_empty() {
        return Err((None, ReadExamplesErrorKind::Empty));
    }
    if rows.iter().all(|row| row.spans.is_empty()) {
        return Err((None, ReadExamplesErrorKind::NoSlots));
    }
    Ok(rows)
}

/// Returns the strings of a string, a list or `null`.
fn strings(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::String(one) => Some(vec![one]),
        Value::Array(many) => many.into_iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// A value, and its position if it was stated.
#[derive(Debug)]
struct Given {
    slot: String,
    value: String,
    start: Option<usize>,
}

impl Given {
    fn of(slot: &str, value: Value) -> Option<Self> {
        let (value, start) = match value {
            Value::String(value) => (value, None),
            Value::Object(mut members) => {
                let Some(Value::String(value)) = members.remove("value") else { return None };
                let start = match members.remove("start") {
                    None | Some(Value::Null) => None,
                    Some(start) => Some(usize::try_from(start.as_u64()?).ok()?),
                };
                (value, start)
            }
            _ => return None,
        };
        Some(Self { slot: slot.to_owned(), value, start })
    }
}

/// Returns the values of all slots, in the row's order.
fn values(slots: Value) -> Result<Vec<Given>, ReadExamplesErrorKind> {
    let Value::Object(slots) = slots else { return Err(ReadExamplesErrorKind::NotSlots) };
    let mut flat = Vec::new();
    for (slot, values) in slots {
        let values = match values {
            Value::Null => Vec::new(),
            Value::Array(values) => values,
            one => vec![one],
        };
        for value in values {
            let given = Given::of(&slot, value).ok_or(ReadExamplesErrorKind::NotSlots)?;
            flat.extend((!given.value.trim().is_empty()).then_some(given));
        }
    }
    Ok(flat)
}

/// Finds every value in the text, without overlaps if possible. Stated positions are kept; of the other values, longer
/// ones are placed first, because shorter ones occur more often; positions at word boundaries are preferred.
fn locate(text: &str, values: &[Given]) -> Result<Vec<SlotSpan>, ReadExamplesErrorKind> {
    let mut order: Vec<&Given> = values.iter().collect();
    order.sort_by_key(|given| (given.start.is_none(), std::cmp::Reverse(given.value.trim().len())));
    let mut spans: Vec<SlotSpan> = Vec::new();
    for given in order {
        let range = match given.start {
            Some(start) => place_at(text, given, start)?,
            None => free_place(text, given, &spans)?,
        };
        spans.push(SlotSpan { slot: given.slot.clone(), range });
    }
    spans.sort_by_key(|span| span.range.start);
    Ok(spans)
}

/// Returns the stated position, without the spaces around the value.
fn place_at(text: &str, given: &Given, start: usize) -> Result<Range<usize>, ReadExamplesErrorKind> {
    let is_there = text.get(start..).is_some_and(|rest| rest.starts_with(&given.value));
    if !is_there {
        let (slot, value) = (given.slot.clone(), given.value.clone());
        return Err(ReadExamplesErrorKind::ValueElsewhere { slot, value, start });
    }
    let inner = start + given.value.len() - given.value.trim_start().len();
    Ok(inner..inner + given.value.trim().len())
}

fn free_place(text: &str, given: &Given, spans: &[SlotSpan]) -> Result<Range<usize>, ReadExamplesErrorKind> {
    let value = given.value.trim();
    let is_free = |range: &Range<usize>| {
        spans.iter().all(|span| range.end <= span.range.start || span.range.end <= range.start)
    };
    let mut places = occurrences(text, value).collect::<Vec<_>>();
    if places.is_empty() {
        // Lower case may shift bytes in some scripts; such texts are not searched this way.
        let (text_lower, value_lower) = (text.to_lowercase(), value.to_lowercase());
        if text_lower.len() == text.len() {
            let found = occurrences(&text_lower, &value_lower);
            places = found.filter(|range| text.get(range.clone()).is_some()).collect();
        }
    }
    let rank = |range: &&Range<usize>| (!is_free(range), !has_edges(text, range), range.start);
    let (slot, missing) = (given.slot.clone(), value.to_owned());
    let best = places.iter().min_by_key(rank).cloned();
    best.ok_or(ReadExamplesErrorKind::ValueMissing { slot, value: missing })
}

fn occurrences<'t>(text: &'t str, value: &'t str) -> impl Iterator<Item = Range<usize>> + 't {
    text.match_indices(value).map(|(start, found)| start..start + found.len())
}

/// Returns whether the range begins and ends at word boundaries.
fn has_edges(text: &str, range: &Range<usize>) -> bool {
    let joins = |left: Option<char>, right: Option<char>| {
        left.is_some_and(char::is_alphanumeric) && right.is_some_and(char::is_alphanumeric)
    };
    let (before, inner, after) = (&text[..range.start], &text[range.clone()], &text[range.end..]);
    !joins(before.chars().next_back(), inner.chars().next())
        && !joins(inner.chars().next_back(), after.chars().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(row: &str, expected: &[(&str, &str, usize)]) {
        let rows = parse(&mut row.as_bytes()).unwrap();
        let found: Vec<(&str, &str, usize)> = rows[0]
            .spans
            .iter()
            .map(|span| (span.slot.as_str(), &rows[0].text[span.range.clone()], span.range.start))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn finds_values_at_their_positions() {
        check(
            r#"{"text": "from Rome to Rome at 7", "slots": {"to": ["Rome"], "from": "Rome", "time": ["7"]}}"#,
            &[("to", "Rome", 5), ("from", "Rome", 13), ("time", "7", 21)],
        );
        check(r#"{"text": "17 of us at 7", "slots": {"time": ["7"]}}"#, &[("time", "7", 12)]);
        check(
            r#"{"text": "New York in York", "slots": {"b": ["York"], "a": ["New York"]}}"#,
            &[("a", "New York", 0), ("b", "York", 12)],
        );
        check(r#"{"text": "Book TWO", "slots": {"n": ["two"]}}"#, &[("n", "TWO", 5)]);
        check(
            r#"{"text": "für 9.00, total 9.00", "slots": {"total": {"value": "9.00", "start": 17}, "price": "9.00"}}"#,
            &[("price", "9.00", 5), ("total", "9.00", 17)],
        );
        check(
            r#"{"text": "9 of 9", "slots": {"n": [{"value": " 9", "start": 4}, {"value": "9"}]}}"#,
            &[("n", "9", 0), ("n", "9", 5)],
        );
    }

    #[test]
    fn values_that_cannot_be_separate_overlap() {
        check(
            r#"{"text": "at 8 tonight", "slots": {"time": "8 tonight", "date": "tonight"}}"#,
            &[("time", "8 tonight", 3), ("date", "tonight", 5)],
        );
    }

    #[test]
    fn locates_the_values_of_an_answer() {
        let schema = serde_json::json!({ "properties": {
            "day": { "type": "string", "format": "date" }, "people": { "type": "integer" }, "city": { "type": "string" }
        } });
        let slots = ["day", "people", "city"].map(str::to_owned);
        let shape = Shape::new(&schema, &slots).unwrap();
        let text = "Two of us in Rome on 5 May 2026";
        let answer =
            "```json\n{\"day\": \"2026-05-05\", \"people\": 2, \"city\": \"rome\", \"note\": null}\n```";
        let row = slots_of_answer(text, answer, &shape).unwrap();
        let flat: Vec<_> = row.spans.iter().map(|span| (&*span.slot, &text[span.range.clone()])).collect();
        assert_eq!(flat, [("people", "Two"), ("city", "Rome"), ("day", "5 May 2026")]);
        let error = |answer: &str| slots_of_answer(text, answer, &shape).unwrap_err().to_string();
        assert!(error(r#"{"city": "Oslo"}"#).contains("does not occur in the text"));
        assert!(error("Rome").starts_with("`slots` is not an object"));
    }

    #[test]
    fn a_context_is_a_string_or_a_list() {
        let context = |rest: &str| {
            let row = format!(r#"{{"text": "two", "slots": {{"n": ["two"]}}{rest}}}"#);
            parse(&mut row.as_bytes()).unwrap().remove(0).context
        };
        assert_eq!(context(""), "");
        assert_eq!(context(r#", "context": "how many?""#), "how many?");
        assert_eq!(context(r#", "requested": ["people", "time"]"#), "people , time");
    }

    #[test]
    fn reports_rows_that_cannot_be_trained_on_with_their_line() {
        let check = |content: &str, line: Option<u64>, message: &str| {
            let (found, kind) = parse(&mut content.as_bytes()).unwrap_err();
            assert_eq!((found, kind.to_string().as_str()), (line, message));
            assert!(!kind.hint().is_empty());
        };
        check("", None, "the file has no rows");
        check(r#"{"text": "a"}"#, Some(1), "`slots` is missing");
        let wrong = "`slots` is not an object that maps names to a value or a list of values";
        let elsewhere = "the value \"b\" of the slot `x` is not at byte 1 of the text";
        check(r#"{"text": "üb", "slots": {"x": {"value": "b", "start": 1}}}"#, Some(1), elsewhere);
        check(r#"{"text": "a", "slots": {"b": {"value": "a", "start": -1}}}"#, Some(1), wrong);
        check(r#"{"text": "a", "slots": ["a"]}"#, Some(1), wrong);
        check(r#"{"text": "a", "slots": {"b": [1]}}"#, Some(1), wrong);
        check(r#"{"text": "a", "slots": {}}"#, None, "no row has a value in its slots");
        let missing =
            "the value \"b\" of the slot `x` does not occur in the text, or only within other values";
        check("\n{\"text\": \"a\", \"slots\": {\"x\": [\"b\"]}}", Some(2), missing);
    }
}
