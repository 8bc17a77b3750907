//! Quantised rows and the integer products.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bantam_kernels::{Activation, Int8Linear, Pool, QuantisedRows, quantise_rows};

use crate::support::{Seeded, assert_close, pools, shapes};

fn quantised(pool: &Pool, numbers: &[f32], layer: &Int8Linear) -> QuantisedRows {
    let (mut rows, mut same) = (QuantisedRows::default(), numbers.to_vec());
    quantise_rows(pool, &mut same, layer, &mut rows);
    assert_eq!(same, numbers);
    rows
}

/// A layer of one output, for quantising rows.
fn width(inputs: usize) -> Int8Linear {
    Int8Linear::quantise(&vec![1.0; inputs], &[0.0], inputs, &[])
}

/// The layer's result in f64, from the quantised weights and rows.
fn reference(
    rows: &QuantisedRows,
    weights: &[f32],
    bias: &[f32],
    inputs: usize,
    exact: &[usize],
) -> Vec<f64> {
    let weights: Vec<Vec<f64>> = weights
        .chunks(inputs)
        .map(|row| {
            let rest = || row.iter().enumerate().filter(|(input, _)| !exact.contains(input));
            let step = rest().fold(0.0_f32, |most, (_, weight)| most.max(weight.abs())) / 127.0;
            let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
            let mut stands_for: Vec<f64> = row.iter().copied().map(f64::from).collect();
            for (input, weight) in rest() {
                stands_for[input] = f64::from((weight * inverse).round_ties_even()) * f64::from(step);
            }
            stands_for
        })
        .collect();
    let outputs = (0..rows.len()).flat_map(|index| {
        let row: Vec<f64> = rows.dequantised(index).into_iter().map(f64::from).collect();
        let product = move |weights: &Vec<f64>| row.iter().zip(weights).map(|(a, b)| a * b).sum::<f64>();
        weights.iter().map(product).zip(bias).map(|(sum, bias)| sum + f64::from(*bias)).collect::<Vec<_>>()
    });
    outputs.collect()
}

fn check(pool: &Pool, numbers: &[f32], weights: &[f32], bias: &[f32], inputs: usize, exact: &[usize]) {
    let layer = Int8Linear::quantise(weights, bias, inputs, exact);
    assert_eq!((layer.inputs(), layer.outputs(), layer.exact()), (inputs, bias.len(), exact));
    let rows = quantised(pool, numbers, &layer);
    let mut found = vec![f32::NAN; rows.len() * bias.len()];
    layer.forward(pool, &rows, Activation::None, &mut found);
    let expected = reference(&rows, weights, bias, inputs, exact);
    let scale = expected.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
    let what = format!("{} {} x {inputs} x {}", pool.isa().name(), rows.len(), bias.len());
    assert_close(&found, &expected, 2e-6 * scale, &what);
}

#[test]
fn integer_products_match_the_quantised_values() {
    for pool in pools() {
        let mut seeded = Seeded::new(1);
        for (rows, inputs, outputs) in shapes() {
            let numbers = seeded.numbers(rows * inputs);
            let (weights, bias) = (seeded.numbers(outputs * inputs), seeded.numbers(outputs));
            check(&pool, &numbers, &weights, &bias, inputs, &[]);
            check(&pool, &numbers, &weights, &bias, inputs, &[inputs - 1]);
            if inputs > 6 {
                check(&pool, &numbers, &weights, &bias, inputs, &[5, 0, 6]);
            }
        }
    }
}

#[test]
fn products_of_extreme_bytes_do_not_saturate() {
    for pool in pools() {
        for (number, weight) in [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)] {
            let inputs = 1536;
            check(&pool, &vec![number; 5 * inputs], &vec![weight; 20 * inputs], &[0.25; 20], inputs, &[]);
        }
    }
}

