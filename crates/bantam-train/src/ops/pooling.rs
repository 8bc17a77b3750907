//! Pools token states into one unit vector per sequence.

use super::numbers::fit;

/// How a sequence's states are pooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The mean of all tokens.
    Mean,
    /// The first token.
    First,
}

/// What the backward pass needs.
#[derive(Clone, Debug, Default)]
pub struct PooledSaved {
    /// Each sequence's vector length before normalisation.
    lengths: Vec<f32>,
}

/// Writes one vector of length 1 for each sequence, whose states end at the rows `ends`.
///
/// # Panics
/// If the lengths do not match, or a sequence is empty.
pub fn pool(kind: PoolKind, states: &[f32], ends: &[usize], vectors: &mut [f32], saved: &mut PooledSaved) {
    let width = vectors.len() / ends.len().max(1);
    let lengths = fit(&mut saved.lengths, ends.len());
    let mut start = 0;
    for ((end, vector), length) in ends.iter().zip(vectors.chunks_exact_mut(width)).zip(lengths) {
        let states = &states[start * width..end * width];
        vector.copy_from_slice(&states[..width]);
        if kind == PoolKind::Mean {
            for state in states[width..].chunks_exact(width) {
                vector.iter_mut().zip(state).for_each(|(sum, number)| *sum += number);
            }
            let share = 1.0 / (end - start) as f32;
            vector.iter_mut().for_each(|number| *number *= share);
        }
        let square: f64 = vector.iter().map(|number| f64::from(*number).powi(2)).sum();
        *length = (square.sqrt() as f32).max(1e-12);
        vector.iter_mut().for_each(|number| *number /= *length);
        start = *end;
    }
}

/// Writes the gradient of the states, given that of the `vectors` that [`pool`] wrote.
///
/// # Panics
/// If the lengths do not match.
pub fn pool_back(
    kind: PoolKind,
    vectors: &[f32],
    ends: &[usize],
    gradient: &[f32],
    grad_states: &mut [f32],
    saved: &PooledSaved,
) {
    let width = vectors.len() / ends.len().max(1);
    let pairs = vectors.chunks_exact(width).zip(gradient.chunks_exact(width));
    let mut start = 0;
    for ((end, (vector, gradient)), length) in ends.iter().zip(pairs).zip(&saved.lengths) {
        let along: f32 = vector.iter().zip(gradient).map(|(number, gradient)| number * gradient).sum();
        let grad_states = &mut grad_states[start * width..end * width];
        let share = if kind == PoolKind::Mean { 1.0 / (end - start) as f32 } else { 1.0 };
        let (first, rest) = grad_states.split_at_mut(width);
        for ((into, number), gradient) in first.iter_mut().zip(vector).zip(gradient) {
            *into = (gradient - number * along) * share / length;
        }
        for row in rest.chunks_exact_mut(width) {
            match kind {
                PoolKind::Mean => row.copy_from_slice(first),
                PoolKind::First => row.fill(0.0),
            }
        }
        start = *end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{check, numbers};

    #[test]
    fn the_gradient_matches_finite_differences() {
        for kind in [PoolKind::Mean, PoolKind::First] {
            let ends = [1, 4, 6];
            check(&numbers(6 * 5, 1), 1e-2, 3e-3, |states, weights| {
                let (mut vectors, mut saved) = (vec![0.0; 15], PooledSaved::default());
                pool(kind, states, &ends, &mut vectors, &mut saved);
                let mut gradient = vec![7.0; states.len()];
                pool_back(kind, &vectors, &ends, &weights[..15], &mut gradient, &saved);
                (vectors, gradient)
            });
        }
    }
}
