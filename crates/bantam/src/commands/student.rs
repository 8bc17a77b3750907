//! `bantam student`: train, predict, show.

mod curve;
pub(crate) mod decoder;
pub(crate) mod extract;
pub(crate) mod face;
pub(crate) mod learn;
mod tune;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bantam_eval::reserved_for_certification;
use bantam_ledger::LedgerReader;
use bantam_local::DecoderStudentFile;
use bantam_student::encoder::EncoderProgress;
use bantam_student::linear::TrainingReport;
use bantam_student::{
    Example, FileHash, ROWS_PER_LABEL_MIN, Scratch, Student, StudentDescription, read_examples, read_texts,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::cli::{StudentCommand, StudentKind, TrainArgs, TuneKind};
use crate::deploy::{bases, load_student, unusable};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;
use learn::{Lesson, Wanted};

/// The share of a task's recorded answers that is kept for certification.
pub(crate) const RESERVED_SHARE: f64 = 0.25;

pub(crate) fn run(command: StudentCommand, globals: &Globals) -> Result<(), Failure> {
    match command {
        StudentCommand::Train(args) => train(&args, globals),
        StudentCommand::Predict { student, input, base } => predict(&student, &input, base.as_deref()),
        StudentCommand::Show { student } => show(&student),
    }
}

/// Reads labelled rows, or says which line is wrong.
pub(crate) fn read_rows(path: &Path) -> Result<Vec<Example>, Failure> {
    read_examples(path).map_err(|error| {
        let hint = error.kind.hint();
        Failure::from_error("cannot use the rows", &error).hint(hint)
    })
}

/// Returns a task's recorded answers: those to learn from, or those kept for certification.
pub(crate) fn recorded(
    ledger: &Path,
    task: &bantam_types::TaskName,
    reserved: bool,
) -> Result<Vec<Example>, Failure> {
    let reader = LedgerReader::open(ledger).map_err(|error| {
        Failure::from_error(format!("cannot read the ledger {}", ledger.display()), &error)
    })?;
    let mut rows = Vec::new();
    for example in reader.examples(task) {
        let example =
            example.map_err(|error| Failure::from_error("cannot read the recorded answers", &error))?;
        if reserved_for_certification(&example.text, RESERVED_SHARE) == reserved {
            rows.push(Example { text: example.text, label: example.answer });
        }
    }
    Ok(rows)
}

fn train(args: &TrainArgs, globals: &Globals) -> Result<(), Failure> {
    if args.kind == StudentKind::Tagger {
        return extract::train(args, globals);
    }
    if args.kind == StudentKind::Decoder {
        return train_decoder(args, globals);
    }
    let wanted = Wanted::of(args)?;
    let (mut rows, out) = match (&args.data, &args.task) {
        (Some(data), _) => (read_rows(data)?, args.out.clone()),
        (None, Some(task)) => {
            let (rows, student) = task_rows(task, globals)?;
            (rows, args.out.clone().or(student))
        }
        (None, None) => {
            return Err(Failure::new(Outcome::Usage, "there are no rows to learn from")
                .hint("name a file with --data"));
        }
    };
    let out = out.ok_or_else(|| {
        Failure::new(Outcome::Usage, "the task names no student file").hint("name one with --out FILE")
    })?;
    if args.task.is_some() {
        drop_rare_labels(&mut rows);
    }
    if args.tune.tune == Some(TuneKind::Lora) {
        return tune::classifier(args, &rows, &out, globals);
    }
    let lesson =
        Lesson { rows: &rows, out_of_scope_label: &args.out_of_scope_label, seed: args.seed, out: &out };
    let started = Instant::now();
    let bar = progress(globals);
    let trained = learn::learn(&lesson, &wanted, &bases(0), &mut |progress| show_progress(&bar, progress));
    bar.finish_and_clear();
    let (student, report) = trained?;
    let hash = student.save(&out).map_err(|error| Failure::from_error("cannot save the student", &error))?;
    let seconds = started.elapsed().as_secs_f64();
    tell(&out, &report, hash, seconds, globals);
    Ok(())
}

/// Trains a decoder on a file of rows, or on a task's recorded answers.
fn train_decoder(args: &TrainArgs, globals: &Globals) -> Result<(), Failure> {
    let (rows, subject, out) = match (&args.data, &args.task) {
        (Some(data), _) => {
            let rows = decoder::rows::read(data, args.decoder.instructions.as_deref())?;
            (rows, decoder::Subject::default(), args.out.clone())
        }
        (None, Some(task)) => {
            let config = globals.load_before_training()?;
            let (_, found) = find_task(&config, task)?;
            let (rows, student) = task_rows(task, globals)?;
            let subject = decoder::Subject::of_task(found);
            (decoder::rows::recorded(&rows, subject.classifies), subject, args.out.clone().or(student))
        }
        (None, None) => (Vec::new(), decoder::Subject::default(), args.out.clone()),
    };
    let out = out.ok_or_else(|| {
        Failure::new(Outcome::Usage, "the task names no student").hint("name one with --out NAME.student")
    })?;
    decoder::train(args, &subject, (rows, &out), globals)
}

/// Trains the student of a configured task, with all that the configuration says of it.
pub(crate) fn train_for(
    args: &TrainArgs,
    task: &bantam_config::Task,
    globals: &Globals,
) -> Result<(), Failure> {
    let (StudentKind::Decoder, Some(data), Some(out)) = (args.kind, &args.data, &args.out) else {
        return train(args, globals);
    };
    let subject = decoder::Subject::of_task(task);
    let rows = decoder::rows::read(data, subject.instructions.as_deref())?;
    decoder::train(args, &subject, (rows, out), globals)
}

/// Prints what was learned and how well.
fn tell(out: &Path, report: &TrainingReport, hash: FileHash, seconds: f64, globals: &Globals) {
    if globals.json {
        output::line(
            json!({
                "student": out, "sha256": hash.to_hex(), "rows": report.rows, "labels": report.labels,
                "features": report.features, "seconds": seconds,
                "held_out_accuracy": report.held_out_accuracy,
                "held_out_calibration_error": report.held_out_calibration_error,
            })
            .to_string(),
        );
    } else {
        output::line(format!(
            "trained on {} rows, {} labels, {} features in {seconds:.1} s",
            report.rows, report.labels, report.features
        ));
        output::line(format!(
            "cross-validated accuracy {:.2} %, calibration error {:.2} %, accepted at 2 % error {:.1} %",
            100.0 * report.held_out_accuracy,
            100.0 * report.held_out_calibration_error,
            100.0 * report.held_out_accepted_at_2_percent_error
        ));
        output::line(format!("{}  sha256 {}", out.display(), hash.to_hex()));
    }
}

fn show_progress(bar: &ProgressBar, progress: EncoderProgress) {
    match progress {
        EncoderProgress::Embedding { done, texts } => {
            bar.set_length(texts as u64);
            bar.set_position(done as u64);
            bar.set_message(format!("{done} of {texts} texts read by the base"));
        }
        EncoderProgress::Fitting(progress) => {
            bar.set_length((progress.models * progress.passes_max) as u64);
            bar.set_position(((progress.model - 1) * progress.passes_max + progress.pass) as u64);
            bar.set_message(format!(
                "model {} of {}, moved {:.4}",
                progress.model, progress.models, progress.moved
            ));
        }
    }
}

fn task_rows(task: &str, globals: &Globals) -> Result<(Vec<Example>, Option<PathBuf>), Failure> {
    let config = globals.load_before_training()?;
    let (name, task) = find_task(&config, task)?;
    let rows = recorded(&config.ledger.path, name, false)?;
    if rows.is_empty() {
        return Err(Failure::new(Outcome::Failed, format!("the task `{name}` has no recorded answers"))
            .hint(format!(
                "set record = true in [tasks.{name}] and let requests come in, or train with --data FILE"
            )));
    }
    Ok((rows, task.student.clone()))
}

/// Returns a configured task by name.
pub(crate) fn find_task<'c>(
    config: &'c bantam_config::Config,
    name: &str,
) -> Result<(&'c bantam_types::TaskName, &'c bantam_config::Task), Failure> {
    config.tasks.iter().find(|(known, _)| known.as_str() == name).ok_or_else(|| {
        let names: Vec<&str> = config.tasks.keys().map(bantam_types::TaskName::as_str).collect();
        let nearest = names.iter().max_by(|left, right| {
            strsim::jaro_winkler(name, left).total_cmp(&strsim::jaro_winkler(name, right))
        });
        let failure = Failure::new(Outcome::Usage, format!("there is no task `{name}` in the configuration"));
        match nearest {
            Some(nearest) => failure.hint(format!("the nearest is `{nearest}`; bantam task list shows all")),
            None => failure.hint("the configuration names no task; see bantam config example"),
        }
    })
}

