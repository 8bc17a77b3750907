//! What a machine can do at most, as measured now.

use bantam_kernels::{Pool, peak_int8, peak_read};

/// Bytes that are read to learn the memory's bandwidth: many more than caches hold.
const READ_BYTES: usize = 256 << 20;
/// Measurements of which the best counts.
const TRIES: usize = 3;

/// A machine's limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MachineLimits {
    /// Operations on bytes a second.
    pub int8: f64,
    /// Bytes read from memory a second.
    pub read: f64,
}

impl MachineLimits {
    /// Measures them on the threads of `pool`; takes about a second.
    pub fn measure(pool: &Pool) -> Self {
        let bytes = vec![1_u8; READ_BYTES];
        let best = |measure: &dyn Fn() -> f64| (0..TRIES).map(|_| measure()).fold(0.0, f64::max);
        Self { int8: best(&|| peak_int8(pool)), read: best(&|| peak_read(pool, &bytes)) }
    }
}
