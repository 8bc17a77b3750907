//! The f32 block shared by products and attention, and the activations applied before sums are stored.

use crate::math::gelu;
use crate::simd::Simd;

/// The activation applied to each output of a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// GELU with the error function, within 1e-6 of the exact value.
    Gelu,
}

impl Activation {
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, s: S, x: S::F) -> S::F {
        match self {
            Self::None => x,
            Self::Gelu => gelu(s, x),
        }
    }
}

/// Returns, for `R` rows of `a` and `V` vectors of columns, the sums over `depth` of `a[row][k] * b[k][column]`.
///
/// # Safety
/// `a` is readable for `R` rows of `depth` elements, `a_stride` apart; each of `b` for `depth` vectors, `b_stride`
/// elements apart.
#[inline(always)]
pub(crate) unsafe fn block<S: Simd, const R: usize, const V: usize>(
    s: S,
    depth: usize,
    (a, a_stride): (*const f32, usize),
    (mut b, b_stride): ([*const f32; V], usize),
) -> [[S::F; V]; R] {
    let mut sums = [[s.splat(0.0); V]; R];
    for k in 0..depth {
        // SAFETY: `k < depth`, and the caller vouches for `depth` vectors at each.
        let columns = b.map(|b| unsafe { s.load(b) });
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `row < R` and `k < depth`; the caller vouches for these.
            let value = s.splat(unsafe { *a.add(row * a_stride + k) });
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum = s.mul_add(value, column, *sum);
            }
        }
        b = b.map(|b| b.wrapping_add(b_stride));
    }
    sums
}

/// Loads `count` lanes, or all if `count` is larger.
///
/// # Safety
/// `from` is readable for that many elements.
#[inline(always)]
pub(crate) unsafe fn load_some<S: Simd>(s: S, from: *const f32, count: usize) -> S::F {
    // SAFETY: the caller vouches for it.
    unsafe { if count >= S::LANES { s.load(from) } else { s.load_first(from, count) } }
}

/// Stores `count` lanes, or all if `count` is larger.
///
/// # Safety
/// `to` is writable for that many elements.
#[inline(always)]
pub(crate) unsafe fn store_some<S: Simd>(s: S, value: S::F, to: *mut f32, count: usize) {
    // SAFETY: the caller vouches for it.
    unsafe { if count >= S::LANES { s.store(value, to) } else { s.store_first(value, to, count) } }
}
