//! Pools token states into one vector.

/// How to turn a sequence's states into one vector, which is then scaled to length 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The mean of all tokens, as most sentence-transformers models use.
    Mean,
    /// The first token.
    Cls,
}

impl Pooling {
    /// Writes the vector of a sequence with at least one token.
    pub(super) fn write(self, states: &[f32], vector: &mut [f32]) {
        let width = vector.len();
        vector.copy_from_slice(&states[..width]);
        if self == Self::Mean {
            for state in states[width..].chunks_exact(width) {
                vector.iter_mut().zip(state).for_each(|(sum, number)| *sum += number);
            }
        }
        // The mean's divisor cancels in the normalisation, except for vectors near zero.
        let tokens = if self == Self::Mean { (states.len() / width) as f32 } else { 1.0 };
        let length = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
        let factor = 1.0 / (length as f32).max(1e-12 * tokens);
        vector.iter_mut().for_each(|number| *number *= factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pooling: Pooling, states: &[f32], expected: [f32; 2]) {
        let mut vector = [f32::NAN; 2];
        pooling.write(states, &mut vector);
        for (found, expected) in vector.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{vector:?}");
        }
    }

    #[test]
    fn vectors_have_length_one() {
        check(Pooling::Mean, &[3.0, 4.0], [0.6, 0.8]);
        check(Pooling::Mean, &[4.0, 4.0, 2.0, 4.0], [0.6, 0.8]);
        check(Pooling::Cls, &[0.0, -2.0, 9.0, 9.0], [0.0, -1.0]);
    }

    #[test]
    fn a_zero_vector_stays_zero() {
        check(Pooling::Mean, &[0.0, 0.0, 0.0, 0.0], [0.0, 0.0]);
    }
}
