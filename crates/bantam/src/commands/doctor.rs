//! `bantam doctor`: what this machine can do, and which models it can run.

mod machine;

use std::sync::Arc;

use bantam_kernels::Pool;
use bantam_store::{Entry, ModelKind, Store};
use serde_json::{Value, json};

use super::bench::Limits;
use super::models::{bytes_text, open, parameters_text};
use crate::cli::models::DoctorArgs;
use crate::failure::Failure;
use crate::output;
use crate::settings::Globals;
use machine::Machine;

/// The share of the bandwidth that reading the weights for a next token reaches, and the share of the int8 peak that
/// prompts reach: what `bantam bench` measures of decoders (README, "Measured").
const DECODE_SHARE: f64 = 0.8;
const PREFILL_SHARE: f64 = 0.25;
/// Tokens whose keys and values an estimate has room for.
const KV_TOKENS: f64 = 4_096.0;
/// Bytes that a process needs beside weights, keys and values: tokenizer, scratch, grammars.
const OTHER_BYTES: f64 = 150e6;
/// Models of usual sizes: parameters in billions, layers, numbers of keys and of values a token and layer.
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

/// What a model takes, and how fast it would be.
struct Estimate {
    name: String,
    quantisation: String,
    file_bytes: f64,
    memory_bytes: f64,
    decode: f64,
    prefill: f64,
    measured: Option<bantam_store::Measurement>,
}

pub(crate) fn run(args: &DoctorArgs, globals: &Globals) -> Result<(), Failure> {
    let store = open(globals)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let pool = Arc::new(Pool::new(args.threads.unwrap_or(cores).max(1)));
    // Asked before the measurement, which takes memory itself.
    let machine = Machine::look(cores, store.root());
    let limits = Limits::measure(&pool);
    let usual = SIZES.iter().flat_map(|size| QUANTISATIONS.iter().map(|kind| usual(*size, *kind, &limits)));
    let usual: Vec<Estimate> = usual.collect();
    let own = own(&store, &limits)?;
    if globals.json {
        let list = |all: &[Estimate]| all.iter().map(|one| one.to_json(&machine)).collect::<Vec<Value>>();
        let body = json!({
            "cores": machine.cores, "threads": pool.threads(), "instructions": pool.isa().name(),
            "int8_gops": limits.int8 / 1e9, "read_gb_s": limits.read / 1e9,
            "memory_bytes": machine.memory, "disk_bytes": machine.disk, "store": store.root(),
            "usual": list(&usual), "models": list(&own),
        });
        output::line(body.to_string());
        return Ok(());
    }
    let memory = machine.memory.map_or_else(|| "unknown".to_owned(), bytes_text);
    let disk = machine.disk.map_or_else(|| "unknown".to_owned(), bytes_text);
    output::line(format!("cores          {} ({} threads used)", machine.cores, pool.threads()));
    output::line(format!("instructions   {}", pool.isa().name()));
    output::line(format!("int8           {:.0} billion operations/s, measured now", limits.int8 / 1e9));
    output::line(format!("bandwidth      {:.1} GB/s, measured now", limits.read / 1e9));
    output::line(format!(
        "free memory    {memory}{}",
        if machine.is_limited { ", by the limit of this group" } else { "" }
    ));
    output::line(format!("free disk      {disk} for {}", store.root().display()));
    output::line("");
    output::line("models of usual sizes (speeds are estimates):");
    show(&usual, &machine);
    if !own.is_empty() {
        output::line("");
        output::line("models on this machine:");
        show(&own, &machine);
    }
    Ok(())
}

fn usual(
    (billions, layers, kv_width): (f64, f64, f64),
    (name, file_bits, memory_bits): (&str, f64, f64),
    limits: &Limits,
) -> Estimate {
    let parameters = billions * 1e9;
    let weights = parameters * memory_bits / 8.0;
    Estimate {
        name: parameters_text(parameters as u64),
        quantisation: name.to_owned(),
        file_bytes: parameters * file_bits / 8.0,
        memory_bytes: weights + kv_bytes(layers, kv_width) + OTHER_BYTES,
        decode: limits.read * DECODE_SHARE / weights,
        prefill: limits.int8 * PREFILL_SHARE / (2.0 * parameters),
        measured: None,
    }
}

