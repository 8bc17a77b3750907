//! What this machine can do, which models fit, and how fast they would run.

mod machine;

use std::path::PathBuf;

use bantam_kernels::Pool;
use bantam_measure::MachineLimits;
use bantam_store::{Entry, Measurement, ModelKind, Store};
use serde::Serialize;

use crate::models::ListModelsError;
use crate::text::{bytes_text, parameters_text};
use machine::Machine;

/// The share of the bandwidth that reading the weights for a next token reaches, and the share of the int8 peak that
/// prompts reach: what `bantam bench` measures of decoders (docs/measurements/engine.md).
const DECODE_SHARE: f64 = 0.8;
const PREFILL_SHARE: f64 = 0.25;
/// Tokens whose keys and values an estimate has room for.
const KV_TOKENS: f64 = 4_096.0;
/// Bytes that a process needs beside weights, keys and values: tokenizer, scratch, grammars.
const OTHER_BYTES: f64 = 150e6;
/// Models of usual sizes: parameters in billions, layers, numbers of keys and of values for a token and layer.
const SIZES: [(f64, f64, f64); 7] = [
    (0.135, 30.0, 192.0),
    (0.6, 28.0, 1_024.0),
    (1.0, 16.0, 512.0),
    (1.7, 28.0, 1_024.0),
    (4.0, 36.0, 1_024.0),
    (8.0, 36.0, 1_024.0),
    (14.0, 40.0, 1_024.0),
];
/// Quantisations with the bits of a number in the file, and in memory: what is not Q4_0 is laid out in 8 bits with a
/// scale for 32.
const QUANTISATIONS: [(&str, f64, f64); 3] =
    [("Q8_0", 8.5, 8.5), ("Q4_K_M", 4.85, 8.5), ("Q4_0", 4.55, 4.55)];

/// A machine, and the models that it could run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DoctorReport {
    /// Cores of the machine.
    pub cores: usize,
    /// Threads that were measured.
    pub threads: usize,
    /// The instructions that kernels use here.
    pub instructions: String,
    /// Billions of int8 operations a second, as measured.
    pub int8_gops: f64,
    /// Gigabytes a second that can be read from memory, as measured.
    pub read_gb_s: f64,
    /// Bytes of memory that may still be taken, where the system says.
    pub memory_bytes: Option<u64>,
    /// Whether that is a limit of this process's group rather than of the machine.
    pub memory_is_limited: bool,
    /// Bytes that are free on the store's disk, where the system says.
    pub disk_bytes: Option<u64>,
    /// The store's folder.
    pub store: PathBuf,
    /// Models of usual sizes.
    pub usual: Vec<FitEstimate>,
    /// The language models of the store.
    pub models: Vec<FitEstimate>,
}

impl DoctorReport {
    /// Returns what is known of the machine as facts for people, each with its name.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let amount = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), bytes_text);
        let limited = if self.memory_is_limited { ", by the limit of this group" } else { "" };
        vec![
            ("cores", format!("{} ({} threads used)", self.cores, self.threads)),
            ("instructions", self.instructions.clone()),
            ("int8", format!("{:.0} billion operations/s, measured now", self.int8_gops)),
            ("bandwidth", format!("{:.1} GB/s, measured now", self.read_gb_s)),
            ("free memory", format!("{}{limited}", amount(self.memory_bytes))),
            ("free disk", format!("{} for {}", amount(self.disk_bytes), self.store.display())),
        ]
    }
}

/// What a model takes, and how fast it would be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FitEstimate {
    /// The model's name, or its size.
    pub name: String,
    /// How its numbers are stored.
    pub quantisation: String,
    /// Bytes of its file.
    pub file_bytes: u64,
    /// Bytes of memory that it takes.
    pub memory_bytes: u64,
    /// Bytes of memory that are missing; nothing where it fits, or where nobody knows.
    pub short_by_bytes: Option<u64>,
    /// How fast it would be.
    pub estimated: SpeedEstimate,
    /// How fast it was, as last measured.
    pub measured: Option<Measurement>,
}

/// How fast a model would be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SpeedEstimate {
    /// Tokens of one answer a second.
    pub decode_tokens_per_s: f64,
    /// Tokens of a prompt a second.
    pub prefill_tokens_per_s: f64,
}

