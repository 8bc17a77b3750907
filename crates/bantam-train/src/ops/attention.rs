//! Softmax attention within each sequence.

use bantam_kernels::{Isa, Loops, Matrix, MatrixMut, Write, multiply};

use super::numbers::{exp, fit, sum};

/// How rows hold queries, keys and values, and which tokens attend to which.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// Number of query heads.
    pub heads: usize,
    /// Number of key-value heads; it divides `heads`, and each serves consecutive query heads.
    pub kv_heads: usize,
    /// Head size.
    pub size: usize,
    /// Whether tokens attend only to themselves and earlier ones.
    pub causal: bool,
    /// Largest distance between two tokens that attend to each other.
    pub reach: Option<usize>,
}

/// A thread's buffers for attention.
#[derive(Clone, Debug, Default)]
pub struct AttentionScratch {
    weights: Vec<f32>,
    gradient: Vec<f32>,
}

/// A head's columns in the rows of queries, keys and values.
struct Columns {
    query: usize,
    key: usize,
    value: usize,
    output: usize,
}

impl Attention {
    /// Returns the width of a row of queries, keys and values.
    pub fn width(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.size
    }

    fn columns(&self, head: usize) -> Columns {
        let kv_head = head / (self.heads / self.kv_heads);
        let keys = self.heads * self.size;
        Columns {
            query: head * self.size,
            key: keys + kv_head * self.size,
            value: keys + (self.kv_heads + kv_head) * self.size,
            output: head * self.size,
        }
    }

    /// Writes, for each token and head, the mean of the visible values, weighted by the softmax of the scaled products.
    ///
    /// `qkv` has one row per token: all heads' queries, then keys, then values. Sequences end at the rows `ends`.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn forward(&self, qkv: &[f32], ends: &[usize], outputs: &mut [f32], scratch: &mut AttentionScratch) {
        let (width, wide) = (self.width(), self.heads * self.size);
        for (start, end) in sequences(ends) {
            let tokens = end - start;
            let rows = &qkv[start * width..end * width];
            let outputs = &mut outputs[start * wide..end * wide];
            let weights = fit(&mut scratch.weights, tokens * tokens);
            for head in 0..self.heads {
                let at = self.columns(head);
                self.weights(rows, tokens, &at, weights);
                let values = self.part(rows, at.value, tokens);
                let into = MatrixMut::strided(&mut outputs[at.output..], tokens, self.size, wide);
                multiply(Matrix::new(weights, tokens, tokens), values, 1.0, into, Write::Set);
            }
        }
    }

    /// Writes the gradient of `qkv`, given that of the outputs. Recomputes the attention weights, because keeping them
    /// would take memory quadratic in the sequence length.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn backward(
        &self,
        qkv: &[f32],
        ends: &[usize],
        gradient: &[f32],
        grad_qkv: &mut [f32],
        scratch: &mut AttentionScratch,
    ) {
        let (width, wide) = (self.width(), self.heads * self.size);
        let group = self.heads / self.kv_heads;
        for (start, end) in sequences(ends) {
            let tokens = end - start;
            let rows = &qkv[start * width..end * width];
            let gradient = &gradient[start * wide..end * wide];
            let into = &mut grad_qkv[start * width..end * width];
            let weights = fit(&mut scratch.weights, tokens * tokens);
            let grad_scores = fit(&mut scratch.gradient, tokens * tokens);
            for head in 0..self.heads {
                let at = self.columns(head);
                // Heads that share keys and values add to what the first of them has written.
                let write = if head % group == 0 { Write::Set } else { Write::Add };
                self.weights(rows, tokens, &at, weights);
                let out = Matrix::strided(&gradient[at.output..], tokens, self.size, wide);
                let square = Matrix::new(weights, tokens, tokens);
                multiply(square.transposed(), out, 1.0, self.part_mut(into, at.value, tokens), write);
                let values = self.part(rows, at.value, tokens);
                let grad_weights = MatrixMut::new(grad_scores, tokens, tokens);
                multiply(out, values.transposed(), 1.0, grad_weights, Write::Set);
                Isa::best().run(SoftmaxBack { weights, gradient: grad_scores, tokens });
                let grad_scores = Matrix::new(grad_scores, tokens, tokens);
                let (queries, keys) = (self.part(rows, at.query, tokens), self.part(rows, at.key, tokens));
                let scale = self.scale();
                multiply(grad_scores, keys, scale, self.part_mut(into, at.query, tokens), Write::Set);
                multiply(
                    grad_scores.transposed(),
                    queries,
                    scale,
                    self.part_mut(into, at.key, tokens),
                    write,
                );
            }
        }
    }

    fn scale(&self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }

    fn part<'r>(&self, rows: &'r [f32], column: usize, tokens: usize) -> Matrix<'r> {
        Matrix::strided(&rows[column..], tokens, self.size, self.width())
    }

    fn part_mut<'r>(&self, rows: &'r mut [f32], column: usize, tokens: usize) -> MatrixMut<'r> {
        MatrixMut::strided(&mut rows[column..], tokens, self.size, self.width())
    }

    fn weights(&self, rows: &[f32], tokens: usize, at: &Columns, weights: &mut [f32]) {
        let (queries, keys) = (self.part(rows, at.query, tokens), self.part(rows, at.key, tokens));
        let into = MatrixMut::new(weights, tokens, tokens);
        multiply(queries, keys.transposed(), self.scale(), into, Write::Set);
        Isa::best().run(Softmax { attention: self, scores: weights, tokens });
    }

    /// Returns the range of tokens that a token attends to.
    #[inline(always)]
    fn visible(&self, token: usize, tokens: usize) -> (usize, usize) {
        let reach = self.reach.unwrap_or(tokens);
        let last = if self.causal { token + 1 } else { tokens };
        (token.saturating_sub(reach), last.min(token.saturating_add(reach).saturating_add(1)))
    }
}

