//! The rows of a plan: from a file, or from recorded answers.

use std::collections::HashMap;

use bantam_extract::Shape;
use bantam_student::{
    Example, ROWS_PER_LABEL_MIN, SlotExample, read_slot_examples, read_training_examples, slots_of_answer,
};

use super::course::Course;
use super::{TrainError, TrainingData};
use crate::decoder_rows::{DecoderRow, read_decoder_rows, rows_of_recorded};
use crate::event::{TrainingEvent, TrainingNotice};
use crate::plan::{DecoderPlan, TrainingPlan};

/// Returns texts with labels.
pub(super) fn labelled(data: TrainingData<'_>, course: &mut Course<'_>) -> Result<Vec<Example>, TrainError> {
    match data {
        TrainingData::File(path) => Ok(read_training_examples(path)?),
        TrainingData::Recorded(answers) => {
            let mut answers = some(answers)?;
            let before = answers.len();
            drop_rare_labels(&mut answers);
            if answers.len() < before {
                let left_out = (before - answers.len()) as u64;
                let notice = TrainingNotice::RareLabelsLeftOut { left_out, answers: before as u64 };
                course.tell(TrainingEvent::Notice(notice));
            }
            Ok(answers)
        }
    }
}

/// Returns texts with values.
pub(super) fn slots(
    plan: &TrainingPlan,
    data: TrainingData<'_>,
    course: &mut Course<'_>,
) -> Result<Vec<SlotExample>, TrainError> {
    match data {
        TrainingData::File(path) => Ok(read_slot_examples(path)?),
        TrainingData::Recorded(answers) => recorded_slots(plan, &some(answers)?, course),
    }
}

/// Returns texts with answers, conversations or preferences.
pub(super) fn of_decoder(
    settings: &DecoderPlan,
    data: TrainingData<'_>,
) -> Result<Vec<DecoderRow>, TrainError> {
    match data {
        TrainingData::File(path) => Ok(read_decoder_rows(path, settings.instructions.as_deref())?),
        TrainingData::Recorded(answers) => Ok(rows_of_recorded(&some(answers)?, settings.classifies)),
    }
}

fn some(answers: Vec<Example>) -> Result<Vec<Example>, TrainError> {
    if answers.is_empty() { Err(TrainError::NoRecordedAnswers) } else { Ok(answers) }
}

/// Leaves out answers that came too rarely to be learnt: the teacher may have said anything once.
fn drop_rare_labels(rows: &mut Vec<Example>) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for row in rows.iter() {
        *counts.entry(row.label.clone()).or_default() += 1;
    }
    rows.retain(|row| counts.get(&row.label).is_some_and(|count| *count >= ROWS_PER_LABEL_MIN));
}

/// Returns what recorded answers say of their texts; those that say what does not stand there teach nothing.
fn recorded_slots(
    plan: &TrainingPlan,
    answers: &[Example],
    course: &mut Course<'_>,
) -> Result<Vec<SlotExample>, TrainError> {
    let shape = match plan.task.as_ref().and_then(|task| task.schema.as_ref()) {
        Some(schema) => Shape::new(schema, &Shape::properties(schema))?,
        None => Shape::free(),
    };
    let rows = answers.iter().filter_map(|answer| slots_of_answer(&answer.text, &answer.label, &shape).ok());
    let rows: Vec<SlotExample> = rows.collect();
    if rows.len() < answers.len() {
        let left_out = (answers.len() - rows.len()) as u64;
        let notice = TrainingNotice::AnswersLeftOut { left_out, answers: answers.len() as u64 };
        course.tell(TrainingEvent::Notice(notice));
    }
    if rows.is_empty() { Err(TrainError::NoRecordedAnswers) } else { Ok(rows) }
}

#[cfg(test)]
mod tests {
    use bantam_types::Cancel;

    use super::*;
    use crate::plan::RecordPaths;
    use crate::request::{StudentKind, TrainingRequest};

    fn answer(text: &str, label: &str) -> Example {
        Example { text: text.to_owned(), label: label.to_owned() }
    }

    /// Returns what a plan for `kind` makes of recorded answers, and what it tells.
    fn read<T>(
        kind: StudentKind,
        answers: Vec<Example>,
        read: impl FnOnce(&TrainingPlan, TrainingData<'_>, &mut Course<'_>) -> Result<T, TrainError>,
    ) -> (Result<T, TrainError>, Vec<TrainingEvent>) {
        let plan = TrainingPlan::new(TrainingRequest::new(kind, "x.student")).unwrap();
        let (mut events, cancel) = (Vec::new(), Cancel::new());
        let mut observer = |event| events.push(event);
        let mut course = Course::begin(&RecordPaths::default(), &mut observer, &cancel).unwrap();
        let rows = read(&plan, TrainingData::Recorded(answers), &mut course);
        drop(course);
        (rows, events)
    }

    #[test]
    fn answers_that_teach_nothing_are_left_out_and_told() {
        let answers = vec![answer("a", "x"), answer("b", "x"), answer("c", "once")];
        let (rows, events) = read(StudentKind::Linear, answers, |_, data, course| labelled(data, course));
        let left_out = TrainingNotice::RareLabelsLeftOut { left_out: 1, answers: 3 };
        assert_eq!((rows.unwrap().len(), events), (2, vec![TrainingEvent::Notice(left_out)]));

        let objects =
            vec![answer("to Rome", r#"{"city": "Rome"}"#), answer("to Rome", r#"{"city": "Oslo"}"#)];
        let (rows, events) = read(StudentKind::Tagger, objects, slots);
        let left_out = TrainingNotice::AnswersLeftOut { left_out: 1, answers: 2 };
        assert_eq!((rows.unwrap().len(), events), (1, vec![TrainingEvent::Notice(left_out)]));

        let (rows, _) = read(StudentKind::Tagger, Vec::new(), slots);
        assert!(matches!(rows, Err(TrainError::NoRecordedAnswers)));
    }
}
