//! `bantam train export`: a trained student in the forms that other programs read.

use bantam_admin::{ExportStudentError, export_student};
use bantam_teach::{ExportError, ExportReport, ExportRequest};
use bantam_types::with_causes;

use crate::cli::train::TrainExportArgs;
use crate::commands::flags::{failure, with_flags};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

pub(super) fn run(args: &TrainExportArgs, globals: &Globals) -> Result<(), Failure> {
    let request = ExportRequest { form: args.to, out: args.out.clone(), data: args.data.clone() };
    let report = export_student(&args.student, args.base.as_deref(), &request).map_err(failed)?;
    print(&report, globals)
}

fn failed(error: ExportStudentError) -> Failure {
    match error {
        ExportStudentError::Missing { .. } => {
            Failure::new(Outcome::ModelMissing, error.to_string()).hint("train one: bantam train TASK")
        }
        ExportStudentError::Student(error) => with_flags(error.into()),
        ExportStudentError::Export(error) => refused(&error),
        other => Failure::new(Outcome::Failed, with_causes(&other)),
    }
}

fn refused(error: &ExportError) -> Failure {
    let outcome = if error.is_invalid() { Outcome::Usage } else { Outcome::Failed };
    failure(outcome, error, error.hint())
}

fn print(report: &ExportReport, globals: &Globals) -> Result<(), Failure> {
    let shown = report.path.display();
    if globals.json {
        return output::json(report);
    }
    if globals.quiet {
        output::line(shown.to_string());
        return Ok(());
    }
    if let Some(rows) = &report.rows {
        output::note(format!("{} rows in {}", rows.count, rows.path.display()));
    }
    output::line(report.summary());
    Ok(())
}
