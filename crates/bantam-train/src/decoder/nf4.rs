//! 4-bit weights (NF4), bit for bit as bitsandbytes stores them.
//!
//! Numbers are grouped into blocks of 64, regardless of row boundaries. A block stores its largest magnitude; each
//! number divided by it is stored as the nearest of sixteen codes, the quantiles of a normal distribution
//! (<https://arxiv.org/abs/2305.14314>), two per byte, the first in the high half.

use super::frozen::WeightRows;

const BLOCK: usize = 64;

/// The sixteen codes, as in bitsandbytes.
#[expect(clippy::excessive_precision, reason = "these are the published digits")]
const CODES: [f32; 16] = [
    -1.0,
    -0.696_192_800_998_687_7,
    -0.525_073_051_452_636_7,
    -0.394_917_488_098_144_53,
    -0.284_441_381_692_886_35,
    -0.184_773_430_228_233_34,
    -0.091_050_036_251_544_95,
    0.0,
    0.079_580_299_556_255_34,
    0.160_930_201_411_247_25,
    0.246_112_301_945_686_34,
    0.337_915_241_718_292_24,
    0.440_709_829_330_444_34,
    0.562_617_003_917_694_1,
    0.722_956_836_223_602_3,
    1.0,
];

/// A matrix in 4 bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Nf4 {
    bytes: Vec<u8>,
    scales: Vec<f32>,
    inputs: usize,
    count: usize,
}

impl Nf4 {
    /// Quantises a matrix whose rows are `inputs` long.
    ///
    /// # Panics
    /// If the numbers do not form whole rows.
    pub fn new(numbers: &[f32], inputs: usize) -> Self {
        assert!(inputs > 0 && numbers.len().is_multiple_of(inputs), "whole rows");
        let (mut bytes, mut scales) = (vec![0_u8; numbers.len().div_ceil(2)], Vec::new());
        for (index, block) in numbers.chunks(BLOCK).enumerate() {
            let largest = block.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
            scales.push(largest);
            let factor = if largest > 0.0 { 1.0 / largest } else { 0.0 };
            for (within, number) in block.iter().enumerate() {
                let at = index * BLOCK + within;
                bytes[at / 2] |= code(number * factor) << if at.is_multiple_of(2) { 4 } else { 0 };
            }
        }
        Self { bytes, scales, inputs, count: numbers.len() }
    }

    /// Returns the codes, two per byte, and each block's largest magnitude.
    pub fn parts(&self) -> (&[u8], &[f32]) {
        (&self.bytes, &self.scales)
    }

    /// Dequantises the matrix.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut numbers = vec![0.0; self.count];
        numbers.chunks_exact_mut(self.inputs).enumerate().for_each(|(row, numbers)| self.write(row, numbers));
        numbers
    }

    fn outputs(&self) -> usize {
        self.count / self.inputs
    }
}

/// Returns the index of the code nearest to a number from -1 to 1; ties go to the lower one.
fn code(number: f32) -> u8 {
    let above = |pair: &&[f32]| number > f32::midpoint(pair[0], pair[1]);
    CODES.windows(2).take_while(above).count() as u8
}

impl WeightRows for Nf4 {
    fn write(&self, output: usize, numbers: &mut [f32]) {
        let first = output * self.inputs;
        for (within, number) in numbers.iter_mut().enumerate() {
            let at = first + within;
            let byte = self.bytes[at / 2];
            let code = if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 };
            *number = CODES[usize::from(code)] * self.scales[at / BLOCK];
        }
    }
}

impl WeightRows for Vec<Nf4> {
    fn write(&self, mut output: usize, numbers: &mut [f32]) {
        for part in self {
            if output < part.outputs() {
                return part.write(output, numbers);
            }
            output -= part.outputs();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::numbers;

    #[test]
    fn a_number_gets_the_nearest_code_and_ties_go_down() {
        for (index, code_number) in CODES.iter().enumerate() {
            assert_eq!(code(*code_number), index as u8);
        }
        assert_eq!((code(f32::midpoint(CODES[3], CODES[4])), code(-7.0), code(7.0)), (3, 0, 15));
    }

    #[test]
    fn the_quantisation_error_is_at_most_half_a_step_of_the_block() {
        // Blocks span row boundaries.
        let (rows, inputs) = (5, 50);
        let before = numbers(rows * inputs, 4);
        let nf4 = Nf4::new(&before, inputs);
        assert_eq!((nf4.parts().0.len(), nf4.parts().1.len()), (125, 4));
        for row in 0..rows {
            let mut found = vec![0.0; inputs];
            nf4.write(row, &mut found);
            for (at, found) in found.iter().enumerate() {
                let at = row * inputs + at;
                assert!((found - before[at]).abs() <= 0.16 * nf4.parts().1[at / BLOCK], "{at}");
            }
        }
        assert_eq!(Nf4::new(&[0.0; 64], 64).parts().1, [0.0], "a block of zeros divides by nothing");
    }
}
