//! One key head and the queries that share it.

use std::ops::Range;

use half::f16;

use super::{AttendOptions, AttendSpan};
use crate::grid::{even_part, with_rows};
use crate::isa::Kernel;
use crate::kv::{Columns, KvStore, PAGE_TOKENS};
use crate::math::exp;
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// Most queries processed together.
pub(super) const BLOCK: usize = 12;
/// Number of tokens whose scores are held at once. Sequences are always cut at its multiples.
const SEGMENT: usize = 16 * PAGE_TOKENS;

/// The layout of one thread's working memory, in elements.
#[derive(Clone, Copy)]
pub(super) struct HeadScratch {
    size: usize,
}

impl HeadScratch {
    pub(super) fn new(size: usize) -> Self {
        Self { size }
    }

    /// Elements of scaled queries, value sums and scores together.
    pub(super) fn all(self) -> usize {
        2 * BLOCK * self.size + BLOCK * SEGMENT
    }
}

/// Queries `block` of those that share a key head: query i belongs to row `i / n` and to sharer `i % n` of the head.
///
/// **Invariant:** layer, head and pages exist in `store`, the pages cover the span, its rows are within `queries` and
/// `outputs`, no other thread writes these rows and heads, and `memory` is large enough for `layout`.
pub(super) struct Head<'c> {
    pub(super) store: &'c KvStore,
    pub(super) layer: usize,
    pub(super) head: usize,
    pub(super) queries: Columns<'c>,
    pub(super) options: AttendOptions,
    pub(super) span: &'c AttendSpan<'c>,
    pub(super) block: Range<usize>,
    pub(super) layout: HeadScratch,
    pub(super) memory: &'c mut [f32],
    pub(super) outputs: &'c SharedSlice<'c, f32>,
}

impl<'c> Head<'c> {
    /// Returns the kernel over the store's elements.
    pub(super) fn typed<N: KvElement>(self, numbers: &'c [N]) -> TypedHead<'c, N> {
        TypedHead { head: self, numbers }
    }

    /// Returns the row and the query head of query `index`.
    fn query(&self, index: usize) -> (usize, usize) {
        let shared_by = self.options.heads / self.store.shape().kv_heads;
        (self.span.rows.start + index / shared_by, self.head * shared_by + index % shared_by)
    }

    /// Returns the tokens that query `index` sees.
    fn seen(&self, index: usize) -> Range<usize> {
        let (row, _) = self.query(index);
        let end = self.span.start + (row - self.span.rows.start) + 1;
        self.span.window.map_or(0, |window| end.saturating_sub(window.max(1)))..end
    }
}

/// An element type of stored keys and values.
pub(super) trait KvElement: Copy + Sync {
    /// # Safety
    /// `from` is readable for `LANES` elements.
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::F;
    /// Returns the element as f32.
    fn to_f32(self) -> f32;
}

impl KvElement for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::F {
        // SAFETY: the caller vouches for it.
        unsafe { s.load(from) }
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
}

impl KvElement for u16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::F {
        // SAFETY: the caller vouches for it.
        unsafe { s.load_half(from) }
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        f16::from_bits(self).to_f32()
    }
}

/// [`Head`] with its element type.
pub(super) struct TypedHead<'c, N> {
    head: Head<'c>,
    numbers: &'c [N],
}

impl<N: KvElement> Kernel for TypedHead<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let count = self.head.block.len();
        let blocks = count.div_ceil(S::BLOCK_ROWS);
        for index in 0..blocks {
            let part = even_part(count, blocks, index);
            let first = self.head.block.start + part.start;
            self.block(s, first, part.len());
        }
    }
}

