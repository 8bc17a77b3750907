//! Training and asking a tagger.

use std::path::Path;
use std::time::Instant;

use bantam_student::tagger::{
    LinearTagger, LinearTaggerConfig, TaggerProgress, TaggerReport, TrainTaggerError, train as train_linear,
};
use bantam_student::{FileHash, Scratch, SlotExample, Tagger, read_slot_examples, read_slot_texts};
use serde_json::{Value, json};

use super::{progress, tune};
use crate::cli::TrainArgs;
use crate::deploy::{bases, unusable};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

/// Trains a tagger: over the encoder that the command line names, or over words alone.
pub(super) fn train(args: &TrainArgs, globals: &Globals) -> Result<(), Failure> {
    let (Some(data), Some(out)) = (&args.data, &args.out) else {
        return Err(Failure::new(Outcome::Usage, "a tagger learns from a file of rows")
            .hint("name it with --data FILE.jsonl, and where to write the student with --out FILE"));
    };
    let rows = read_slots(data)?;
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
    tell_tagger(&student.describe().report, student.slots(), (out, hash, seconds), globals);
    Ok(())
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
pub(super) fn tell_tagger(
    report: &TaggerReport,
    slots: &[String],
    (out, hash, seconds): (&Path, FileHash, f64),
    globals: &Globals,
) {
    let certainty = report.certainty.as_ref();
    if globals.json {
        output::line(
            json!({
                "student": out, "sha256": hash.to_hex(), "rows": report.rows, "slots": slots,
                "values": report.values, "seconds": seconds, "held_out_rows": report.held_out_rows,
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
