//! An encoder, BERT or ModernBERT, with low-rank changes, forwards and backwards.

mod block;
mod load;
mod modern;

use bantam_engine::{EncoderAdapter, EncoderConfig, EncoderUpdate};
use bantam_weights::WeightFile;

use crate::layout::Layout;
use crate::ops::{AttentionScratch, LinearScratch, Noise, Norm, NormSaved, Site, add, dropout, fit};
use crate::random::Key;
use block::{Block, BlockSaved, Rows, Temporary};
pub use load::{LoadNetworkError, LoadNetworkErrorKind, LoraConfig};
use modern::{Angles, ModernBlock, Rotations};

/// An encoder whose weights are frozen, and low-rank changes of all its linear layers, which are not.
#[derive(Debug)]
pub struct EncoderNetwork {
    config: EncoderConfig,
    weights: WeightFile,
    /// Name of the table of words in `weights`.
    words: String,
    /// Positions, each with the first token type; empty where positions only turn queries and keys.
    positions: Vec<f32>,
    norm: Norm,
    stack: Stack,
    lora: LoraConfig,
}

/// What stands on the embedding.
#[derive(Debug)]
enum Stack {
    /// Blocks that normalise what they give.
    Bert(Vec<Block>),
    /// Blocks that normalise what they see, and the norm after the last.
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
        (x, rows): (&[f32], Rows<'_>),
        y: &mut [f32],
        saved: &mut BlockSaved,
        work: block::Work<'_>,
    ) {
        match self {
            Self::Bert(blocks) => blocks[index].forward(parameters, x, rows.noise, y, saved, work),
            Self::Modern(blocks, rotations, _) => {
                blocks[index].forward(parameters, x, (rows, rotations), y, saved, work);
            }
        }
    }

    /// Turns the gradient of a block's outputs into that of `x`, in place, unless it is not wanted.
    #[expect(clippy::too_many_arguments, reason = "they are the values of one step back")]
    fn backward(
        &self,
        index: usize,
        parameters: &[f32],
        (x, rows): (&[f32], Rows<'_>),
        of_rows: &mut [f32],
        saved: &BlockSaved,
        gradient: &mut [f32],
        work: block::Work<'_>,
    ) {
        // Nothing below the first block is trained.
        let of_rows = (of_rows, index > 0);
        match self {
            Self::Bert(blocks) => {
                blocks[index].backward(parameters, x, rows.noise, of_rows, saved, gradient, work);
            }
            Self::Modern(blocks, rotations, _) => {
                blocks[index].backward(parameters, x, (rows, rotations), of_rows, saved, gradient, work);
            }
        }
    }
}

/// Sequences of token ids, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    /// All ids.
    pub ids: Vec<u32>,
    /// The rows at which the sequences end.
    pub ends: Vec<usize>,
    /// For each sequence the key of what is dropped in it; none where nothing is.
    pub keys: Vec<Key>,
}

impl Packed {
    /// Removes all sequences and keeps the memory.
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

/// What a thread computes an encoder in, and what the way back needs.
#[derive(Debug, Default)]
pub struct EncoderScratch {
    /// Each block's input, and the last one's output.
    inputs: Vec<Vec<f32>>,
    /// One for each block, or one for all where they are computed again.
    saved: Vec<BlockSaved>,
    angles: Angles,
    /// What a norm after the last block gives.
    states: Vec<f32>,
    norm: NormSaved,
    final_norm: NormSaved,
    temporary: Temporary,
    attention: AttentionScratch,
    linear: LinearScratch,
}

impl EncoderNetwork {
    /// Returns what the encoder is made of.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Leaves every token's last state in `scratch` and returns them.
    ///
    /// # Panics
    /// If an id or a length is beyond the encoder's; callers have checked them.
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
        let EncoderScratch { inputs, saved, angles, temporary, attention, linear, .. } = scratch;
        if let Stack::Modern(_, rotations, _) = &self.stack {
            rotations.angles(&packed.ends, angles);
        }
        let rows = Rows { noise: packed.noise(), angles };
        for index in 0..last {
            let (before, after) = inputs.split_at_mut(index + 1);
            let (input, output) = (&before[index][..all], fit(&mut after[0], all));
            let work = (&mut *temporary, &mut *attention, &mut *linear);
            self.stack.forward(
                index,
                parameters,
                (input, rows),
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

    /// Adds the gradients of all changes, given that of the states that [`Self::forward`] returned for the same
    /// arguments. `of_states` is used up.
    ///
    /// # Panics
    /// If `scratch` is not of that call.
    pub fn backward(
        &self,
        parameters: &[f32],
        packed: &Packed,
        of_states: &mut [f32],
        gradient: &mut [f32],
        scratch: &mut EncoderScratch,
    ) {
        let all = packed.ids.len() * self.config.hidden;
        let EncoderScratch { inputs, saved, angles, final_norm, temporary, attention, linear, .. } = scratch;
        if let Stack::Modern(.., norm) = &self.stack {
            norm.backward(of_states, final_norm);
        }
        let rows = Rows { noise: packed.noise(), angles };
        for index in (0..self.stack.len()).rev() {
            let (before, after) = inputs.split_at_mut(index + 1);
            let x = (&before[index][..all], rows);
            let kept = if self.lora.recompute { 0 } else { index };
            if self.lora.recompute {
                let work = (&mut *temporary, &mut *attention, &mut *linear);
                self.stack.forward(index, parameters, x, &mut after[0][..all], &mut saved[0], work);
            }
            let work = (&mut *temporary, &mut *attention, &mut *linear);
            self.stack.backward(index, parameters, x, of_states, &saved[kept], gradient, work);
        }
    }

    fn embed(&self, packed: &Packed, scratch: &mut EncoderScratch) {
        let (rows, width) = (packed.ids.len(), self.config.hidden);
        let sums = fit(&mut scratch.temporary.wide, rows * width);
        let table = self.weights.tensor(&self.words);
        let mut start = 0;
        for end in &packed.ends {
            for (position, row) in (start..*end).enumerate() {
                let sum = &mut sums[row * width..(row + 1) * width];
                // Loading has read a row of this table, so its type is one that is read here.
                let written =
                    table.as_ref().and_then(|table| table.write_row(packed.ids[row] as usize, sum).ok());
                assert_eq!(written, Some(true), "the id is one of the encoder's");
                if !self.positions.is_empty() {
                    add(sum, &self.positions[position * width..(position + 1) * width]);
                }
            }
            start = *end;
        }
        let output = fit(&mut scratch.inputs[0], rows * width);
        self.norm.forward(&scratch.temporary.wide[..rows * width], &[], output, &mut scratch.norm);
        dropout(output, self.lora.dropout, packed.noise(), Site(0));
    }

    /// Writes what the changes begin as: `A` spread evenly as PEFT and torch do, `B` nothing.
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

    /// Returns the changes with what has been learnt.
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
