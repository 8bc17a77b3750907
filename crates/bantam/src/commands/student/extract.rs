//! Training and asking a tagger.

use std::path::{Path, PathBuf};
use std::time::Instant;

use bantam_extract::Shape;
use bantam_student::tagger::{
    LinearTagger, LinearTaggerConfig, TaggerProgress, TrainTaggerError, train as train_linear,
};
use bantam_student::{
    Example, FileHash, Scratch, SlotExample, Tagger, read_slot_examples, read_slot_texts, slots_of_answer,
};
use bantam_types::TaskKind;
use serde_json::{Value, json};

use super::{find_task, progress, recorded, tune};
use crate::cli::TrainArgs;
use crate::deploy::{bases, shape, unusable};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

/// Trains a tagger: over the encoder that the command line names, or over words alone.
pub(super) fn train(args: &TrainArgs, globals: &Globals) -> Result<(), Failure> {
    let (rows, out) = match (&args.data, &args.task) {
        (Some(data), _) => (read_slots(data)?, args.out.clone()),
        (None, Some(task)) => {
            let (rows, student) = task_rows(task, globals)?;
            (rows, args.out.clone().or(student))
        }
        (None, None) => {
            return Err(Failure::new(Outcome::Usage, "there are no rows to learn from")
                .hint("name a file with --data"));
        }
    };
    let out = &out.ok_or_else(|| {
        Failure::new(Outcome::Usage, "the task names no student file").hint("name one with --out FILE")
    })?;
    if args.base.is_some() {
        return tune::tagger(args, &rows, out, globals);
    }
    check_without_base(args)?;
    let started = Instant::now();
    let bar = progress(globals);
    let trained = learn(&rows, args.seed, args.tune.epochs, &mut |progress| {
        bar.set_length(progress.passes as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(format!("{} of {} passes", progress.done, progress.passes));
    });
    bar.finish_and_clear();
    let student = trained.map_err(|error| cannot_learn(&error))?;
    let hash = student.save(out).map_err(|error| Failure::from_error("cannot save the student", &error))?;
    let seconds = started.elapsed().as_secs_f64();
    tell_tagger(&Tagger::Linear(student), (out, hash, seconds), globals);
    Ok(())
}

/// Returns a task's recorded answers as rows with slots, and the task's student.
fn task_rows(task: &str, globals: &Globals) -> Result<(Vec<SlotExample>, Option<PathBuf>), Failure> {
    let config = globals.load()?;
    let (name, task) = find_task(&config, task)?;
    if task.kind != TaskKind::Extract {
        return Err(Failure::new(
            Outcome::Usage,
            format!("the task `{name}` is `{}`, and a tagger extracts", task.kind),
        )
        .hint("leave --kind out, or change the task's `kind`"));
    }
    let answers = recorded(&config.ledger.path, name, false)?;
    let shape = task.schema.as_deref().map_or_else(|| Ok(Shape::free()), |schema| shape(schema, None))?;
    let (rows, left_out) = rows_of_answers(&answers, &shape);
    if left_out > 0 && !globals.quiet {
        output::note(format!(
            "warning: {left_out} of {} recorded answers are left out: they are no JSON object, or hold a value that does \
             not occur in its text",
            answers.len()
        ));
    }
    if rows.is_empty() {
        return Err(Failure::new(
            Outcome::Failed,
            format!("the task `{name}` has no recorded answers to learn from"),
        )
        .hint(format!(
            "set record = true in [tasks.{name}] and let requests come in, or train with --data FILE"
        )));
    }
    Ok((rows, task.student.clone()))
}

/// Returns what recorded answers say of their texts, and how many say what does not stand there.
pub(crate) fn rows_of_answers(answers: &[Example], shape: &Shape) -> (Vec<SlotExample>, usize) {
    let rows = answers.iter().filter_map(|row| slots_of_answer(&row.text, &row.label, shape).ok());
    let rows: Vec<SlotExample> = rows.collect();
    let left_out = answers.len() - rows.len();
    (rows, left_out)
}

/// Settings that change an encoder do nothing where there is none.
fn check_without_base(args: &TrainArgs) -> Result<(), Failure> {
    let tune = &args.tune;
    let named = [
        ("--tune", tune.tune.is_some()),
        ("--batch", tune.batch.is_some()),
        ("--rate", tune.rate.is_some()),
        ("--head-rate", tune.head_rate.is_some()),
        ("--rank", tune.rank.is_some()),
        ("--dropout", tune.dropout.is_some()),
        ("--resume", tune.resume),
        ("--checkpoint", tune.checkpoint.is_some()),
        ("--log", tune.log.is_some()),
        ("--curve", tune.curve.is_some()),
        ("--peft", tune.peft.is_some()),
    ];
    match named.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => {
            Err(Failure::new(Outcome::Usage, format!("{name} does nothing for a tagger without a base"))
                .hint("name an encoder's folder with --base, or leave it out"))
        }
        None => Ok(()),
    }
}

