//! What the machine could do at most, to hold kernels against.

use std::hint::black_box;
use std::time::Instant;

use crate::isa::Kernel;
use crate::pool::Pool;
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// Steps of a measured chunk.
const STEPS: usize = 20_000;
/// Chunks for each thread.
const CHUNKS: usize = 16;
/// Bytes of a chunk of reading.
const READ: usize = 1 << 20;

/// Returns how many operations a second all threads together do with bytes at most, a multiplication and an
/// addition being two: products in registers that do not wait for each other. Takes some milliseconds.
pub fn peak_int8(pool: &Pool) -> f64 {
    let chunks = CHUNKS * pool.threads();
    let mut operations = vec![0_usize; chunks];
    let shared = SharedSlice::new(&mut operations);
    let begun = Instant::now();
    pool.run(chunks, |_, chunk| {
        // SAFETY: each chunk has a number of its own.
        let place = unsafe { shared.part(chunk..chunk + 1) };
        place.fill(pool.isa().call(Products));
    });
    operations.iter().sum::<usize>() as f64 / begun.elapsed().as_secs_f64()
}

/// Returns how many bytes a second all threads together read of `bytes` at most, once, in order. They should be
/// many more than the caches hold.
pub fn peak_read(pool: &Pool, bytes: &[u8]) -> f64 {
    let begun = Instant::now();
    pool.run(bytes.len() / READ, |_, chunk| {
        pool.isa().call(Read { bytes: &bytes[chunk * READ..(chunk + 1) * READ] });
    });
    (bytes.len() / READ * READ) as f64 / begun.elapsed().as_secs_f64()
}

/// Products that do not wait for each other; returns how many operations they were.
struct Products;

impl Kernel for Products {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        const CHAINS: usize = 12;
        let numbers = black_box([1_u8; 64]);
        // SAFETY: 64 bytes are the longest vector, and more than four.
        let (bytes, quad) =
            unsafe { (s.load_unsigned(numbers.as_ptr()), s.load_signed(numbers.as_ptr().cast())) };
        let mut sums = [s.splat_int(0); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = s.dot_bytes(*sum, bytes, quad);
            }
        }
        black_box(sums);
        STEPS * CHAINS * S::LANES * 4 * 2
    }
}

/// **Invariant:** `bytes` are a multiple of 256.
struct Read<'c> {
    bytes: &'c [u8],
}

impl Kernel for Read<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Hidden, since a product with what is known to be zero need not read anything.
        let numbers = black_box([0_u8; 64]);
        // SAFETY: 64 bytes are the longest vector, and more than four.
        let (zeros, quad) =
            unsafe { (s.load_unsigned(numbers.as_ptr()), s.load_signed(numbers.as_ptr().cast())) };
        let mut sums = [s.dot_bytes(s.splat_int(0), zeros, quad); 4];
        for lines in self.bytes.chunks_exact(16 * S::LANES) {
            for (index, sum) in sums.iter_mut().enumerate() {
                // SAFETY: four vectors are a chunk.
                *sum = s.dot_bytes(
                    *sum,
                    unsafe { s.load_unsigned(lines.as_ptr().add(4 * index * S::LANES)) },
                    quad,
                );
            }
        }
        black_box(sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    #[test]
    fn every_set_of_instructions_has_limits() {
        for isa in Isa::available() {
            let pool = Pool::with_isa(2, isa);
            assert!(peak_int8(&pool) > 1e6, "{}", isa.name());
            assert!(peak_read(&pool, &vec![1; 2 * READ + 5]) > 1e6, "{}", isa.name());
        }
    }
}
