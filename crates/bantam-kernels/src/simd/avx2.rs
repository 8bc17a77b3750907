//! AVX2 with FMA, optionally with AVX-VNNI.

use std::arch::x86_64::*;

use super::Simd;

/// AVX2 and FMA; with `VNNI` also AVX-VNNI.
///
/// **Invariant:** a value exists only if these instructions do. Every `unsafe` block below without another reason
/// relies on that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2<const VNNI: bool>(());

impl<const VNNI: bool> Avx2<VNNI> {
    /// # Safety
    /// The machine has AVX2 and FMA, and with `VNNI` AVX-VNNI.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }

    /// Returns a mask with the first `count` lanes set.
    #[inline(always)]
    fn first_lanes(self, count: usize) -> __m256i {
        // SAFETY: the type's invariant.
        unsafe {
            _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
        }
    }

    #[inline(always)]
    fn widen(self, bytes: __m256i) -> (__m256i, __m256i) {
        // SAFETY: the type's invariant.
        unsafe {
            if VNNI {
                return (bytes, bytes);
            }
            (_mm256_and_si256(bytes, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(bytes))
        }
    }

    #[inline(always)]
    fn fold(self, a: __m256, operation: impl Fn(__m128, __m128) -> __m128) -> f32 {
        // SAFETY: the type's invariant.
        unsafe {
            let four = operation(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = operation(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(operation(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
}

impl<const VNNI: bool> Simd for Avx2<VNNI> {
    const LANES: usize = 8;
    const BLOCK_ROWS: usize = 4;
    /// Without VNNI, bytes become signed, so that sums of two products fit into 16 bits.
    const DOT_OFFSET: i32 = if VNNI { 0 } else { 128 };

    type F = __m256;
    type I = __m256i;
    type Quad = (__m256i, __m256i);
    const GROUPED_ROWS: usize = if VNNI { 3 } else { 2 };
    const DECODED_ROWS: usize = Self::GROUPED_ROWS;
    /// Without VNNI, the even and odd bytes as 16-bit integers: sums of two byte products do not fit into 16 bits.
    type Bytes = (__m256i, __m256i);
    type Signed = (__m256i, __m256i);

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm256_div_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm256_min_ps(a, b) }
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }

    #[inline(always)]
    fn power_of_two(self, a: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
        }
    }

    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        // SAFETY: the type's invariant.
        self.fold(a, |a, b| unsafe { _mm_add_ps(a, b) })
    }

    #[inline(always)]
    fn lowest(self, a: Self::F) -> f32 {
        // SAFETY: the type's invariant.
        self.fold(a, |a, b| unsafe { _mm_min_ps(a, b) })
    }

    #[inline(always)]
    fn highest(self, a: Self::F) -> f32 {
        // SAFETY: the type's invariant.
        self.fold(a, |a, b| unsafe { _mm_max_ps(a, b) })
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F {
        // SAFETY: the caller vouches for the memory.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize) -> Self::F {
        // SAFETY: the caller vouches for `count` elements; the mask protects the rest.
        unsafe { _mm256_maskload_ps(from, self.first_lanes(count)) }
    }

    #[inline(always)]
    unsafe fn store(self, a: Self::F, to: *mut f32) {
        // SAFETY: the caller vouches for the memory.
        unsafe { _mm256_storeu_ps(to, a) };
    }

    #[inline(always)]
    unsafe fn store_first(self, a: Self::F, to: *mut f32, count: usize) {
        // SAFETY: the caller vouches for `count` elements; the mask protects the rest.
        unsafe { _mm256_maskstore_ps(to, self.first_lanes(count), a) };
    }

    #[inline(always)]
    unsafe fn store_bytes(self, a: Self::F, to: *mut u8, count: usize) {
        // SAFETY: the caller vouches for `count` bytes; only that many of the eight are copied.
        unsafe {
            let ints = _mm256_cvtps_epi32(a);
            let words = _mm_packs_epi32(_mm256_castsi256_si128(ints), _mm256_extracti128_si256::<1>(ints));
            let bytes = _mm_cvtsi128_si64(_mm_packus_epi16(words, words)).to_le_bytes();
            if count == Self::LANES {
                to.cast::<[u8; 8]>().write(bytes);
            } else {
                to.copy_from_nonoverlapping(bytes.as_ptr(), count.min(8));
            }
        }
    }

    #[inline(always)]
    fn splat_int(self, value: i32) -> Self::I {
        // SAFETY: the type's invariant.
        unsafe { _mm256_set1_epi32(value) }
    }

    #[inline(always)]
    fn settle(self, sums: Self::I, a: Self::I, b: Self::I) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm256_cvtepi32_ps(_mm256_sub_epi32(sums, _mm256_mullo_epi32(a, b))) }
    }

    #[inline(always)]
    fn dot(self, sums: Self::I, quad: Self::Quad, weights: Self::I) -> Self::I {
        let (magnitude, signed) = quad;
        // SAFETY: the type's invariant.
        unsafe {
            if VNNI {
                return _mm256_dpbusd_avx_epi32(sums, magnitude, weights);
            }
            // |a| <= 128 and |w| <= 127: two products sum to at most 32,512, so nothing saturates.
            let pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(weights, signed));
            _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    unsafe fn load_quad(self, from: *const u8) -> Self::Quad {
        // SAFETY: the caller vouches for four bytes; the read needs no alignment.
        unsafe {
            let bytes = _mm256_set1_epi32(from.cast::<i32>().read_unaligned());
            if VNNI {
                return (bytes, bytes);
            }
            let signed = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));
            (_mm256_abs_epi8(signed), signed)
        }
    }

    #[inline(always)]
    unsafe fn load_weights(self, from: *const i8) -> Self::I {
        // SAFETY: the caller vouches for the memory.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn load_int(self, from: *const i32) -> Self::I {
        // SAFETY: the caller vouches for the memory.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    fn dot_bytes(self, sums: Self::I, bytes: Self::Bytes, quad: Self::Signed) -> Self::I {
        // SAFETY: the type's invariant.
        unsafe {
            if VNNI {
                return _mm256_dpbusd_avx_epi32(sums, bytes.0, quad.0);
            }
            let even = _mm256_add_epi32(sums, _mm256_madd_epi16(bytes.0, quad.0));
            _mm256_add_epi32(even, _mm256_madd_epi16(bytes.1, quad.1))
        }
    }

    #[inline(always)]
    unsafe fn load_unsigned(self, from: *const u8) -> Self::Bytes {
        // SAFETY: the caller vouches for the memory.
        unsafe { self.widen(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_nibbles<const UPPER: bool>(self, from: *const u8) -> Self::Bytes {
        let mask = if UPPER { 0xf0_u8 } else { 0x0f };
        // SAFETY: the caller vouches for the memory.
        unsafe {
            let bytes = _mm256_loadu_si256(from.cast());
            self.widen(_mm256_and_si256(bytes, _mm256_set1_epi8(mask.cast_signed())))
        }
    }

    #[inline(always)]
    unsafe fn load_signed(self, from: *const i8) -> Self::Signed {
        // SAFETY: the caller vouches for four bytes; the read needs no alignment.
        unsafe {
            let bytes = _mm256_set1_epi32(from.cast::<i32>().read_unaligned());
            if VNNI {
                return (bytes, bytes);
            }
            (_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes)), _mm256_srai_epi16::<8>(bytes))
        }
    }

    #[inline(always)]
    fn unshift(self, sums: Self::I, scale: Self::F, shift: Self::F) -> Self::F {
        // SAFETY: the type's invariant.
        unsafe { _mm256_fmsub_ps(_mm256_castsi256_ps(sums), scale, shift) }
    }

    #[inline(always)]
    unsafe fn load_half(self, from: *const u16) -> Self::F {
        // SAFETY: the caller vouches for the memory.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn store_signed(self, a: Self::F, to: *mut i8) {
        // SAFETY: the caller vouches for the memory.
        unsafe {
            let ints = _mm256_cvtps_epi32(a);
            let words = _mm_packs_epi32(_mm256_castsi256_si128(ints), _mm256_extracti128_si256::<1>(ints));
            _mm_storel_epi64(to.cast(), _mm_packs_epi16(words, words));
        }
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
        unsafe { _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a)) };
    }
}