#[test]
fn without_activation_results_are_bit_identical_for_all_instruction_sets_and_threads() {
    let mut seeded = Seeded::new(3);
    let (numbers, weights, bias) = (seeded.numbers(29 * 97), seeded.numbers(50 * 97), seeded.numbers(50));
    let layer = Int8Linear::quantise(&weights, &bias, 97, &[3, 90]);
    // Quantise rows once: the conversion to bytes is f32 and may round differently.
    let rows = quantised(&Pool::new(1), &numbers, &layer);
    let outputs = pools().into_iter().map(|pool| {
        let mut outputs = vec![0.0; 29 * 50];
        layer.forward(&pool, &rows, Activation::None, &mut outputs);
        (pool.isa().name(), outputs)
    });
    let outputs: Vec<(&str, Vec<f32>)> = outputs.collect();
    for (name, found) in &outputs {
        let expected: Vec<f64> = outputs[0].1.iter().copied().map(f64::from).collect();
        // One more rounding without fused multiply-add.
        let tolerance = if *name == "portable" { 1e-5 } else { 0.0 };
        assert_close(found, &expected, tolerance, name);
    }
}

#[test]
fn quantised_rows_are_within_half_a_step_and_keep_zero() {
    for pool in pools() {
        let mut seeded = Seeded::new(2);
        for inputs in [1, 3, 16, 31, 384] {
            let mut numbers = seeded.numbers(9 * inputs);
            numbers[0] = 40.0;
            numbers[inputs / 2] = 0.0;
            let rows = quantised(&pool, &numbers, &width(inputs));
            assert_eq!((rows.len(), rows.width()), (9, inputs));
            for (index, row) in numbers.chunks(inputs).enumerate() {
                let highest = row.iter().copied().fold(0.0, f32::max);
                let step = (highest - row.iter().copied().fold(0.0, f32::min)) / 255.0;
                for (found, number) in rows.dequantised(index).into_iter().zip(row) {
                    assert!((found - number).abs() <= 0.5001 * step + 1e-9, "{found} for {number}");
                    assert!(*number != 0.0 || found == 0.0);
                }
            }
        }
    }
}

#[test]
fn rows_of_zeros_and_rows_after_a_larger_batch_are_correct() {
    for pool in pools() {
        let mut rows = quantised(&pool, &[3.0; 40 * 21], &width(21));
        let layer = Int8Linear::quantise(&[1.0; 30], &[7.0, 8.0, 9.0], 10, &[]);
        quantise_rows(&pool, &mut [0.0; 2 * 10], &layer, &mut rows);
        assert_eq!((rows.len(), rows.width(), rows.is_empty()), (2, 10, false));
        assert!(rows.dequantised(1).iter().all(|number| *number == 0.0));
        let mut outputs = [0.0; 6];
        layer.forward(&pool, &rows, Activation::None, &mut outputs);
        assert_eq!(outputs, [7.0, 8.0, 9.0, 7.0, 8.0, 9.0]);
    }
}

#[test]
fn an_exact_input_costs_the_others_no_precision() {
    for pool in pools() {
        let mut numbers = Seeded::new(8).numbers(3 * 20);
        for row in 0..3 {
            numbers[row * 20 + 7] = 1e6;
        }
        let layer = Int8Linear::quantise(&[1.0; 20], &[0.0], 20, &[7]);
        let rows = quantised(&pool, &numbers, &layer);
        for (index, row) in numbers.chunks(20).enumerate() {
            let pairs = rows.dequantised(index).into_iter().zip(row);
            pairs.for_each(|(found, number)| assert!((found - number).abs() < 0.01, "{found} {number}"));
        }
    }
}

#[test]
fn rows_for_another_layer_are_refused() {
    let pool = Pool::new(1);
    let rows = quantised(&pool, &[1.0; 8], &width(4));
    let layer = Int8Linear::quantise(&[1.0; 4], &[0.0], 4, &[2]);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        layer.forward(&pool, &rows, Activation::None, &mut [0.0; 2]);
    }));
    assert!(outcome.is_err());
}
