//! Grouped weights, and their products with grouped rows.

use std::sync::Arc;

use bantam_kernels::{
    AlignedBytes, GroupedLinear, GroupedRows, PackedBytes, PackedError, Packing, Pool, Weights,
};

use crate::support::{Seeded, assert_close, pools, shapes};

const PACKINGS: [Packing; 2] = [Packing::Int8, Packing::Int4];

fn quantised(pool: &Pool, numbers: &[f32], width: usize) -> GroupedRows {
    let mut rows = GroupedRows::default();
    rows.quantise(pool, numbers, width);
    rows
}

fn packed(pool: &Pool, weights: &[f32], outputs: usize, inputs: usize, packing: Packing) -> GroupedLinear {
    let row = |output: usize, to: &mut [f32]| {
        to.copy_from_slice(&weights[output * inputs..(output + 1) * inputs]);
    };
    GroupedLinear::pack(pool, &Weights::Numbers(&row), outputs, inputs, packing)
}

/// The layer's result in f64, from the values that its weights and rows represent.
fn reference(layer: &GroupedLinear, rows: &GroupedRows, bias: &[f32]) -> Vec<f64> {
    let weights: Vec<Vec<f32>> = (0..layer.outputs())
        .map(|output| {
            let mut row = vec![0.0; layer.inputs()];
            layer.weights_of(output, &mut row);
            row
        })
        .collect();
    let outputs = (0..rows.len()).flat_map(|index| {
        let row = rows.dequantised(index);
        let product = move |(output, weights): (usize, &Vec<f32>)| {
            let products = row.iter().zip(weights).map(|(a, b)| f64::from(*a) * f64::from(*b));
            products.sum::<f64>() + bias.get(output).map_or(0.0, |bias| f64::from(*bias))
        };
        weights.iter().enumerate().map(product).collect::<Vec<_>>()
    });
    outputs.collect()
}

#[test]
fn products_match_the_dequantised_values() {
    for pool in pools() {
        let mut seeded = Seeded::new(1);
        for (count, inputs, outputs) in shapes() {
            for packing in PACKINGS {
                let rows = quantised(&pool, &seeded.numbers(count * inputs), inputs);
                let layer = packed(&pool, &seeded.numbers(outputs * inputs), outputs, inputs, packing);
                let expected = reference(&layer, &rows, &[]);
                let what = format!("{} {packing:?} {count} x {inputs} x {outputs}", pool.isa().name());
                let mut found = vec![f32::NAN; count * outputs];
                layer.forward(&pool, &rows, &mut found);
                let tolerance = 1e-6 * inputs as f64;
                assert_close(&found, &expected, tolerance, &what);

                let bias = seeded.numbers(outputs);
                let doubled: Vec<f64> =
                    expected.iter().zip(reference(&layer, &rows, &bias)).map(|(a, b)| a + b).collect();
                layer.with_bias(bias).forward_add(&pool, &rows, &mut found);
                assert_close(&found, &doubled, 3.0 * tolerance, &what);
            }
        }
    }
}

#[test]
fn a_row_is_bit_identical_alone_and_in_every_batch() {
    for pool in pools() {
        let mut seeded = Seeded::new(2);
        let (inputs, outputs) = (300, 100);
        let numbers = seeded.numbers(130 * inputs);
        for packing in PACKINGS {
            let layer = packed(&pool, &seeded.numbers(outputs * inputs), outputs, inputs, packing);
            let alone = numbers.chunks(inputs).flat_map(|row| {
                let mut found = vec![0.0; outputs];
                layer.forward(&pool, &quantised(&pool, row, inputs), &mut found);
                found
            });
            let alone: Vec<f32> = alone.collect();
            for count in [2, 3, 5, 7, 8, 9, 11, 16, 17, 61, 97, 130] {
                let mut found = vec![0.0; count * outputs];
                let rows = quantised(&pool, &numbers[..count * inputs], inputs);
                layer.forward(&pool, &rows, &mut found);
                assert_eq!(found, alone[..count * outputs], "{} {packing:?} {count}", pool.isa().name());
            }
        }
    }
}

#[test]
fn sums_of_extreme_bytes_are_exact() {
    let inputs = 1024;
    for pool in pools() {
        for (number, byte) in [(1.0, 127_u8), (1.0, 128), (-1.0, 127), (-1.0, 128), (1.0, 0x81)] {
            let group: Vec<u8> = [0, 0x3c].into_iter().chain([byte; 32]).collect();
            let weights = group.repeat(40 * inputs / 32);
            let layer = GroupedLinear::pack(&pool, &Weights::Q8_0(&weights), 40, inputs, Packing::Int8);
            let rows = quantised(&pool, &vec![number; 9 * inputs], inputs);
            let scale = f64::from(rows.dequantised(0)[0]);
            let mut found = vec![0.0; 9 * 40];
            layer.forward(&pool, &rows, &mut found);
            let expected = scale * f64::from(byte.cast_signed()) * inputs as f64;
            assert_close(&found, &[expected; 9 * 40], 0.5, pool.isa().name());
        }
    }
}

