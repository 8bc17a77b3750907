//! `bantam train`: the student of a configured task, watched, and exported.

mod export;
mod watch;

use bantam_admin::task_facts;
use bantam_teach::{Purpose, StudentKind};

use super::named_task::{find_task, recorded};
use super::training::{Rows, request, train as teach};
use crate::cli::train::{TrainCommand, TrainSubcommand, TrainTaskArgs};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

pub(crate) fn run(command: TrainCommand, globals: &Globals) -> Result<(), Failure> {
    match command.command {
        Some(TrainSubcommand::Export(args)) => export::run(&args, globals),
        None => train(command.task, globals),
    }
}

fn train(args: TrainTaskArgs, globals: &Globals) -> Result<(), Failure> {
    let TrainTaskArgs { task, student, data, out, watch: is_watched, settings } = args;
    let config = globals.load()?;
    let (name, task) = find_task(&config, &task.unwrap_or_default())?;
    let out = out.or_else(|| task.student.clone()).ok_or_else(|| {
        Failure::new(Outcome::Usage, format!("the task `{name}` names no student"))
            .hint(format!("set student = \"{name}.student\" in [tasks.{name}], or name one with --out"))
    })?;
    let log = settings.tune.log.clone().unwrap_or_else(|| out.with_added_extension("log.jsonl"));
    if is_watched {
        return watch::follow(&log, globals);
    }
    let kind = student.unwrap_or_else(|| StudentKind::usual(task.kind, settings.base.as_deref()));
    let mut request = request(kind, out.clone(), &settings, Some(task_facts(task)?))?;
    // What is fitted in one go takes seconds, and nothing of it is written down.
    if request.takes_steps() {
        request.log = Some(log);
    }
    let rows = match &data {
        Some(data) => Rows::File(data.clone()),
        None => Rows::Recorded(name.clone(), recorded(&config.ledger.path, name, Purpose::Training)?),
    };
    if !globals.quiet {
        output::note(format!("training {} for {name}", kind.noun()));
    }
    teach(request, rows, globals)?;
    if !globals.json && !globals.quiet {
        let rows = if data.is_some() { " --data OTHER_ROWS.jsonl" } else { "" };
        output::line(format!("prove it: bantam certify {name} --error 0.02{rows}"));
        if task.student.as_ref() != Some(&out) {
            output::line(format!("serve it: student = \"{}\" in [tasks.{name}]", out.display()));
        }
    }
    Ok(())
}