impl<N: KvElement> TypedHead<'_, N> {
    /// Processes `count` queries from `first`, at most [`BLOCK`].
    #[inline(always)]
    fn block<S: Simd>(&mut self, s: S, first: usize, count: usize) {
        let size = self.head.layout.size;
        let memory = std::mem::take(&mut self.head.memory);
        let (queries, rest) = memory.split_at_mut(BLOCK * size);
        let (sums, scores) = rest.split_at_mut(BLOCK * size);
        let mut seen = [(0, 0); BLOCK];
        for (r, seen) in seen.iter_mut().enumerate().take(count) {
            let (row, head) = self.head.query(first + r);
            let from = row * self.head.queries.stride + self.head.queries.start + head * size;
            let query = &self.head.queries.numbers[from..from + size];
            for (place, number) in queries[r * size..].iter_mut().zip(query) {
                *place = number * self.head.options.scale;
            }
            let range = self.head.seen(first + r);
            *seen = (range.start, range.end);
        }
        let seen = &seen[..count];
        sums[..count * size].fill(0.0);
        let mut totals = [(f32::NEG_INFINITY, 0.0); BLOCK];
        let start = seen.iter().fold(usize::MAX, |least, seen| least.min(seen.0));
        let end = seen.iter().fold(0, |most, seen| most.max(seen.1));
        let mut segment = start - start % SEGMENT;
        while segment < end {
            let within = start.max(segment) - segment..end.min(segment + SEGMENT) - segment;
            self.scores(s, segment, &within, &queries[..count * size], scores);
            let mut factors = [1.0; BLOCK];
            for (r, (factor, seen)) in factors.iter_mut().zip(seen).enumerate() {
                let scores = &mut scores[r * SEGMENT..(r + 1) * SEGMENT];
                let seen = seen.0.max(segment)..seen.1.min(segment + SEGMENT);
                let seen = seen.start.saturating_sub(segment)..seen.end.saturating_sub(segment);
                *factor = weigh(s, scores, &within, seen, self.head.options.softcap, &mut totals[r]);
            }
            self.values(s, segment, &within, scores, &factors[..count], sums);
            segment += SEGMENT;
        }
        for (r, (_, total)) in totals.into_iter().enumerate().take(count) {
            let (row, head) = self.head.query(first + r);
            let to = row * self.head.options.heads * size + head * size;
            // SAFETY: the invariant of `Head`.
            let to = unsafe { self.head.outputs.part(to..to + size) };
            for (to, sum) in to.iter_mut().zip(&sums[r * size..]) {
                *to = sum / total;
            }
        }
        self.head.memory = memory;
    }

    /// Writes the products of the queries with the keys of the tokens `within` a segment, in whole vectors.
    #[inline(always)]
    fn scores<S: Simd>(
        &self,
        s: S,
        segment: usize,
        within: &Range<usize>,
        queries: &[f32],
        scores: &mut [f32],
    ) {
        let size = self.head.layout.size;
        let rows = queries.len() / size;
        let mut token = within.start - within.start % S::LANES;
        while token < within.end {
            // If the last vector has no partner, it is computed twice.
            let second = if token + S::LANES < within.end { token + S::LANES } else { token };
            let keys = [token, second].map(|token| {
                let head = self.page(segment + token);
                head[(segment + token) % PAGE_TOKENS..].as_ptr()
            });
            let to = [token, second].map(|token| scores.as_mut_ptr().wrapping_add(token));
            // SAFETY: a page's head has `size` keys of 16 tokens; lanes divide 16 and a segment; there are `rows`
            // queries and as many rows of scores.
            with_rows!(rows, up to S::BLOCK_ROWS, R => unsafe {
                products::<S, N, R>(s, size, queries.as_ptr(), keys, to);
            });
            token += 2 * S::LANES;
        }
    }

    /// Scales the sums by `factors` and adds the weighted values of the tokens `within` a segment.
    #[inline(always)]
    fn values<S: Simd>(
        &self,
        s: S,
        segment: usize,
        within: &Range<usize>,
        weights: &[f32],
        factors: &[f32],
        sums: &mut [f32],
    ) {
        let size = self.head.layout.size;
        let rows = factors.len();
        let (weights, sums) = (&weights[..rows * SEGMENT], &mut sums[..rows * size]);
        for (sums, factor) in sums.chunks_exact_mut(size).zip(factors) {
            sums.iter_mut().for_each(|sum| *sum *= factor);
        }
        let whole = size - size % (2 * S::LANES);
        for column in (0..whole).step_by(2 * S::LANES) {
            let sums = (sums[column..].as_mut_ptr(), size);
            let weights = weights.as_ptr();
            // SAFETY: from `column` on, each of the `rows` rows of sums has two vectors left; weights have as many
            // rows.
            with_rows!(rows, up to S::BLOCK_ROWS, R => unsafe {
                self.add::<S, R>(s, segment, within, (weights, sums), column);
            });
        }
        if whole < size {
            for token in within.clone() {
                let values = &self.values_of(segment + token)[whole..size];
                for (r, sums) in sums.chunks_exact_mut(size).enumerate() {
                    let weight = weights[r * SEGMENT + token];
                    for (sum, value) in sums[whole..].iter_mut().zip(values) {
                        *sum += weight * value.to_f32();
                    }
                }
            }
        }
    }

    /// Adds two vectors of columns, from `column` on, of the weighted values of the tokens `within` a segment.
    ///
    /// # Safety
    /// Weights are readable for `R` rows of a segment; `sums`, a pointer and a row stride, is writable for `R` times
    /// two vectors.
    #[inline(always)]
    unsafe fn add<S: Simd, const R: usize>(
        &self,
        s: S,
        segment: usize,
        within: &Range<usize>,
        (weights, (sums, stride)): (*const f32, (*mut f32, usize)),
        column: usize,
    ) {
        let size = self.head.layout.size;
        let mut totals = [[s.splat(0.0); 2]; R];
        for (r, totals) in totals.iter_mut().enumerate() {
            // SAFETY: the caller vouches for the sums.
            *totals = unsafe { [0, S::LANES].map(|lane| s.load(sums.add(r * stride + lane))) };
        }
        let mut token = within.start;
        while token < within.end {
            let end = (token - token % PAGE_TOKENS + PAGE_TOKENS).min(within.end);
            let mut values = self.values_of(segment + token)[column..].as_ptr();
            for token in token..end {
                // SAFETY: a page has values of `size` elements for 16 tokens, and two vectors are left from `column`
                // on.
                let vectors = unsafe { [N::load(s, values), N::load(s, values.add(S::LANES))] };
                for (r, totals) in totals.iter_mut().enumerate() {
                    // SAFETY: the caller vouches for a segment of weights.
                    let weight = s.splat(unsafe { *weights.add(r * SEGMENT + token) });
                    totals[0] = s.mul_add(weight, vectors[0], totals[0]);
                    totals[1] = s.mul_add(weight, vectors[1], totals[1]);
                }
                values = values.wrapping_add(size);
            }
            token = end;
        }
        for (r, totals) in totals.into_iter().enumerate() {
            for (total, lane) in totals.into_iter().zip([0, S::LANES]) {
                // SAFETY: the caller vouches for the sums.
                unsafe { s.store(total, sums.add(r * stride + lane)) };
            }
        }
    }

    /// Returns this head's values from a token to the end of its page.
    #[inline(always)]
    fn values_of(&self, token: usize) -> &[N] {
        let keys = self.head.store.shape().head_numbers();
        &self.page(token)[keys + token % PAGE_TOKENS * self.head.layout.size..]
    }

    /// Returns this head's keys and values in the page of a token.
    #[inline(always)]
    fn page(&self, token: usize) -> &[N] {
        let (head, store) = (&self.head, self.head.store);
        let at = store.at(head.span.pages[token / PAGE_TOKENS] as usize, head.layer, head.head);
        &self.numbers[at..at + 2 * store.shape().head_numbers()]
    }
}

