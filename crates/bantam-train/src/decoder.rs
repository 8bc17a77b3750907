//! The forward and backward pass of a Llama or Qwen decoder, either frozen with low-rank adapters or fully trained.

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
use block::{BatchContext, Block, BlockSaved, BlockScratch};
pub use load::{BaseForm, DecoderTuning, LoadDecoderNetworkError, LoadDecoderNetworkErrorKind};
pub use nf4::Nf4;

/// Maximum number of logits in memory at once; each token has one per vocabulary entry.
const LOGITS_AT_ONCE: usize = 1 << 21;

/// Extra factor on the initial weights of linear layers that add to the residual stream.
const RESIDUAL_SCALE: f32 = 0.1;
/// Standard deviation of a fully trained decoder's logits before the first step.
const INITIAL_LOGIT_DEVIATION: f32 = 2.4;

/// Where the token embeddings are.
#[derive(Debug)]
enum Embeddings {
    /// In this tensor of a file; never trained.
    File(Arc<WeightFile>, String),
    /// In this range of the parameters.
    Trained(Range<usize>),
}

/// A decoder. Either its weights are frozen and low-rank adapters of all linear layers are trained, or all of its
/// weights are trained.
#[derive(Debug)]
pub struct DecoderNetwork {
    config: DecoderConfig,
    embeddings: Embeddings,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Linear,
    rotation: Rotation,
    recompute: bool,
    /// Rank and alpha, if adapters are trained.
    adapter: Option<(usize, f32)>,
}

/// A thread's buffers for a decoder, including what the backward pass needs.
#[derive(Debug, Default)]
pub struct DecoderNetworkScratch {
    angles: Vec<f32>,
    /// Each block's input, then the last block's output.
    inputs: Vec<Vec<f32>>,
    /// One per block, or one for all blocks if they are recomputed.
    saved: Vec<BlockSaved>,
    work: BlockScratch,
    head: HeadScratch,
    grad_states: Vec<f32>,
}

#[derive(Debug, Default)]
struct HeadScratch {
    states: Vec<f32>,
    normal: Vec<f32>,
    factors: Vec<f32>,
    grad_normal: Vec<f32>,
    logits: Vec<f32>,
    low: Vec<f32>,
    linear: LinearScratch,
}

/// What a row of the batch is trained to predict: the token that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The row.
    pub row: usize,
    /// The next token.
    pub token: u32,
}

impl DecoderNetwork {
    /// Returns the decoder's configuration.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Returns the adapter's rank and alpha, or `None` if all weights are trained.
    pub fn adapter(&self) -> Option<(usize, f32)> {
        self.adapter
    }

    /// Returns how many bytes per token all blocks together keep from the forward to the backward pass if they are not
    /// recomputed.
    pub fn kept_bytes_per_token(&self) -> usize {
        self.blocks.iter().map(|block| 4 * block.kept_per_token()).sum()
    }

    /// Recomputes blocks in the backward pass, which takes a third to a half longer, only if keeping their activations
    /// for `tokens` tokens would take more than `bytes_max`. The results are the same to the bit either way.
    pub fn recompute_beyond(&mut self, tokens: usize, bytes_max: usize) {
        self.recompute = tokens.saturating_mul(self.kept_bytes_per_token()) > bytes_max;
    }

    /// Calls `body` with the decoder without its adapter, the reference model of preference training.
    pub(crate) fn without_adapter<R>(&mut self, body: impl FnOnce(&Self) -> R) -> R {
        let linears = |block: &mut Block| {
            let layers = [&mut block.qkv, &mut block.output, &mut block.gate_up, &mut block.down];
            layers.map(|linear| linear.lora.take())
        };
        let kept: Vec<_> = self.blocks.iter_mut().map(linears).collect();
        let result = body(self);
        for (block, [qkv, output, gate_up, down]) in self.blocks.iter_mut().zip(kept) {
            (block.qkv.lora, block.output.lora) = (qkv, output);
            (block.gate_up.lora, block.down.lora) = (gate_up, down);
        }
        result
    }

