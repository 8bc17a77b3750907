//! Evidence for taggers: whole objects, and the scores of each field.

use std::collections::BTreeMap;

use bantam_extract::{Shape, SlotValue};
use bantam_route::{Evidence, StudentFacts};
use bantam_student::{ExpectedRow, TaggerBackend};
use serde_json::Value;

use crate::certification::evidence_of;
use crate::proof_row::ProofRow;

/// Counts of a field's values over all rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FieldCounts {
    /// Values that the rows hold.
    pub wanted: u64,
    /// Values that the student found.
    pub found: u64,
    /// Values found that are right.
    pub right: u64,
}

impl FieldCounts {
    /// Returns precision, recall and F1.
    pub fn scores(&self) -> [f64; 3] {
        let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
        [
            share(self.right, self.found),
            share(self.right, self.wanted),
            share(2 * self.right, self.found + self.wanted),
        ]
    }
}

impl std::ops::AddAssign for FieldCounts {
    fn add_assign(&mut self, other: Self) {
        self.wanted += other.wanted;
        self.found += other.found;
        self.right += other.right;
    }
}

/// A text, its context and the expected object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedAnswer {
    /// The text to search for values.
    pub text: String,
    /// What was said before it; empty if nothing was.
    pub context: String,
    /// The expected object as canonical JSON; empty if no answer can be right.
    pub answer: String,
}

impl ProofRow for ExpectedAnswer {
    fn text(&self) -> &str {
        &self.text
    }

    fn answer(&self) -> &str {
        &self.answer
    }

    fn context(&self) -> &str {
        &self.context
    }
}

/// Returns rows with their expected answers in canonical form. If the values of a row cannot be written in the shape,
/// its expected answer is empty, so that no answer counts as right.
pub fn expected_answers(rows: Vec<ExpectedRow>, shape: &Shape) -> Vec<ExpectedAnswer> {
    let written = |row| match row {
        ExpectedRow::Answer { text, context, answer } => {
            ExpectedAnswer { text, context, answer: shape.canonical(&answer).to_string() }
        }
        ExpectedRow::Slots(row) => {
            let found = row.spans.iter().map(|span| SlotValue {
                name: &span.slot,
                value: &row.text[span.range.clone()],
                confidence: 1.0,
            });
            let object = shape.write(&found.collect::<Vec<_>>());
            let answer = object.map(|object| shape.canonical(&object).to_string()).unwrap_or_default();
            ExpectedAnswer { text: row.text, context: row.context, answer }
        }
    };
    rows.into_iter().map(written).collect()
}

/// Returns evidence for each row in its context, judged as by the gateway, and the counts of each field. An answer is
/// right if it equals the row's from [`expected_answers`] completely.
pub fn gather_objects(
    student: &TaggerBackend,
    rows: &[ExpectedAnswer],
) -> (Vec<Evidence>, BTreeMap<String, FieldCounts>) {
    let mut fields: BTreeMap<String, FieldCounts> = BTreeMap::new();
    let evidence = rows.iter().map(|row| {
        let answer = student.draft(&row.text, &row.context);
        let said = serde_json::from_str(&answer.text).ok().filter(|_| answer.is_valid);
        let said = said.map(|said: Value| student.shape().canonical(&said));
        let wanted: Option<Value> = serde_json::from_str(&row.answer).ok();
        count(said.as_ref(), wanted.as_ref(), &mut fields);
        let facts = StudentFacts {
            probability: answer.probability,
            out_of_scope: answer.out_of_scope,
            allowed: answer.is_valid,
        };
        evidence_of(facts, said.is_some() && said == wanted)
    });
    (evidence.collect(), fields)
}

fn count(said: Option<&Value>, wanted: Option<&Value>, fields: &mut BTreeMap<String, FieldCounts>) {
    let values = |object: Option<&Value>| -> Vec<(String, Value)> {
        let members = object.and_then(Value::as_object).into_iter().flatten();
        let flat = members.flat_map(|(name, value)| match value {
            Value::Array(values) => values.iter().map(|value| (name.clone(), value.clone())).collect(),
            one => vec![(name.clone(), one.clone())],
        });
        flat.collect()
    };
    let mut left = values(wanted);
    left.iter().for_each(|(name, _)| fields.entry(name.clone()).or_default().wanted += 1);
    for found in values(said) {
        let counts = fields.entry(found.0.clone()).or_default();
        counts.found += 1;
        if let Some(at) = left.iter().position(|wanted| *wanted == found) {
            left.swap_remove(at);
            counts.right += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bantam_student::Tagger;
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_every_value_once_for_its_field() {
        let mut fields = BTreeMap::new();
        let said = json!({ "a": ["x", "x"], "b": 1 });
        count(Some(&said), Some(&json!({ "a": ["x"], "c": true })), &mut fields);
        count(None, Some(&json!({ "a": ["y"] })), &mut fields);
        let a = fields["a"];
        assert_eq!((a.wanted, a.found, a.right), (2, 2, 1));
        assert_eq!(a.scores(), [0.5, 0.5, 0.5]);
        assert_eq!((fields["b"].found, fields["b"].right, fields["c"].wanted), (1, 0, 1));
    }

    #[test]
    fn the_student_sees_the_context_of_each_row() {
        let rows = |from: usize| {
            let row = |number: usize| {
                let is_people = number.is_multiple_of(2);
                let (context, slot) =
                    if is_people { ("how many?", "people") } else { ("at what time?", "time") };
                let text = (from + number / 2).to_string();
                let spans = vec![bantam_student::SlotSpan { slot: slot.into(), range: 0..text.len() }];
                bantam_student::SlotExample { text, context: context.into(), spans }
            };
            (0..80).map(row).collect::<Vec<_>>()
        };
        let config = bantam_student::tagger::LinearTaggerConfig::recommended();
        let tagger = bantam_student::tagger::train(&rows(10), &config, &mut |_| {}).unwrap();
        let student = TaggerBackend::new(Arc::new(Tagger::Linear(tagger)), Shape::free());
        let expected: Vec<ExpectedRow> = rows(50).into_iter().map(ExpectedRow::Slots).collect();
        let right = |context: Option<&str>| {
            let mut rows = expected_answers(expected.clone(), student.shape());
            rows.iter_mut().for_each(|row| row.context = context.map_or(row.context.clone(), str::to_owned));
            let (evidence, _) = gather_objects(&student, &rows);
            evidence.iter().filter(|row| row.correct).count()
        };
        assert_eq!(right(None), 80);
        assert_eq!(right(Some("how many?")), 40);
    }

    #[test]
    fn rows_in_either_form_have_the_same_expected_answer() {
        let slot = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("rows.jsonl");
            std::fs::write(&path, text).unwrap();
            bantam_student::read_expected_objects(&path).unwrap()
        };
        let rows = slot(concat!(
            "{\"text\": \"to Rome\", \"slots\": {\"city\": \"Rome\"}}\n",
            "{\"text\": \"to Rome\", \"answer\": {\"city\": \"Rome\", \"day\": null}}\n",
            "{\"text\": \"to Rome\", \"answer\": \"{\\\"city\\\": [\\\"Rome\\\"]}\"}\n",
        ));
        let expected = expected_answers(rows, &Shape::free());
        assert!(expected.iter().all(|row| row.answer == "{\"city\":[\"Rome\"]}"), "{expected:?}");
    }
}