/// Writes the products of `R` queries of `size` elements with two vectors of keys.
///
/// # Safety
/// `queries` is readable for `R` rows of `size`; each of `keys` for `size` vectors, [`PAGE_TOKENS`] apart; each of
/// `to` is writable for `R` vectors, [`SEGMENT`] apart.
#[inline(always)]
unsafe fn products<S: Simd, N: KvElement, const R: usize>(
    s: S,
    size: usize,
    queries: *const f32,
    mut keys: [*const N; 2],
    to: [*mut f32; 2],
) {
    let mut sums = [[s.splat(0.0); 2]; R];
    for i in 0..size {
        // SAFETY: `i < size`, and the caller vouches for `size` vectors.
        let vectors = keys.map(|keys| unsafe { N::load(s, keys) });
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            let query = s.splat(unsafe { *queries.add(r * size + i) });
            sums[0] = s.mul_add(query, vectors[0], sums[0]);
            sums[1] = s.mul_add(query, vectors[1], sums[1]);
        }
        keys = keys.map(|keys| keys.wrapping_add(PAGE_TOKENS));
    }
    for (r, sums) in sums.into_iter().enumerate() {
        for (sum, to) in sums.into_iter().zip(to) {
            // SAFETY: the caller vouches for `to`.
            unsafe { s.store(sum, to.add(r * SEGMENT)) };
        }
    }
}

