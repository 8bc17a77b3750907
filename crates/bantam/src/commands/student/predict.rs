//! `bantam student predict`: a line of JSON for every row.

use std::path::Path;

use bantam_local::{DecoderStudentFile, StudentAnswerForm};
use bantam_student::{
    ReadExamplesError, Scratch, Student, StudentDescription, Tagger, read_slot_texts, read_texts,
};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::commands::flags::with_flags;
use crate::deploy::{Memory, bases, decoder_hash, load_student, open_decoder, read_decoder, unusable};
use crate::failure::Failure;
use crate::output;

/// Rows that are asked at a time, so that they run in one batch.
const ROWS_AT_A_TIME: usize = 8;

pub(super) fn run(student: &Path, input: &Path, base: Option<&Path>) -> Result<(), Failure> {
    if DecoderStudentFile::is_at(student) {
        return decoder(student, input, base);
    }
    let description = Student::read_description(student).map(|(description, _)| description);
    match description {
        Ok(StudentDescription::Tagger(_) | StudentDescription::LinearTagger(_)) => {
            tagger(student, input, base)
        }
        _ => classifier(student, input, base),
    }
}

fn unusable_rows(error: &ReadExamplesError) -> Failure {
    Failure::from_error("cannot use the rows", error).hint(error.kind.hint())
}

fn classifier(student: &Path, input: &Path, base: Option<&Path>) -> Result<(), Failure> {
    let student = load_student(student, base, &bases(0)).map_err(|error| with_flags(error.into()))?;
    let texts = read_texts(input).map_err(|error| unusable_rows(&error))?;
    let mut scratch = Scratch::default();
    for text in &texts {
        let prediction = student.predict(text, &mut scratch);
        let line = json!({
            "label": prediction.label, "probability": prediction.probability,
            "out_of_scope": prediction.out_of_scope,
        });
        output::line(line.to_string());
    }
    Ok(())
}

fn tagger(student: &Path, input: &Path, base: Option<&Path>) -> Result<(), Failure> {
    let student = Tagger::load(student, base, &bases(0)).map_err(|error| with_flags(unusable(&error)))?;
    let texts = read_slot_texts(input).map_err(|error| unusable_rows(&error))?;
    let mut scratch = Scratch::default();
    for (text, context) in &texts {
        let reading = student.read(text, context, &mut scratch);
        let mut slots = serde_json::Map::new();
        for field in &reading.fields {
            let values = slots.entry(field.name).or_insert_with(|| json!([]));
            values.as_array_mut().into_iter().for_each(|values| values.push(field.value.into()));
        }
        let field = |field: &bantam_student::Field<'_>| {
            json!({
                "name": field.name, "value": field.value, "start": field.start, "end": field.end,
                "confidence": field.confidence,
            })
        };
        let fields: Vec<Value> = reading.fields.iter().map(field).collect();
        output::line(json!({"slots": slots, "fields": fields, "confidence": reading.confidence}).to_string());
    }
    Ok(())
}

fn decoder(folder: &Path, input: &Path, base: Option<&Path>) -> Result<(), Failure> {
    let file = read_decoder(folder)?;
    let memory = Memory::with_threads(0);
    decoder_hash(&file, folder, base, &memory)?;
    let student = open_decoder("predict", (&file, folder), base, &memory)?;
    let texts = read_texts(input).map_err(|error| unusable_rows(&error))?;
    let asked = futures_util::stream::iter(texts.iter().map(|text| student.draft(text, None)));
    let mut answers = asked.buffered(ROWS_AT_A_TIME).enumerate();
    crate::commands::runtime(2)?.block_on(async {
        while let Some((row, answer)) = answers.next().await {
            let answer = answer.map_err(|error| {
                Failure::from_error(format!("cannot answer row {}", row + 1), &error)
                    .hint("shorten the text: prompt and answer must fit the model's context")
            })?;
            let answer = answer.answer;
            let text: &str = &answer.text;
            let parsed = match &file.answer {
                StudentAnswerForm::Schema(_) if answer.is_valid => serde_json::from_str(text).ok(),
                _ => None,
            };
            let line = json!({
                "answer": parsed.unwrap_or_else(|| Value::from(text)),
                "confidence": if answer.is_valid { answer.probability } else { 0.0 },
            });
            output::line(line.to_string());
        }
        Ok(())
    })
}
