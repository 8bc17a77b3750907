//! Log-sum-exp: the arithmetic behind every probability in this crate.
//!
//! Built only from `+`, `-`, `*` and IEEE bit patterns, in a fixed order. The C library's `expf` differs between
//! platforms in its last bit, and one bit is enough to draw a different token.

/// Lanes summed in parallel, so that the compiler can use SIMD.
const LANES: usize = 8;

/// Arguments below this are clamped to it: `exp(-87)` is 1.6e-38, negligible beside the largest logit's 1, and still
/// a normal number.
const LOWEST: f32 = -87.0;

/// Returns `e^x` for `-87 <= x <= 0`, with a relative error below 2e-7.
///
/// `x = k ln 2 + r` with `|r| <= ln 2 / 2`, then a Taylor series of `e^r` up to `r^7` (its remainder is below 5e-9).
#[inline]
fn power(x: f32) -> f32 {
    /// Adding and subtracting 1.5 * 2^23 rounds to whole numbers.
    const ROUND: f32 = 12_582_912.0;
    /// `ln 2` in two parts; the first has so few digits that `k` times it is exact.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    let x = if x > LOWEST { x } else { LOWEST };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let k = rounded - ROUND;
    let r = (x - k * LN_2.0) - k * LN_2.1;
    let mut sum = 1.0 / 5040.0;
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * r + factor;
    }
    // `k` is from -126 to 0, so the exponent bits neither overflow nor reach zero. Reading `k` from the bits of the
    // rounded sum avoids a saturating conversion, which would keep the loop from being vectorised.
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    sum * f32::from_bits(exponent << 23)
}

/// Returns `e^x` for `x <= 0`, and 0 for minus infinity: a candidate's weight in the sampler.
pub(crate) fn weight(x: f32) -> f64 {
    if x == f32::NEG_INFINITY { 0.0 } else { f64::from(power(x)) }
}

/// Appends `e^(logit / temperature - max)` for each logit, none of which may exceed `max`; 0 for those that are minus
/// infinity before or after the division.
pub(crate) fn add_weights(weights: &mut Vec<f32>, logits: &[f32], temperature: f32, max: f32) {
    weights.extend(logits.iter().map(|logit| {
        let x = logit / temperature - max;
        let weight = power(x);
        if *logit > f32::NEG_INFINITY && x != f32::NEG_INFINITY { weight } else { 0.0 }
    }));
}

/// A row's largest logit and log-sum-exp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LogSum {
    /// The largest logit.
    pub(crate) max: f32,
    /// Its index; the first of equals.
    pub(crate) argmax: usize,
    /// `ln sum exp(logit)`.
    pub(crate) log_sum: f64,
}

impl LogSum {
    /// Returns the log-probability that softmax gives to a logit of this row.
    pub(crate) fn log_probability(&self, logit: f32) -> f64 {
        f64::from(logit) - self.log_sum
    }
}

/// Why a row is not a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// A logit is NaN or plus infinity; the index of the first one.
    #[error(
        "logit {0} is NaN or infinite: the model's weights or activations overflowed; check its file and precision"
    )]
    NotFinite(usize),
    /// No logit is above minus infinity.
    #[error("all logits are minus infinity: no token can be chosen")]
    Empty,
}

/// Returns a row's largest logit and its log-sum-exp.
///
/// The largest logit is subtracted first, so nothing overflows. Powers are `f32`, their sum is `f64` in eight lanes,
/// so a row of 150,000 logits loses nothing to rounding that `f32` could show.
pub(crate) fn log_sum(row: &[f32]) -> Result<LogSum, RowError> {
    let max = largest(row);
    if max == f32::INFINITY || row.iter().fold(false, |is_bad, logit| is_bad | logit.is_nan()) {
        let index = row.iter().position(|logit| logit.is_nan() || *logit == f32::INFINITY);
        return Err(RowError::NotFinite(index.unwrap_or(0)));
    }
    if max == f32::NEG_INFINITY {
        return Err(RowError::Empty);
    }
    let argmax = row.iter().position(|logit| *logit == max).unwrap_or(0);
    let mut sums = [0.0f64; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (sum, logit) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(power(logit - max));
        }
    }
    let mut sum: f64 = rest.iter().map(|logit| f64::from(power(logit - max))).sum();
    for lane in sums {
        sum += lane;
    }
    Ok(LogSum { max, argmax, log_sum: f64::from(max) + sum.ln() })
}

/// Returns the largest logit, ignoring NaN; minus infinity for an empty row.
pub(crate) fn largest(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, logit) in lanes.iter_mut().zip(chunk) {
            // Not `f32::max`: this compiles to one instruction, and NaN is checked separately.
            *lane = if *logit > *lane { *logit } else { *lane };
        }
    }
    rest.iter().chain(&lanes).fold(f32::NEG_INFINITY, |max, logit| if *logit > max { *logit } else { max })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(row: &[f32], tolerance: f64) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exact =
            f64::from(max) + row.iter().map(|x| (f64::from(*x) - f64::from(max)).exp()).sum::<f64>().ln();
        let found = log_sum(row).unwrap();
        assert_eq!(found.max, max);
        assert_eq!(row[found.argmax], max);
        assert!((found.log_sum - exact).abs() < tolerance, "{} against {exact}", found.log_sum);
    }

    #[test]
    fn powers_are_accurate_to_the_last_digits_of_f32() {
        for step in 0..=8_700 {
            let x = -(step as f32) / 100.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(power(x)) / exact - 1.0).abs() < 2e-7, "{x}");
        }
        assert_eq!(power(0.0), 1.0);
        assert_eq!(weight(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn large_and_masked_logits_neither_overflow_nor_vanish() {
        check(&[1e30, -1e30], 1e-6);
        check(&[3e38, 3e38, f32::NEG_INFINITY], 1e32);
        check(&[-90.0; 100_003], 1e-6);
        check(&[-3e38], 1e-6);
    }

    #[test]
    fn invalid_rows_get_their_own_errors() {
        assert_eq!(log_sum(&[]), Err(RowError::Empty));
        assert_eq!(log_sum(&[f32::NEG_INFINITY; 9]), Err(RowError::Empty));
        assert_eq!(log_sum(&[0.0, 1.0, f32::NAN]), Err(RowError::NotFinite(2)));
        assert_eq!(log_sum(&[0.0, f32::INFINITY]), Err(RowError::NotFinite(1)));
    }

    proptest! {
        #[test]
        fn log_sum_agrees_with_the_plain_sum_in_f64(row in prop::collection::vec(-60.0f32..60.0, 1..400)) {
            check(&row, 1e-6);
        }
    }
}
