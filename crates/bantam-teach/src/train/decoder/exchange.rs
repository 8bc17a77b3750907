//! What a decoder is asked, and what its answers look like.

use bantam_local::StudentAnswerForm;
use serde_json::Value;

use crate::decoder_rows::{DecoderRow, RowContent};
use crate::plan::DecoderPlan;
use crate::train::TrainError;

/// The system message of a student that nobody gave one.
const INSTRUCTIONS: &str = "Answer.";
const LABEL_INSTRUCTIONS: &str = "Answer with the label.";
/// Labels of a student at most.
const LABELS_MAX: usize = 4_096;

/// What a decoder is asked, and what its answers look like: the same in every row and at every request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exchange {
    /// The system message.
    pub(super) instructions: String,
    /// What an answer looks like.
    pub(super) form: StudentAnswerForm,
}

impl Exchange {
    /// Settles what the plan leaves open by what the rows hold.
    pub(super) fn of(plan: &DecoderPlan, rows: &[DecoderRow]) -> Result<Self, TrainError> {
        let pairs = rows.iter().filter(|row| matches!(row.content, RowContent::Pair { .. })).count();
        if pairs > 0 && pairs < rows.len() {
            return Err(TrainError::MixedRows);
        }
        let is_labelled =
            |row: &DecoderRow| matches!(row.content, RowContent::Question { is_label: true, .. });
        let are_labels = plan.classifies || (!rows.is_empty() && rows.iter().all(is_labelled));
        let form = match &plan.schema {
            Some(schema) => StudentAnswerForm::Schema(schema.clone()),
            None if are_labels => StudentAnswerForm::Labels(labels(plan, rows)?),
            None => StudentAnswerForm::Text,
        };
        let recommended = match form {
            StudentAnswerForm::Labels(_) => LABEL_INSTRUCTIONS,
            StudentAnswerForm::Schema(_) | StudentAnswerForm::Text => INSTRUCTIONS,
        };
        let given = plan.instructions.clone().or_else(|| shared_instructions(rows));
        Ok(Self { instructions: given.unwrap_or_else(|| recommended.to_owned()), form })
    }

    /// Returns the schema of all answers, where they have one.
    pub(super) fn schema(&self) -> Option<&Value> {
        match &self.form {
            StudentAnswerForm::Schema(schema) => Some(schema),
            StudentAnswerForm::Labels(_) | StudentAnswerForm::Text => None,
        }
    }
}

/// Returns the labels of the task, or those of the rows.
fn labels(plan: &DecoderPlan, rows: &[DecoderRow]) -> Result<Vec<String>, TrainError> {
    let answer = |row: &DecoderRow| match &row.content {
        RowContent::Question { answer, .. } => answer.as_str().map(str::to_owned),
        RowContent::Conversation { .. } | RowContent::Pair { .. } => None,
    };
    let mut found: Vec<String> = rows.iter().filter_map(answer).collect();
    found.sort();
    found.dedup();
    if !plan.labels.is_empty() {
        return match found.into_iter().find(|label| !plan.labels.contains(label)) {
            None => Ok(plan.labels.clone()),
            Some(label) => Err(TrainError::UnknownLabel { label }),
        };
    }
    match found.len() {
        2..=LABELS_MAX => Ok(found),
        labels => Err(TrainError::Labels { labels }),
    }
}

/// Returns the system message that all conversations begin with, if they share one.
fn shared_instructions(rows: &[DecoderRow]) -> Option<String> {
    let system = |row: &DecoderRow| {
        let first = match &row.content {
            RowContent::Conversation { messages, .. } => messages.first(),
            RowContent::Pair { prompt, .. } => prompt.first(),
            RowContent::Question { .. } => None,
        }?;
        let text = first["content"].as_str().filter(|text| first["role"] == "system" && !text.is_empty());
        text.map(str::to_owned)
    };
    let first = system(rows.first()?)?;
    rows.iter().all(|row| system(row).as_ref() == Some(&first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::{Method, TrainingPlan};
    use crate::request::{StudentKind, TrainingRequest};

    fn exchange(
        rows: Vec<RowContent>,
        change: impl FnOnce(&mut TrainingRequest),
    ) -> Result<Exchange, TrainError> {
        let mut request = TrainingRequest::new(StudentKind::Decoder, "x.student");
        change(&mut request);
        let Method::Decoder(plan) = TrainingPlan::new(request).unwrap().method else {
            unreachable!("it is a decoder")
        };
        let rows: Vec<DecoderRow> = rows.into_iter().map(|content| DecoderRow { line: 1, content }).collect();
        Exchange::of(&plan, &rows)
    }

    fn question(answer: &str, is_label: bool) -> RowContent {
        RowContent::Question { text: "a".into(), answer: answer.into(), is_label }
    }

    #[test]
    fn rows_of_labels_make_a_classifier_and_others_a_writer() {
        let labelled = exchange(vec![question("b", true), question("a", true)], |_| {}).unwrap();
        assert_eq!(labelled.form, StudentAnswerForm::Labels(vec!["a".into(), "b".into()]));
        assert_eq!(labelled.instructions, "Answer with the label.");
        let written = exchange(vec![question("b", true), question("a", false)], |_| {}).unwrap();
        assert_eq!((written.form, &*written.instructions), (StudentAnswerForm::Text, "Answer."));
        let schema = json!({ "type": "object", "properties": {} });
        let shaped =
            exchange(vec![question("b", true)], |request| request.schema = Some(schema.clone())).unwrap();
        assert_eq!(shaped.schema(), Some(&schema));
        assert!(matches!(exchange(vec![question("b", true)], |_| {}), Err(TrainError::Labels { labels: 1 })));
    }

    #[test]
    fn the_system_message_that_conversations_share_becomes_the_student_s() {
        let talk = |system: &str| RowContent::Conversation {
            messages: vec![json!({ "role": "system", "content": system })],
            tools: Vec::new(),
        };
        let of = |rows, change: fn(&mut TrainingRequest)| exchange(rows, change).unwrap().instructions;
        assert_eq!(of(vec![talk("Be short."), talk("Be short.")], |_| {}), "Be short.");
        assert_eq!(of(vec![talk("Be short."), talk("Be long.")], |_| {}), "Answer.");
        let said = |request: &mut TrainingRequest| request.instructions = Some("Say.".to_owned());
        assert_eq!(of(vec![talk("Be short.")], said), "Say.");
    }

    #[test]
    fn answers_and_preferences_are_not_mixed() {
        let pair = RowContent::Pair { prompt: Vec::new(), chosen: Vec::new(), rejected: Vec::new() };
        assert!(matches!(exchange(vec![question("b", false), pair], |_| {}), Err(TrainError::MixedRows)));
    }
}