/// Leaves out answers that came too rarely to be learnt: the teacher may have said anything once.
pub(crate) fn drop_rare_labels(rows: &mut Vec<Example>) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for row in rows.iter() {
        *counts.entry(row.label.clone()).or_default() += 1;
    }
    rows.retain(|row| counts.get(&row.label).is_some_and(|count| *count >= ROWS_PER_LABEL_MIN));
}

fn predict(student: &Path, input: &Path, base: Option<&Path>) -> Result<(), Failure> {
    if DecoderStudentFile::is_at(student) {
        return decoder::predict(student, input, base);
    }
    let description = Student::read_description(student).map(|(description, _)| description);
    if let Ok(StudentDescription::Tagger(_) | StudentDescription::LinearTagger(_)) = description {
        return extract::predict(student, input, base);
    }
    let student = load_student(student, base, &bases(0))?;
    let texts = read_texts(input).map_err(|error| {
        let hint = error.kind.hint();
        Failure::from_error("cannot use the rows", &error).hint(hint)
    })?;
    let mut scratch = Scratch::default();
    for text in &texts {
        let prediction = student.predict(text, &mut scratch);
        output::line(
            json!({
                "label": prediction.label,
                "probability": prediction.probability,
                "out_of_scope": prediction.out_of_scope,
            })
            .to_string(),
        );
    }
    Ok(())
}

