//! `bantam certify`: from which confidence on a student may answer alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bantam_eval::{
    Claim, ExpectedAnswer, FieldCounts, ProofRow, ask_for_evidence, expected_answers, gather_evidence,
    gather_objects, prove, save_certificate, unseen, unseen_by,
};
use bantam_local::{DecoderStudent, DecoderStudentFile};
use bantam_route::{Certificate, Evidence};
use bantam_student::{
    Example, ExpectedRow, Student, TaggerBackend, answer_json, count_contexts, read_answers,
    read_expected_objects,
};
use bantam_types::TaskKind;
use serde_json::{Value, json};

use crate::cli::CertifyArgs;
use crate::deploy::{
    Here, Memory, bases, certificate_path, check_writer, decoder, deployment, load_student, tagger,
    task_decoder,
};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::{Globals, ProcessEnv};

use super::student::{find_task, progress, read_rows, recorded};

pub(crate) fn run(args: &CertifyArgs, globals: &Globals) -> Result<(), Failure> {
    // What the configuration warns of, a missing certificate above all, is what this command is about.
    let config = globals.quietly().load()?;
    let (name, task) = find_task(&config, &args.task)?;
    let truth = if args.data.is_some() { "labels" } else { "recorded answers" }.to_owned();
    let claim = Claim {
        task: name.clone(),
        error_max: args.error,
        confidence: args.confidence,
        truth,
        proved_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    };
    let allowed: Vec<Arc<str>> = task.labels.iter().map(|label| label.as_str().into()).collect();
    let decoder_folder = task.student.as_deref().filter(|path| DecoderStudentFile::is_at(path));
    let certificate = if let Some(folder) = decoder_folder {
        let rows = expected_rows(args, &config, name, globals)?;
        let memory = Memory::new(&config);
        let (_, local) = deployment(&config, &ProcessEnv, None, &memory)?;
        let (student, hash, file) = task_decoder(name, task, folder, (&memory, &local))?;
        let unseen = rows.iter().filter(|row| !file.seen.contains(&row.text)).cloned().collect();
        let rows = told_unseen(unseen, &rows, globals)?;
        let own: Vec<Arc<str>> = file.labels().iter().map(|label| label.as_str().into()).collect();
        let labels = if allowed.is_empty() { &own } else { &allowed };
        certify_decoder(&claim, (&student, &hash), &rows, labels, globals)?
    } else if let (Some(path), TaskKind::Extract) = (&task.student, task.kind) {
        let student = tagger(path, task, &bases(config.students.threads))?;
        let rows = objects(args, &config, name, &student, globals)?;
        certify_tagger(&claim, &student, &rows, globals)?
    } else if let Some(path) = &task.student {
        check_writer(name, task, path)?;
        let student = load_student(path, task.base.as_deref(), &bases(config.students.threads))?;
        let rows = match &args.data {
            Some(data) => read_rows(data)?,
            None => recorded(&config.ledger.path, name, true)?,
        };
        if let Some(data) = &args.data {
            tell_unread_contexts(data, globals)?;
        }
        let rows = told_unseen(unseen(&student, &rows), &rows, globals)?;
        certify(&claim, &student, &rows, &allowed)?
    } else if let Some(model) = &task.student_model {
        let rows = expected_rows(args, &config, name, globals)?;
        let memory = Memory::new(&config);
        let (_, local) = deployment(&config, &ProcessEnv, None, &memory)?;
        let (student, hash) = decoder(name, task, model, Here { memory: &memory, local: &local })?;
        certify_decoder(&claim, (&student, &hash), &rows, &allowed, globals)?
    } else {
        return Err(Failure::new(Outcome::Usage, format!("the task `{name}` has no student to certify"))
            .hint(format!(
                "train one (bantam student train) and set student in [tasks.{name}], or name a language \
                           model in student_model"
            )));
    };
    let out = args.out.clone().or_else(|| certificate_path(task));
    let out = out.ok_or_else(|| {
        Failure::new(Outcome::Usage, "there is nowhere to write the certificate")
            .hint("name a file with --out")
    })?;
    save_certificate(&certificate, &out)
        .map_err(|error| Failure::from_error(format!("cannot write {}", out.display()), &error))?;
    report(&certificate, globals);
    if !globals.json {
        output::line(format!("written to {}", out.display()));
    }
    Ok(())
}

