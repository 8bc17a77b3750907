//! `bantam certify`: from which confidence on a student may answer alone.

use std::path::Path;

use bantam_admin::{CertifyTaskError, TaskCertification, TaskEvidence, certify_job, certify_task};
use bantam_deploy::certificate_path;
use bantam_jobs::JobContext;
use bantam_teach::{CertificationReport, CertifyError, Purpose, check_file};
use bantam_types::with_causes;

pub(crate) use bantam_admin::claim;

use super::flags::failure;
use super::job::{self, Foreground};
use super::named_task::{find_task, recorded};
use crate::cli::CertifyArgs;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

pub(crate) fn run(args: &CertifyArgs, globals: &Globals) -> Result<(), Failure> {
    // What the configuration warns of, a missing certificate above all, is what this command is about.
    let config = globals.quietly().load()?;
    let (name, task) = find_task(&config, &args.task)?;
    if task.student.is_none() && task.student_model.is_none() {
        return Err(Failure::new(Outcome::Usage, format!("the task `{name}` has no student to certify")).hint(
            format!(
                "train one (bantam student train) and set student in [tasks.{name}], or name a language model in \
                 student_model"
            ),
        ));
    }
    let out = args.out.clone().or_else(|| certificate_path(task)).ok_or_else(|| {
        Failure::new(Outcome::Usage, "there is nowhere to write the certificate")
            .hint("name a file with --out")
    })?;
    // Before models are opened and hashed.
    check_file("out", "the certificate", &out).map_err(|error| failed(&error.into()))?;
    let evidence = match &args.data {
        Some(data) => TaskEvidence::File(data.clone()),
        None => TaskEvidence::Recorded(recorded(&config.ledger.path, name, Purpose::Certification)?),
    };
    let wanted =
        TaskCertification { error_max: args.error, confidence: args.confidence, evidence, out: out.clone() };
    let foreground = Foreground {
        spec: certify_job(name, &wanted),
        doing: ("certifying", format!("the student of {name}")),
        after_cancel: None,
        patience: None,
    };
    let (name, task) = (name.clone(), task.clone());
    let work = move |context: &JobContext| {
        certify_task(&config, (&name, &task), wanted, context).map_err(failed_task)
    };
    print(&job::in_foreground(foreground, globals, work)?, &out, globals)
}

fn failed_task(error: CertifyTaskError) -> Failure {
    match error {
        CertifyTaskError::Student(error) => error.into(),
        CertifyTaskError::Models(error) => error.into(),
        CertifyTaskError::Certify(error) => failed(&error),
        other => Failure::new(Outcome::Usage, with_causes(&other)),
    }
}

pub(crate) fn failed(error: &CertifyError) -> Failure {
    let outcome = match error {
        CertifyError::AllSeen => Outcome::GateFailed,
        CertifyError::Cancelled => Outcome::Interrupted,
        _ => Outcome::Failed,
    };
    failure(outcome, error, error.hint())
}

/// Prints what came of it. A claim that is not proved is a failure, with its report for machines all the same.
fn print(report: &CertificationReport, out: &Path, globals: &Globals) -> Result<(), Failure> {
    if globals.json {
        output::json(report)?;
    } else if !globals.quiet {
        fields(report).iter().for_each(output::line);
    }
    if let Some(refuted) = report.refuted() {
        return Err(Failure::new(Outcome::GateFailed, refuted.to_string()).hint(report.next_step()));
    }
    match (globals.json, globals.quiet) {
        (true, _) => {}
        (false, true) => output::line(out.display().to_string()),
        (false, false) => {
            report.proof().iter().for_each(output::line);
            output::line(format!("written to {}", out.display()));
        }
    }
    Ok(())
}

fn fields(report: &CertificationReport) -> Vec<String> {
    if report.fields.is_empty() {
        return Vec::new();
    }
    let mut rows = vec![["field", "values", "precision", "recall", "F1"].map(str::to_owned).to_vec()];
    rows.extend(report.fields.iter().map(|field| {
        let percent =
            [field.precision, field.recall, field.f1].map(|share| format!("{:.1} %", 100.0 * share));
        [field.field.clone(), field.values.to_string()].into_iter().chain(percent).collect()
    }));
    let mut lines = output::table(&rows);
    lines.push(format!("whole answers right: {} of {}", report.right, report.rows));
    lines
}
