//! Rows that a student answers outside a gateway.

use std::path::Path;

use bantam_backend::BackendError;
use bantam_deploy::{ModelMemory, StudentError, decoder_hash, load_student, open_decoder, read_decoder};
use bantam_local::{DecoderStudentFile, StudentAnswerForm};
use bantam_student::{
    Bases, ReadExamplesError, Scratch, Student, StudentDescription, Tagger, read_slot_texts, read_texts,
};
use futures_util::StreamExt as _;
use serde::Serialize;
use serde_json::Value;

/// Rows that are asked at a time, so that they run in one batch.
const ROWS_AT_A_TIME: usize = 8;

/// A student's answer to a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum PredictedRow {
    /// Of a classifier.
    Label {
        /// The most probable label.
        label: String,
        /// The probability that it is right.
        probability: f64,
        /// Whether the text seems to belong to none of the labels.
        out_of_scope: bool,
    },
    /// Of a tagger.
    Slots {
        /// The values of each slot.
        slots: serde_json::Map<String, Value>,
        /// The values in the text's order, with their places.
        fields: Vec<PredictedField>,
        /// The probability that exactly these values are right.
        confidence: f64,
    },
    /// Of a decoder.
    Answer {
        /// What it wrote: JSON where its schema asks for that, text otherwise.
        answer: Value,
        /// How sure it is; 0 where the answer is not in its form.
        confidence: f64,
    },
}

/// A value that a tagger found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PredictedField {
    /// The slot that it fills.
    pub name: String,
    /// The value, copied from the text.
    pub value: String,
    /// Its first byte in the text.
    pub start: usize,
    /// The byte after its last one.
    pub end: usize,
    /// The probability that exactly these words are a value of this slot.
    pub confidence: f64,
}

/// Why rows were not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictRowsError {
    /// The student cannot be used.
    #[error("cannot use the student")]
    Student(#[from] StudentError),
    /// The rows cannot be read.
    #[error("cannot use the rows")]
    Rows(#[from] ReadExamplesError),
    /// The student gave no answer.
    #[error("cannot answer row {row}")]
    NoAnswer {
        /// The row, from 1.
        row: usize,
        /// Why.
        #[source]
        source: BackendError,
    },
}

impl PredictRowsError {
    /// Returns what to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Student(error) => error.hint(),
            Self::Rows(error) => error.kind.hint().to_owned(),
            Self::NoAnswer { .. } => {
                "shorten the text: prompt and answer must fit the model's context".to_owned()
            }
        }
    }
}

/// Answers the rows of a file with a student, and tells each answer as it comes. The student's base is `base`, or where
/// training found it.
///
/// # Errors
/// When the student or the rows cannot be used, or a decoder fails.
pub async fn predict_rows(
    student: &Path,
    base: Option<&Path>,
    rows: &Path,
    tell: &mut dyn FnMut(PredictedRow),
) -> Result<(), PredictRowsError> {
    if DecoderStudentFile::is_at(student) {
        return decoder((student, base), rows, tell).await;
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let bases = Bases::new(cores);
    match Student::read_description(student) {
        Ok((StudentDescription::Tagger(_) | StudentDescription::LinearTagger(_), _)) => {
            let tagger = Tagger::load(student, base, &bases).map_err(StudentError::from)?;
            tag(&tagger, rows, tell)
        }
        _ => classify(&load_student(student, base, &bases)?, rows, tell),
    }
}

fn classify(
    student: &Student,
    rows: &Path,
    tell: &mut dyn FnMut(PredictedRow),
) -> Result<(), PredictRowsError> {
    let mut scratch = Scratch::default();
    for text in read_texts(rows)? {
        let prediction = student.predict(&text, &mut scratch);
        tell(PredictedRow::Label {
            label: prediction.label.to_owned(),
            probability: prediction.probability.into(),
            out_of_scope: prediction.out_of_scope,
        });
    }
    Ok(())
}

fn tag(tagger: &Tagger, rows: &Path, tell: &mut dyn FnMut(PredictedRow)) -> Result<(), PredictRowsError> {
    let mut scratch = Scratch::default();
    for (text, context) in read_slot_texts(rows)? {
        let reading = tagger.read(&text, &context, &mut scratch);
        let mut slots = serde_json::Map::new();
        for field in &reading.fields {
            let values = slots.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
            values.as_array_mut().into_iter().for_each(|values| values.push(field.value.into()));
        }
        let fields = reading.fields.iter().map(|field| PredictedField {
            name: field.name.to_owned(),
            value: field.value.to_owned(),
            start: field.start,
            end: field.end,
            confidence: field.confidence.into(),
        });
        let (fields, confidence) = (fields.collect(), reading.confidence.into());
        tell(PredictedRow::Slots { slots, fields, confidence });
    }
    Ok(())
}

async fn decoder(
    (folder, base): (&Path, Option<&Path>),
    rows: &Path,
    tell: &mut dyn FnMut(PredictedRow),
) -> Result<(), PredictRowsError> {
    let (file, memory) = (read_decoder(folder)?, ModelMemory::with_threads(0));
    decoder_hash(&file, folder, base, &memory)?;
    let student = open_decoder("predict", (&file, folder), base, &memory)?;
    let texts = read_texts(rows)?;
    let asked = futures_util::stream::iter(texts.iter().map(|text| student.draft(text, None)));
    let mut answers = asked.buffered(ROWS_AT_A_TIME).enumerate();
    while let Some((at, draft)) = answers.next().await {
        let answer = draft.map_err(|source| PredictRowsError::NoAnswer { row: at + 1, source })?.answer;
        let parsed = match &file.answer {
            StudentAnswerForm::Schema(_) if answer.is_valid => serde_json::from_str(&answer.text).ok(),
            _ => None,
        };
        tell(PredictedRow::Answer {
            answer: parsed.unwrap_or_else(|| Value::from(&*answer.text)),
            confidence: if answer.is_valid { answer.probability.into() } else { 0.0 },
        });
    }
    Ok(())
}
