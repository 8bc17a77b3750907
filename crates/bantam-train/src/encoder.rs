//! The forward and backward pass of a BERT or ModernBERT encoder with low-rank adapters.

mod block;
mod load;
mod modern;

use bantam_engine::{EncoderAdapter, EncoderConfig, EncoderUpdate};
use bantam_weights::WeightFile;

use crate::layout::Layout;
use crate::ops::{AttentionScratch, LinearScratch, Noise, Norm, NormSaved, Site, add, dropout, fit};
use crate::random::Key;
use block::{BatchContext, Block, BlockBuffers, BlockSaved, BlockScratch};
pub use load::{LoadNetworkError, LoadNetworkErrorKind, LoraConfig};
use modern::{Angles, ModernBlock, Rotations};

/// An encoder with frozen weights and trained low-rank adapters of all its linear layers.
#[derive(Debug)]
pub struct EncoderNetwork {
    config: EncoderConfig,
    weights: WeightFile,
    /// The name of the word embeddings in `weights`.
    words: String,
    /// Position embeddings plus the first token type's; empty if positions only rotate queries and keys.
    positions: Vec<f32>,
    norm: Norm,
    stack: Stack,
    lora: LoraConfig,
}

/// The blocks above the embeddings.
#[derive(Debug)]
enum Stack {
    /// Post-norm blocks.
    Bert(Vec<Block>),
    /// Pre-norm blocks, and the norm after the last one.
    Modern(Vec<ModernBlock>, Rotations, Norm),
}

impl Stack {
    fn len(&self) -> usize {
        match self {
            Self::Bert(blocks) => blocks.len(),
            Self::Modern(blocks, ..) => blocks.len(),
        }
    }

    /// Writes a block's output for the rows of `x`.
    fn forward(
        &self,
        index: usize,
        parameters: &[f32],
        (x, batch): (&[f32], BatchContext<'_>),
        y: &mut [f32],
        saved: &mut BlockSaved,
        work: BlockScratch<'_>,
    ) {
        match self {
            Self::Bert(blocks) => blocks[index].forward(parameters, x, batch.noise, y, saved, work),
            Self::Modern(blocks, rotations, _) => {
                blocks[index].forward(parameters, x, (batch, rotations), y, saved, work);
            }
        }
    }

    /// Adds the gradients of a block's adapters and replaces the gradient of its outputs with that of `x`, except for
    /// the first block, which needs no gradient of `x`.
    #[expect(clippy::too_many_arguments, reason = "the backward pass needs every value of the forward pass")]
    fn backward(
        &self,
        index: usize,
        parameters: &[f32],
        (x, batch): (&[f32], BatchContext<'_>),
        grad_rows: &mut [f32],
        saved: &BlockSaved,
        gradient: &mut [f32],
        work: BlockScratch<'_>,
    ) {
        // Nothing below the first block is trained.
        let grad_rows = (grad_rows, index > 0);
        match self {
            Self::Bert(blocks) => {
                blocks[index].backward(parameters, x, batch.noise, grad_rows, saved, gradient, work);
            }
            Self::Modern(blocks, rotations, _) => {
                blocks[index].backward(parameters, x, (batch, rotations), grad_rows, saved, gradient, work);
            }
        }
    }
}

/// A batch of token sequences, concatenated without padding.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    /// All ids.
    pub ids: Vec<u32>,
    /// The rows at which the sequences end.
    pub ends: Vec<usize>,
    /// One dropout key per sequence; empty without dropout.
    pub keys: Vec<Key>,
}

impl Packed {
    /// Removes all sequences but keeps the allocations.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.ends.clear();
        self.keys.clear();
    }

    /// Adds a sequence.
    pub fn push(&mut self, ids: &[u32], key: Option<Key>) {
        self.ids.extend_from_slice(ids);
        self.ends.push(self.ids.len());
        self.keys.extend(key);
    }

    fn noise(&self) -> Noise<'_> {
        Noise { keys: &self.keys, ends: &self.ends }
    }
}

/// A thread's buffers for an encoder, including what the backward pass needs.
#[derive(Debug, Default)]
pub struct EncoderScratch {
    /// Each block's input, then the last block's output.
    inputs: Vec<Vec<f32>>,
    /// One per block, or one for all blocks if they are recomputed.
    saved: Vec<BlockSaved>,
    angles: Angles,
    /// The output of the norm after the last block.
    states: Vec<f32>,
    norm: NormSaved,
    final_norm: NormSaved,
    buffers: BlockBuffers,
    attention: AttentionScratch,
    linear: LinearScratch,
}

