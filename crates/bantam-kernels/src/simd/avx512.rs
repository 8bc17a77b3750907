//! AVX-512 with VNNI.

use std::arch::x86_64::*;

use super::Simd;

/// AVX-512 F, BW, DQ, VL and VNNI.
///
/// **Invariant:** a value exists only if these instructions do. Every `unsafe` block below without another reason
/// relies on that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The machine has the instructions.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }

    /// Returns a mask with the first `count` lanes set.
    #[inline(always)]
    fn first_lanes(self, count: usize) -> __mmask16 {
        ((1_u32 << count.min(16)) - 1) as __mmask16
    }
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    const BLOCK_ROWS: usize = 12;
    const DOT_OFFSET: i32 = 0;

    type F = __m512;
    type I = __m512i;
    type Quad = __m512i;
    const GROUPED_ROWS: usize = 6;
    const DECODED_ROWS: usize = 8;
    type Bytes = __m512i;
    type Signed = __m512i;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }

    #[inline(always)]
    fn power_of_two(self, a: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm512_scalef_ps(_mm512_set1_ps(1.0), a) }
    }

    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        // SAFETY: the type's invariant.
        unsafe { _mm512_reduce_add_ps(a) }
    }

    #[inline(always)]
    fn lowest(self, a: Self::F) -> f32 {
        // SAFETY: the type's invariant.
        unsafe { _mm512_reduce_min_ps(a) }
    }

    #[inline(always)]
    fn highest(self, a: Self::F) -> f32 {
        // SAFETY: the type's invariant.
        unsafe { _mm512_reduce_max_ps(a) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F {
        // SAFETY: the caller vouches for the memory.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize) -> Self::F {
        // SAFETY: the caller vouches for `count` elements; the mask protects the rest.
        unsafe { _mm512_maskz_loadu_ps(self.first_lanes(count), from) }
    }

    #[inline(always)]
    unsafe fn store(self, a: Self::F, to: *mut f32) {
        // SAFETY: the caller vouches for the memory.
        unsafe { _mm512_storeu_ps(to, a) };
    }

    #[inline(always)]
    unsafe fn store_first(self, a: Self::F, to: *mut f32, count: usize) {
        // SAFETY: the caller vouches for `count` elements; the mask protects the rest.
        unsafe { _mm512_mask_storeu_ps(to, self.first_lanes(count), a) };
    }

    #[inline(always)]
    unsafe fn store_bytes(self, a: Self::F, to: *mut u8, count: usize) {
        // SAFETY: the caller vouches for `count` bytes; the mask protects the rest.
        unsafe {
            let ints = _mm512_cvtps_epi32(_mm512_max_ps(a, _mm512_setzero_ps()));
            _mm_mask_storeu_epi8(to.cast(), self.first_lanes(count), _mm512_cvtusepi32_epi8(ints));
        }
    }

    #[inline(always)]
    fn splat_int(self, value: i32) -> Self::I {
        // SAFETY: the type's invariant.
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    fn settle(self, sums: Self::I, a: Self::I, b: Self::I) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm512_cvtepi32_ps(_mm512_sub_epi32(sums, _mm512_mullo_epi32(a, b))) }
    }

    #[inline(always)]
    fn dot(self, sums: Self::I, quad: Self::Quad, weights: Self::I) -> Self::I {
        // SAFETY: the type's invariant.
        unsafe { _mm512_dpbusd_epi32(sums, quad, weights) }
    }

    #[inline(always)]
    unsafe fn load_quad(self, from: *const u8) -> Self::Quad {
        // SAFETY: the caller vouches for four bytes; the read needs no alignment.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn load_weights(self, from: *const i8) -> Self::I {
        // SAFETY: the caller vouches for the memory.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn load_int(self, from: *const i32) -> Self::I {
        // SAFETY: the caller vouches for the memory.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    fn dot_bytes(self, sums: Self::I, bytes: Self::Bytes, quad: Self::Signed) -> Self::I {
        // SAFETY: the type's invariant.
        unsafe { _mm512_dpbusd_epi32(sums, bytes, quad) }
    }

    #[inline(always)]
    unsafe fn load_unsigned(self, from: *const u8) -> Self::Bytes {
        // SAFETY: the caller vouches for the memory.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn load_nibbles<const UPPER: bool>(self, from: *const u8) -> Self::Bytes {
        let mask = if UPPER { 0xf0_u8 } else { 0x0f };
        // SAFETY: the caller vouches for the memory.
        unsafe { _mm512_and_si512(_mm512_loadu_si512(from.cast()), _mm512_set1_epi8(mask.cast_signed())) }
    }

    #[inline(always)]
    unsafe fn load_signed(self, from: *const i8) -> Self::Signed {
        // SAFETY: the caller vouches for four bytes; the read needs no alignment.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    fn unshift(self, sums: Self::I, scale: Self::F, shift: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm512_fmsub_ps(_mm512_castsi512_ps(sums), scale, shift) }
    }

    #[inline(always)]
    unsafe fn load_half(self, from: *const u16) -> Self::F {
        // SAFETY: the caller vouches for the memory.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn store_signed(self, a: Self::F, to: *mut i8) {
        // SAFETY: the caller vouches for the memory.
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(a))) };
    }

    #[inline(always)]
    fn prefetch(self, from: *const i8) {
        // SAFETY: a prefetch never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from) };
    }

    #[inline(always)]
    fn prefetch_far(self, from: *const i8) {
        // SAFETY: a prefetch never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from) };
    }

    #[inline(always)]
    unsafe fn store_half(self, a: Self::F, to: *mut u16) {
        // SAFETY: the caller vouches for the memory.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a)) };
    }

    #[inline(always)]
    unsafe fn transpose(
        self,
        (from, stride): (*const f32, usize),
        columns: usize,
        (to, to_stride): (*mut f32, usize),
        scale: f32,
    ) {
        let scale = self.splat(scale);
        let mut column = 0;
        while column < columns {
            let width = (columns - column).min(16);
            let mut rows = [scale; 16];
            for (index, row) in rows.iter_mut().enumerate() {
                // SAFETY: the caller vouches for 16 rows of `columns` elements.
                *row = self.mul(scale, unsafe { self.load_first(from.add(index * stride + column), width) });
            }
            let transposed = transpose_registers(rows);
            for (index, row) in transposed.into_iter().enumerate().take(width) {
                // SAFETY: the caller vouches for `columns` rows of 16 elements.
                unsafe { self.store(row, to.add((column + index) * to_stride)) };
            }
            column += width;
        }
    }
}

