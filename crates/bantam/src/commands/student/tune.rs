//! Training an encoder itself, for a classifier or a tagger.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use bantam_engine::EncoderAdapter;
use bantam_student::{EncoderConfig, Example, SlotExample, Student, Tagger};
use bantam_train::{
    Checkpoint, Control, Lesson, Phase, TuneConfig, TuneError, TuneEvent, export_peft, tune_classifier,
    tune_tagger,
};
use indicatif::ProgressBar;
use serde_json::json;

use super::curve::draw;
use super::extract::tell_tagger;
use super::face::{memory_mib, open_log};
use super::learn::{features, path_from, precision};
use super::{progress, tell};
use crate::cli::{TrainArgs, TuneKind};
use crate::deploy::bases;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

/// Steps between two writings of the state.
const CHECKPOINT_EVERY: u64 = 100;

/// Trains a classifier on an encoder that is changed for it.
pub(super) fn classifier(
    args: &TrainArgs,
    rows: &[Example],
    out: &Path,
    globals: &Globals,
) -> Result<(), Failure> {
    let mut config = TuneConfig::for_classifiers(precision(args));
    let student = EncoderConfig::recommended(features(args));
    let linear = bantam_student::LinearConfig {
        out_of_scope_label: args.out_of_scope_label.clone(),
        seed: args.seed,
        ..student.linear
    };
    config.student = EncoderConfig { linear, ..student };
    let started = Instant::now();
    let mut watch = Watch::new(args, globals)?;
    let (student, report) = with_lesson(args, config, out, |lesson| {
        tune_classifier(rows, lesson, &mut |event| watch.hear(event))
    })?;
    watch.finish(args)?;
    let student = Student::Encoder(student);
    let hash = student.save(out).map_err(|error| Failure::from_error("cannot save the student", &error))?;
    if let Student::Encoder(student) = &student {
        export(args, student.adapter(), &student.base().identity().name)?;
    }
    tell(out, &report, hash, started.elapsed().as_secs_f64(), globals);
    Ok(())
}

/// Trains a tagger over an encoder.
pub(super) fn tagger(
    args: &TrainArgs,
    rows: &[SlotExample],
    out: &Path,
    globals: &Globals,
) -> Result<(), Failure> {
    if args.tune.tune == Some(TuneKind::None) {
        return Err(Failure::new(Outcome::Usage, "a tagger changes its encoder").hint("leave --tune out"));
    }
    let mut config = TuneConfig::for_taggers(precision(args));
    config.student.features = features(args);
    let started = Instant::now();
    let mut watch = Watch::new(args, globals)?;
    let student =
        with_lesson(args, config, out, |lesson| tune_tagger(rows, lesson, &mut |event| watch.hear(event)))?;
    watch.finish(args)?;
    let hash = student.save(out).map_err(|error| Failure::from_error("cannot save the student", &error))?;
    export(args, Some(student.adapter()), &student.describe().base.name)?;
    let seconds = started.elapsed().as_secs_f64();
    tell_tagger(&Tagger::Encoder(Box::new(student)), (out, hash, seconds), globals);
    Ok(())
}