    /// Writes every token's state after the last block to `scratch`.
    ///
    /// # Panics
    /// If an id is outside the vocabulary; callers check ids first.
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
            let context = self.batch_context(packed, &scratch.angles);
            let (input, output) = (&before[index][..all], fit(&mut after[0], all));
            block.forward(parameters, input, context, output, saved, &mut scratch.work);
        }
    }

    fn batch_context<'b>(&'b self, packed: &'b Packed, angles: &'b [f32]) -> BatchContext<'b> {
        let noise = Noise { keys: &packed.keys, ends: &packed.ends };
        BatchContext { noise, rotation: &self.rotation, angles }
    }

    fn embed(&self, parameters: &[f32], packed: &Packed, rows: &mut [f32]) {
        let width = self.config.hidden;
        for (id, row) in packed.ids.iter().zip(rows.chunks_exact_mut(width)) {
            match &self.embeddings {
                Embeddings::File(file, name) => {
                    // Loading has read the whole table, so its type is supported.
                    let view = file.tensor(name);
                    let written = view.and_then(|view| view.write_row(*id as usize, row).ok());
                    assert_eq!(written, Some(true), "the id is in the decoder's vocabulary");
                }
                Embeddings::Trained(range) => {
                    row.copy_from_slice(&parameters[range.clone()][*id as usize * width..][..width]);
                }
            }
        }
    }

    /// Appends each target's negative log-probability to `losses` after [`Self::forward`], and leaves the gradient of
    /// their sum times `factor` in `scratch` for [`Self::backward`]. Logits are computed in chunks, only for rows that
    /// have a target, and never kept.
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
        let grad_states = fit(&mut scratch.grad_states, states.len());
        grad_states.fill(0.0);
        for targets in targets.chunks(self.rows_at_once()) {
            let all = targets.len() * width;
            let head = &mut scratch.head;
            self.chunk_losses(parameters, states, (targets, factor), losses, head);
            let grad_normal = fit(&mut head.grad_normal, all);
            let (low, linear) = (&head.low, &mut head.linear);
            let logits = &head.logits[..targets.len() * self.config.vocabulary];
            let x = (&head.normal[..all], Noise::NONE);
            self.head.backward(parameters, x, logits, low, Some(grad_normal), gradient, linear);
            let (gathered, runs) = (&head.states[..all], Runs::rows(width));
            self.norm.backward(parameters, gathered, grad_normal, runs, &head.factors, gradient);
            for (row, target) in grad_normal.chunks_exact(width).zip(targets) {
                add(&mut grad_states[target.row * width..][..width], row);
            }
        }
    }

    fn rows_at_once(&self) -> usize {
        (LOGITS_AT_ONCE / self.config.vocabulary).max(1)
    }

    /// Appends the losses of some targets and leaves the gradient of their logits in `head`.
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

    /// Appends each target's negative log-probability to `losses` after [`Self::forward`], without gradients.
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

    /// Multiplies the gradient that [`Self::token_losses`] left for the given rows.
    pub(crate) fn scale_rows(&self, rows: Range<usize>, factor: f32, scratch: &mut DecoderNetworkScratch) {
        let width = self.config.hidden;
        scratch.grad_states[rows.start * width..rows.end * width]
            .iter_mut()
            .for_each(|gradient| *gradient *= factor);
    }

    /// Adds the parameters' gradients, using what [`Self::token_losses`] left in `scratch` for the same rows.
    ///
    /// # Panics
    /// If `scratch` does not come from that call.
    pub fn backward(
        &self,
        parameters: &[f32],
        packed: &Packed,
        gradient: &mut [f32],
        scratch: &mut DecoderNetworkScratch,
    ) {
        let width = self.config.hidden;
        let all = packed.ids.len() * width;
        let DecoderNetworkScratch { inputs, saved, work, grad_states, angles, .. } = scratch;
        let grad_rows = &mut grad_states[..all];
        let context = self.batch_context(packed, angles);
        for (index, block) in self.blocks.iter().enumerate().rev() {
            let (before, after) = inputs.split_at_mut(index + 1);
            let input = &before[index][..all];
            let kept = if self.recompute { 0 } else { index };
            if self.recompute && index + 1 < self.blocks.len() {
                block.forward(parameters, input, context, &mut after[0][..all], &mut saved[0], work);
            }
            block.backward(parameters, input, context, grad_rows, &saved[kept], gradient, work);
        }
        let Embeddings::Trained(range) = &self.embeddings else { return };
        for (id, grad_row) in packed.ids.iter().zip(grad_rows.chunks_exact(width)) {
            add(&mut gradient[range.start + *id as usize * width..][..width], grad_row);
        }
    }

    /// Returns the logits after each token of a sequence, which an export must reproduce.
    ///
    /// # Panics
    /// If an id is outside the vocabulary.
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

    /// Writes the initial parameters.
    ///
    /// Adapters: `A` is uniform as in PEFT and torch, `B` is zero. A fully trained decoder: linear layers are normal
    /// with torch's standard deviation, `sqrt(1 / (3 · inputs))`; norms are one. Layers that add to the residual stream
    /// start smaller the more layers there are (<https://arxiv.org/abs/1909.08053>), and ten times smaller still. The
    /// embeddings, which are also the head, have the deviation that gives a normalised state logits with a deviation of
    /// 2.4. So the stream starts out as little but the tokens, and training discovers how to copy them several times
    /// sooner than if the layers' output drowned them.
    pub fn initialise(&self, layout: &Layout, seed: u64, parameters: &mut [f32]) {
        let shrink = RESIDUAL_SCALE / (2.0 * self.config.layers as f32).sqrt();
        let embedding_deviation = INITIAL_LOGIT_DEVIATION / (self.config.hidden as f32).sqrt();
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
                    embedding_deviation * key.normal(index)
                } else {
                    let is_added = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
                    let spread = (bound / 3.0_f64.sqrt()) as f32;
                    spread * if is_added { shrink } else { 1.0 } * key.normal(index)
                };
            }
        }
    }

    /// Returns whether all weights are trained.
    pub fn is_whole(&self) -> bool {
        matches!(self.head.weight, Weight::Trained(..))
    }
}

#[cfg(test)]
mod tests;
