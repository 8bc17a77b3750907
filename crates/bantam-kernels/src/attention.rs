//! Attention of every token to all or nearby tokens of its own sequence.

use std::ops::Range;

use crate::grid::{TILE, even_part, with_rows};
use crate::isa::Kernel;
use crate::math::exp;
use crate::pool::Pool;
use crate::product::{block, store_some};
use crate::rotation::RotationTable;
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// Tokens times head size below which several heads share a chunk.
const CHUNK_WORK: usize = 1536;
/// Most rows of scores held at once.
const SCORE_ROWS: usize = 12;

/// The heads of queries, keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Number of heads.
    pub count: usize,
    /// Elements per head.
    pub size: usize,
}

/// Which tokens a token sees, and how positions matter.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttentionScope<'t> {
    /// Rotates queries and keys by their positions, counted from 0 in each sequence; without it, positions do not
    /// matter.
    pub rotation: Option<&'t RotationTable>,
    /// The largest distance at which tokens are seen; `None` for no limit.
    pub reach: Option<usize>,
}

/// Working memory of [`attention`]; it grows to the size that the longest sequence needs.
#[derive(Clone, Debug, Default)]
pub struct AttentionScratch {
    numbers: Vec<f32>,
}

/// Writes, for each token and head, the mean of the sequence's values weighted by the softmax of scaled products.
///
/// `qkv` has one row per token: the queries of all heads, then keys, then values. `ends` lists the rows at which
/// sequences end, in order; the last is the number of rows. `outputs` has one row per token with all heads.
///
/// # Panics
/// If the lengths do not match, `ends` is not sorted, or a rotation has another head size or fewer positions than the
/// longest sequence.
pub fn attention(
    pool: &Pool,
    qkv: &[f32],
    ends: &[usize],
    (heads, scope): (Heads, AttentionScope<'_>),
    scratch: &mut AttentionScratch,
    outputs: &mut [f32],
) {
    let width = heads.count * heads.size;
    let rows = ends.last().copied().unwrap_or(0);
    assert!(ends.is_sorted(), "ends are not sorted");
    assert_eq!(qkv.len(), rows * 3 * width);
    assert_eq!(outputs.len(), rows * width);
    let lengths = std::iter::once(0).chain(ends.iter().copied()).zip(ends).map(|(start, end)| end - start);
    let longest = lengths.max().unwrap_or(0);
    if longest == 0 || width == 0 {
        return;
    }
    if let Some(rotation) = scope.rotation {
        assert!(rotation.size() == heads.size && rotation.positions() >= longest, "rotation of another size");
    }
    let layout = HeadScratch::new(longest, heads.size);
    let needed = layout.all() * pool.threads();
    if scratch.numbers.len() < needed {
        scratch.numbers.resize(needed, 0.0);
    }
    let wanted = (CHUNK_WORK / (longest * heads.size)).clamp(1, heads.count.div_ceil(pool.threads()));
    let groups = heads.count.div_ceil(wanted);
    let (scratches, outputs) = (SharedSlice::new(&mut scratch.numbers), SharedSlice::new(outputs));
    pool.run(ends.len() * groups, |thread, chunk| {
        let (sequence, group) = (chunk / groups, chunk % groups);
        let start = if sequence == 0 { 0 } else { ends[sequence - 1] };
        // SAFETY: no two chunks run on one thread at the same time.
        let memory = unsafe { scratches.part(thread * layout.all()..(thread + 1) * layout.all()) };
        for head in even_part(heads.count, groups, group) {
            let rows = start..ends[sequence];
            let memory = &mut *memory;
            pool.isa().call(Head { qkv, heads, scope, head, rows, layout, memory, outputs: &outputs });
        }
    });
}

/// The layout of one thread's working memory, in elements.
#[derive(Clone, Copy)]
struct HeadScratch {
    keys: usize,
    values: usize,
    scores: usize,
    /// Rotated queries or keys: at most [`SCORE_ROWS`], or a vector's lanes, at once.
    rotated: usize,
}

impl HeadScratch {
    fn new(tokens: usize, size: usize) -> Self {
        let (tokens, padded) = (tokens.next_multiple_of(TILE), size.next_multiple_of(TILE));
        Self {
            keys: size * tokens,
            values: tokens * padded,
            scores: SCORE_ROWS * tokens,
            rotated: TILE * size,
        }
    }

    fn all(self) -> usize {
        self.keys + self.values + self.scores + self.rotated
    }

    /// Splits the memory into keys, values, scores and rotated rows.
    #[inline(always)]
    fn cut(self, memory: &mut [f32]) -> [&mut [f32]; 4] {
        let (keys, rest) = memory.split_at_mut(self.keys);
        let (values, rest) = rest.split_at_mut(self.values);
        let (scores, rotated) = rest.split_at_mut(self.scores);
        [keys, values, scores, rotated]
    }
}

/// One head of one sequence.
///
/// **Invariant:** `rows` are within `qkv` and `outputs`, `head` is below `heads.count`, `layout` is made for at least
/// as many tokens and fits `memory`, a rotation has a position for each row, and no other thread writes these rows
/// and columns of `outputs`.
struct Head<'c> {
    qkv: &'c [f32],
    heads: Heads,
    scope: AttentionScope<'c>,
    head: usize,
    rows: Range<usize>,
    layout: HeadScratch,
    memory: &'c mut [f32],
    outputs: &'c SharedSlice<'c, f32>,
}