/// Transposes a 16 × 16 matrix in registers: by pairs, fours, then quarters of a register.
#[inline(always)]
fn transpose_registers(rows: [__m512; 16]) -> [__m512; 16] {
    let mut fours = rows;
    for base in [0, 4, 8, 12] {
        // SAFETY: a vector of this type is only created where AVX-512 exists.
        unsafe {
            let (r0, r1, r2, r3) = (rows[base], rows[base + 1], rows[base + 2], rows[base + 3]);
            let (a, b) = (_mm512_unpacklo_ps(r0, r1), _mm512_unpackhi_ps(r0, r1));
            let (c, d) = (_mm512_unpacklo_ps(r2, r3), _mm512_unpackhi_ps(r2, r3));
            let [a, b, c, d] = [a, b, c, d].map(|v| _mm512_castps_pd(v));
            fours[base] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
            fours[base + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
            fours[base + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
            fours[base + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
        }
    }
    // Register `base + i`, quarter q, now holds column 4 * q + i of rows base..base + 4.
    let mut transposed = rows;
    for i in 0..4 {
        // SAFETY: as above.
        unsafe {
            let (a, b, c, d) = (fours[i], fours[i + 4], fours[i + 8], fours[i + 12]);
            let (ab_even, ab_odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
            let (cd_even, cd_odd) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
            transposed[i] = _mm512_shuffle_f32x4::<0x88>(ab_even, cd_even);
            transposed[i + 4] = _mm512_shuffle_f32x4::<0x88>(ab_odd, cd_odd);
            transposed[i + 8] = _mm512_shuffle_f32x4::<0xdd>(ab_even, cd_even);
            transposed[i + 12] = _mm512_shuffle_f32x4::<0xdd>(ab_odd, cd_odd);
        }
    }
    transposed
}
