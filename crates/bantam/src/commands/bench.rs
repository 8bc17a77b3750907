//! `bantam bench MODEL`: how fast a model runs on this machine, and how near to what the machine can do.

mod decoder;
mod encoder;
mod lengths;
mod mixed;
mod schema;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bantam_kernels::Pool;
use bantam_store::{Entry, Measurement, ModelName, Store};
use serde_json::{Map, Value, json};

use super::models;

use crate::cli::BenchArgs;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

/// Bytes that are read to learn the memory's bandwidth: many more than caches hold.
const READ_BYTES: usize = 256 << 20;
/// Labels that are scored; each is one token.
const LABELS: u32 = 8;

/// What one case took.
struct Case {
    name: String,
    /// What is timed, in words.
    about: &'static str,
    milliseconds: Vec<f64>,
    /// Tokens that one run handles.
    tokens: usize,
    /// What it is near to, of the machine's limits: a share from 0 to 1 and of what.
    share: Option<(f64, &'static str)>,
}

impl Case {
    /// Returns the nearest rank.
    fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.milliseconds.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    fn to_json(&self) -> Value {
        json!({
            "p50_ms": self.percentile(0.5), "p99_ms": self.percentile(0.99), "times": self.milliseconds.len(),
            "tokens_per_s": self.tokens as f64 / self.percentile(0.5) * 1e3,
            "share": self.share.map(|(share, of)| json!({ "of": of, "share": share })),
        })
    }
}

/// A machine's limits, as measured beside the cases.
pub(super) struct Limits {
    /// Operations a second.
    pub(super) int8: f64,
    /// Bytes a second.
    pub(super) read: f64,
}

impl Limits {
    pub(super) fn measure(pool: &Pool) -> Self {
        let bytes = vec![1_u8; READ_BYTES];
        let best = |measure: &dyn Fn() -> f64| (0..3).map(|_| measure()).fold(0.0, f64::max);
        Self {
            int8: best(&|| bantam_kernels::peak_int8(pool)),
            read: best(&|| bantam_kernels::peak_read(pool, &bytes)),
        }
    }
}

/// What was measured of a model.
struct Measured {
    kind: String,
    load: Duration,
    /// Megabytes that the process held with the model at work, where the system tells.
    resident_mb: Option<u64>,
    cases: Vec<Case>,
    /// How much longer a token takes under a schema.
    ratios: Vec<schema::Ratio>,
    /// Mixed load by numbers of adapters.
    mixed: Vec<mixed::Mixed>,
    /// What was measured otherwise than usual, or not at all, and why.
    notes: Vec<String>,
}

pub(crate) fn run(args: &BenchArgs, globals: &Globals) -> Result<(), Failure> {
    let stored = if args.model.exists() { None } else { Some(stored(&args.model, globals)?) };
    let path = stored.as_ref().map_or_else(|| args.model.clone(), |(_, entry)| entry.path.clone());
    let args = &BenchArgs { model: path, ..args.clone() };
    let threads = args
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let pool = Arc::new(Pool::new(threads));
    let limits = Limits::measure(&pool);
    let measured = if is_encoder(&args.model) {
        encoder::measure(args, &pool)?
    } else {
        decoder::measure(args, &pool, &limits, globals.quiet)?
    };
    if let Some((store, entry)) = &stored {
        record(store, entry, &measured, threads)?;
    }
    if globals.json {
        output::line(to_json(args, &pool, &measured, &limits).to_string());
    } else {
        show(args, &pool, &measured, &limits);
    }
    Ok(())
}

/// Returns the model of a name, where there is no file of it.
fn stored(name: &Path, globals: &Globals) -> Result<(Store, Entry), Failure> {
    let shown = name.to_string_lossy();
    // What no store can call a model can only have been meant as a path.
    if shown.parse::<ModelName>().is_err() || shown.ends_with(".gguf") {
        return Err(Failure::new(Outcome::ModelMissing, format!("there is no model at {shown}")).hint(
            "give a model of `bantam list`, a GGUF file, or a folder with config.json and model.safetensors",
        ));
    }
    let store = models::open(globals)?;
    let entry = models::resolve(&store, &shown)?;
    Ok((store, entry))
}

/// Keeps how fast a language model was, for `bantam doctor` and `bantam show`.
fn record(store: &Store, entry: &Entry, measured: &Measured, threads: usize) -> Result<(), Failure> {
    let speed = |name: &str| {
        let case = measured.cases.iter().find(|case| case.name.starts_with(name))?;
        Some(case.tokens as f64 / case.percentile(0.5) * 1e3)
    };
    let (Some(prefill), Some(decode)) = (speed("prefill-"), speed("decode-1")) else { return Ok(()) };
    let measurement = Measurement {
        at_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        threads,
        prefill_tokens_per_s: prefill,
        decode_tokens_per_s: decode,
        by: "bench".to_owned(),
    };
    store
        .record(entry, measurement)
        .map_err(|error| Failure::from_error("cannot keep the measurement", &error))
}

/// Returns whether a folder's configuration is that of an encoder.
fn is_encoder(model: &Path) -> bool {
    let config = std::fs::read(model.join("config.json")).unwrap_or_default();
    let config: Value = serde_json::from_slice(&config).unwrap_or_default();
    matches!(config["model_type"].as_str(), Some("bert" | "modernbert"))
}

/// Times `run` often: some runs to warm up, then `times` that count.
fn time(times: usize, mut run: impl FnMut() -> Result<(), Failure>) -> Result<Vec<f64>, Failure> {
    const WARM: usize = 2;
    let mut milliseconds = Vec::with_capacity(times);
    for round in 0..WARM + times {
        let begin = Instant::now();
        run()?;
        if round >= WARM {
            milliseconds.push(begin.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(milliseconds)
}

/// Tokens that stand for a text: the same work, whatever they are.
struct Tokens {
    state: u64,
    vocabulary: u64,
}

impl Tokens {
    fn new(vocabulary: usize) -> Self {
        Self::seeded(vocabulary, 0)
    }

    /// Returns tokens that differ from those of another seed.
    fn seeded(vocabulary: usize, seed: u64) -> Self {
        Self { state: 88_172_645_463_325_252 ^ seed, vocabulary: vocabulary as u64 }
    }

    fn take(&mut self, count: usize) -> Vec<u32> {
        let mut next = || {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            (self.state % self.vocabulary) as u32
        };
        (0..count).map(|_| next()).collect()
    }
}

fn to_json(args: &BenchArgs, pool: &Pool, measured: &Measured, limits: &Limits) -> Value {
    let cases: Map<String, Value> =
        measured.cases.iter().map(|case| (case.name.clone(), case.to_json())).collect();
    json!({
        "engine": "bantam", "version": env!("CARGO_PKG_VERSION"), "model": args.model, "kind": measured.kind,
        "threads": pool.threads(), "instructions": pool.isa().name(),
        "load_ms": measured.load.as_secs_f64() * 1e3, "resident_mb": measured.resident_mb,
        "int8_gops": limits.int8 / 1e9, "read_gb_s": limits.read / 1e9, "cases": cases,
        "schema": schema::to_json(&measured.ratios), "mixed": mixed::to_json(&measured.mixed),
        "notes": measured.notes,
    })
}

fn show(args: &BenchArgs, pool: &Pool, measured: &Measured, limits: &Limits) {
    output::line(format!("{}: {}", args.model.display(), measured.kind));
    output::line(format!(
        "{} threads with {}: {:.0} billion int8 operations/s and {:.1} GB/s at most, as measured now",
        pool.threads(),
        pool.isa().name(),
        limits.int8 / 1e9,
        limits.read / 1e9
    ));
    output::line(format!(
        "opened in {:.0} ms; {} MB resident\n",
        measured.load.as_secs_f64() * 1e3,
        measured.resident_mb.map_or_else(|| "?".to_owned(), |megabytes| megabytes.to_string())
    ));
    let heading = ["case", "p50 ms", "p99 ms", "tokens/s", "of the machine", "what is timed"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(measured.cases.iter().map(|case| {
        let share = case.share.map(|(share, of)| format!("{:.0} % of {of}", share * 100.0));
        vec![
            case.name.clone(),
            format!("{:.2}", case.percentile(0.5)),
            format!("{:.2}", case.percentile(0.99)),
            format!("{:.0}", case.tokens as f64 / case.percentile(0.5) * 1e3),
            share.unwrap_or_default(),
            case.about.to_owned(),
        ]
    }));
    output::table(&rows).iter().for_each(output::line);
    schema::show(&measured.ratios);
    mixed::show(&measured.mixed);
    measured.notes.iter().for_each(|note| output::line(format!("\n{note}")));
}

/// Returns the memory that this process holds, where the system tells.
fn resident_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let case = Case {
            name: "c".to_owned(),
            about: "",
            milliseconds: (1..=100).rev().map(f64::from).collect(),
            tokens: 10,
            share: None,
        };
        assert_eq!((case.percentile(0.5), case.percentile(0.99)), (50.0, 99.0));
        assert_eq!(case.to_json()["tokens_per_s"], 200.0);
    }

    #[test]
    fn tokens_are_within_the_vocabulary_and_differ() {
        let mut tokens = Tokens::new(10);
        let taken = tokens.take(1_000);
        assert!((0..10).all(|token| taken.contains(&token)) && taken.iter().all(|token| *token < 10));
    }
}
