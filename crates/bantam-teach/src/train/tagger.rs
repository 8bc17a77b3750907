//! Taggers: over words, or over an encoder that is changed.

use bantam_student::tagger::{LinearTaggerConfig, TaggerProgress, train_until};
use bantam_student::{SlotExample, Tagger};
use bantam_train::tune_tagger;

use super::classifier::{export, told, with_job};
use super::course::Course;
use super::{Surroundings, TrainError, Trained, TrainedStudent};
use crate::event::TrainingEvent;
use crate::plan::{TrainingPlan, TuningPlan};
use crate::report::TrainReport;

/// Fits a tagger over words.
pub(super) fn linear(
    plan: &TrainingPlan,
    config: &LinearTaggerConfig,
    rows: &[SlotExample],
    surroundings: Surroundings<'_>,
    course: &mut Course<'_>,
) -> Result<Trained, TrainError> {
    let config = LinearTaggerConfig { threads: surroundings.bases.threads(), ..config.clone() };
    let cancel = course.cancel();
    let mut passed = |progress: TaggerProgress| {
        course.tell(TrainingEvent::Pass { done: progress.done as u64, passes: progress.passes as u64 });
    };
    let student = train_until(rows, &config, &mut passed, &cancel)?;
    student.save(&plan.out)?;
    Ok(trained(plan, Tagger::Linear(student), course))
}

/// Trains a tagger together with its encoder.
pub(super) fn tuned(
    plan: &TrainingPlan,
    tuning: &TuningPlan,
    rows: &[SlotExample],
    surroundings: Surroundings<'_>,
    course: &mut Course<'_>,
) -> Result<Trained, TrainError> {
    let student =
        with_job(plan, tuning, surroundings, |job| tune_tagger(rows, job, &mut |event| told(course, event)))?;
    student.save(&plan.out)?;
    export(tuning, Some(student.adapter()), &student.describe().base.name)?;
    Ok(trained(plan, Tagger::Encoder(Box::new(student)), course))
}

fn trained(plan: &TrainingPlan, tagger: Tagger, course: &Course<'_>) -> Trained {
    let report = TrainReport::of_tagger(&plan.out, course.seconds(), &tagger);
    Trained { student: TrainedStudent::Tagger(tagger), report }
}
