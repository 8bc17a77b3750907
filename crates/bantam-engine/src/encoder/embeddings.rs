//! Token embeddings, the input of the first layer.

use std::ops::Range;

use super::{Precision, TokenBatch};

/// Embedding rows: in f32, or as bytes with a step per row, which needs a quarter of the memory.
#[derive(Debug)]
enum EmbeddingTable {
    F32(Vec<f32>),
    Int8 { bytes: Vec<i8>, steps: Vec<f32> },
}

impl EmbeddingTable {
    fn new(numbers: Vec<f32>, width: usize, precision: Precision) -> Self {
        if precision == Precision::F32 {
            return Self::F32(numbers);
        }
        let mut bytes = Vec::with_capacity(numbers.len());
        let mut steps = Vec::with_capacity(numbers.len() / width);
        for row in numbers.chunks_exact(width) {
            let step = row.iter().fold(0.0_f32, |most, number| most.max(number.abs())) / 127.0;
            let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
            bytes.extend(row.iter().map(|number| (number * inverse).round_ties_even() as i8));
            steps.push(step);
        }
        Self::Int8 { bytes, steps }
    }

    /// Writes row `index`.
    fn write(&self, index: usize, row: &mut [f32]) {
        let range = index * row.len()..(index + 1) * row.len();
        match self {
            Self::F32(numbers) => row.copy_from_slice(&numbers[range]),
            Self::Int8 { bytes, steps } => {
                let step = steps[index];
                row.iter_mut()
                    .zip(&bytes[range])
                    .for_each(|(number, byte)| *number = f32::from(*byte) * step);
            }
        }
    }
}

/// Embeddings of words, positions and token types. Type 0 is already added to the positions.
#[derive(Debug)]
pub(super) struct Embeddings {
    width: usize,
    words: EmbeddingTable,
    /// The positions for each token type; empty if there are only word embeddings.
    positions: Vec<f32>,
    positions_max: usize,
}

impl Embeddings {
    /// Builds the embeddings from the three tables, with rows of `width` elements.
    pub(super) fn new(
        words: Vec<f32>,
        positions: &[f32],
        types: &[f32],
        width: usize,
        precision: Precision,
    ) -> Self {
        let sums = types.chunks_exact(width).take(2).flat_map(|of_type| {
            positions.iter().zip(of_type.iter().cycle()).map(|(position, of_type)| position + of_type)
        });
        Self {
            width,
            words: EmbeddingTable::new(words, width, precision),
            positions: sums.collect(),
            positions_max: positions.len() / width,
        }
    }

    /// Builds embeddings of words only, without positions and types.
    pub(super) fn of_words(words: Vec<f32>, width: usize, precision: Precision) -> Self {
        Self {
            width,
            words: EmbeddingTable::new(words, width, precision),
            positions: Vec::new(),
            positions_max: 0,
        }
    }

    /// Writes a row for each token of these sequences.
    pub(super) fn write(&self, batch: &TokenBatch, sequences: Range<usize>, rows: &mut [f32]) {
        let tokens = sequences.flat_map(|sequence| batch.typed(sequence).enumerate());
        for ((position, (id, of_type)), row) in tokens.zip(rows.chunks_exact_mut(self.width)) {
            self.words.write(id as usize, row);
            if self.positions.is_empty() {
                continue;
            }
            let start = (of_type * self.positions_max + position) * self.width;
            let addend = &self.positions[start..start + self.width];
            row.iter_mut().zip(addend).for_each(|(number, addend)| *number += addend);
        }
    }
}