#[test]
fn weights_of_model_files_are_packed_exactly() {
    let pool = Pool::new(2);
    let mut seeded = Seeded::new(3);
    let (outputs, inputs) = (45, 96);
    for (size, packings) in [(34, &PACKINGS[..1]), (18, &PACKINGS[..])] {
        let mut bytes: Vec<u8> = (0..outputs * inputs / 32 * size).map(|_| seeded.next() as u8).collect();
        for group in bytes.chunks_mut(size) {
            // Scales of 1/16 to 1/8, so that f32 holds every product below exactly.
            group[1] = 0x2c | group[1] & 0x80;
        }
        for packing in packings {
            let weights = if size == 34 { Weights::Q8_0(&bytes) } else { Weights::Q4_0(&bytes) };
            let layer = GroupedLinear::pack(&pool, &weights, outputs, inputs, *packing);
            for output in 0..outputs {
                let mut found = vec![0.0; inputs];
                layer.weights_of(output, &mut found);
                for (input, found) in found.into_iter().enumerate() {
                    let group = &bytes[(output * inputs + input) / 32 * size..][..size];
                    let fraction = u16::from_le_bytes([group[0], group[1]]) & 0x3ff;
                    let scale = (1.0 + f32::from(fraction) / 1024.0) / 16.0;
                    let scale = if group[1] & 0x80 == 0 { scale } else { -scale };
                    let within = input % 32;
                    let weight = match size {
                        34 => f32::from(group[2 + within].cast_signed()),
                        _ => f32::from(group[2 + within % 16] >> (within / 16 * 4) & 15) - 8.0,
                    };
                    assert_eq!(found, weight * scale, "{packing:?} {output} {input}");
                }
            }
        }
    }
}

#[test]
fn quantisation_errors_are_small() {
    for pool in pools() {
        let mut seeded = Seeded::new(4);
        for width in [1, 31, 32, 33, 100] {
            let numbers = seeded.numbers(3 * width);
            let rows = quantised(&pool, &numbers, width);
            assert_eq!((rows.len(), rows.width(), rows.is_empty()), (3, width, false));
            for (index, numbers) in numbers.chunks(width).enumerate() {
                let found = rows.dequantised(index);
                for (numbers, found) in numbers.chunks(32).zip(found.chunks(32)) {
                    let largest = numbers.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
                    let expected: Vec<f64> = numbers.iter().map(|number| f64::from(*number)).collect();
                    assert_close(found, &expected, f64::from(largest) / 253.0, pool.isa().name());
                }
            }
        }
        let rows = quantised(&pool, &[0.0, -0.0, 1e-40, 1e-35], 2);
        assert_eq!([rows.dequantised(0), rows.dequantised(1)], [[0.0, 0.0], [0.0, 0.0]]);
    }
}

#[test]
fn packed_weights_can_be_stored_concatenated_and_shared() {
    let pool = Pool::new(2);
    let mut seeded = Seeded::new(5);
    let inputs = 64;
    for packing in PACKINGS {
        let (first, second) = (seeded.numbers(64 * inputs), seeded.numbers(33 * inputs));
        let layers =
            [packed(&pool, &first, 64, inputs, packing), packed(&pool, &second, 33, inputs, packing)];
        // In the middle of a file, so to speak, and not aligned to a cache line.
        let mut joined = vec![7; 3];
        layers.iter().for_each(|layer| joined.extend_from_slice(layer.bytes().as_slice()));
        let range = 3..joined.len();
        let bytes = PackedBytes::new(Arc::new(joined), range).expect("within");
        let both = GroupedLinear::from_packed(bytes.clone(), 97, inputs, packing).expect("of this shape");
        let rows = quantised(&pool, &seeded.numbers(2 * inputs), inputs);
        let mut found = vec![0.0; 2 * 97];
        both.forward(&pool, &rows, &mut found);
        let mut expected = [vec![0.0; 2 * 64], vec![0.0; 2 * 33]];
        for (layer, expected) in layers.iter().zip(&mut expected) {
            layer.forward(&pool, &rows, expected);
        }
        assert_eq!(found[..64], expected[0][..64]);
        assert_eq!(found[64..97], expected[1][..33]);
        assert_eq!(found[97 + 64..], expected[1][33..]);

        let error = GroupedLinear::from_packed(bytes.clone(), 97, inputs + 1, packing).expect_err("too few");
        assert!(error.to_string().contains("bytes of packed weights"), "{error}");
        let error = GroupedLinear::from_packed(bytes.clone(), usize::MAX, usize::MAX, packing);
        assert!(matches!(error, Err(PackedError::Length { expected: None, .. })));
        assert_eq!(GroupedLinear::from_packed(bytes, 0, inputs, packing).err(), Some(PackedError::Empty));
    }
    assert!(PackedBytes::new(Arc::new(vec![1, 2]), 1..3).is_none());
    let aligned = AlignedBytes::copy_of(&[1, 2, 3]);
    assert_eq!(aligned.as_ref(), [1, 2, 3]);
    assert_eq!(aligned.as_ref().as_ptr().align_offset(64), 0);
}
