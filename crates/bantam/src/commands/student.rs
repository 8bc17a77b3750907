//! `bantam student`: train, predict, show.

mod predict;
mod show;

use super::named_task::{find_task, recorded};
use super::training::{Rows, request, task_facts, train as teach};
use crate::cli::StudentCommand;
use crate::cli::train::TrainStudentArgs;
use crate::failure::{Failure, Outcome};
use crate::settings::Globals;
use bantam_teach::Purpose;

pub(crate) fn run(command: StudentCommand, globals: &Globals) -> Result<(), Failure> {
    match command {
        StudentCommand::Train(args) => train(*args, globals),
        StudentCommand::Predict { student, input, base } => predict::run(&student, &input, base.as_deref()),
        StudentCommand::Show { student } => show::run(&student, globals),
    }
}

fn train(args: TrainStudentArgs, globals: &Globals) -> Result<(), Failure> {
    let no_place =
        || Failure::new(Outcome::Usage, "the task names no student file").hint("name one with --out FILE");
    let TrainStudentArgs { kind, data, task, out, out_of_scope_label, settings } = args;
    let Some(task) = task else {
        let data = data.ok_or_else(|| {
            Failure::new(Outcome::Usage, "there are no rows to learn from").hint("name a file with --data")
        })?;
        let mut request = request(kind.into(), out.ok_or_else(no_place)?, &settings, None)?;
        request.out_of_scope_label = out_of_scope_label;
        return teach(request, Rows::File(&data), globals);
    };
    let config = globals.load_before_training()?;
    let (name, task) = find_task(&config, &task)?;
    let out = out.or_else(|| task.student.clone()).ok_or_else(no_place)?;
    let mut request = request(kind.into(), out, &settings, Some(task_facts(task)?))?;
    request.out_of_scope_label = out_of_scope_label;
    let answers = recorded(&config.ledger.path, name, Purpose::Training)?;
    teach(request, Rows::Recorded(name, answers), globals)
}
