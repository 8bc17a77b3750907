//! Classifiers: over n-grams, over an encoder, over an encoder that is changed.

use std::path::Path;

use bantam_engine::EncoderAdapter;
use bantam_student::encoder::{self, EncoderBase, EncoderProgress};
use bantam_student::linear::{self, Progress, TrainingReport};
use bantam_student::{BasePrecision, EncoderConfig, Example, LinearConfig, Student};
use bantam_train::{Control, ExportError, TuneError, TuneEvent, TuningJob, export_peft, tune_classifier};

use super::course::Course;
use super::{Surroundings, TrainError, Trained, TrainedStudent};
use crate::event::{HeldOutFigures, TrainingEvent};
use crate::plan::{TrainingPlan, TuningPlan};
use crate::relative::path_from;
use crate::report::TrainReport;

/// Threads that a classifier is fitted on, at most.
const FITTING_THREADS_MAX: usize = 256;

/// Fits a classifier over n-grams.
pub(super) fn linear(
    plan: &TrainingPlan,
    config: &LinearConfig,
    rows: &[Example],
    surroundings: Surroundings<'_>,
    course: &mut Course<'_>,
) -> Result<Trained, TrainError> {
    let threads = surroundings.bases.threads().clamp(1, FITTING_THREADS_MAX);
    let config = LinearConfig { threads, ..config.clone() };
    let cancel = course.cancel();
    let mut fitting = |progress: Progress| course.tell(fitted(progress));
    let (student, report) = linear::train_until(rows, &config, &mut fitting, &cancel)?;
    finish(plan, Student::Linear(student), &report, course)
}

/// Fits a classifier over the vectors of an encoder that stays as it is.
pub(super) fn encoder(
    (plan, folder, precision): (&TrainingPlan, &Path, BasePrecision),
    config: &EncoderConfig,
    rows: &[Example],
    surroundings: Surroundings<'_>,
    course: &mut Course<'_>,
) -> Result<Trained, TrainError> {
    let base = surroundings.bases.open(folder, precision)?;
    let path = path_from(&plan.out, folder);
    let cancel = course.cancel();
    let mut progress = |progress: EncoderProgress| {
        course.tell(match progress {
            EncoderProgress::Embedding { done, texts } => {
                TrainingEvent::Embedding { done: done as u64, texts: texts as u64 }
            }
            EncoderProgress::Fitting(progress) => fitted(progress),
        });
    };
    let (student, report) = encoder::train_until(rows, (&base, path), config, &mut progress, &cancel)?;
    finish(plan, Student::Encoder(student), &report, course)
}

/// Trains a classifier together with its encoder.
pub(super) fn tuned(
    plan: &TrainingPlan,
    tuning: &TuningPlan,
    rows: &[Example],
    surroundings: Surroundings<'_>,
    course: &mut Course<'_>,
) -> Result<Trained, TrainError> {
    let (student, report) = with_job(plan, tuning, surroundings, |job| {
        tune_classifier(rows, job, &mut |event| told(course, event))
    })?;
    let (adapter, base) = (student.adapter().cloned(), student.base().identity().name.clone());
    let trained = finish(plan, Student::Encoder(student), &report, course)?;
    export(tuning, adapter.as_ref(), &base)?;
    Ok(trained)
}

/// Writes the student, unless the training was asked to stop meanwhile.
fn finish(
    plan: &TrainingPlan,
    student: Student,
    report: &TrainingReport,
    course: &Course<'_>,
) -> Result<Trained, TrainError> {
    course.check()?;
    let hash = student.save(&plan.out)?;
    let report = TrainReport::of_classifier(&plan.out, (hash, course.seconds()), report);
    Ok(Trained { student: TrainedStudent::Classifier(Box::new(student)), report })
}

fn fitted(progress: Progress) -> TrainingEvent {
    TrainingEvent::Fitting {
        model: progress.model as u64,
        models: progress.models as u64,
        pass: progress.pass as u64,
        passes_max: progress.passes_max as u64,
        moved: f64::from(progress.moved),
    }
}

/// Calls `tune` with what the plan says. The base's weights are read once to name it.
pub(super) fn with_job<T>(
    plan: &TrainingPlan,
    tuning: &TuningPlan,
    surroundings: Surroundings<'_>,
    tune: impl FnOnce(&TuningJob<'_>) -> Result<T, TuneError>,
) -> Result<T, TrainError> {
    let identity = EncoderBase::identify(&tuning.base, tuning.config.precision)?;
    let job = TuningJob {
        folder: &tuning.base,
        identity: &identity,
        base_path: &path_from(&plan.out, &tuning.base),
        bases: surroundings.bases,
        config: &tuning.config,
        checkpoint: Some(tuning.checkpoint.for_trainer()),
    };
    Ok(tune(&job)?)
}

/// Tells of what happens while an encoder is changed.
pub(super) fn told(course: &mut Course<'_>, event: TuneEvent) -> Control {
    match event {
        TuneEvent::Step(run, step) => course.step(Some(run), &step),
        TuneEvent::HeldOut(run, epoch, right) => course.held_out(HeldOutFigures {
            run: Some(run),
            epoch,
            right: Some(right),
            ..HeldOutFigures::default()
        }),
        TuneEvent::Resumed(run, step) => {
            course.tell(TrainingEvent::Resumed { run: Some(run), step });
            course.control()
        }
        _ => course.control(),
    }
}

/// Writes the changes of an encoder in the form of PEFT, where the plan wants them.
pub(super) fn export(
    tuning: &TuningPlan,
    adapter: Option<&EncoderAdapter>,
    base: &str,
) -> Result<(), ExportError> {
    match (&tuning.peft, adapter) {
        (Some(folder), Some(adapter)) => export_peft(folder, adapter, base),
        _ => Ok(()),
    }
}