fn show(path: &Path) -> Result<(), Failure> {
    if DecoderStudentFile::is_at(path) {
        return decoder::show(path);
    }
    let (description, hash) = Student::read_description(path).map_err(|error| unusable(&error))?;
    // Whether a student reads a context is said of the kind that can.
    let (json, seen, reads_context) = match &description {
        StudentDescription::Linear(description) => {
            (serde_json::to_value(description), &description.seen, None)
        }
        StudentDescription::Encoder(description) => {
            (serde_json::to_value(description), &description.seen, None)
        }
        StudentDescription::Tagger(description) => {
            (serde_json::to_value(description), &description.seen, Some(description.reads_context))
        }
        StudentDescription::LinearTagger(description) => {
            (serde_json::to_value(description), &description.seen, Some(description.reads_context))
        }
        _ => return Err(Failure::new(Outcome::Failed, "this kind of student is not known here")),
    };
    let mut json = json.map_err(|error| Failure::from_error("cannot describe the student", &error))?;
    // The hashes themselves say nothing to people.
    json["seen"] = seen.len().into();
    if let Some(reads_context) = reads_context {
        json["reads_context"] = reads_context.into();
    }
    output::line(format!("{json:#}"));
    output::line(format!("sha256 {}", hash.to_hex()));
    Ok(())
}

pub(super) fn progress(globals: &Globals) -> ProgressBar {
    if globals.quiet || globals.json || !output::is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("training {bar:32} {percent:>3} %  {msg}");
    ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
