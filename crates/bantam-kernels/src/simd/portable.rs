//! Plain Rust, correct on every machine; compilers vectorise it where they can.

use half::f16;

use super::Simd;

const LANES: usize = 8;

/// The baseline of every machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

#[inline(always)]
fn each(a: [f32; LANES], b: [f32; LANES], operation: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    let mut result = a;
    for (result, b) in result.iter_mut().zip(b) {
        *result = operation(*result, b);
    }
    result
}

impl Simd for Portable {
    const LANES: usize = LANES;
    const BLOCK_ROWS: usize = 2;
    const DOT_OFFSET: i32 = 0;

    type F = [f32; LANES];
    type I = [i32; LANES];
    type Quad = [i32; 4];
    const GROUPED_ROWS: usize = 2;
    const DECODED_ROWS: usize = Self::GROUPED_ROWS;
    type Bytes = [[u8; 4]; LANES];
    type Signed = [i32; 4];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        [value; LANES]
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        each(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        each(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        each(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        each(a, b, |a, b| a / b)
    }

    // Without the instruction, `f32::mul_add` would call the C library.
    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        each(each(a, b, |a, b| a * b), c, |ab, c| ab + c)
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        each(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        each(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        // Adding and subtracting 1.5 * 2^23 removes the fraction.
        const SHIFT: f32 = 12_582_912.0;
        a.map(|a| (a + SHIFT) - SHIFT)
    }

    #[inline(always)]
    fn power_of_two(self, a: Self::F) -> Self::F {
        a.map(|a| f32::from_bits(((a as i32 + 127) as u32) << 23))
    }

    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        ((a[0] + a[4]) + (a[1] + a[5])) + ((a[2] + a[6]) + (a[3] + a[7]))
    }

    #[inline(always)]
    fn lowest(self, a: Self::F) -> f32 {
        a.into_iter().fold(f32::INFINITY, f32::min)
    }

    #[inline(always)]
    fn highest(self, a: Self::F) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F {
        // SAFETY: the caller vouches for it; arrays of f32 are aligned as f32.
        unsafe { *from.cast() }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize) -> Self::F {
        let mut result = [0.0; LANES];
        for (lane, result) in result.iter_mut().enumerate().take(count) {
            // SAFETY: the caller vouches for `count` elements.
            *result = unsafe { *from.add(lane) };
        }
        result
    }

    #[inline(always)]
    unsafe fn store(self, a: Self::F, to: *mut f32) {
        // SAFETY: the caller vouches for it; arrays of f32 are aligned as f32.
        unsafe { *to.cast() = a };
    }

    #[inline(always)]
    unsafe fn store_first(self, a: Self::F, to: *mut f32, count: usize) {
        for (lane, a) in a.into_iter().enumerate().take(count) {
            // SAFETY: the caller vouches for `count` elements.
            unsafe { *to.add(lane) = a };
        }
    }

    #[inline(always)]
    unsafe fn store_bytes(self, a: Self::F, to: *mut u8, count: usize) {
        for (lane, a) in a.into_iter().enumerate().take(count) {
            // SAFETY: the caller vouches for `count` bytes.
            unsafe { *to.add(lane) = a.round_ties_even() as u8 };
        }
    }

    #[inline(always)]
    fn splat_int(self, value: i32) -> Self::I {
        [value; LANES]
    }

    #[inline(always)]
    fn settle(self, sums: Self::I, a: Self::I, b: Self::I) -> Self::F {
        let mut result = [0.0; LANES];
        for (lane, result) in result.iter_mut().enumerate() {
            *result = sums[lane].wrapping_sub(a[lane].wrapping_mul(b[lane])) as f32;
        }
        result
    }

    #[inline(always)]
    fn dot(self, sums: Self::I, quad: Self::Quad, weights: Self::I) -> Self::I {
        let mut result = sums;
        for (result, weights) in result.iter_mut().zip(weights) {
            let [a, b, c, d] = weights.to_le_bytes().map(|byte| i32::from(byte as i8));
            *result += (quad[0] * a + quad[1] * b) + (quad[2] * c + quad[3] * d);
        }
        result
    }

    #[inline(always)]
    unsafe fn load_quad(self, from: *const u8) -> Self::Quad {
        // SAFETY: the caller vouches for four bytes; arrays of bytes need no alignment.
        unsafe { *from.cast::<[u8; 4]>() }.map(i32::from)
    }

    #[inline(always)]
    unsafe fn load_weights(self, from: *const i8) -> Self::I {
        // SAFETY: the caller vouches for the bytes; arrays of bytes need no alignment.
        unsafe { *from.cast::<[[u8; 4]; LANES]>() }.map(i32::from_le_bytes)
    }

    #[inline(always)]
    unsafe fn load_int(self, from: *const i32) -> Self::I {
        // SAFETY: the caller vouches for it; arrays of i32 are aligned as i32.
        unsafe { *from.cast() }
    }

    #[inline(always)]
    fn dot_bytes(self, sums: Self::I, bytes: Self::Bytes, quad: Self::Signed) -> Self::I {
        let mut result = sums;
        for (result, bytes) in result.iter_mut().zip(bytes) {
            let [a, b, c, d] = bytes.map(i32::from);
            *result += (quad[0] * a + quad[1] * b) + (quad[2] * c + quad[3] * d);
        }
        result
    }

    #[inline(always)]
    unsafe fn load_unsigned(self, from: *const u8) -> Self::Bytes {
        // SAFETY: the caller vouches for the bytes; arrays of bytes need no alignment.
        unsafe { *from.cast() }
    }

    #[inline(always)]
    unsafe fn load_nibbles<const UPPER: bool>(self, from: *const u8) -> Self::Bytes {
        let mask = if UPPER { 0xf0 } else { 0x0f };
        // SAFETY: the caller vouches for the bytes.
        unsafe { self.load_unsigned(from) }.map(|bytes| bytes.map(|byte| byte & mask))
    }

    #[inline(always)]
    unsafe fn load_signed(self, from: *const i8) -> Self::Signed {
        // SAFETY: the caller vouches for four bytes; arrays of bytes need no alignment.
        unsafe { *from.cast::<[i8; 4]>() }.map(i32::from)
    }

    // Fused products of other instruction sets round once; so does this, because the difference is exact.
    #[inline(always)]
    fn unshift(self, sums: Self::I, scale: Self::F, _shift: Self::F) -> Self::F {
        each(sums.map(|sum| sum.wrapping_sub(0x4b40_0000) as f32), scale, |sum, scale| sum * scale)
    }

    #[inline(always)]
    unsafe fn load_half(self, from: *const u16) -> Self::F {
        // SAFETY: the caller vouches for the memory.
        unsafe { from.cast::<[u16; LANES]>().read_unaligned() }.map(|bits| f16::from_bits(bits).to_f32())
    }

    #[inline(always)]
    unsafe fn store_signed(self, a: Self::F, to: *mut i8) {
        // SAFETY: the caller vouches for the memory; arrays of bytes need no alignment.
        unsafe { *to.cast::<[i8; LANES]>() = a.map(|a| a.round_ties_even() as i8) };
    }

    #[inline(always)]
    fn prefetch(self, _from: *const i8) {}

    #[inline(always)]
    fn prefetch_far(self, _from: *const i8) {}

    #[inline(always)]
    unsafe fn store_half(self, a: Self::F, to: *mut u16) {
        // SAFETY: the caller vouches for the memory.
        unsafe { to.cast::<[u16; LANES]>().write_unaligned(a.map(|value| f16::from_f32(value).to_bits())) };
    }
}
