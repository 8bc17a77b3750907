//! One layer: attention to all earlier tokens, then a gated feed-forward part, each with a residual connection.

use std::ops::Range;

use bantam_kernels::{
    AttendOptions, AttendSpan, Columns, Gate, KvStore, LowRank, Pool, RmsNorm, Rope, add_low_rank, attend,
    gated, gated_quantise,
};

use super::DecoderConfig;
use super::adapter::{Adapter, Target};
use super::linear::{Linear, NeededForms, normalise, resized};
use super::scratch::LayerScratch;

/// The norms of each head's queries and keys.
#[derive(Debug)]
pub(super) struct HeadNorms {
    pub(super) queries: RmsNorm,
    pub(super) keys: RmsNorm,
}

/// One transformer layer.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) attention_norm: RmsNorm,
    /// Queries, keys and values in one product.
    pub(super) qkv: Linear,
    pub(super) head_norms: Option<HeadNorms>,
    /// Whether it uses the rotation of layers with a window.
    pub(super) is_local: bool,
    pub(super) window: Option<usize>,
    pub(super) output: Linear,
    pub(super) after_attention: Option<RmsNorm>,
    pub(super) feed_forward_norm: RmsNorm,
    /// Gate and up in one product.
    pub(super) gate_up: Linear,
    pub(super) gate: Gate,
    pub(super) down: Linear,
    pub(super) after_feed_forward: Option<RmsNorm>,
}

/// What the layers share while processing one slice of a step.
pub(super) struct StepContext<'s> {
    pub(super) config: &'s DecoderConfig,
    pub(super) pool: &'s Pool,
    /// The rotation, and that of layers with a window.
    pub(super) ropes: &'s (Rope, Option<Rope>),
    /// Number of tokens in the slice.
    pub(super) rows: usize,
    /// Row ranges with their adapters.
    pub(super) adapters: &'s [(Range<usize>, &'s Adapter)],
}

impl StepContext<'_> {
    /// Returns the forms in which `linear` and the adapters need their input rows.
    fn needed(&self, linear: &Linear) -> NeededForms {
        let grouped = linear.is_grouped();
        NeededForms { grouped, numbers: !grouped || !self.adapters.is_empty() }
    }

    /// Adds the adapters' outputs for `rows` and `target` of layer `index` to the columns of `outputs`, given as row
    /// stride and first column.
    fn adapt(&self, index: usize, target: Target, rows: &[f32], place: (usize, usize), outputs: &mut [f32]) {
        if self.adapters.is_empty() {
            return;
        }
        let groups: Vec<(Range<usize>, &LowRank)> = self
            .adapters
            .iter()
            .filter_map(|(rows, adapter)| Some((rows.clone(), adapter.low_rank(index, target)?)))
            .collect();
        add_low_rank(self.pool, rows, &groups, place, outputs);
    }
}

