//! SIMD vectors behind one trait, so that every kernel is written once.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use portable::Portable;

/// An instruction set, as a value that proves its presence.
///
/// Arithmetic is safe, because a value of the type exists only if its instructions do; memory access is not. Kernels
/// use vectors in pairs, and tiles of weights are 16 columns wide: `LANES` divides 16.
pub(crate) trait Simd: Copy {
    /// Elements per vector.
    const LANES: usize;
    /// Most rows in a block of a matrix product, limited by the registers for two vectors a row.
    const BLOCK_ROWS: usize;
    /// What [`Simd::dot`] subtracts from each unsigned byte.
    const DOT_OFFSET: i32;

    /// A vector of f32.
    type F: Copy;
    /// A vector of i32, or of four times as many bytes.
    type I: Copy;
    /// Four unsigned bytes, prepared for [`Simd::dot`].
    type Quad: Copy;

    fn splat(self, value: f32) -> Self::F;
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// Returns `a * b + c`, rounded once or twice.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// Rounds to the nearest integer, ties to even, for |a| < 2^22.
    fn round(self, a: Self::F) -> Self::F;
    /// Returns 2^a for integers a in -126..=127.
    fn power_of_two(self, a: Self::F) -> Self::F;
    fn sum(self, a: Self::F) -> f32;
    fn lowest(self, a: Self::F) -> f32;
    fn highest(self, a: Self::F) -> f32;

    /// # Safety
    /// `from` is readable for `LANES` elements.
    unsafe fn load(self, from: *const f32) -> Self::F;
    /// Loads the first `count` lanes, `count <= LANES`, and sets the others to zero.
    ///
    /// # Safety
    /// `from` is readable for `count` elements.
    unsafe fn load_first(self, from: *const f32, count: usize) -> Self::F;
    /// # Safety
    /// `to` is writable for `LANES` elements.
    unsafe fn store(self, a: Self::F, to: *mut f32);
    /// Stores the first `count` lanes, `count <= LANES`.
    ///
    /// # Safety
    /// `to` is writable for `count` elements.
    unsafe fn store_first(self, a: Self::F, to: *mut f32, count: usize);
    /// Rounds, saturates to 0..=255 and stores the first `count` lanes, `count <= LANES`.
    ///
    /// # Safety
    /// `to` is writable for `count` bytes.
    unsafe fn store_bytes(self, a: Self::F, to: *mut u8, count: usize);

    fn splat_int(self, value: i32) -> Self::I;
    /// Returns `sums - a * b` as f32.
    fn settle(self, sums: Self::I, a: Self::I, b: Self::I) -> Self::F;
    /// Adds, in each lane, the products of four unsigned bytes minus `DOT_OFFSET` with four signed bytes, each at
    /// least -127. Exact.
    fn dot(self, sums: Self::I, quad: Self::Quad, weights: Self::I) -> Self::I;
    /// # Safety
    /// `from` is readable for four bytes.
    unsafe fn load_quad(self, from: *const u8) -> Self::Quad;
    /// # Safety
    /// `from` is readable for `4 * LANES` bytes.
    unsafe fn load_weights(self, from: *const i8) -> Self::I;
    /// # Safety
    /// `from` is readable for `LANES` elements.
    unsafe fn load_int(self, from: *const i32) -> Self::I;

    /// Most rows in a block of a grouped product, limited by the registers for two vectors a row of both integers and
    /// floats.
    const GROUPED_ROWS: usize;
    /// Most rows, at most 8, in a block that contains all rows: then weights are read once, at memory speed.
    const DECODED_ROWS: usize;
    /// `LANES` fours of unsigned bytes, prepared for [`Simd::dot_bytes`].
    type Bytes: Copy;
    /// Four signed bytes in every lane, prepared for [`Simd::dot_bytes`].
    type Signed: Copy;

    /// Adds, in each lane, the products of four unsigned bytes with four signed bytes. Exact for all bytes.
    fn dot_bytes(self, sums: Self::I, bytes: Self::Bytes, quad: Self::Signed) -> Self::I;
    /// # Safety
    /// `from` is readable for `4 * LANES` bytes.
    unsafe fn load_unsigned(self, from: *const u8) -> Self::Bytes;
    /// Loads the low nibbles of bytes, 0..=15, or with `UPPER` 16 times the high nibbles.
    ///
    /// # Safety
    /// `from` is readable for `4 * LANES` bytes.
    unsafe fn load_nibbles<const UPPER: bool>(self, from: *const u8) -> Self::Bytes;
    /// # Safety
    /// `from` is readable for four bytes.
    unsafe fn load_signed(self, from: *const i8) -> Self::Signed;
    /// Returns `(sums - 0x4b40_0000) * scale`, rounded once, for differences below 2^22 in magnitude and scales of at
    /// most 21 mantissa bits; `shift` is `1.5 * 2^23 * scale`.
    fn unshift(self, sums: Self::I, scale: Self::F, shift: Self::F) -> Self::F;
    /// Loads half-precision numbers.
    ///
    /// # Safety
    /// `from` is readable for `LANES` elements.
    unsafe fn load_half(self, from: *const u16) -> Self::F;
    /// Rounds to the nearest integer, saturates to -128..=127 and stores `LANES` bytes.
    ///
    /// # Safety
    /// `to` is writable for `LANES` bytes.
    unsafe fn store_signed(self, a: Self::F, to: *mut i8);

    /// Prefetches a cache line that will be read soon. Any address is allowed.
    fn prefetch(self, from: *const i8);
    /// Prefetches into the L2 cache only.
    fn prefetch_far(self, from: *const i8);
    /// Stores elements in half precision, rounded to nearest, ties to even.
    ///
    /// # Safety
    /// `to` is writable for `LANES` elements.
    unsafe fn store_half(self, a: Self::F, to: *mut u16);

    /// Writes the transpose of `LANES` rows of `columns` elements, scaled.
    ///
    /// # Safety
    /// Each of `LANES` rows at `from`, `from + stride`, … is readable for `columns` elements; each of `columns` rows
    /// at `to`, `to + to_stride`, … is writable for `LANES` elements. The two do not overlap.
    #[inline(always)]
    unsafe fn transpose(
        self,
        (from, stride): (*const f32, usize),
        columns: usize,
        (to, to_stride): (*mut f32, usize),
        scale: f32,
    ) {
        for row in 0..Self::LANES {
            for column in 0..columns {
                // SAFETY: the caller vouches for both.
                unsafe { *to.add(column * to_stride + row) = scale * *from.add(row * stride + column) };
            }
        }
    }
}