/// Turns the scores of a segment into weights, and those outside `seen` into zeros. Returns the factor for earlier
/// sums. `total` holds the highest score so far and the sum of the weights.
#[inline(always)]
fn weigh<S: Simd>(
    s: S,
    scores: &mut [f32],
    within: &Range<usize>,
    seen: Range<usize>,
    softcap: Option<f32>,
    total: &mut (f32, f32),
) -> f32 {
    if seen.is_empty() {
        scores[within.clone()].fill(0.0);
        return 1.0;
    }
    let first = seen.start - seen.start % S::LANES;
    let vectors = first..seen.end.next_multiple_of(S::LANES);
    if let Some(softcap) = softcap {
        for vector in scores[vectors.clone()].chunks_exact_mut(S::LANES) {
            // SAFETY: a chunk is a whole vector.
            unsafe { s.store(cap(s, s.load(vector.as_ptr()), softcap), vector.as_mut_ptr()) };
        }
    }
    scores[first..seen.start].fill(f32::NEG_INFINITY);
    scores[seen.end..vectors.end].fill(f32::NEG_INFINITY);
    let mut highest = s.splat(total.0);
    for vector in scores[vectors.clone()].chunks_exact(S::LANES) {
        // SAFETY: a chunk is a whole vector.
        highest = s.max(highest, unsafe { s.load(vector.as_ptr()) });
    }
    let highest = s.highest(highest);
    let (mut sum, shift) = (s.splat(0.0), s.splat(highest));
    for vector in scores[vectors].chunks_exact_mut(S::LANES) {
        // SAFETY: a chunk is a whole vector.
        unsafe {
            let value = exp(s, s.sub(s.load(vector.as_ptr()), shift));
            s.store(value, vector.as_mut_ptr());
            sum = s.add(sum, value);
        }
    }
    scores[within.start.min(seen.start)..seen.start].fill(0.0);
    scores[seen.end..within.end.max(seen.end)].fill(0.0);
    let factor = (total.0 - highest).exp();
    *total = (highest, total.1 * factor + s.sum(sum));
    factor
}

/// Returns `softcap * tanh(x / softcap)`.
#[inline(always)]
fn cap<S: Simd>(s: S, x: S::F, softcap: f32) -> S::F {
    let twice = s.mul(x, s.splat(2.0 / softcap));
    let power = exp(s, s.max(s.splat(-80.0), s.min(s.splat(80.0), twice)));
    let tanh = s.sub(s.splat(1.0), s.div(s.splat(2.0), s.add(power, s.splat(1.0))));
    s.mul(s.splat(softcap), tanh)
}