/// Calls `tune` with all that the command line says.
fn with_lesson<T>(
    args: &TrainArgs,
    mut config: TuneConfig,
    out: &Path,
    tune: impl FnOnce(&Lesson<'_>) -> Result<T, TuneError>,
) -> Result<T, Failure> {
    let Some(folder) = &args.base else {
        return Err(Failure::new(Outcome::Usage, "a student of this kind needs a base")
            .hint("name its folder with --base FOLDER"));
    };
    settle(&mut config, args);
    let beside = || {
        let mut path = out.as_os_str().to_owned();
        path.push(".checkpoint");
        PathBuf::from(path)
    };
    let checkpoint = args.tune.checkpoint.clone().unwrap_or_else(beside);
    let bases = bases(0);
    let lesson = Lesson {
        folder,
        base_path: &path_from(out, folder),
        bases: &bases,
        config: &config,
        checkpoint: Some(Checkpoint { path: &checkpoint, resume: args.tune.resume, every: CHECKPOINT_EVERY }),
    };
    tune(&lesson).map_err(|error| {
        let failure = Failure::from_error("cannot train the student", &error).hint(error.hint());
        match error {
            TuneError::Base(_) => failure.outcome(Outcome::ModelMissing),
            _ => failure,
        }
    })
}

/// Puts what the command line says in the place of what is recommended.
fn settle(config: &mut TuneConfig, args: &TrainArgs) {
    let tune = &args.tune;
    let run = &mut config.run;
    run.seed = args.seed;
    run.epochs = tune.epochs.unwrap_or(run.epochs);
    run.batch_rows = tune.batch.unwrap_or(run.batch_rows);
    run.rate = tune.rate.unwrap_or(run.rate);
    run.head_rate = tune.head_rate.unwrap_or(run.head_rate);
    if let Some(rank) = tune.rank {
        config.lora.rank = rank;
        config.lora.alpha = 2.0 * rank as f32;
    }
    config.lora.dropout = tune.dropout.unwrap_or(config.lora.dropout);
}

fn export(args: &TrainArgs, adapter: Option<&EncoderAdapter>, base: &str) -> Result<(), Failure> {
    match (&args.tune.peft, adapter) {
        (Some(folder), Some(adapter)) => export_peft(folder, adapter, base)
            .map_err(|error| Failure::from_error("cannot export the adapter", &error)),
        _ => Ok(()),
    }
}

/// What a person sees of a run, and what is kept of it.
struct Watch {
    bar: ProgressBar,
    log: Option<(PathBuf, BufWriter<File>)>,
    /// Losses of both runs.
    losses: [Vec<f64>; 2],
    begun: Instant,
    tokens: usize,
    steps: u64,
    held_out: Option<f64>,
    failed: Option<std::io::Error>,
}

impl Watch {
    fn new(args: &TrainArgs, globals: &Globals) -> Result<Self, Failure> {
        let open = |path: &PathBuf| {
            let opened = open_log(path, args.tune.resume);
            opened.map(|file| (path.clone(), BufWriter::new(file))).map_err(|error| {
                Failure::from_error(format!("cannot write the log {}", path.display()), &error)
            })
        };
        Ok(Self {
            bar: progress(globals),
            log: args.tune.log.as_ref().map(open).transpose()?,
            losses: [Vec::new(), Vec::new()],
            begun: Instant::now(),
            tokens: 0,
            steps: 0,
            held_out: None,
            failed: None,
        })
    }

    fn hear(&mut self, event: TuneEvent) -> Control {
        let line = match event {
            TuneEvent::Step(phase, step) => {
                self.tokens += step.tokens;
                self.steps += 1;
                let seconds = self.begun.elapsed().as_secs_f64();
                let speed = self.tokens as f64 / seconds.max(1e-9);
                self.losses[usize::from(phase == Phase::Final)].push(step.loss);
                self.show(phase, &step, seconds, speed);
                json!({
                    "event": "step", "run": phase, "step": step.step, "steps": step.steps, "epoch": step.epoch,
                    "loss": step.loss, "rate": step.rate, "gradient": step.gradient, "tokens": step.tokens,
                    "seconds": seconds, "tokens_per_second": speed,
                })
            }
            TuneEvent::HeldOut(phase, epoch, right) => {
                self.held_out = Some(right);
                json!({"event": "held_out", "run": phase, "epoch": epoch, "right": right})
            }
            TuneEvent::Resumed(phase, step) => json!({"event": "resumed", "run": phase, "step": step}),
            _ => return Control::Continue,
        };
        if let Some((_, log)) = &mut self.log
            && let Err(error) = writeln!(log, "{line}").and_then(|()| log.flush())
        {
            self.failed = Some(error);
            self.log = None;
        }
        Control::Continue
    }

    fn show(&self, phase: Phase, step: &bantam_train::Step, seconds: f64, speed: f64) {
        // Both runs take about as long.
        let (run, runs) = (u64::from(phase == Phase::Final), 2);
        self.bar.set_length(runs * step.steps);
        self.bar.set_position(run * step.steps + step.step);
        let rest = runs * step.steps - run * step.steps - step.step;
        let left = seconds / self.steps.max(1) as f64 * rest as f64;
        let held = self.held_out.map(|right| format!(", {:.1} % of held-out right", 100.0 * right));
        let memory = memory_mib().map(|mib| format!(", {mib} MiB")).unwrap_or_default();
        self.bar.set_message(format!(
            "run {} of {runs}, pass {}, loss {:.3}, {speed:.0} tokens/s, {:.0} min left{memory}{}",
            run + 1,
            step.epoch,
            step.loss,
            (left / 60.0).ceil(),
            held.unwrap_or_default()
        ));
    }

    fn finish(&mut self, args: &TrainArgs) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        if let Some(error) = self.failed.take() {
            output::note(format!("warning: the log is incomplete: {error}"));
        }
        let Some(path) = &args.tune.curve else { return Ok(()) };
        std::fs::write(path, draw(&self.losses, ["on a part of the rows", "on all rows"])).map_err(|error| {
            Failure::from_error(format!("cannot write the curve {}", path.display()), &error)
        })
    }
}