impl Kernel for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        if self.rows.is_empty() {
            return;
        }
        let tokens = self.rows.len();
        self.gather(s);
        let blocks = tokens.div_ceil(S::BLOCK_ROWS);
        for index in 0..blocks {
            let block = even_part(tokens, blocks, index);
            let (first, count) = (block.start, block.len());
            // SAFETY: the rows are within the sequence.
            with_rows!(count, up to S::BLOCK_ROWS, R => unsafe { self.block::<S, R>(s, first) });
        }
    }
}

impl Head<'_> {
    /// Stores scaled keys by columns and values by rows, both padded with zeros to whole vectors.
    #[inline(always)]
    fn gather<S: Simd>(&mut self, s: S) {
        let (tokens, size) = (self.rows.len(), self.heads.size);
        let width = self.heads.count * size;
        let (padded_tokens, padded_size) =
            (tokens.next_multiple_of(S::LANES), size.next_multiple_of(S::LANES));
        let scale = 1.0 / (size as f32).sqrt();
        let [keys, values, _, rotated] = self.layout.cut(self.memory);
        let key = &self.qkv[self.rows.start * 3 * width + width + self.head * size..];
        let rotation = self.scope.rotation;
        let whole = tokens - tokens % S::LANES;
        for token in (0..whole).step_by(S::LANES) {
            let from = match rotation {
                None => (key[token * 3 * width..].as_ptr(), 3 * width),
                Some(rotation) => {
                    let key = &key[token * 3 * width..];
                    rotate_rows(s, rotation, token..token + S::LANES, (key, 3 * width), rotated);
                    (rotated.as_ptr(), size)
                }
            };
            // SAFETY: `token + LANES <= tokens` rows of `size` keys, by the type's invariant, or as many rotated
            // ones; the layout has `size` rows of at least `padded_tokens`.
            unsafe { s.transpose(from, size, (keys[token..].as_mut_ptr(), padded_tokens), scale) };
        }
        let last = &key[(whole * 3 * width).min(key.len())..];
        let (last, stride) = match rotation {
            None => (last, 3 * width),
            Some(rotation) => {
                rotate_rows(s, rotation, whole..tokens, (last, 3 * width), rotated);
                (&*rotated, size)
            }
        };
        for number in 0..size {
            let column = &mut keys[number * padded_tokens..(number + 1) * padded_tokens];
            for (token, place) in column.iter_mut().enumerate().skip(whole) {
                *place = if token < tokens { scale * last[(token - whole) * stride + number] } else { 0.0 };
            }
        }
        for (token, place) in values.chunks_exact_mut(padded_size).enumerate().take(tokens) {
            let from = token * 3 * width + width;
            place[..size].copy_from_slice(&key[from..from + size]);
            place[size..].fill(0.0);
        }
    }

    /// Returns the tokens that at least one of `queries` sees, extended downwards to the start of a vector.
    #[inline(always)]
    fn seen<S: Simd>(&self, queries: Range<usize>) -> Range<usize> {
        let Some(reach) = self.scope.reach else { return 0..self.rows.len() };
        let start = queries.start.saturating_sub(reach);
        start - start % S::LANES..queries.end.saturating_add(reach).min(self.rows.len())
    }

    /// Processes `R` tokens from `first`.
    ///
    /// # Safety
    /// They are tokens of the sequence, and `gather` has run.
    #[inline(always)]
    unsafe fn block<S: Simd, const R: usize>(&mut self, s: S, first: usize) {
        let (tokens, size) = (self.rows.len(), self.heads.size);
        let width = self.heads.count * size;
        let (padded_tokens, padded_size) =
            (tokens.next_multiple_of(S::LANES), size.next_multiple_of(S::LANES));
        let seen = self.seen::<S>(first..first + R);
        // The first token begins a vector, so the padded length fits in the padded tokens from there on.
        let (depth, padded_depth) = (seen.len(), seen.len().next_multiple_of(S::LANES));
        let row = self.rows.start + first;
        let query = &self.qkv[row * 3 * width + self.head * size..];
        let [keys, values, scores, rotated] = self.layout.cut(self.memory);
        let (query, query_stride) = match self.scope.rotation {
            None => (query, 3 * width),
            Some(rotation) => {
                rotate_rows(s, rotation, first..first + R, (query, 3 * width), rotated);
                (&*rotated, size)
            }
        };
        let scores = &mut scores[..R * padded_depth];
        // SAFETY: `R` rows of queries; keys have `size` rows of `padded_tokens`, of which `padded_depth` remain;
        // scores have `R` rows of `padded_depth`.
        unsafe {
            let to = (scores.as_mut_ptr(), padded_depth);
            let keys = (keys.as_ptr().add(seen.start), padded_tokens);
            let query = (query.as_ptr(), query_stride);
            multiply::<S, R>(s, size, query, keys, (to, padded_depth), &[1.0; R]);
        }
        let mut inverses = [0.0; R];
        for (r, (scores, inverse)) in scores.chunks_exact_mut(padded_depth).zip(&mut inverses).enumerate() {
            let valid = match self.scope.reach {
                None => 0..depth,
                Some(reach) => {
                    let (start, end) = ((first + r).saturating_sub(reach), (first + r).saturating_add(reach));
                    start - seen.start..end.min(tokens - 1) + 1 - seen.start
                }
            };
            *inverse = 1.0 / softmax(s, scores, valid);
        }
        // SAFETY: scores have `R` rows of `depth`, values `tokens` rows of `padded_size`; only this head writes these
        // rows and columns of the outputs, `size` elements a row.
        unsafe {
            let to = (self.outputs.pointer().add(row * width + self.head * size), width);
            let values = (values.as_ptr().add(seen.start * padded_size), padded_size);
            multiply::<S, R>(s, depth, (scores.as_ptr(), padded_depth), values, (to, size), &inverses);
        }
    }
}