/// Measures this machine, and estimates which models fit and how fast they would run; takes about a second.
///
/// # Errors
/// When the store cannot be read.
pub fn examine(store: &Store, threads: Option<usize>) -> Result<DoctorReport, ListModelsError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let pool = Pool::new(threads.unwrap_or(cores).max(1));
    // Asked before the measurement, which takes memory itself.
    let machine = Machine::look(store.root());
    let limits = MachineLimits::measure(&pool);
    let usual = SIZES.iter().flat_map(|size| QUANTISATIONS.iter().map(|kind| usual(*size, *kind, &limits)));
    let listing = store.list()?;
    let own = listing.models.iter().filter(|entry| entry.manifest.about.kind == ModelKind::Decoder);
    let short = |estimate: FitEstimate| FitEstimate {
        short_by_bytes: short_by(estimate.memory_bytes, machine.memory),
        ..estimate
    };
    Ok(DoctorReport {
        cores,
        threads: pool.threads(),
        instructions: pool.isa().name().to_owned(),
        int8_gops: limits.int8 / 1e9,
        read_gb_s: limits.read / 1e9,
        memory_bytes: machine.memory,
        memory_is_limited: machine.is_limited,
        disk_bytes: machine.disk,
        store: store.root().to_owned(),
        usual: usual.map(short).collect(),
        models: own.map(|entry| short(estimate(store, entry, &limits))).collect(),
    })
}

fn short_by(needed: u64, memory: Option<u64>) -> Option<u64> {
    needed.checked_sub(memory?).filter(|missing| *missing > 0)
}

fn usual(
    (billions, layers, kv_width): (f64, f64, f64),
    (name, file_bits, memory_bits): (&str, f64, f64),
    limits: &MachineLimits,
) -> FitEstimate {
    let parameters = billions * 1e9;
    let weights = parameters * memory_bits / 8.0;
    FitEstimate {
        name: parameters_text(parameters as u64),
        quantisation: name.to_owned(),
        file_bytes: (parameters * file_bits / 8.0) as u64,
        memory_bytes: (weights + kv_bytes(layers, kv_width) + OTHER_BYTES) as u64,
        short_by_bytes: None,
        estimated: speed(parameters, weights, limits),
        measured: None,
    }
}

fn estimate(store: &Store, entry: &Entry, limits: &MachineLimits) -> FitEstimate {
    let about = &entry.manifest.about;
    let bits = if about.quantisation == "Q4_0" { 4.55 } else { 8.5 };
    let parameters = about.parameters as f64;
    let weights = parameters * bits / 8.0;
    FitEstimate {
        name: entry.name.to_string(),
        quantisation: about.quantisation.clone(),
        file_bytes: about.weight_bytes,
        memory_bytes: (weights + kv_bytes(about.layers as f64, about.kv_width as f64) + OTHER_BYTES) as u64,
        short_by_bytes: None,
        estimated: speed(parameters, weights, limits),
        measured: store.measurements(entry).pop(),
    }
}

/// Returns the bytes of keys and values, in 16-bit floats.
fn kv_bytes(layers: f64, kv_width: f64) -> f64 {
    KV_TOKENS * layers * kv_width * 2.0 * 2.0
}

fn speed(parameters: f64, weights: f64, limits: &MachineLimits) -> SpeedEstimate {
    SpeedEstimate {
        decode_tokens_per_s: limits.read * DECODE_SHARE / weights.max(1.0),
        prefill_tokens_per_s: limits.int8 * PREFILL_SHARE / (2.0 * parameters.max(1.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_bytes_are_twice_the_tokens_and_what_is_missing_is_said() {
        let limits = MachineLimits { int8: 900e9, read: 40e9 };
        let of = |kind| usual((8.0, 36.0, 1_024.0), kind, &limits);
        let (eight, four) = (of(("Q8_0", 8.5, 8.5)), of(("half", 4.25, 4.25)));
        let tokens = |estimate: &FitEstimate| estimate.estimated.decode_tokens_per_s;
        assert!((tokens(&four) / tokens(&eight) - 2.0).abs() < 1e-9);
        assert!((tokens(&eight) - 40e9 * DECODE_SHARE / 8.5e9).abs() < 1e-9);
        assert_eq!(short_by(eight.memory_bytes, Some(1 << 40)), None);
        assert_eq!(
            short_by(eight.memory_bytes, Some(1_000_000_000)),
            Some(eight.memory_bytes - 1_000_000_000)
        );
        assert_eq!(short_by(eight.memory_bytes, None), None);
    }
}