/// Proves a claim, or fails with what is missing.
pub(crate) fn certify(
    claim: &Claim,
    student: &Student,
    rows: &[Example],
    labels: &[Arc<str>],
) -> Result<Certificate, Failure> {
    let own: Vec<Arc<str>> = student.labels().iter().map(|label| label.as_str().into()).collect();
    let allowed = if labels.is_empty() { &own } else { labels };
    let evidence = gather_evidence(student, rows, allowed);
    proved(claim, &student.hash().to_hex(), rows, &evidence)
}

/// The same for a tagger: an answer is right when all of its object is. Says how each field fares, proved or not.
fn certify_tagger(
    claim: &Claim,
    student: &TaggerBackend,
    rows: &[ExpectedAnswer],
    globals: &Globals,
) -> Result<Certificate, Failure> {
    let (certificate, Fared { fields, right }) = match prove_objects(claim, student, rows) {
        Ok((certificate, fared)) => (Ok(certificate), fared),
        Err((failure, fared)) => (Err(failure), fared),
    };
    if !globals.json {
        let mut lines = vec![["field", "values", "precision", "recall", "F1"].map(str::to_owned).to_vec()];
        lines.extend(fields.iter().map(|(name, counts)| {
            let percent = counts.scores().map(|share| format!("{:.1} %", 100.0 * share));
            [name.clone(), counts.wanted.to_string()].into_iter().chain(percent).collect()
        }));
        output::table(&lines).iter().for_each(output::line);
        output::line(format!("whole answers right: {right} of {}", rows.len()));
    }
    certificate
}

/// How a tagger fared on rows.
pub(crate) struct Fared {
    fields: BTreeMap<String, FieldCounts>,
    /// Whole answers that are right.
    right: usize,
}

/// Proves a claim of a tagger, or fails with what is missing; says how the student fared in both cases.
pub(crate) fn prove_objects(
    claim: &Claim,
    student: &TaggerBackend,
    rows: &[ExpectedAnswer],
) -> Result<(Certificate, Fared), (Failure, Fared)> {
    let (evidence, fields) = gather_objects(student, rows);
    let fared = Fared { fields, right: evidence.iter().filter(|row| row.correct).count() };
    match proved(claim, &student.fingerprint(), rows, &evidence) {
        Ok(certificate) => Ok((certificate, fared)),
        Err(failure) => Err((failure, fared)),
    }
}

/// Returns rows that a tagger has not seen, each with its context and the object that it should get.
fn objects(
    args: &CertifyArgs,
    config: &bantam_config::Config,
    task: &bantam_types::TaskName,
    student: &TaggerBackend,
    globals: &Globals,
) -> Result<Vec<ExpectedAnswer>, Failure> {
    let rows = match &args.data {
        Some(data) => read_objects(data)?,
        None => recorded(&config.ledger.path, task, true)?.into_iter().map(answer_row).collect(),
    };
    let tagger = student.tagger();
    let rows = expected_answers(rows, student.shape());
    let count = rows.iter().filter(|row| !row.context.trim().is_empty()).count() as u64;
    tell_contexts(count, tagger.reads_context(), globals);
    told_unseen(unseen_by(|text| tagger.has_seen(text), &rows), &rows, globals)
}

/// Says where rows and student differ in what was said before: no row may have what the student reads, and a student may
/// not read what rows have. Recorded answers have none.
fn tell_contexts(count: u64, reads_context: bool, globals: &Globals) {
    if globals.quiet {
        return;
    }
    match (count, reads_context) {
        (0, true) => output::note(
            "warning: the student reads what was said before a text, and no row has a context: what is proved holds for \
             requests with nothing before them",
        ),
        (0, false) | (_, true) => {}
        (1, false) => output::note("note: 1 row has a context, which this student does not read"),
        (_, false) => {
            output::note(format!("note: {count} rows have a context, which this student does not read"));
        }
    }
}

/// The same for a student that reads none, whose rows are read without what was said before.
fn tell_unread_contexts(data: &Path, globals: &Globals) -> Result<(), Failure> {
    let count = count_contexts(data).map_err(|error| Failure::from_error("cannot use the rows", &error))?;
    tell_contexts(count, false, globals);
    Ok(())
}

fn read_objects(path: &Path) -> Result<Vec<ExpectedRow>, Failure> {
    read_expected_objects(path).map_err(|error| {
        Failure::from_error("cannot use the rows", &error).hint(
            "a row is one line such as {\"text\": \"2 lamps\", \"slots\": {\"product\": [\"lamps\"]}}, or with the \
             whole answer under \"answer\"",
        )
    })
}

