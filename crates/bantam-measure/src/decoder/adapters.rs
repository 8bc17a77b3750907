//! Adapters of random numbers, written as files and opened as a user's would be.

use std::path::Path;

use bantam_engine::{Adapter, Decoder};
use bantam_weights::{Dtype, NewTensor, NewValue, write_gguf};
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

use crate::MeasureError;

/// Rank of the adapters, on queries and values.
const RANK: usize = 8;

/// Returns `count` adapters of a decoder.
pub(super) fn adapters(decoder: &Decoder, count: usize) -> Result<Vec<Adapter>, MeasureError> {
    let folder = tempfile::tempdir().map_err(MeasureError::AdapterFolder)?;
    let mut numbers = SplitMix64::seed_from_u64(1);
    (0..count)
        .map(|index| {
            let path = folder.path().join(format!("{index}.gguf"));
            write(decoder, &path, &mut numbers)?;
            Ok(Adapter::open(&path, decoder).map_err(Box::new)?)
        })
        .collect()
}

/// Returns the bytes of `count` small numbers.
fn bytes(numbers: &mut SplitMix64, count: usize) -> Vec<u8> {
    let mut next = || ((numbers.next_u64() >> 40) as f32 / (1 << 24) as f32 - 0.5) * 0.02;
    (0..count).flat_map(|_| next().to_le_bytes()).collect()
}

fn write(decoder: &Decoder, path: &Path, numbers: &mut SplitMix64) -> Result<(), MeasureError> {
    let config = decoder.config();
    let modules = [("attn_q", config.query_width()), ("attn_v", config.kv_width())];
    let mut tensors = Vec::new();
    for layer in 0..config.layers {
        for (name, outputs) in modules {
            let name = format!("blk.{layer}.{name}.weight");
            let a = bytes(numbers, RANK * config.hidden);
            tensors.push((format!("{name}.lora_a"), [RANK, config.hidden], a));
            tensors.push((format!("{name}.lora_b"), [outputs, RANK], bytes(numbers, outputs * RANK)));
        }
    }
    let tensors: Vec<NewTensor<'_>> = tensors
        .iter()
        .map(|(name, shape, bytes)| NewTensor { name, dtype: Dtype::F32, shape, bytes })
        .collect();
    let metadata = [
        ("general.type", NewValue::Text("adapter")),
        ("general.architecture", NewValue::Text(config.architecture.name())),
        ("adapter.type", NewValue::Text("lora")),
        ("adapter.lora.alpha", NewValue::F32(2.0 * RANK as f32)),
    ];
    write_gguf(path, &metadata, &tensors)?;
    Ok(())
}
