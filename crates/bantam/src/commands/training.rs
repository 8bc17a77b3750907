//! What `bantam student train` and `bantam train` share: from flags to a request, a bar while it runs, a report.

mod progress;
mod report;
mod request;

use std::path::Path;

use bantam_student::Example;
use bantam_teach::{
    PlanError, StudentKind, Surroundings, TrainError, TrainErrorKind, TrainingData, TrainingPlan,
    TrainingRequest, train as teach,
};
use bantam_types::{Cancel, TaskName};

use super::flags::{failure, in_flags};
use crate::deploy::{Memory, bases};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupts;
use crate::output;
use crate::settings::Globals;
use progress::Bar;
pub(super) use progress::{bar, step_text};
pub(super) use request::{request, task_facts};

/// Where a training's rows come from.
pub(super) enum Rows<'r> {
    /// A file.
    File(&'r Path),
    /// The recorded answers of a task.
    Recorded(&'r TaskName, Vec<Example>),
}

/// Trains a student and prints what came of it.
pub(super) fn train(request: TrainingRequest, rows: Rows<'_>, globals: &Globals) -> Result<(), Failure> {
    // A base that is not there is what is wrong first, whatever else is said of it.
    if let (StudentKind::Decoder, Some(base)) = (request.kind, &request.base)
        && !base.exists()
    {
        return Err(failed(&TrainError::NoBase { path: base.clone() }));
    }
    let takes_steps = request.takes_steps();
    let plan = TrainingPlan::new(request).map_err(|error| refused(&error))?;
    let (data, task) = match rows {
        Rows::File(path) => (TrainingData::File(path), None),
        Rows::Recorded(task, answers) => (TrainingData::Recorded(answers), Some(task)),
    };
    let cancel = Cancel::new();
    if takes_steps {
        cancel_on_interrupt(&cancel)?;
    }
    let memory = Memory::with_threads(1);
    let surroundings = Surroundings {
        bases: &bases(0),
        content_sha256: &|path| memory.content_hash(path),
        now: jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).datetime(),
    };
    let bar = Bar::new(globals);
    let trained = teach(&plan, data, surroundings, &mut |event| bar.show(&event), &cancel);
    bar.finish();
    match (trained, task) {
        (Ok(trained), _) => report::print(&trained.report, globals),
        (Err(TrainError::NoRecordedAnswers), Some(task)) => Err(nothing_recorded(task)),
        (Err(error), _) => Err(failed(&error)),
    }
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

/// Says why a request is no plan.
pub(crate) fn refused(error: &PlanError) -> Failure {
    Failure::new(Outcome::Usage, in_flags(&error.to_string())).hint(in_flags(&error.hint()))
}

fn nothing_recorded(task: &TaskName) -> Failure {
    Failure::new(Outcome::Failed, format!("the task `{task}` has no recorded answers to learn from")).hint(
        format!("set record = true in [tasks.{task}] and let requests come in, or train with --data FILE"),
    )
}

/// Listens for Ctrl-C on a thread of its own, since training waits for nothing.
fn cancel_on_interrupt(cancel: &Cancel) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::from_error("cannot listen for Ctrl-C", &error);
    let (cancel, runtime) = (cancel.clone(), super::runtime(1)?);
    let mut interrupts = runtime.block_on(async { Interrupts::listen() }).map_err(failed)?;
    let listen = move || {
        runtime.block_on(interrupts.next());
        cancel.cancel();
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen).map(drop).map_err(failed)
}

/// Says what is being trained, before anything is.
pub(super) fn announce(kind: StudentKind, task: &TaskName, globals: &Globals) {
    if globals.quiet {
        return;
    }
    let word = match kind {
        StudentKind::Linear => "a linear student",
        StudentKind::Encoder => "an encoder student",
        StudentKind::Tagger => "a tagger",
        StudentKind::Decoder => "a decoder",
    };
    output::note(format!("training {word} for {task}"));
}
