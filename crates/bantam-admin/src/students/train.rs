//! A student is trained, as a job.

use std::path::PathBuf;
use std::sync::Arc;

use bantam_config::Task;
use bantam_deploy::{FormError, ModelMemory, instructions, read_schema_unchecked};
use bantam_jobs::{JobContext, JobProgress};
use bantam_student::{Bases, Example};
use bantam_teach::{
    Progress, Surroundings, TaskFacts, TrainError, TrainErrorKind, TrainReport, TrainingData, TrainingEvent,
    TrainingPlan, train,
};
use bantam_types::with_causes;

use crate::progress::PacedProgress;

/// Rows to learn from.
#[derive(Clone, Debug)]
pub enum TrainingRows {
    /// A file.
    File(PathBuf),
    /// A task's recorded answers that may be learnt from.
    Recorded(Vec<Example>),
}

/// Returns what the configuration says about a task that a student is trained for.
///
/// # Errors
/// When the task's schema cannot be read.
pub fn task_facts(task: &Task) -> Result<TaskFacts, FormError> {
    let labels: Vec<Arc<str>> = task.labels.iter().map(|label| label.as_str().into()).collect();
    Ok(TaskFacts {
        kind: task.kind,
        labels: task.labels.clone(),
        instructions: Some(instructions(task, &labels)),
        schema: task.schema.as_deref().map(read_schema_unchecked).transpose()?,
    })
}

/// Trains a student and puts it in its place. Reports steps as progress, and what was left out as warnings.
///
/// # Errors
/// When there is no student. One that was stopped says as a note how far it came.
pub fn train_student(
    plan: &TrainingPlan,
    rows: TrainingRows,
    context: &JobContext,
) -> Result<TrainReport, TrainError> {
    let path;
    let data = match rows {
        TrainingRows::File(file) => {
            path = file;
            TrainingData::File(&path)
        }
        TrainingRows::Recorded(answers) => TrainingData::Recorded(answers),
    };
    let (memory, bases) = (ModelMemory::with_threads(1), Bases::new(cores()));
    let surroundings = Surroundings {
        bases: &bases,
        content_sha256: &|path| memory.content_hash(path),
        now: jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).datetime(),
    };
    let mut report = TrainingProgress { progress: PacedProgress::new(context), figures: Progress::default() };
    let mut observer = |event: TrainingEvent| report.hear(&event, context);
    let trained = train(plan, data, surroundings, &mut observer, &context.cancel_request());
    match trained {
        Ok(trained) => Ok(trained.report),
        Err(error) => {
            if error.kind() == TrainErrorKind::Stopped {
                context.note(with_causes(&error));
            }
            Err(error)
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What is told of a training's events.
struct TrainingProgress<'c> {
    progress: PacedProgress<'c>,
    figures: Progress,
}

impl TrainingProgress<'_> {
    fn hear(&mut self, event: &TrainingEvent, context: &JobContext) {
        self.figures.hear(event);
        let (done, total, unit, item) = match event {
            TrainingEvent::Embedding { done, texts } => {
                (*done, *texts, "texts", "read by the base".to_owned())
            }
            TrainingEvent::Fitting { model, models, pass, passes_max, moved } => {
                let done = model.saturating_sub(1) * passes_max + pass;
                let item = format!("model {model} of {models}, moved {moved:.4}");
                (done, models * passes_max, "passes", item)
            }
            TrainingEvent::Pass { done, passes } => (*done, *passes, "passes", String::new()),
            TrainingEvent::Step(step) => {
                // Both runs take about as long.
                let (before, runs) = match step.run {
                    None => (0, 1),
                    Some(bantam_teach::Phase::Measure) => (0, 2),
                    Some(bantam_teach::Phase::Final) => (1, 2),
                };
                let run = if runs == 2 { format!("run {} of 2, ", before + 1) } else { String::new() };
                let item = format!("{run}{}", self.figures.text().unwrap_or_default());
                (before * step.steps + step.step, runs * step.steps, "steps", item)
            }
            TrainingEvent::Judging { done, rows } => (*done, *rows, "rows held out", "answered".to_owned()),
            TrainingEvent::Notice(notice) => return context.warn(notice.to_string()),
            _ => return,
        };
        let item = Some(item).filter(|item| !item.is_empty());
        self.progress.tell(JobProgress { done, total: Some(total), skipped: 0, unit: unit.to_owned(), item });
    }
}