impl Layer {
    /// Replaces the states in `memory` by those after layer `index`. `memory.has_sums` says whether `memory.sums` is
    /// still to be added to them, on entry and on return.
    pub(super) fn forward(
        &self,
        index: usize,
        step: &StepContext<'_>,
        kv: &mut KvStore,
        spans: &mut [AttendSpan<'_>],
        memory: &mut LayerScratch,
    ) {
        self.project(index, step, kv, spans, memory);
        self.attend_and_feed_forward(index, step, kv, spans, memory);
    }

    /// The first part of [`Self::forward`]: leaves rotated queries in `memory.wide`, and writes keys and values.
    pub(super) fn project(
        &self,
        index: usize,
        step: &StepContext<'_>,
        kv: &mut KvStore,
        spans: &mut [AttendSpan<'_>],
        memory: &mut LayerScratch,
    ) {
        let (config, pool) = (step.config, step.pool);
        memory.normalise(&self.attention_norm, step, step.needed(&self.qkv));
        let (queries, keys) = (config.query_width(), config.kv_width());
        let stride = queries + 2 * keys;
        let qkv = resized(&mut memory.wide, step.rows * stride);
        self.qkv.forward(pool, &memory.rows, step.rows, qkv);
        let from = &memory.rows.numbers[..];
        for (target, start) in
            [(Target::Queries, 0), (Target::Keys, queries), (Target::Values, queries + keys)]
        {
            step.adapt(index, target, prefix(from, step.rows * config.hidden), (stride, start), qkv);
        }
        step.adapt(index, Target::Qkv, prefix(from, step.rows * config.hidden), (stride, 0), qkv);
        let (heads, kv_heads) = (config.heads, config.kv_heads);
        if let Some(norms) = &self.head_norms {
            norms.queries.forward(pool, qkv, stride, 0..heads);
            norms.keys.forward(pool, qkv, stride, heads..heads + kv_heads);
        }
        let (rope, angles) = match (&step.ropes.1, self.is_local) {
            (Some(rope), true) => (rope, &memory.local_angles),
            _ => (&step.ropes.0, &memory.angles),
        };
        rope.forward(pool, qkv, stride, 0..heads + kv_heads, angles);
        for span in spans.iter_mut() {
            let rows = &qkv[span.rows.start * stride..span.rows.end * stride];
            let (keys, values) =
                (Columns::new(rows, stride, queries), Columns::new(rows, stride, queries + keys));
            kv.write(index, span.pages, span.start, keys, values);
            span.window = self.window;
        }
    }

    /// The second part of [`Self::forward`], for all or some rows of the first part.
    pub(super) fn attend_and_feed_forward(
        &self,
        index: usize,
        step: &StepContext<'_>,
        kv: &KvStore,
        spans: &[AttendSpan<'_>],
        memory: &mut LayerScratch,
    ) {
        let (config, pool) = (step.config, step.pool);
        let (heads, queries) = (config.heads, config.query_width());
        let stride = queries + 2 * config.kv_width();
        let qkv = &memory.wide[..step.rows * stride];
        let options =
            AttendOptions { heads, scale: config.attention_scale, softcap: config.attention_softcap };
        let context = resized(&mut memory.inner.numbers, step.rows * queries);
        let queries = Columns::new(qkv, stride, 0);
        attend(pool, (kv, index), queries, options, spans, &mut memory.attend, context);
        if self.output.is_grouped() {
            memory.inner.grouped.quantise(pool, context, config.query_width());
        }
        memory.add(&self.output, step, (index, Target::Output), self.after_attention.as_ref());
        self.feed_forward(index, step, memory);
    }

    fn feed_forward(&self, index: usize, step: &StepContext<'_>, memory: &mut LayerScratch) {
        let (pool, width) = (step.pool, step.config.intermediate);
        memory.normalise(&self.feed_forward_norm, step, step.needed(&self.gate_up));
        let both = resized(&mut memory.wide, step.rows * 2 * width);
        self.gate_up.forward(pool, &memory.rows, step.rows, both);
        let from = prefix(&memory.rows.numbers, step.rows * step.config.hidden);
        for (target, start) in [(Target::Gate, 0), (Target::Up, width), (Target::GateUp, 0)] {
            step.adapt(index, target, from, (2 * width, start), both);
        }
        let needed = step.needed(&self.down);
        if needed.numbers {
            let inner = resized(&mut memory.inner.numbers, step.rows * width);
            gated(pool, self.gate, both, width, inner);
            if needed.grouped {
                memory.inner.grouped.quantise(pool, inner, width);
            }
        } else {
            gated_quantise(pool, self.gate, both, width, &mut memory.inner.grouped);
        }
        memory.add(&self.down, step, (index, Target::Down), self.after_feed_forward.as_ref());
    }
}

/// Returns the first `length` elements, or an empty slice if there are fewer because nothing needs them.
fn prefix(numbers: &[f32], length: usize) -> &[f32] {
    numbers.get(..length).unwrap_or_default()
}

impl LayerScratch {
    /// Adds the pending sums to the states and leaves the norm in `rows`.
    pub(super) fn normalise(&mut self, norm: &RmsNorm, step: &StepContext<'_>, needed: NeededForms) {
        let length = step.rows * step.config.hidden;
        let addend = self.has_sums.then(|| &self.sums[..length]);
        normalise(norm, step.pool, &mut self.states[..length], addend, needed, &mut self.rows);
        self.has_sums = false;
    }

    /// Keeps only these rows of the states and of the queries, keys and values, moved to the front.
    pub(super) fn keep(&mut self, config: &DecoderConfig, wanted: &[Range<usize>]) {
        let (width, stride) = (config.hidden, config.query_width() + 2 * config.kv_width());
        let mut end = 0;
        for rows in wanted {
            // Rows only move forward, over rows that were moved already or are not wanted.
            self.states.copy_within(rows.start * width..rows.end * width, end * width);
            self.wide.copy_within(rows.start * stride..rows.end * stride, end * stride);
            end += rows.len();
        }
    }

    /// Applies the last product of a part to `inner`, then the norm if there is one, and adds the result to the
    /// states or leaves it in `sums`.
    fn add(
        &mut self,
        linear: &Linear,
        step: &StepContext<'_>,
        (index, target): (usize, Target),
        norm: Option<&RmsNorm>,
    ) {
        let (pool, width) = (step.pool, step.config.hidden);
        let length = step.rows * width;
        let sums = resized(&mut self.sums, length);
        let states = &mut self.states[..length];
        self.has_sums = match norm {
            Some(_) => {
                linear.forward(pool, &self.inner, step.rows, sums);
                true
            }
            None => linear.forward_add(pool, &self.inner, step.rows, (&mut *states, &mut *sums)),
        };
        let outputs = if self.has_sums { sums } else { states };
        let from = prefix(&self.inner.numbers, step.rows * linear.inputs());
        step.adapt(index, target, from, (width, 0), outputs);
        if let Some(norm) = norm {
            norm.forward(pool, outputs, width, 0..1);
        }
    }
}
