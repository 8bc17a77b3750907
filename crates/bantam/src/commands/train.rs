//! `bantam train`: the student of a configured task, watched, and exported.

mod export;
mod recipe;
mod watch;

use std::path::PathBuf;

use bantam_student::is_encoder;
use bantam_types::TaskKind;

use super::student::{find_task, train_for};
use crate::cli::StudentKind;
use crate::cli::train::{TrainCommand, TrainSubcommand, TrainTaskArgs};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

pub(crate) fn run(command: TrainCommand, globals: &Globals) -> Result<(), Failure> {
    match command.command {
        Some(TrainSubcommand::Export(args)) => export::run(&args),
        None => train(command.task, globals),
    }
}

fn train(mut args: TrainTaskArgs, globals: &Globals) -> Result<(), Failure> {
    let wanted = args.task.clone().unwrap_or_default();
    let config = globals.load_before_training()?;
    let (name, task) = find_task(&config, &wanted)?;
    let out = args.out.clone().or_else(|| task.student.clone()).ok_or_else(|| {
        Failure::new(Outcome::Usage, format!("the task `{name}` names no student"))
            .hint(format!("set student = \"{name}.student\" in [tasks.{name}], or name one with --out"))
    })?;
    let log = args.tune.log.clone().unwrap_or_else(|| {
        let mut path = out.as_os_str().to_owned();
        path.push(".log.jsonl");
        PathBuf::from(path)
    });
    if args.watch {
        return watch::follow(&log, globals);
    }
    let kind = args.student.unwrap_or_else(|| kind_for(task.kind, &args));
    // Over n-grams and words alone it takes seconds, and nothing is written down.
    if kind == StudentKind::Decoder || args.base.is_some() {
        args.tune.log = Some(log);
    }
    if !globals.quiet {
        let word = match kind {
            StudentKind::Linear => "a linear student",
            StudentKind::Encoder => "an encoder student",
            StudentKind::Tagger => "a tagger",
            StudentKind::Decoder => "a decoder",
        };
        output::note(format!("training {word} for {name}"));
    }
    train_for(&args.as_train(kind, out.clone()), task, globals)?;
    if !globals.json {
        let rows = if args.data.is_some() { " --data OTHER_ROWS.jsonl" } else { "" };
        output::line(format!("prove it: bantam certify {name} --error 0.02{rows}"));
        if task.student.as_ref() != Some(&out) {
            output::line(format!("serve it: student = \"{}\" in [tasks.{name}]", out.display()));
        }
    }
    Ok(())
}

/// Chooses the kind of student by the task, and by what its base is.
fn kind_for(kind: TaskKind, args: &TrainTaskArgs) -> StudentKind {
    let on_encoder = args.base.as_deref().is_some_and(is_encoder);
    match (kind, &args.base) {
        (TaskKind::Classify, None) => StudentKind::Linear,
        (TaskKind::Classify, Some(_)) if on_encoder => StudentKind::Encoder,
        (TaskKind::Extract, None) => StudentKind::Tagger,
        (TaskKind::Extract, Some(_)) if on_encoder => StudentKind::Tagger,
        _ => StudentKind::Decoder,
    }
}