impl EncoderNetwork {
    /// Returns the encoder's configuration.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Computes every token's last state in `scratch` and returns them.
    ///
    /// # Panics
    /// If an id or a length exceeds the encoder's limits; callers check them first.
    pub fn forward<'s>(
        &self,
        parameters: &[f32],
        packed: &Packed,
        scratch: &'s mut EncoderScratch,
    ) -> &'s [f32] {
        let (all, last) = (packed.ids.len() * self.config.hidden, self.stack.len());
        scratch.inputs.resize_with(last + 1, Vec::new);
        let kept = if self.lora.recompute { 1 } else { last };
        scratch.saved.resize_with(kept, BlockSaved::default);
        self.embed(packed, scratch);
        let EncoderScratch { inputs, saved, angles, buffers, attention, linear, .. } = scratch;
        if let Stack::Modern(_, rotations, _) = &self.stack {
            rotations.angles(&packed.ends, angles);
        }
        let batch = BatchContext { noise: packed.noise(), angles };
        for index in 0..last {
            let (before, after) = inputs.split_at_mut(index + 1);
            let (input, output) = (&before[index][..all], fit(&mut after[0], all));
            let work = (&mut *buffers, &mut *attention, &mut *linear);
            self.stack.forward(
                index,
                parameters,
                (input, batch),
                output,
                &mut saved[index.min(kept - 1)],
                work,
            );
        }
        let output = &scratch.inputs[last][..all];
        let Stack::Modern(.., norm) = &self.stack else { return output };
        let states = fit(&mut scratch.states, all);
        norm.forward(output, &[], states, &mut scratch.final_norm);
        states
    }

    /// Adds the gradients of all adapters, given that of the states that [`Self::forward`] returned for the same
    /// arguments. Overwrites `grad_states`.
    ///
    /// # Panics
    /// If `scratch` does not come from that call.
    pub fn backward(
        &self,
        parameters: &[f32],
        packed: &Packed,
        grad_states: &mut [f32],
        gradient: &mut [f32],
        scratch: &mut EncoderScratch,
    ) {
        let all = packed.ids.len() * self.config.hidden;
        let EncoderScratch { inputs, saved, angles, final_norm, buffers, attention, linear, .. } = scratch;
        if let Stack::Modern(.., norm) = &self.stack {
            norm.backward(grad_states, final_norm);
        }
        let batch = BatchContext { noise: packed.noise(), angles };
        for index in (0..self.stack.len()).rev() {
            let (before, after) = inputs.split_at_mut(index + 1);
            let x = (&before[index][..all], batch);
            let kept = if self.lora.recompute { 0 } else { index };
            if self.lora.recompute {
                let work = (&mut *buffers, &mut *attention, &mut *linear);
                self.stack.forward(index, parameters, x, &mut after[0][..all], &mut saved[0], work);
            }
            let work = (&mut *buffers, &mut *attention, &mut *linear);
            self.stack.backward(index, parameters, x, grad_states, &saved[kept], gradient, work);
        }
    }

    fn embed(&self, packed: &Packed, scratch: &mut EncoderScratch) {
        let (rows, width) = (packed.ids.len(), self.config.hidden);
        let sums = fit(&mut scratch.buffers.wide, rows * width);
        let table = self.weights.tensor(&self.words);
        let mut start = 0;
        for end in &packed.ends {
            for (position, row) in (start..*end).enumerate() {
                let sum = &mut sums[row * width..(row + 1) * width];
                // Loading has read a row of this table, so its type is supported.
                let written =
                    table.as_ref().and_then(|table| table.write_row(packed.ids[row] as usize, sum).ok());
                assert_eq!(written, Some(true), "the id is in the encoder's vocabulary");
                if !self.positions.is_empty() {
                    add(sum, &self.positions[position * width..(position + 1) * width]);
                }
            }
            start = *end;
        }
        let output = fit(&mut scratch.inputs[0], rows * width);
        self.norm.forward(&scratch.buffers.wide[..rows * width], &[], output, &mut scratch.norm);
        dropout(output, self.lora.dropout, packed.noise(), Site(0));
    }

    /// Writes the adapters' initial values: `A` is uniform as in PEFT and torch, `B` stays zero.
    pub fn initialise(&self, layout: &Layout, seed: u64, parameters: &mut [f32]) {
        for (index, parameter) in layout.parameters().iter().enumerate() {
            if !parameter.name.ends_with("lora_A.weight") {
                continue;
            }
            let (key, bound) =
                (Key::new(seed).part(3).part(index as u64), 1.0 / (parameter.shape[1] as f64).sqrt());
            for (index, number) in parameters[parameter.range.clone()].iter_mut().enumerate() {
                *number = (bound * (2.0 * key.uniform(index as u64) - 1.0)) as f32;
            }
        }
    }

    /// Returns the trained adapter.
    pub fn adapter(&self, layout: &Layout, parameters: &[f32]) -> EncoderAdapter {
        let halves = layout.parameters().iter().filter_map(|parameter| {
            let module = parameter.name.strip_suffix(".lora_A.weight")?;
            let b = layout
                .parameters()
                .iter()
                .find(|other| other.name.strip_suffix(".lora_B.weight") == Some(module))?;
            Some(EncoderUpdate {
                module: module.to_owned(),
                outputs: b.shape[0],
                inputs: parameter.shape[1],
                a: parameters[parameter.range.clone()].to_vec(),
                b: parameters[b.range.clone()].to_vec(),
            })
        });
        EncoderAdapter { rank: self.lora.rank, alpha: self.lora.alpha, updates: halves.collect() }
    }
}