fn sequences(ends: &[usize]) -> impl Iterator<Item = (usize, usize)> + '_ {
    std::iter::once(&0).chain(ends).copied().zip(ends.iter().copied())
}

struct Softmax<'s> {
    attention: &'s Attention,
    scores: &'s mut [f32],
    tokens: usize,
}

impl Loops for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (token, row) in self.scores.chunks_exact_mut(self.tokens.max(1)).enumerate() {
            let (first, end) = self.attention.visible(token, self.tokens);
            row[..first].fill(0.0);
            row[end..].fill(0.0);
            let row = &mut row[first..end];
            let mut highest = f32::NEG_INFINITY;
            for score in row.iter() {
                highest = if *score > highest { *score } else { highest };
            }
            row.iter_mut().for_each(|score| *score = exp(*score - highest));
            let total = 1.0 / sum(row.len(), |index| row[index]);
            row.iter_mut().for_each(|weight| *weight *= total);
        }
    }
}

/// Replaces the gradient of the weights with that of the scores.
struct SoftmaxBack<'s> {
    weights: &'s [f32],
    gradient: &'s mut [f32],
    tokens: usize,
}

impl Loops for SoftmaxBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let tokens = self.tokens.max(1);
        for (weights, gradient) in
            self.weights.chunks_exact(tokens).zip(self.gradient.chunks_exact_mut(tokens))
        {
            let mean = sum(tokens, |index| weights[index] * gradient[index]);
            for (weight, gradient) in weights.iter().zip(gradient) {
                *gradient = weight * (*gradient - mean);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{check, numbers};

    fn plain(heads: usize, kv_heads: usize) -> Attention {
        Attention { heads, kv_heads, size: 3, causal: false, reach: None }
    }

    fn forward(attention: &Attention, qkv: &[f32], ends: &[usize]) -> Vec<f32> {
        let mut outputs = vec![0.0; ends.last().unwrap() * attention.heads * attention.size];
        attention.forward(qkv, ends, &mut outputs, &mut AttentionScratch::default());
        outputs
    }

    #[test]
    fn the_gradient_matches_finite_differences() {
        let windowed = Attention { reach: Some(1), ..plain(2, 2) };
        for attention in [plain(2, 2), plain(4, 2), Attention { causal: true, ..plain(2, 1) }, windowed] {
            let ends = [1, 4, 6];
            check(&numbers(6 * attention.width(), 7), 1e-2, 2e-3, |qkv, weights| {
                let outputs = forward(&attention, qkv, &ends);
                let mut gradient = vec![5.0; qkv.len()];
                let scratch = &mut AttentionScratch::default();
                attention.backward(qkv, &ends, &weights[..outputs.len()], &mut gradient, scratch);
                (outputs, gradient)
            });
        }
    }

    #[test]
    fn tokens_attend_only_within_their_sequence_and_window() {
        let attention = Attention { causal: true, reach: Some(2), ..plain(1, 1) };
        let mut qkv = numbers(8 * attention.width(), 8);
        let before = forward(&attention, &qkv, &[3, 8]);
        // The fifth token of the second sequence attends to the third to the fifth.
        let width = attention.width();
        for row in [0, 1, 2, 3, 4] {
            qkv[row * width..(row + 1) * width].fill(3.0);
        }
        let after = forward(&attention, &qkv, &[3, 8]);
        assert_eq!(before[7 * 3..], after[7 * 3..]);
        assert_ne!(before[6 * 3..7 * 3], after[6 * 3..7 * 3]);
    }

    #[test]
    fn a_single_token_gets_its_own_value() {
        let attention = plain(1, 1);
        assert_eq!(forward(&attention, &[1., 2., 3., 4., 5., 6., 7., 8., 9.], &[1]), [7.0, 8.0, 9.0]);
    }
}
