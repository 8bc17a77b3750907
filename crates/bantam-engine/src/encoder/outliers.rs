//! Which inputs of a layer are outliers, found by looking.
//!
//! Transformers keep a few states many times larger than the rest, in the same places whatever the text is. One
//! scale for a token then serves those and blurs all others, and their weights' rounding is what weighs most.
//! Kept in f32 they cost some percent of the products; on all-MiniLM-L6-v2 the lowest cosine of a thousand short
//! texts rises from 0.988 to 0.997. That the places do not depend on the text is also why random tokens find
//! them, so that loading needs no corpus.

use bantam_kernels::{Addend, LayerNorm, Pool};

use super::embeddings::Embeddings;
use super::layer::Part;
use super::{EncoderConfig, EncoderScratch, TokenBatch, fit};

/// Inputs of a part that stay exact.
const EXACT: usize = 4;
/// Lengths of the random sequences: short ones matter most, because there nothing averages out.
const LENGTHS: [usize; 6] = [2, 3, 6, 12, 24, 48];

/// The inputs to keep exact, by part.
#[derive(Debug, Default)]
pub(super) struct Outliers {
    pub(super) qkv: Vec<usize>,
    pub(super) up: Vec<usize>,
    pub(super) down: Vec<usize>,
}

/// Random tokens on their way through the layers in f32.
pub(super) struct Probe {
    pool: Pool,
    scratch: EncoderScratch,
    tokens: usize,
}

impl Probe {
    /// Returns the states before the first layer.
    pub(super) fn new(config: &EncoderConfig, embeddings: &Embeddings, norm: &LayerNorm) -> Self {
        let (mut batch, mut state) = (TokenBatch::new(), 1_u64);
        for length in LENGTHS {
            let ids = (0..length.min(config.positions)).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 33) % config.vocabulary as u64) as u32
            });
            batch.push(&ids.collect::<Vec<_>>());
        }
        // One thread: what is found must not depend on the machine's load, and it takes milliseconds.
        let (pool, mut scratch, tokens) = (Pool::new(1), EncoderScratch::default(), batch.tokens());
        scratch.ends.extend((0..batch.len()).map(|sequence| batch.row_range(sequence).end));
        let hidden = fit(&mut scratch.hidden, tokens * config.hidden);
        embeddings.write(&batch, 0..batch.len(), hidden);
        norm.forward(&pool, hidden, Addend::None, None);
        Self { pool, scratch, tokens }
    }

    /// Sends the states through a layer in f32 and returns its outliers. `forward` is called with the number of
    /// tokens and what the layer works with, and shows what it sees.
    pub(super) fn pass(
        &mut self,
        config: &EncoderConfig,
        forward: impl FnOnce(usize, &Pool, &mut EncoderScratch, &mut dyn FnMut(Part, &[f32])),
    ) -> Outliers {
        let mut outliers = Outliers::default();
        forward(self.tokens, &self.pool, &mut self.scratch, &mut |part, inputs| match part {
            Part::Qkv => outliers.qkv = largest(inputs, config.hidden),
            Part::Up => outliers.up = largest(inputs, config.hidden),
            Part::Down => outliers.down = largest(inputs, config.intermediate),
        });
        outliers
    }
}

/// Returns the columns with the largest numbers, a few of them, in order.
fn largest(rows: &[f32], width: usize) -> Vec<usize> {
    let mut most = vec![0.0_f32; width];
    for row in rows.chunks_exact(width) {
        most.iter_mut().zip(row).for_each(|(most, number)| *most = most.max(number.abs()));
    }
    let mut columns: Vec<usize> = (0..width).collect();
    columns.sort_by(|a, b| most[*b].total_cmp(&most[*a]).then(a.cmp(b)));
    columns.truncate(EXACT.min(width / 2));
    columns.sort_unstable();
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_columns_are_found_in_order_and_never_most_of_them() {
        let rows = [0.0, -9.0, 1.0, 0.5, 7.0, 0.0, 0.1, 2.0, 0.0, 0.0, 8.0, 3.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(largest(&rows, 8), [1, 2, 3, 4]);
        assert_eq!(largest(&rows, 2), [1]);
        assert_eq!(largest(&rows, 1), [0; 0]);
    }
}
