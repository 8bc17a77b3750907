//! From a plan and rows to a student in its place.

mod classifier;
mod course;
mod decoder;
mod error;
mod rows;
mod tagger;

use std::path::Path;

use bantam_local::DecoderStudentFile;
use bantam_student::{Bases, Example, Student, Tagger};
use bantam_types::Cancel;
use jiff::civil::DateTime;

use crate::destination::{check_file, check_folder};
use crate::event::{TrainingEnd, TrainingEvent};
use crate::plan::{Method, TrainingPlan};
use crate::report::TrainReport;
use course::Course;
pub use error::{TrainError, TrainErrorKind};

/// What a training takes from the program that runs it.
#[derive(Clone, Copy)]
pub struct Surroundings<'s> {
    /// Where encoders are opened; trainings compute on as many threads.
    pub bases: &'s Bases,
    /// Returns the SHA-256 of a model's file or folder, as students name their bases by it. Asked once for a decoder's
    /// base and once for its weights.
    pub content_sha256: &'s dyn Fn(&Path) -> std::io::Result<String>,
    /// The date that chat templates may write.
    pub now: DateTime,
}

/// Where rows come from.
#[derive(Clone, Debug)]
pub enum TrainingData<'d> {
    /// A file of rows, one JSON object a line.
    File(&'d Path),
    /// A task's recorded answers that may be learnt from; see [`Purpose`](crate::Purpose).
    Recorded(Vec<Example>),
}

/// A student that was trained and written.
#[derive(Debug)]
pub struct Trained {
    /// The student.
    pub student: TrainedStudent,
    /// What its training came to.
    pub report: TrainReport,
}

/// A student as its training leaves it.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrainedStudent {
    /// A classifier, ready to be asked.
    Classifier(Box<Student>),
    /// A tagger, ready to be asked.
    Tagger(Tagger),
    /// What the file of a decoder says.
    Decoder(Box<DecoderStudentFile>),
}

/// Trains a student by a plan and puts it in its place: what is there before stays until all of the new one is there.
///
/// `observer` hears what happens. Work looks at `cancel` between two steps; what was learnt until then is in the
/// checkpoint, where the plan's kind has one.
///
/// # Errors
/// [`TrainError`]. Every place that is written to at the end is tried at the beginning.
pub fn train(
    plan: &TrainingPlan,
    data: TrainingData<'_>,
    surroundings: Surroundings<'_>,
    observer: &mut dyn FnMut(TrainingEvent),
    cancel: &Cancel,
) -> Result<Trained, TrainError> {
    check_destinations(plan)?;
    let mut course = Course::begin(&plan.records, observer, cancel)?;
    let trained = course.check().and_then(|()| run(plan, data, surroundings, &mut course));
    let outcome = match &trained {
        Ok(_) => TrainingEnd::Done,
        Err(error) if error.kind() == TrainErrorKind::Stopped => TrainingEnd::Stopped,
        Err(_) => TrainingEnd::Failed,
    };
    let ended = course.end(outcome);
    let trained = trained?;
    ended.map(|()| trained)
}

fn run(
    plan: &TrainingPlan,
    data: TrainingData<'_>,
    surroundings: Surroundings<'_>,
    course: &mut Course<'_>,
) -> Result<Trained, TrainError> {
    match &plan.method {
        Method::Linear(config) => {
            let rows = rows::labelled(data, course)?;
            classifier::linear(plan, config, &rows, surroundings, course)
        }
        Method::Encoder { base, precision, config } => {
            let rows = rows::labelled(data, course)?;
            classifier::encoder((plan, base, *precision), config, &rows, surroundings, course)
        }
        Method::TunedEncoder(tuning) => {
            let rows = rows::labelled(data, course)?;
            classifier::tuned(plan, tuning, &rows, surroundings, course)
        }
        Method::LinearTagger(config) => {
            let rows = rows::slots(plan, data, course)?;
            tagger::linear(plan, config, &rows, surroundings, course)
        }
        Method::EncoderTagger(tuning) => {
            let rows = rows::slots(plan, data, course)?;
            tagger::tuned(plan, tuning, &rows, surroundings, course)
        }
        Method::Decoder(settings) => {
            let rows = rows::of_decoder(settings, data)?;
            decoder::train((plan, settings), rows, surroundings, course)
        }
    }
}

fn check_destinations(plan: &TrainingPlan) -> Result<(), TrainError> {
    for (field, path) in plan.destinations() {
        match field {
            // A decoder's folder is staged beside its place before the training begins.
            "out" if matches!(plan.method, Method::Decoder(_)) => {}
            "peft" => check_folder(field, "the adapter", path)?,
            "out" => check_file(field, "the student", path)?,
            "checkpoint" => check_file(field, "the training checkpoint", path)?,
            "curve" => check_file(field, "the curve", path)?,
            // A log is opened, and locked, when the training begins.
            _ => {}
        }
    }
    Ok(())
}
