//! Measures the machine's peak performance, as a yardstick for kernels.

use std::hint::black_box;
use std::time::Instant;

use crate::isa::Kernel;
use crate::pool::Pool;
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// Steps in a measured chunk.
const STEPS: usize = 20_000;
/// Chunks per thread.
const CHUNKS: usize = 16;
/// Bytes in a chunk of reading.
const READ: usize = 1 << 20;

/// Returns the peak rate of byte operations per second over all threads, counting a multiplication and an addition as
/// two: independent products in registers. Takes some milliseconds.
pub fn peak_int8(pool: &Pool) -> f64 {
    let chunks = CHUNKS * pool.threads();
    let mut operations = vec![0_usize; chunks];
    let shared = SharedSlice::new(&mut operations);
    let begun = Instant::now();
    pool.run(chunks, |_, chunk| {
        // SAFETY: each chunk has its own element.
        let place = unsafe { shared.part(chunk..chunk + 1) };
        place.fill(pool.isa().call(Products));
    });
    operations.iter().sum::<usize>() as f64 / begun.elapsed().as_secs_f64()
}

/// Returns how many bytes per second all threads together read, each byte once and in order. `bytes` should be much
/// larger than the caches.
pub fn peak_read(pool: &Pool, bytes: &[u8]) -> f64 {
    let begun = Instant::now();
    pool.run(bytes.len() / READ, |_, chunk| {
        pool.isa().call(Read { bytes: &bytes[chunk * READ..(chunk + 1) * READ] });
    });
    (bytes.len() / READ * READ) as f64 / begun.elapsed().as_secs_f64()
}

/// Independent products; returns the number of operations.
struct Products;

impl Kernel for Products {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        const CHAINS: usize = 12;
        let numbers = black_box([1_u8; 64]);
        // SAFETY: 64 bytes are as long as the longest vector, and longer than four.
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

/// **Invariant:** the length of `bytes` is a multiple of 256.
struct Read<'c> {
    bytes: &'c [u8],
}

impl Kernel for Read<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Hidden from the compiler, which could skip reading what is multiplied by a known zero.
        let numbers = black_box([0_u8; 64]);
        // SAFETY: 64 bytes are as long as the longest vector, and longer than four.
        let (zeros, quad) =
            unsafe { (s.load_unsigned(numbers.as_ptr()), s.load_signed(numbers.as_ptr().cast())) };
        let mut sums = [s.dot_bytes(s.splat_int(0), zeros, quad); 4];
        for lines in self.bytes.chunks_exact(16 * S::LANES) {
            for (index, sum) in sums.iter_mut().enumerate() {
                // SAFETY: a chunk has four vectors.
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
    fn every_instruction_set_can_be_measured() {
        for isa in Isa::available() {
            let pool = Pool::with_isa(2, isa);
            assert!(peak_int8(&pool) > 1e6, "{}", isa.name());
            assert!(peak_read(&pool, &vec![1; 2 * READ + 5]) > 1e6, "{}", isa.name());
        }
    }
}
