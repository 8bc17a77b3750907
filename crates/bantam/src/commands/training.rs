//! What `bantam student train` and `bantam train` share: from flags to a request, a job, a report.

use std::path::PathBuf;

use bantam_admin::{TrainingRows, train_job, train_student};
use bantam_deploy::read_schema;
use bantam_jobs::JobContext;
use bantam_student::Example;
use bantam_teach::{
    PlanError, StudentKind, TaskFacts, TrainError, TrainErrorKind, TrainReport, TrainingPlan, TrainingRequest,
};
use bantam_types::TaskName;

use super::flags::{failure, in_flags};
use super::job::{self, Foreground};
use crate::cli::train::TrainingArgs;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

/// Where a training's rows come from.
pub(super) enum Rows {
    /// A file.
    File(PathBuf),
    /// The recorded answers of a task.
    Recorded(TaskName, Vec<Example>),
}

/// Returns what flags ask for.
pub(super) fn request(
    kind: StudentKind,
    out: PathBuf,
    settings: &TrainingArgs,
    task: Option<TaskFacts>,
) -> Result<TrainingRequest, Failure> {
    let TrainingArgs { base, features, precision, seed, tune, decoder } = settings;
    Ok(TrainingRequest {
        task,
        base: base.clone(),
        features: *features,
        precision: *precision,
        seed: *seed,
        tune: tune.tune,
        epochs: tune.epochs,
        batch_rows: tune.batch,
        rate: tune.rate,
        head_rate: tune.head_rate,
        rank: tune.rank,
        dropout: tune.dropout,
        resume: tune.resume,
        checkpoint: tune.checkpoint.clone(),
        checkpoint_every: tune.checkpoint_every,
        log: tune.log.clone(),
        curve: tune.curve.clone(),
        tensorboard: tune.tensorboard.clone(),
        peft: tune.peft.clone(),
        instructions: decoder.instructions.clone(),
        schema: decoder.schema.as_deref().map(read_schema).transpose()?,
        size: decoder.size,
        merges: decoder.merges,
        base_form: decoder.base_form,
        held_out: decoder.held_out,
        patience: decoder.patience,
        tokens_max: decoder.tokens_max,
        samples: decoder.samples,
        beta: decoder.beta,
        lanes: decoder.lanes,
        ..TrainingRequest::new(kind, out)
    })
}

/// Trains a student as a job, and prints what came of it.
pub(super) fn train(request: TrainingRequest, rows: Rows, globals: &Globals) -> Result<(), Failure> {
    // A base that is not there is what is wrong first, whatever else is said of it.
    if let (StudentKind::Decoder, Some(base)) = (request.kind, &request.base)
        && !base.exists()
    {
        return Err(failed(&TrainError::NoBase { path: base.clone() }));
    }
    let (rows, data, task) = match rows {
        Rows::File(path) => (TrainingRows::File(path.clone()), Some(path), None),
        Rows::Recorded(task, answers) => (TrainingRows::Recorded(answers), None, Some(task)),
    };
    let foreground = Foreground {
        spec: train_job(&request, task.as_ref(), data.as_deref()),
        doing: ("training", request.out.display().to_string()),
        after_cancel: request
            .takes_steps()
            .then_some("train again with --resume: it goes on from its last checkpoint"),
        patience: None,
    };
    let plan = TrainingPlan::new(request).map_err(|error| refused(&error))?;
    let work = move |context: &JobContext| {
        train_student(&plan, rows, context).map_err(|error| match (&error, &task) {
            (TrainError::NoRecordedAnswers, Some(task)) => nothing_recorded(task),
            _ => failed(&error),
        })
    };
    print(&job::in_foreground(foreground, globals, work)?, globals)
}

/// Prints a report; asked to be quiet, the student and its hash alone.
fn print(report: &TrainReport, globals: &Globals) -> Result<(), Failure> {
    if globals.json {
        return output::json(report);
    }
    if !globals.quiet {
        report.summary().iter().for_each(output::line);
    }
    let (student, sha256) = report.student();
    output::line(format!("{}  sha256 {sha256}", student.display()));
    Ok(())
}

/// Says why a training gave no student.
pub(crate) fn failed(error: &TrainError) -> Failure {
    let outcome = match error.kind() {
        TrainErrorKind::Invalid => Outcome::Usage,
        TrainErrorKind::ModelMissing => Outcome::ModelMissing,
        TrainErrorKind::Stopped => Outcome::Interrupted,
        TrainErrorKind::Failed => Outcome::Failed,
    };
    failure(outcome, error, error.hint())
}

/// Says why a request cannot be planned.
pub(crate) fn refused(error: &PlanError) -> Failure {
    Failure::new(Outcome::Usage, in_flags(&error.to_string())).hint(in_flags(&error.hint()))
}

fn nothing_recorded(task: &TaskName) -> Failure {
    Failure::new(Outcome::Failed, format!("the task `{task}` has no recorded answers to learn from")).hint(
        format!("set record = true in [tasks.{task}] and let requests come in, or train with --data FILE"),
    )
}