/// A recorded answer as a row. What was said before its text is not recorded.
pub(crate) fn answer_row(row: Example) -> ExpectedRow {
    let answer = answer_json(&row.label).unwrap_or(Value::String(row.label));
    ExpectedRow::Answer { text: row.text, context: String::new(), answer }
}

/// The same for a language model, which is asked row by row.
fn certify_decoder(
    claim: &Claim,
    (student, hash): (&DecoderStudent, &str),
    rows: &[Example],
    labels: &[Arc<str>],
    globals: &Globals,
) -> Result<Certificate, Failure> {
    let bar = progress(globals);
    bar.set_length(rows.len() as u64);
    let mut show = |done: usize| {
        bar.set_position(done as u64);
        bar.set_message(format!("{done} of {} rows answered", rows.len()));
    };
    let certificate = prove_texts(claim, (student, hash), rows, labels, &mut show);
    bar.finish_and_clear();
    certificate
}

/// Proves a claim of a language model, or fails with what is missing. `on_progress` hears how many rows are answered.
pub(crate) fn prove_texts(
    claim: &Claim,
    (student, hash): (&DecoderStudent, &str),
    rows: &[Example],
    labels: &[Arc<str>],
    on_progress: &mut dyn FnMut(usize),
) -> Result<Certificate, Failure> {
    let asked = ask_for_evidence(student, &claim.task, rows, labels, on_progress);
    let evidence = super::runtime(2)?.block_on(asked);
    let evidence = evidence.map_err(|error| Failure::from_error("cannot certify", &error))?;
    proved(claim, hash, rows, &evidence)
}

/// Returns rows of texts and answers to prove something on.
fn expected_rows(
    args: &CertifyArgs,
    config: &bantam_config::Config,
    task: &bantam_types::TaskName,
    globals: &Globals,
) -> Result<Vec<Example>, Failure> {
    let Some(data) = &args.data else { return recorded(&config.ledger.path, task, true) };
    let rows = read_answers(data).map_err(|error| {
        Failure::from_error("cannot use the rows", &error)
            .hint("a row is one line such as {\"text\": \"2 lamps\", \"answer\": {\"product\": \"lamp\", \"count\": 2}}")
    })?;
    tell_unread_contexts(data, globals)?;
    Ok(rows)
}

fn proved<R: ProofRow>(
    claim: &Claim,
    student_sha256: &str,
    rows: &[R],
    evidence: &[Evidence],
) -> Result<Certificate, Failure> {
    prove(claim, student_sha256, rows, evidence).map_err(|error| {
        let failure = Failure::new(Outcome::GateFailed, error.to_string());
        match error.missing {
            Some(missing) => failure.hint(format!("gather about {missing} more rows and certify again")),
            None => failure.hint("train on more rows, or allow more error"),
        }
    })
}

/// Leaves out rows that the student was trained on, and says so; without any others there is no proof.
fn told_unseen<R>(unseen: Vec<R>, rows: &[R], globals: &Globals) -> Result<Vec<R>, Failure> {
    let left_out = rows.len() - unseen.len();
    if unseen.is_empty() && left_out > 0 {
        return Err(Failure::new(Outcome::GateFailed, "the student was trained on all of these rows")
            .hint("a certificate must be proved on rows that the student has not seen"));
    }
    if left_out > 0 && !globals.quiet {
        output::note(format!(
            "warning: {left_out} of {} rows are left out: the student was trained on them",
            rows.len()
        ));
    }
    Ok(unseen)
}

fn report(certificate: &Certificate, globals: &Globals) {
    let coverage = certificate.accepted as f64 / certificate.rows.max(1) as f64;
    if globals.json {
        output::line(
            json!({
                "certified": true, "task": certificate.task, "threshold": certificate.threshold,
                "error_max": certificate.error_max, "confidence": certificate.confidence,
                "rows": certificate.rows, "accepted": certificate.accepted, "errors": certificate.errors,
                "coverage": coverage, "truth": certificate.truth,
            })
            .to_string(),
        );
        return;
    }
    output::line(format!(
        "certified: with {} % confidence at most {} % of accepted answers differ from the {}",
        100.0 * certificate.confidence,
        100.0 * certificate.error_max,
        certificate.truth
    ));
    output::line(format!(
        "threshold {:.4}: {} of {} rows accepted ({:.1} %), {} of these wrong",
        certificate.threshold,
        certificate.accepted,
        certificate.rows,
        100.0 * coverage,
        certificate.errors
    ));
    output::line("it holds for traffic like these rows, and is void for any other student");
}