/// Learns a tagger over words.
pub(crate) fn learn(
    rows: &[SlotExample],
    seed: u64,
    passes: Option<u32>,
    on_progress: &mut dyn FnMut(TaggerProgress),
) -> Result<LinearTagger, TrainTaggerError> {
    let recommended = LinearTaggerConfig::recommended();
    let config = LinearTaggerConfig {
        seed,
        passes: passes.unwrap_or(recommended.passes),
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        ..recommended
    };
    train_linear(rows, &config, on_progress)
}

/// Says why nothing was learnt, and what to do.
pub(crate) fn cannot_learn(error: &TrainTaggerError) -> Failure {
    Failure::from_error("cannot train the student", error).hint(error.hint())
}

/// Reads rows with slots, or says which line is wrong.
pub(crate) fn read_slots(path: &Path) -> Result<Vec<SlotExample>, Failure> {
    read_slot_examples(path).map_err(|error| {
        let hint = error.kind.hint();
        Failure::from_error("cannot use the rows", &error).hint(hint)
    })
}

/// Prints what was learned and how well.
pub(super) fn tell_tagger(student: &Tagger, (out, hash, seconds): (&Path, FileHash, f64), globals: &Globals) {
    let (report, slots, certainty) = (student.report(), student.slots(), student.certainty());
    if globals.json {
        output::line(
            json!({
                "student": out, "sha256": hash.to_hex(), "rows": report.rows, "slots": slots,
                "values": report.values, "reads_context": student.reads_context(), "seconds": seconds,
                "held_out_rows": report.held_out_rows,
                "held_out_f1": report.held_out_f1, "held_out_precision": report.held_out_precision,
                "held_out_recall": report.held_out_recall,
                "held_out_exact": certainty.map(|certainty| certainty.held_out_exact),
                "held_out_auc": certainty.map(|certainty| certainty.held_out_auc),
                "held_out_accepted_at_2_percent_error":
                    certainty.map(|certainty| certainty.held_out_accepted_at_2_percent_error),
            })
            .to_string(),
        );
        return;
    }
    output::line(format!(
        "trained on {} rows, {} slots, {} values in {seconds:.1} s",
        report.rows,
        slots.len(),
        report.values
    ));
    if student.reads_context() {
        output::line("it reads the rows' context: in the gateway, what the assistant said last");
    }
    output::line(format!(
        "on {} held-out rows F1 {:.2} %, precision {:.2} %, recall {:.2} %",
        report.held_out_rows,
        100.0 * report.held_out_f1,
        100.0 * report.held_out_precision,
        100.0 * report.held_out_recall
    ));
    if let Some(certainty) = certainty {
        output::line(format!(
            "whole answers right {:.2} %, confidence ranks them with AUC {:.3}, accepted at 2 % error {:.1} %",
            100.0 * certainty.held_out_exact,
            certainty.held_out_auc,
            100.0 * certainty.held_out_accepted_at_2_percent_error
        ));
    }
    output::line(format!("{}  sha256 {}", out.display(), hash.to_hex()));
}

/// Asks a tagger about rows.
pub(super) fn predict(student: &Path, input: &Path, base: Option<&Path>) -> Result<(), Failure> {
    let student = Tagger::load(student, base, &bases(0)).map_err(|error| unusable(&error))?;
    let texts = read_slot_texts(input).map_err(|error| {
        let hint = error.kind.hint();
        Failure::from_error("cannot use the rows", &error).hint(hint)
    })?;
    let mut scratch = Scratch::default();
    for (text, context) in &texts {
        let reading = student.read(text, context, &mut scratch);
        let mut slots = serde_json::Map::new();
        for field in &reading.fields {
            let values = slots.entry(field.name).or_insert_with(|| json!([]));
            if let Some(values) = values.as_array_mut() {
                values.push(field.value.into());
            }
        }
        let fields: Vec<Value> = reading
            .fields
            .iter()
            .map(|field| {
                json!({
                    "name": field.name, "value": field.value, "start": field.start, "end": field.end,
                    "confidence": field.confidence,
                })
            })
            .collect();
        output::line(json!({"slots": slots, "fields": fields, "confidence": reading.confidence}).to_string());
    }
    Ok(())
}
