//! Rotary position embeddings (RoPE, <https://arxiv.org/abs/2104.09864>).

use std::f64::consts::TAU;

use super::DecoderConfigError;

/// Most rotated elements of a head: all of the largest head.
const ROTATED_MAX: usize = 512;

/// Rotation of queries and keys: pair `i` of a head, elements `i` and `i + n` of its first `2 n`, rotates by
/// `position * frequencies[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// One per pair, in radians per position. Elements after the pairs stay unchanged.
    pub frequencies: Vec<f32>,
    /// Factor for rotated elements, used by models extended to longer texts.
    pub magnitude: f32,
}

/// How the plain frequencies are adapted to texts longer than those of the training.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scaling {
    None,
    /// All divided by one factor.
    Linear {
        factor: f64,
    },
    /// Low frequencies divided, high ones unchanged, those between interpolated, as defined by Llama 3.1.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: f64,
    },
    /// Each divided by its own factor.
    Each {
        factors: Vec<f32>,
        magnitude: f32,
    },
}

/// LongRoPE's magnitude (<https://arxiv.org/abs/2402.13753>) for a context `factor` times the original one.
pub(super) fn long_magnitude(factor: f64, original: f64) -> f32 {
    if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() as f32 }
}

impl Rope {
    /// Returns the rotation with `base` over the first `size` elements of a head.
    pub(super) fn new(base: f64, size: usize, scaling: &Scaling) -> Result<Self, DecoderConfigError> {
        // Before anything of that size is allocated.
        if size == 0 || !size.is_multiple_of(2) || size > ROTATED_MAX {
            return Err(DecoderConfigError::Rotated { found: size, at_most: ROTATED_MAX });
        }
        if !(base.is_finite() && base > 0.0) {
            return Err(DecoderConfigError::Number { what: "rope base", found: base as f32 });
        }
        let plain = (0..size / 2).map(|pair| base.powf(-2.0 * pair as f64 / size as f64));
        let mut magnitude = 1.0;
        let frequencies: Vec<f32> = match scaling {
            Scaling::None => plain.map(|frequency| frequency as f32).collect(),
            Scaling::Linear { factor } => plain.map(|frequency| (frequency / factor) as f32).collect(),
            Scaling::Llama3 { factor, low, high, original } => {
                plain.map(|frequency| llama3(frequency, [*factor, *low, *high, *original]) as f32).collect()
            }
            Scaling::Each { factors, magnitude: found } => {
                magnitude = *found;
                let (key, found, expected) = ("rope factors".into(), factors.len(), size / 2);
                if found != expected {
                    return Err(DecoderConfigError::Length { key, found, expected });
                }
                plain.zip(factors).map(|(plain, factor)| (plain / f64::from(*factor)) as f32).collect()
            }
        };
        let wrong = frequencies.iter().find(|number| !(number.is_finite() && **number >= 0.0));
        if let Some(found) =
            wrong.copied().or((!(magnitude > 0.0 && magnitude.is_finite())).then_some(magnitude))
        {
            return Err(DecoderConfigError::Number { what: "rope scaling", found });
        }
        Ok(Self { frequencies, magnitude })
    }
}

fn llama3(frequency: f64, [factor, low, high, original]: [f64; 4]) -> f64 {
    let wave = TAU / frequency;
    if wave < original / high {
        frequency
    } else if wave > original / low {
        frequency / factor
    } else {
        let smooth = (original / wave - low) / (high - low);
        (1.0 - smooth) * frequency / factor + smooth * frequency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_decrease_from_one_by_the_base() {
        let rope = Rope::new(10_000.0, 8, &Scaling::None).unwrap();
        for (found, expected) in rope.frequencies.iter().zip([1.0, 0.1, 0.01, 0.001]) {
            assert!((found - expected).abs() < 1e-7);
        }
        let linear = Rope::new(10_000.0, 8, &Scaling::Linear { factor: 4.0 }).unwrap();
        assert_eq!(linear.frequencies[0], 0.25);
    }

    #[test]
    fn llama3_keeps_high_frequencies_and_divides_low_ones() {
        let scaling = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        let plain = Rope::new(500_000.0, 128, &Scaling::None).unwrap().frequencies;
        let rope = Rope::new(500_000.0, 128, &scaling).unwrap().frequencies;
        assert_eq!(rope[0], plain[0]);
        assert!((plain[63] / rope[63] - 8.0).abs() < 1e-4);
        assert!(rope.windows(2).all(|pair| pair[0] > pair[1]));
        let between = plain.iter().zip(&rope).filter(|(plain, rope)| {
            let ratio = *plain / *rope;
            ratio > 1.01 && ratio < 7.9
        });
        assert!(between.count() > 2);
    }

    #[test]
    fn impossible_rotations_are_refused() {
        let each = |factors: &[f32]| Scaling::Each { factors: factors.to_vec(), magnitude: 1.0 };
        let error = Rope::new(10_000.0, 7, &Scaling::None).unwrap_err().to_string();
        assert_eq!(error, "7 elements of a head are rotated; the number must be even and from 2 to 512");
        assert!(Rope::new(10_000.0, usize::MAX - 1, &Scaling::None).is_err());
        assert!(Rope::new(-1.0, 8, &Scaling::None).is_err());
        assert!(Rope::new(f64::NAN, 8, &Scaling::None).is_err());
        let error = Rope::new(1e4, 8, &each(&[1.0])).unwrap_err().to_string();
        assert_eq!(error, "`rope factors` has 1 entries; 4 are needed");
        assert!(Rope::new(1e4, 4, &each(&[0.0, 1.0])).is_err());
        assert!(Rope::new(1e4, 4, &each(&[-1.0, 1.0])).is_err());
    }

    #[test]
    fn the_magnitude_grows_with_the_context() {
        assert_eq!(long_magnitude(1.0, 4096.0), 1.0);
        assert!((long_magnitude(32.0, 4096.0) - 1.190_238_1).abs() < 1e-5);
    }
}
