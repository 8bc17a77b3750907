//! Training small language models for a task, asking and showing them.

mod artefact;
mod judge;
mod lesson;
pub(crate) mod rows;

use std::path::{Path, PathBuf};

use bantam_kernels::Pool;
use bantam_local::{DecoderStudentFile, StudentAnswerForm};
use bantam_student::read_texts;
use bantam_train::{Checkpoint, Control, Taught, TeachError, TeachEvent, forget};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::face::{Face, Records};
use crate::cli::{TrainArgs, TuneKind};
use crate::deploy::{Memory, decoder_hash, instructions, open_decoder, read_decoder, read_schema};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;
use artefact::{Made, Stage, make};
use lesson::{Lesson, Plan};
use rows::{Numbered, Row};

/// What a student without instructions is told.
const INSTRUCTIONS: &str = "Answer.";
/// Rows that are asked at a time, so that they run in one batch.
const AT_A_TIME: usize = 8;
/// Labels of a student at most.
const LABELS_MAX: usize = 4096;

/// What is known of the task that a decoder is trained for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub(super) instructions: Option<String>,
    pub(super) labels: Vec<String>,
    pub(super) schema: Option<PathBuf>,
    /// Whether answers are labels.
    pub(super) classifies: bool,
}

impl Subject {
    /// Returns what the configuration says of a task.
    pub(super) fn of_task(task: &bantam_config::Task) -> Self {
        let labels: Vec<std::sync::Arc<str>> =
            task.labels.iter().map(|label| label.as_str().into()).collect();
        Self {
            instructions: Some(instructions(task, &labels)),
            labels: task.labels.clone(),
            schema: task.schema.clone(),
            classifies: task.kind == bantam_types::TaskKind::Classify,
        }
    }
}

/// Trains a decoder on `rows` and writes it to `out`, shows how it goes and prints what came of it.
pub(super) fn train(
    args: &TrainArgs,
    subject: &Subject,
    (rows, out): (Vec<Numbered>, &Path),
    globals: &Globals,
) -> Result<(), Failure> {
    let training = Training::prepare(args, subject, (rows, out))?;
    let checkpoint = checkpoint_path(args, out);
    let tune = &args.tune;
    let records = Records {
        log: tune.log.as_deref(),
        curve: tune.curve.as_deref(),
        tensorboard: args.decoder.tensorboard.as_deref(),
        resume: tune.resume,
    };
    let mut face = Face::new(records, globals)?;
    let kept = Checkpoint { path: &checkpoint, resume: tune.resume, every: args.decoder.checkpoint_every };
    let taught = training.teach(Some(kept), &mut |event| face.hear(event));
    let (seconds, speed) = face.speed();
    let end = |face: &mut Face, outcome: &str| {
        face.write(&json!({"event": "end", "outcome": outcome}));
        face.finish()
    };
    let taught = match taught {
        Ok(taught) => taught,
        Err(error) => {
            end(&mut face, "failed")?;
            return Err(failed(&error));
        }
    };
    let student = training.make(taught);
    end(&mut face, if student.is_ok() { "done" } else { "failed" })?;
    let student = student?;
    forget(&checkpoint);
    tell(&student, out, (seconds, speed), globals)
}

/// Trains a decoder on `rows` and writes it to `out`; returns what it says of itself. Nothing is shown, and nothing kept
/// of a training that fails.
pub(crate) fn learn(
    args: &TrainArgs,
    subject: &Subject,
    (rows, out): (Vec<Numbered>, &Path),
) -> Result<DecoderStudentFile, Failure> {
    let training = Training::prepare(args, subject, (rows, out))?;
    let taught = training.teach(None, &mut |_| Control::Continue).map_err(|error| failed(&error))?;
    training.make(taught)
}

/// A training that is ready to begin.
struct Training<'t> {
    args: &'t TrainArgs,
    out: &'t Path,
    plan: Plan,
    answer: StudentAnswerForm,
    learnt: Vec<Numbered>,
    held_out: Vec<Numbered>,
    lesson: Lesson,
    stage: Stage,
    /// Of the base, where there is one.
    base_hash: String,
    pool: Pool,
}

