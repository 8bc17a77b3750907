//! A Llama or Qwen decoder, forwards and backwards: frozen with low-rank changes, or trained whole.

mod block;
mod frozen;
mod load;
mod nf4;

use std::ops::Range;
use std::sync::Arc;

use bantam_engine::DecoderConfig;
use bantam_weights::WeightFile;

use crate::encoder::Packed;
use crate::layout::Layout;
use crate::ops::{Linear, LinearScratch, Noise, RmsNorm, Rotation, Runs, Weight, add, cross_entropy, fit};
use crate::random::Key;
use block::{Block, BlockSaved, Rows, Work};
pub use load::{BaseForm, DecoderTuning, LoadDecoderNetworkError, LoadDecoderNetworkErrorKind};
pub use nf4::Nf4;

/// Logits that are in memory at once; a token has one for each token of the vocabulary.
const LOGITS_AT_ONCE: usize = 1 << 21;

/// How much smaller than other linear layers those begin that add to the residual stream.
const ADDED: f32 = 0.1;
/// Deviation of the logits of a whole decoder before its first step.
const LOGITS: f32 = 2.4;

/// Where tokens' vectors are.
#[derive(Debug)]
enum Embeddings {
    /// In that tensor, never trained.
    File(Arc<WeightFile>, String),
    /// There among the parameters.
    Trained(Range<usize>),
}

/// A decoder. Either its weights are frozen and low-rank changes of all linear layers are trained, or all of it is.
#[derive(Debug)]
pub struct DecoderNetwork {
    config: DecoderConfig,
    embeddings: Embeddings,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Linear,
    rotation: Rotation,
    recompute: bool,
    /// Rank and alpha, where changes are trained.
    change: Option<(usize, f32)>,
}

/// What a thread computes a decoder in, and what the way back needs.
#[derive(Debug, Default)]
pub struct DecoderNetworkScratch {
    angles: Vec<f32>,
    /// Each block's input, and the last one's output.
    inputs: Vec<Vec<f32>>,
    /// One for each block, or one for all where they are computed again.
    saved: Vec<BlockSaved>,
    work: Work,
    head: HeadScratch,
    of_states: Vec<f32>,
}

#[derive(Debug, Default)]
struct HeadScratch {
    states: Vec<f32>,
    normal: Vec<f32>,
    factors: Vec<f32>,
    of_normal: Vec<f32>,
    logits: Vec<f32>,
    low: Vec<f32>,
    linear: LinearScratch,
}

/// What is asked of a row: the token that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The row.
    pub row: usize,
    /// The token after it.
    pub token: u32,
}

impl DecoderNetwork {
    /// Returns what the decoder is made of.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Returns rank and alpha of its changes; nothing where all of it is trained.
    pub fn change(&self) -> Option<(usize, f32)> {
        self.change
    }

    /// Returns how many bytes a token costs from a block's way forward to its way back, over all blocks, where they are
    /// not computed again.
    pub fn kept_bytes_per_token(&self) -> usize {
        self.blocks.iter().map(|block| 4 * block.kept_per_token()).sum()
    }

    /// Computes blocks again on the way back, which takes a third to a half more time, only where keeping them for
    /// `tokens` tokens would take more than `bytes_max`. The numbers are the same to the bit either way.
    pub fn recompute_beyond(&mut self, tokens: usize, bytes_max: usize) {
        self.recompute = tokens.saturating_mul(self.kept_bytes_per_token()) > bytes_max;
    }

    /// Calls `body` with the decoder without its changes: what preferences are measured against.
    pub(crate) fn without_changes<R>(&mut self, body: impl FnOnce(&Self) -> R) -> R {
        let linears = |block: &mut Block| {
            let taken = [&mut block.qkv, &mut block.output, &mut block.gate_up, &mut block.down];
            taken.map(|linear| linear.lora.take())
        };
        let kept: Vec<_> = self.blocks.iter_mut().map(linears).collect();
        let result = body(self);
        for (block, [qkv, output, gate_up, down]) in self.blocks.iter_mut().zip(kept) {
            (block.qkv.lora, block.output.lora) = (qkv, output);
            (block.gate_up.lora, block.down.lora) = (gate_up, down);
        }
        result
    }

    /// Leaves every token's state after the last block in `scratch`.
    ///
    /// # Panics
    /// If an id is beyond the vocabulary; callers have checked them.
    pub fn forward(&self, parameters: &[f32], packed: &Packed, scratch: &mut DecoderNetworkScratch) {
        let all = packed.ids.len() * self.config.hidden;
        scratch.inputs.resize_with(self.blocks.len() + 1, Vec::new);
        let kept = if self.recompute { 1 } else { self.blocks.len() };
        scratch.saved.resize_with(kept, BlockSaved::default);
        self.rotation.angles(&packed.ends, &mut scratch.angles);
        self.embed(parameters, packed, fit(&mut scratch.inputs[0], all));
        for (index, block) in self.blocks.iter().enumerate() {
            let (before, after) = scratch.inputs.split_at_mut(index + 1);
            let saved = &mut scratch.saved[index.min(kept - 1)];
            let rows = self.rows(packed, &scratch.angles);
            let (input, output) = (&before[index][..all], fit(&mut after[0], all));
            block.forward(parameters, input, rows, output, saved, &mut scratch.work);
        }
    }

