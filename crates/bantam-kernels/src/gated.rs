//! Gated activations of feed-forward layers.

use std::ops::Range;

use crate::grouped::{GroupedRows, SharedGroups};
use crate::isa::Kernel;
use crate::math::exp;
use crate::pool::Pool;
use crate::product::{load_some, store_some};
use crate::quantise::row_chunks;
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// The activation applied to gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// x / (1 + e^-x).
    Silu,
    /// GELU with the tanh approximation, x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))).
    GeluTanh,
}

impl Gate {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::F) -> S::F {
        // (1 + tanh(z)) / 2 is 1 / (1 + e^-2z), so both gates are x over 1 + e^-z.
        let z = match self {
            Self::Silu => x,
            Self::GeluTanh => {
                let cubic = s.mul_add(s.mul(x, x), s.splat(0.071_354_814), s.splat(1.595_769));
                s.mul(x, cubic)
            }
        };
        let power = s.min(s.sub(s.splat(0.0), z), s.splat(87.0));
        s.div(x, s.add(s.splat(1.0), exp(s, power)))
    }
}

/// Multiplies activated gates by values. Each input row has `width` gates followed by `width` values, as one product
/// makes both; each output row has `width` elements.
///
/// # Panics
/// If the lengths do not match.
pub fn gated(pool: &Pool, gate: Gate, rows: &[f32], width: usize, outputs: &mut [f32]) {
    let count = check(rows, width);
    assert_eq!(outputs.len(), count * width);
    let shared = SharedSlice::new(outputs);
    run(pool, gate, rows, width, &Target::Numbers(&shared));
}

/// Like [`gated`], but quantises the result for the next product.
///
/// # Panics
/// If the lengths do not match.
pub fn gated_quantise(pool: &Pool, gate: Gate, rows: &[f32], width: usize, quantised: &mut GroupedRows) {
    let count = check(rows, width);
    let groups = quantised.reshape(count, width);
    run(pool, gate, rows, width, &Target::Groups(&groups));
}

fn check(rows: &[f32], width: usize) -> usize {
    assert!(width > 0 && rows.len().is_multiple_of(2 * width), "not whole rows of gates and values");
    rows.len() / (2 * width)
}

fn run(pool: &Pool, gate: Gate, numbers: &[f32], width: usize, to: &Target<'_>) {
    let count = numbers.len() / (2 * width);
    let (per_chunk, chunks) = row_chunks(count, 4 * width);
    pool.run(chunks, |_, chunk| {
        let rows = chunk * per_chunk..((chunk + 1) * per_chunk).min(count);
        pool.isa().call(Chunk { gate, numbers, width, rows, to });
    });
}

enum Target<'t> {
    Numbers(&'t SharedSlice<'t, f32>),
    Groups(&'t SharedGroups<'t>),
}

/// **Invariant:** `rows` are within `numbers` and the target, and no other thread uses them.
struct Chunk<'c> {
    gate: Gate,
    numbers: &'c [f32],
    width: usize,
    rows: Range<usize>,
    to: &'c Target<'c>,
}

impl Kernel for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.width;
        let mut memory = vec![0.0; if matches!(self.to, Target::Groups(_)) { width } else { 0 }];
        for row in self.rows.clone() {
            let (gates, values) = self.numbers[row * 2 * width..(row + 1) * 2 * width].split_at(width);
            match self.to {
                Target::Numbers(shared) => {
                    // SAFETY: the type's invariant.
                    let to = unsafe { shared.part(row * width..(row + 1) * width) };
                    multiply(s, self.gate, gates, values, to);
                }
                Target::Groups(shared) => {
                    multiply(s, self.gate, gates, values, &mut memory);
                    // SAFETY: the type's invariant.
                    unsafe { shared.fill(s, row, &memory) };
                }
            }
        }
    }
}

/// Writes activated gates times values.
#[inline(always)]
fn multiply<S: Simd>(s: S, gate: Gate, gates: &[f32], values: &[f32], to: &mut [f32]) {
    let width = to.len().min(gates.len()).min(values.len());
    for start in (0..width).step_by(S::LANES) {
        let count = width - start;
        // SAFETY: all three have `count` elements left.
        unsafe {
            let gates = gate.apply(s, load_some(s, gates.as_ptr().add(start), count));
            let values = load_some(s, values.as_ptr().add(start), count);
            store_some(s, s.mul(gates, values), to.as_mut_ptr().add(start), count);
        }
    }
}