impl<'t> Training<'t> {
    fn prepare(
        args: &'t TrainArgs,
        subject: &Subject,
        (rows, out): (Vec<Numbered>, &'t Path),
    ) -> Result<Self, Failure> {
        if args.tune.tune == Some(TuneKind::None) {
            return Err(Failure::new(Outcome::Usage, "a decoder is trained itself").hint("leave --tune out"));
        }
        let (plan, answer) = settle(args, subject, &rows)?;
        let (learnt, held_out) = rows::split(rows, args.decoder.held_out, args.seed)?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let pool = Pool::new(cores.min(usize::from(args.decoder.lanes)).max(1));
        let stage = Stage::new(out)?;
        let base_hash = match &args.base {
            Some(base) if base.exists() => Memory::with_threads(1)
                .content_hash(base)
                .map_err(|error| Failure::from_error(format!("cannot read {}", base.display()), &error))?,
            _ => String::new(),
        };
        let lesson = match &args.base {
            Some(base) => Lesson::over(args, &plan, (&learnt, &held_out), base, &pool)?,
            None => Lesson::from_nothing(args, &plan, (&learnt, &held_out), stage.folder())?,
        };
        Ok(Self { args, out, plan, answer, learnt, held_out, lesson, stage, base_hash, pool })
    }

    fn teach(
        &self,
        kept: Option<Checkpoint<'_>>,
        on_event: &mut dyn FnMut(TeachEvent) -> Control,
    ) -> Result<Taught, TeachError> {
        self.lesson.teach(&self.base_hash, kept, &self.pool, on_event)
    }

    /// Makes the student of what was learnt, and puts it in its place.
    fn make(self, mut taught: Taught) -> Result<DecoderStudentFile, Failure> {
        taught.held_out_loss = self.lesson.held_out_loss(&taught.parameters, &self.pool);
        let made = Made {
            args: self.args,
            plan: &self.plan,
            lesson: &self.lesson,
            taught: &taught,
            answer: &self.answer,
            learnt: &self.learnt,
            held_out: &self.held_out,
            out: self.out,
        };
        make(&made, self.stage, &self.pool)
    }
}

fn failed(error: &TeachError) -> Failure {
    let failure = Failure::from_error("cannot train the student", error).hint(error.hint());
    match error {
        TeachError::Stopped { .. } => failure.outcome(Outcome::Interrupted),
        _ => failure,
    }
}

/// Returns where the state of a training is kept.
fn checkpoint_path(args: &TrainArgs, out: &Path) -> PathBuf {
    args.tune.checkpoint.clone().unwrap_or_else(|| {
        let mut path = out.as_os_str().to_owned();
        path.push(".checkpoint");
        path.into()
    })
}

/// Settles what the student is asked and what its answers look like.
fn settle(
    args: &TrainArgs,
    subject: &Subject,
    rows: &[Numbered],
) -> Result<(Plan, StudentAnswerForm), Failure> {
    let is_pair = |row: &&Numbered| matches!(row.row, Row::Pair { .. });
    let pairs = rows.iter().filter(is_pair).count();
    if pairs > 0 && pairs < rows.len() {
        return Err(Failure::new(Outcome::Failed, "some rows are answers and some are preferences")
            .hint("train on the answers first, then on the preferences, each from a file of its own"));
    }
    let schema = args.decoder.schema.as_deref().or(subject.schema.as_deref()).map(read_schema).transpose()?;
    let labelled = rows.iter().all(|row| matches!(row.row, Row::Asked { is_label: true, .. }));
    let classifies = subject.classifies || (labelled && schema.is_none() && !rows.is_empty());
    let (answer, labels) = match (&schema, classifies) {
        (Some(_), true) => {
            return Err(Failure::new(Outcome::Usage, "answers are labels, and a schema is given")
                .hint("leave the schema out"));
        }
        (Some(schema), false) => (StudentAnswerForm::Schema(schema.clone()), Vec::new()),
        (None, true) => {
            let labels = labels(subject, rows)?;
            (StudentAnswerForm::Labels(labels.clone()), labels)
        }
        (None, false) => (StudentAnswerForm::Text, Vec::new()),
    };
    let own = args.decoder.instructions.clone().or_else(|| subject.instructions.clone());
    let of_labels = || (!labels.is_empty()).then(|| "Answer with the label.".to_owned());
    let instructions = own
        .or_else(|| shared_instructions(rows))
        .or_else(of_labels)
        .unwrap_or_else(|| INSTRUCTIONS.to_owned());
    let plan = Plan { instructions, schema, seed: args.seed, tokens_max: args.decoder.tokens_max as usize };
    Ok((plan, answer))
}

/// Returns the labels of a task, or those of its rows.
fn labels(subject: &Subject, rows: &[Numbered]) -> Result<Vec<String>, Failure> {
    let mut found: Vec<String> = rows
        .iter()
        .filter_map(|row| match &row.row {
            Row::Asked { answer, .. } => answer.as_str().map(str::to_owned),
            _ => None,
        })
        .collect();
    found.sort();
    found.dedup();
    if !subject.labels.is_empty() {
        let stranger = found.iter().find(|label| !subject.labels.contains(label));
        return match stranger {
            None => Ok(subject.labels.clone()),
            Some(stranger) => {
                Err(Failure::new(Outcome::Failed, format!("`{stranger}` is none of the task's labels"))
                    .hint("add it to the task's `labels`, or remove the rows"))
            }
        };
    }
    match found.len() {
        2..=LABELS_MAX => Ok(found),
        count => Err(Failure::new(Outcome::Failed, format!("the rows have {count} different labels"))
            .hint("a classifier tells 2 to 4,096 apart")),
    }
}

/// Returns the system message that all conversations begin with, if they share one.
fn shared_instructions(rows: &[Numbered]) -> Option<String> {
    let system = |row: &Numbered| {
        let first = match &row.row {
            Row::Talk { messages, .. } => messages.first(),
            Row::Pair { prompt, .. } => prompt.first(),
            Row::Asked { .. } => None,
        }?;
        first["content"]
            .as_str()
            .filter(|text| first["role"] == "system" && !text.is_empty())
            .map(str::to_owned)
    };
    let first = system(rows.first()?)?;
    rows.iter().all(|row| system(row).as_ref() == Some(&first)).then_some(first)
}

/// Prints what was learnt and how well.
fn tell(
    student: &DecoderStudentFile,
    out: &Path,
    (seconds, speed): (f64, f64),
    globals: &Globals,
) -> Result<(), Failure> {
    let report = &student.report;
    let sha256 = decoder_hash(student, out, None, &Memory::with_threads(1))?;
    if globals.json {
        let mut json = serde_json::to_value(report)
            .map_err(|error| Failure::from_error("cannot describe the student", &error))?;
        json["student"] = json!(out);
        json["sha256"] = sha256.into();
        json["seconds"] = seconds.into();
        json["tokens_per_second"] = speed.into();
        output::line(json.to_string());
        return Ok(());
    }
    output::line(format!(
        "trained {} numbers on {} rows, {} steps in {seconds:.1} s, {speed:.0} tokens/s",
        report.parameters, report.rows, report.steps
    ));
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let loss = report.held_out_loss.map_or_else(|| "none".to_owned(), |loss| format!("{loss:.3}"));
    output::line(format!("on {} rows held out: loss {loss}", report.held_out_rows));
    if let (Some(exact), Some(accepted)) = (report.exact_match, report.accepted_at_2_percent_error) {
        output::line(format!(
            "as served, {} of {} answered exactly, {} accepted at 2 % error",
            percent(exact),
            report.asked_rows,
            percent(accepted)
        ));
        if let Some(line) = ranking(student) {
            output::line(line);
        }
    }
    output::line(format!(
        "replayed through the engine: {} tokens, logits within {:.0e} of the largest",
        report.replayed_tokens, report.replay_difference
    ));
    output::line(format!("{}  sha256 {sha256}", out.display()));
    Ok(())
}

/// How well each way of telling how sure an answer is ranks those of the rows held out, and which one is served.
fn ranking(student: &DecoderStudentFile) -> Option<String> {
    let report = &student.report;
    let by_tokens = report.confidence_auc?;
    let mut line = format!("right answers are surer than wrong ones (AUC) {by_tokens:.3} by their tokens");
    let further = [
        (report.sampled_auc, "with answers drawn", student.samples > 0),
        (report.verified_auc, "by a verifier", student.verifier.is_some()),
    ];
    for (auc, how, is_kept) in further {
        if let Some(auc) = auc {
            let kept = if is_kept { ", kept" } else { "" };
            line.push_str(&format!("; {auc:.3} {how}{kept}"));
        }
    }
    Some(line)
}

/// Asks a student about texts, and prints one line for each.
pub(super) fn predict(folder: &Path, input: &Path, base: Option<&Path>) -> Result<(), Failure> {
    let file = read_decoder(folder)?;
    let memory = Memory::with_threads(0);
    decoder_hash(&file, folder, base, &memory)?;
    let student = open_decoder("predict", (&file, folder), base, &memory)?;
    let texts = read_texts(input).map_err(|error| {
        let hint = error.kind.hint();
        Failure::from_error("cannot use the rows", &error).hint(hint)
    })?;
    let asked = futures_util::stream::iter(texts.iter().map(|text| student.draft(text, None)));
    let mut answers = asked.buffered(AT_A_TIME);
    crate::commands::runtime(2)?.block_on(async {
        let mut row = 0;
        while let Some(answer) = answers.next().await {
            row += 1;
            let answer = answer.map_err(|error| {
                Failure::from_error(format!("cannot answer row {row}"), &error)
                    .hint("shorten the text: prompt and answer must fit the model's context")
            })?;
            let answer = answer.answer;
            let text: &str = &answer.text;
            let parsed = match &file.answer {
                StudentAnswerForm::Schema(_) if answer.is_valid => serde_json::from_str(text).ok(),
                _ => None,
            };
            let line = json!({
                "answer": parsed.unwrap_or_else(|| Value::from(text)),
                "confidence": if answer.is_valid { answer.probability } else { 0.0 },
            });
            output::line(line.to_string());
        }
        Ok(())
    })
}

/// Prints what a student says of itself.
pub(super) fn show(folder: &Path) -> Result<(), Failure> {
    let file = read_decoder(folder)?;
    let mut json = serde_json::to_value(&file)
        .map_err(|error| Failure::from_error("cannot describe the student", &error))?;
    // The hashes themselves say nothing to people.
    json["seen"] = file.seen.len().into();
    output::line(format!("{json:#}"));
    let sha256 = decoder_hash(&file, folder, None, &Memory::with_threads(1))?;
    output::line(format!("sha256 {sha256}"));
    Ok(())
}