/// Writes rows, `stride` apart, consecutively and rotated to `positions`.
#[inline(always)]
fn rotate_rows<S: Simd>(
    s: S,
    rotation: &RotationTable,
    positions: Range<usize>,
    (rows, stride): (&[f32], usize),
    rotated: &mut [f32],
) {
    let size = rotation.size();
    for ((index, position), to) in positions.enumerate().zip(rotated.chunks_exact_mut(size)) {
        rotation.rotate(s, position, &rows[index * stride..index * stride + size], to);
    }
}

/// Writes `R` rows of the product of `a` (`R` × `depth`) and `b` (`depth` × `columns`), row `r` times `factors[r]`.
///
/// # Safety
/// Each matrix, given as pointer and stride, has its rows; `b` is readable and its columns are padded to whole
/// vectors; `to` is writable for `columns` elements a row and overlaps neither.
#[inline(always)]
unsafe fn multiply<S: Simd, const R: usize>(
    s: S,
    depth: usize,
    a: (*const f32, usize),
    (b, b_stride): (*const f32, usize),
    ((to, to_stride), columns): ((*mut f32, usize), usize),
    factors: &[f32; R],
) {
    let mut column = 0;
    while column < columns {
        let two = column + S::LANES < columns;
        // SAFETY: the vectors start before `columns`, and the caller vouches for the padding.
        let sums = unsafe {
            let first = b.add(column);
            if two {
                block::<S, R, 2>(s, depth, a, ([first, first.add(S::LANES)], b_stride))
            } else {
                block::<S, R, 1>(s, depth, a, ([first], b_stride)).map(|[sum]| [sum, sum])
            }
        };
        for (row, (sums, factor)) in sums.into_iter().zip(factors).enumerate() {
            let factor = s.splat(*factor);
            // SAFETY: the caller vouches for `columns` elements a row; no more are written.
            unsafe {
                let to = to.add(row * to_stride + column);
                store_some(s, s.mul(sums[0], factor), to, columns - column);
                if two {
                    store_some(s, s.mul(sums[1], factor), to.add(S::LANES), columns - column - S::LANES);
                }
            }
        }
        column += if two { 2 * S::LANES } else { S::LANES };
    }
}

/// Replaces the `valid` scores by e^(score - highest) and the padding around them by zero. Returns the sum.
#[inline(always)]
fn softmax<S: Simd>(s: S, scores: &mut [f32], valid: Range<usize>) -> f32 {
    scores[..valid.start].fill(f32::NEG_INFINITY);
    scores[valid.end..].fill(f32::NEG_INFINITY);
    let mut highest = s.splat(f32::NEG_INFINITY);
    for vector in scores.chunks_exact(S::LANES) {
        // SAFETY: a chunk is a whole vector.
        highest = s.max(highest, unsafe { s.load(vector.as_ptr()) });
    }
    let highest = s.splat(s.highest(highest));
    let mut sum = s.splat(0.0);
    for vector in scores.chunks_exact_mut(S::LANES) {
        // SAFETY: a chunk is a whole vector.
        unsafe {
            let value = exp(s, s.sub(s.load(vector.as_ptr()), highest));
            s.store(value, vector.as_mut_ptr());
            sum = s.add(sum, value);
        }
    }
    // The exponential never gives 0; its tiny results times values would be denormal, which is slow.
    scores[..valid.start].fill(0.0);
    scores[valid.end..].fill(0.0);
    s.sum(sum)
}
