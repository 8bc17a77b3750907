//! `bantam student`: train, predict, show.

use std::path::Path;

use bantam_admin::{
    PredictRowsError, PredictedRow, ShowStudentError, predict_rows, show_student, task_facts,
};
use bantam_teach::Purpose;
use bantam_types::with_causes;

use super::flags::with_flags;
use super::named_task::{find_task, recorded};
use super::training::{Rows, request, train as teach};
use crate::cli::StudentCommand;
use crate::cli::train::TrainStudentArgs;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

pub(crate) fn run(command: StudentCommand, globals: &Globals) -> Result<(), Failure> {
    match command {
        StudentCommand::Train(args) => train(*args, globals),
        StudentCommand::Predict { student, input, base } => predict(&student, &input, base.as_deref()),
        StudentCommand::Show { student } => show(&student, globals),
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
        let mut request = request(kind, out.ok_or_else(no_place)?, &settings, None)?;
        request.out_of_scope_label = out_of_scope_label;
        return teach(request, Rows::File(data), globals);
    };
    let config = globals.load()?;
    let (name, task) = find_task(&config, &task)?;
    let out = out.or_else(|| task.student.clone()).ok_or_else(no_place)?;
    let mut request = request(kind, out, &settings, Some(task_facts(task)?))?;
    request.out_of_scope_label = out_of_scope_label;
    let answers = recorded(&config.ledger.path, name, Purpose::Training)?;
    teach(request, Rows::Recorded(name.clone(), answers), globals)
}

/// Prints a line of JSON for every row.
fn predict(student: &Path, input: &Path, base: Option<&Path>) -> Result<(), Failure> {
    let mut written = Ok(());
    let mut tell = |row: PredictedRow| {
        if written.is_ok() {
            written = output::json(&row);
        }
    };
    let predicted = super::runtime(2)?.block_on(predict_rows(student, base, input, &mut tell));
    predicted.map_err(|error| match error {
        PredictRowsError::Student(error) => with_flags(error.into()),
        other => Failure::new(Outcome::Failed, with_causes(&other)).hint(other.hint()),
    })?;
    written
}

/// Prints the description and the hash: as one document for machines, the hash on a line of its own for people.
fn show(student: &Path, globals: &Globals) -> Result<(), Failure> {
    let details = show_student(student).map_err(|error| match error {
        ShowStudentError::Student(error) => error.into(),
        other => Failure::new(Outcome::Failed, with_causes(&other)),
    })?;
    if globals.json {
        return output::json(&details);
    }
    output::line(format!("{:#}", serde_json::Value::from(details.description)));
    output::line(format!("sha256 {}", details.sha256));
    Ok(())
}