/// Returns the bytes of keys and values, in 16-bit floats.
fn kv_bytes(layers: f64, kv_width: f64) -> f64 {
    KV_TOKENS * layers * kv_width * 2.0 * 2.0
}

fn own(store: &Store, limits: &Limits) -> Result<Vec<Estimate>, Failure> {
    let listing = store.list().map_err(|error| Failure::from_error("cannot list the models", &error))?;
    let decoders = listing.models.iter().filter(|entry| entry.manifest.about.kind == ModelKind::Decoder);
    Ok(decoders.map(|entry| estimate(store, entry, limits)).collect())
}

fn estimate(store: &Store, entry: &Entry, limits: &Limits) -> Estimate {
    let about = &entry.manifest.about;
    let bits = if about.quantisation == "Q4_0" { 4.55 } else { 8.5 };
    let weights = about.parameters as f64 * bits / 8.0;
    Estimate {
        name: entry.name.to_string(),
        quantisation: about.quantisation.clone(),
        file_bytes: about.weight_bytes as f64,
        memory_bytes: weights + kv_bytes(about.layers as f64, about.kv_width as f64) + OTHER_BYTES,
        decode: limits.read * DECODE_SHARE / weights.max(1.0),
        prefill: limits.int8 * PREFILL_SHARE / (2.0 * about.parameters.max(1) as f64),
        measured: store.measurements(entry).pop(),
    }
}

impl Estimate {
    /// Returns the bytes that are missing; nothing where it fits or nobody knows.
    fn short_by(&self, machine: &Machine) -> Option<u64> {
        let missing = self.memory_bytes as u64;
        missing.checked_sub(machine.memory?).filter(|missing| *missing > 0)
    }

    fn to_json(&self, machine: &Machine) -> Value {
        json!({
            "name": self.name, "quantisation": self.quantisation, "file_bytes": self.file_bytes as u64,
            "memory_bytes": self.memory_bytes as u64, "short_by_bytes": self.short_by(machine),
            "estimated": { "decode_tokens_per_s": self.decode, "prefill_tokens_per_s": self.prefill },
            "measured": self.measured,
        })
    }
}

fn show(all: &[Estimate], machine: &Machine) {
    let has_measured = all.iter().any(|one| one.measured.is_some());
    let mut heading = vec!["model", "quantisation", "file", "memory", "fits", "tokens/s", "prompt tokens/s"];
    heading.extend(has_measured.then_some("measured"));
    let mut rows = vec![heading.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for one in all {
        let fits = match (machine.memory, one.short_by(machine)) {
            (None, _) => "?".to_owned(),
            (_, None) => "yes".to_owned(),
            (_, Some(missing)) => format!("short by {}", bytes_text(missing)),
        };
        let mut row = vec![
            one.name.clone(),
            one.quantisation.clone(),
            bytes_text(one.file_bytes as u64),
            bytes_text(one.memory_bytes as u64),
            fits,
            format!("{:.1}", one.decode),
            format!("{:.0}", one.prefill),
        ];
        if has_measured {
            let measured = one.measured.as_ref();
            row.push(measured.map_or_else(
                || "not yet".to_owned(),
                |found| {
                    format!(
                        "{:.1} tokens/s, {} threads ({})",
                        found.decode_tokens_per_s, found.threads, found.by
                    )
                },
            ));
        }
        rows.push(row);
    }
    output::table(&rows).iter().for_each(output::line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_bytes_are_twice_the_tokens_and_what_is_missing_is_said() {
        let limits = Limits { int8: 900e9, read: 40e9 };
        let of = |kind| usual((8.0, 36.0, 1_024.0), kind, &limits);
        let (eight, four) = (of(("Q8_0", 8.5, 8.5)), of(("half", 4.25, 4.25)));
        assert!((four.decode / eight.decode - 2.0).abs() < 1e-9);
        assert!((eight.decode - 40e9 * DECODE_SHARE / 8.5e9).abs() < 1e-9);
        let machine = |memory| Machine { cores: 2, memory, is_limited: false, disk: None };
        assert_eq!(eight.short_by(&machine(Some(1 << 40))), None);
        let missing = eight.short_by(&machine(Some(1_000_000_000))).unwrap();
        assert_eq!(missing, eight.memory_bytes as u64 - 1_000_000_000);
        assert_eq!(eight.short_by(&machine(None)), None);
    }
}