    fn rows<'r>(&'r self, packed: &'r Packed, angles: &'r [f32]) -> Rows<'r> {
        let noise = Noise { keys: &packed.keys, ends: &packed.ends };
        Rows { noise, rotation: &self.rotation, angles }
    }

    fn embed(&self, parameters: &[f32], packed: &Packed, rows: &mut [f32]) {
        let width = self.config.hidden;
        for (id, row) in packed.ids.iter().zip(rows.chunks_exact_mut(width)) {
            match &self.embeddings {
                Embeddings::File(file, name) => {
                    // Loading has read the whole table, so its type is one that is read here.
                    let view = file.tensor(name);
                    let written = view.and_then(|view| view.write_row(*id as usize, row).ok());
                    assert_eq!(written, Some(true), "the id is one of the decoder's");
                }
                Embeddings::Trained(range) => {
                    row.copy_from_slice(&parameters[range.clone()][*id as usize * width..][..width]);
                }
            }
        }
    }

    /// Adds to `losses` each target's negative log-probability after [`Self::forward`], and leaves in `scratch` the
    /// gradient of their sum times `factor`, for [`Self::backward`]. Logits are computed some rows at a time, on the
    /// rows that have a target, and are never kept.
    pub fn token_losses(
        &self,
        parameters: &[f32],
        (targets, factor): (&[Target], f32),
        losses: &mut Vec<f64>,
        gradient: &mut [f32],
        scratch: &mut DecoderNetworkScratch,
    ) {
        let width = self.config.hidden;
        let states = &scratch.inputs[self.blocks.len()];
        let of_states = fit(&mut scratch.of_states, states.len());
        of_states.fill(0.0);
        for targets in targets.chunks(self.rows_at_once()) {
            let all = targets.len() * width;
            let head = &mut scratch.head;
            self.chunk_losses(parameters, states, (targets, factor), losses, head);
            let of_normal = fit(&mut head.of_normal, all);
            let (low, linear) = (&head.low, &mut head.linear);
            let logits = &head.logits[..targets.len() * self.config.vocabulary];
            let x = (&head.normal[..all], Noise::NONE);
            self.head.backward(parameters, x, logits, low, Some(of_normal), gradient, linear);
            let (gathered, runs) = (&head.states[..all], Runs::rows(width));
            self.norm.backward(parameters, gathered, of_normal, runs, &head.factors, gradient);
            for (row, target) in of_normal.chunks_exact(width).zip(targets) {
                add(&mut of_states[target.row * width..][..width], row);
            }
        }
    }

    fn rows_at_once(&self) -> usize {
        (LOGITS_AT_ONCE / self.config.vocabulary).max(1)
    }

    /// Adds to `losses` those of some targets and leaves the gradient of their logits in `head`.
    fn chunk_losses(
        &self,
        parameters: &[f32],
        states: &[f32],
        (targets, factor): (&[Target], f32),
        losses: &mut Vec<f64>,
        head: &mut HeadScratch,
    ) {
        let (width, vocabulary) = (self.config.hidden, self.config.vocabulary);
        let all = targets.len() * width;
        let gathered = fit(&mut head.states, all);
        for (row, target) in gathered.chunks_exact_mut(width).zip(targets) {
            row.copy_from_slice(&states[target.row * width..][..width]);
        }
        let normal = fit(&mut head.normal, all);
        self.norm.forward(parameters, gathered, normal, Runs::rows(width), &mut head.factors);
        let logits = fit(&mut head.logits, targets.len() * vocabulary);
        self.head.forward(parameters, (normal, Noise::NONE), logits, &mut head.low, &mut head.linear);
        for (logits, target) in logits.chunks_exact_mut(vocabulary).zip(targets) {
            losses.push(cross_entropy(logits, vocabulary, &[Some(target.token)], 0.0, factor));
        }
    }

    /// Adds to `losses` each target's negative log-probability after [`Self::forward`]; nothing is learnt from it.
    pub(crate) fn losses(
        &self,
        parameters: &[f32],
        targets: &[Target],
        losses: &mut Vec<f64>,
        scratch: &mut DecoderNetworkScratch,
    ) {
        let states = &scratch.inputs[self.blocks.len()];
        for targets in targets.chunks(self.rows_at_once()) {
            self.chunk_losses(parameters, states, (targets, 1.0), losses, &mut scratch.head);
        }
    }

    /// Multiplies the gradient that [`Self::token_losses`] left for the rows of a sequence.
    pub(crate) fn scale_rows(&self, rows: Range<usize>, factor: f32, scratch: &mut DecoderNetworkScratch) {
        let width = self.config.hidden;
        scratch.of_states[rows.start * width..rows.end * width].iter_mut().for_each(|of| *of *= factor);
    }

    /// Adds the parameters' gradients, given what [`Self::token_losses`] left for the same rows.
    ///
    /// # Panics
    /// If `scratch` is not of that call.
    pub fn backward(
        &self,
        parameters: &[f32],
        packed: &Packed,
        gradient: &mut [f32],
        scratch: &mut DecoderNetworkScratch,
    ) {
        let width = self.config.hidden;
        let all = packed.ids.len() * width;
        let DecoderNetworkScratch { inputs, saved, work, of_states, angles, .. } = scratch;
        let of_rows = &mut of_states[..all];
        let rows = self.rows(packed, angles);
        for (index, block) in self.blocks.iter().enumerate().rev() {
            let (before, after) = inputs.split_at_mut(index + 1);
            let input = &before[index][..all];
            let kept = if self.recompute { 0 } else { index };
            if self.recompute && index + 1 < self.blocks.len() {
                block.forward(parameters, input, rows, &mut after[0][..all], &mut saved[0], work);
            }
            block.backward(parameters, input, rows, of_rows, &saved[kept], gradient, work);
        }
        let Embeddings::Trained(range) = &self.embeddings else { return };
        for (id, of_row) in packed.ids.iter().zip(of_rows.chunks_exact(width)) {
            add(&mut gradient[range.start + *id as usize * width..][..width], of_row);
        }
    }

    /// Returns the logits after each token of a sequence: what an export must give too.
    ///
    /// # Panics
    /// If an id is beyond the vocabulary.
    pub fn logits(&self, parameters: &[f32], ids: &[u32], scratch: &mut DecoderNetworkScratch) -> Vec<f32> {
        let mut packed = Packed::default();
        packed.push(ids, None);
        self.forward(parameters, &packed, scratch);
        let width = self.config.hidden;
        let states = &scratch.inputs[self.blocks.len()][..ids.len() * width];
        let mut normal = vec![0.0; states.len()];
        self.norm.forward(parameters, states, &mut normal, Runs::rows(width), &mut scratch.head.factors);
        let mut logits = vec![0.0; ids.len() * self.config.vocabulary];
        let (low, linear) = (&mut scratch.head.low, &mut scratch.head.linear);
        self.head.forward(parameters, (&normal, Noise::NONE), &mut logits, low, linear);
        logits
    }

    /// Writes what training begins with. Changes: `A` spread evenly as PEFT and torch do, `B` nothing. A whole
    /// decoder: linear layers of a normal distribution with the deviation that torch gives them, the root of a third of
    /// their inputs' inverse; norms of one. What is added to the residual stream is smaller for many layers
    /// (<https://arxiv.org/abs/1909.08053>) and ten times smaller still, and tokens, which are the head too, have the
    /// deviation that gives a normed state logits with one of 2.4. So at first the stream is little but the tokens, and
    /// what copies them is found several times sooner than where layers drown them.
    pub fn initialise(&self, layout: &Layout, seed: u64, parameters: &mut [f32]) {
        let shrink = ADDED / (2.0 * self.config.layers as f32).sqrt();
        let of_tokens = LOGITS / (self.config.hidden as f32).sqrt();
        for (index, parameter) in layout.parameters().iter().enumerate() {
            let key = Key::new(seed).part(3).part(index as u64);
            let bound = 1.0 / (parameter.shape[1] as f64).sqrt();
            let name = parameter.name.as_str();
            for (index, number) in parameters[parameter.range.clone()].iter_mut().enumerate() {
                let index = index as u64;
                *number = if name.ends_with("lora_A.weight") {
                    (bound * (2.0 * key.uniform(index) - 1.0)) as f32
                } else if name.ends_with("lora_B.weight") {
                    0.0
                } else if name.ends_with("norm.weight") {
                    1.0
                } else if name.ends_with("embed_tokens.weight") {
                    of_tokens * key.normal(index)
                } else {
                    let is_added = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
                    let spread = (bound / 3.0_f64.sqrt()) as f32;
                    spread * if is_added { shrink } else { 1.0 } * key.normal(index)
                };
            }
        }
    }

    /// Whether all of it is trained.
    pub fn is_whole(&self) -> bool {
        matches!(self.head.weight, Weight::Trained(..))
    }
}

#[cfg(test)]
mod tests;
