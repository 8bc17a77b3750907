//! `bantam certify`: from which confidence on a student may answer alone.

use std::path::Path;
use std::sync::Arc;

use bantam_config::{Config, Task};
use bantam_eval::Claim;
use bantam_local::DecoderStudentFile;
use bantam_teach::{
    Candidate, Certification, CertificationReport, CertifyError, CertifyEvent, CertifyNotice, EvidenceSource,
    Purpose, certify, check_file,
};
use bantam_types::{Cancel, TaskKind, TaskName};

use super::flags::failure;
use super::named_task::{find_task, recorded};
use super::training::bar;
use crate::cli::CertifyArgs;
use crate::deploy::{
    Here, Memory, bases, certificate_path, check_writer, decoder, deployment, load_student, tagger,
    task_decoder,
};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::{Globals, ProcessEnv};

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
    let certifying = Certifying { args, config: &config, name, task, out: &out, globals };
    let report = certifying.certify()?;
    print(&report, &out, globals)
}

/// What is certified, and how it was asked for.
struct Certifying<'c> {
    args: &'c CertifyArgs,
    config: &'c Config,
    name: &'c TaskName,
    task: &'c Task,
    out: &'c Path,
    globals: &'c Globals,
}

impl Certifying<'_> {
    fn certify(&self) -> Result<CertificationReport, Failure> {
        let Self { config, name, task, .. } = self;
        let labels: Vec<Arc<str>> = task.labels.iter().map(|label| label.as_str().into()).collect();
        match (&task.student, &task.student_model) {
            (Some(folder), _) if DecoderStudentFile::is_at(folder) => {
                let memory = Memory::new(config);
                let (_, local) = deployment(config, &ProcessEnv, None, &memory)?;
                let (student, sha256, file) = task_decoder(name, task, folder, (&memory, &local))?;
                let own: Vec<Arc<str>> = file.labels().iter().map(|label| label.as_str().into()).collect();
                let labels = if labels.is_empty() { &own } else { &labels };
                self.prove(Candidate::LanguageModel {
                    student: &student,
                    sha256: &sha256,
                    seen: Some(&file.seen),
                    labels,
                })
            }
            (Some(path), _) if task.kind == TaskKind::Extract => {
                self.prove(Candidate::Tagger(&tagger(path, task, &bases(config.students.threads))?))
            }
            (Some(path), _) => {
                check_writer(name, task, path)?;
                let student = load_student(path, task.base.as_deref(), &bases(config.students.threads))?;
                self.prove(Candidate::Classifier { student: &student, labels: &labels })
            }
            (None, Some(model)) => {
                let memory = Memory::new(config);
                let (_, local) = deployment(config, &ProcessEnv, None, &memory)?;
                let (student, sha256) = decoder(name, task, model, Here { memory: &memory, local: &local })?;
                let (student, sha256, labels) = (&student, &*sha256, &*labels);
                self.prove(Candidate::LanguageModel { student, sha256, seen: None, labels })
            }
            (None, None) => Err(Failure::new(Outcome::Usage, format!("the task `{name}` has no student"))),
        }
    }

    fn prove(&self, candidate: Candidate<'_>) -> Result<CertificationReport, Failure> {
        let Self { args, config, name, out, globals, .. } = self;
        let evidence = match &args.data {
            Some(data) => EvidenceSource::File(data),
            None => EvidenceSource::Recorded(recorded(&config.ledger.path, name, Purpose::Certification)?),
        };
        let truth = if args.data.is_some() { "labels" } else { "recorded answers" };
        let claim = claim((*name).clone(), (args.error, args.confidence), truth);
        let certification = Certification { claim, candidate, evidence, out: Some(out) };
        let bar = bar(globals, "certifying");
        let mut observer = |event: CertifyEvent| match event {
            CertifyEvent::Answering { done, rows } => {
                bar.set_length(rows);
                bar.set_position(done);
                bar.set_message(format!("{done} of {rows} rows answered"));
            }
            CertifyEvent::Notice(notice) if !globals.quiet => {
                bar.suspend(|| output::note(notice_text(notice)));
            }
            _ => {}
        };
        let report = certify(certification, &mut observer, &Cancel::new());
        bar.finish_and_clear();
        report.map_err(|error| failed(&error))
    }
}

/// Returns a claim that is to be proved now.
pub(crate) fn claim(task: TaskName, (error_max, confidence): (f64, f64), truth: &str) -> Claim {
    let proved_at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    Claim { task, error_max, confidence, truth: truth.to_owned(), proved_at }
}

pub(crate) fn failed(error: &CertifyError) -> Failure {
    let outcome = match error {
        CertifyError::AllSeen => Outcome::GateFailed,
        CertifyError::Cancelled => Outcome::Interrupted,
        _ => Outcome::Failed,
    };
    failure(outcome, error, error.hint())
}

fn notice_text(notice: CertifyNotice) -> String {
    match notice {
        CertifyNotice::SeenRowsLeftOut { left_out, rows } => {
            format!("warning: {left_out} of {rows} rows are left out: the student was trained on them")
        }
        CertifyNotice::NoContexts => {
            "warning: the student reads what was said before a text, and no row has a context: what is proved holds for \
             requests with nothing before them"
                .to_owned()
        }
        CertifyNotice::UnreadContexts { rows: 1 } => {
            "note: 1 row has a context, which this student does not read".to_owned()
        }
        CertifyNotice::UnreadContexts { rows } => {
            format!("note: {rows} rows have a context, which this student does not read")
        }
        _ => "note: something happened that this program has no words for".to_owned(),
    }
}

/// Prints what came of it. A claim that is not proved is a failure, with its report for machines all the same.
fn print(report: &CertificationReport, out: &Path, globals: &Globals) -> Result<(), Failure> {
    if globals.json {
        let json = serde_json::to_string(report);
        output::line(json.map_err(|error| Failure::from_error("cannot write the report", &error))?);
    } else if !globals.quiet {
        fields(report).iter().for_each(output::line);
    }
    if let Some(refuted) = report.refuted() {
        let failure = Failure::new(Outcome::GateFailed, refuted.to_string());
        return Err(match report.missing_rows {
            Some(missing) => failure.hint(format!("gather about {missing} more rows and certify again")),
            None => failure.hint("train on more rows, or allow more error"),
        });
    }
    match (globals.json, globals.quiet) {
        (true, _) => {}
        (false, true) => output::line(out.display().to_string()),
        (false, false) => {
            proof(report).iter().for_each(output::line);
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

fn proof(report: &CertificationReport) -> Vec<String> {
    vec![
        format!(
            "certified: with {} % confidence at most {} % of accepted answers differ from the {}",
            100.0 * report.confidence,
            100.0 * report.error_max,
            report.truth
        ),
        format!(
            "threshold {:.4}: {} of {} rows accepted ({:.1} %), {} of these wrong",
            report.threshold.unwrap_or_default(),
            report.accepted,
            report.rows,
            100.0 * report.coverage,
            report.errors
        ),
        "it holds for traffic like these rows, and is void for any other student".to_owned(),
    ]
}
