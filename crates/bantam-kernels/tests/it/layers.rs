//! Products in f32, activations and norms.

use bantam_kernels::{Activation, Addend, F32Linear, Int8Linear, LayerNorm, QuantisedRows, geglu};

use crate::support::{Seeded, assert_close, erf, gelu, pools, shapes};

#[test]
fn f32_products_match_the_reference() {
    for pool in pools() {
        let mut seeded = Seeded::new(4);
        for (rows, inputs, outputs) in shapes() {
            let numbers = seeded.numbers(rows * inputs);
            let (weights, bias) = (seeded.numbers(outputs * inputs), seeded.numbers(outputs));
            let expected: Vec<f64> = numbers
                .chunks(inputs)
                .flat_map(|row| {
                    weights.chunks(inputs).zip(&bias).map(move |(weights, bias)| {
                        let product = |(a, b): (&f32, &f32)| f64::from(*a) * f64::from(*b);
                        row.iter().zip(weights).map(product).sum::<f64>() + f64::from(*bias)
                    })
                })
                .collect();
            let layer = F32Linear::new(&weights, &bias, inputs);
            let mut found = vec![f32::NAN; rows * outputs];
            layer.forward(&pool, &numbers, Activation::None, &mut found);
            let what = format!("{} {rows} x {inputs} x {outputs}", pool.isa().name());
            assert_close(&found, &expected, 1e-6 * inputs as f64 + 1e-6, &what);
            layer.forward(&pool, &numbers, Activation::Gelu, &mut found);
            let expected: Vec<f64> = expected.iter().map(|x| gelu(*x)).collect();
            assert_close(&found, &expected, 1e-6 * inputs as f64 + 1e-6, &what);
        }
    }
}

#[test]
fn the_reference_error_function_is_accurate() {
    for (x, expected) in [(0.0, 0.0), (0.5, 0.520_499_877_813_046_5), (2.0, 0.995_322_265_018_952_7)] {
        assert!((erf(x) - expected).abs() < 1e-15);
    }
    assert!((erf(2.499_999) - erf(2.500_001)).abs() < 1e-8);
    assert!((erf(-3.0) + 0.999_977_909_503_001_4).abs() < 1e-15);
}

#[test]
fn gelu_is_within_a_millionth_of_the_exact_one() {
    // A layer with a single weight of 1 applies the activation to its inputs.
    let layer = F32Linear::new(&[1.0], &[0.0], 1);
    let inputs: Vec<f32> = (-100_000..100_000).map(|step| step as f32 / 8_000.0).collect();
    let expected: Vec<f64> = inputs.iter().map(|x| gelu(f64::from(*x))).collect();
    for pool in pools() {
        let mut found = vec![0.0; inputs.len()];
        layer.forward(&pool, &inputs, Activation::Gelu, &mut found);
        assert_close(&found, &expected, 1e-6, pool.isa().name());
    }
}

#[test]
fn norms_match_the_reference_with_and_without_addend() {
    for pool in pools() {
        let mut seeded = Seeded::new(5);
        for (rows, width) in [(1, 1), (3, 7), (2, 16), (40, 33), (70, 384)] {
            let numbers: Vec<f32> = seeded.numbers(rows * width).iter().map(|x| 5.0 * x + 3.0).collect();
            let addend = seeded.numbers(rows * width);
            let (gain, bias) = (seeded.numbers(width), seeded.numbers(width));
            let for_layer = Int8Linear::quantise(&vec![1.0; width], &[0.0], width, &[width / 2]);
            let norm = LayerNorm::new(gain.clone(), bias.clone(), 1e-5);
            for addend in [None, Some(&addend)] {
                let mut sums: Vec<f64> = numbers.iter().copied().map(f64::from).collect();
                if let Some(addend) = addend {
                    sums.iter_mut().zip(addend).for_each(|(sum, addend)| *sum += f64::from(*addend));
                }
                let expected: Vec<f64> =
                    sums.chunks(width).flat_map(|row| normalised(row, &gain, &bias)).collect();
                let (mut found, mut quantised) = (numbers.clone(), QuantisedRows::default());
                let rows_of = |rows| Addend::Rows(rows);
                let addend = addend.map_or(Addend::None, |rows| rows_of(rows.as_slice()));
                let (mut kept, mut apart) = (numbers.clone(), vec![f32::NAN; numbers.len()]);
                norm.forward_apart(&pool, &mut kept, addend, &mut apart, Some((&for_layer, &mut quantised)));
                let bytes_apart: Vec<f32> = (0..rows).flat_map(|row| quantised.dequantised(row)).collect();
                norm.forward(&pool, &mut found, addend, Some((&for_layer, &mut quantised)));
                let bytes: Vec<f32> = (0..rows).flat_map(|row| quantised.dequantised(row)).collect();
                assert_eq!((&apart, &bytes_apart), (&found, &bytes), "in place and apart");
                assert_close(&kept, &sums, 1e-5, "sums are kept");
                let what = format!("{} {rows} x {width}", pool.isa().name());
                assert_close(&found, &expected, 1e-4, &what);
                assert_eq!((quantised.len(), quantised.width()), (rows, width));
                for (index, row) in found.chunks(width).enumerate() {
                    let pairs = quantised.dequantised(index).into_iter().zip(row);
                    pairs.for_each(|(byte, number)| assert!((byte - number).abs() < 0.04, "{what}"));
                }
            }
        }
    }
}

#[test]
fn geglu_matches_the_reference_and_its_quantisation() {
    for pool in pools() {
        let mut seeded = Seeded::new(8);
        for (rows, width) in [(1, 1), (3, 7), (2, 16), (40, 33), (70, 384)] {
            let numbers: Vec<f32> = seeded.numbers(rows * 2 * width).iter().map(|x| 5.0 * x).collect();
            let expected: Vec<f64> = numbers
                .chunks(2 * width)
                .flat_map(|row| row[..width].iter().zip(&row[width..]))
                .map(|(first, second)| gelu(f64::from(*first)) * f64::from(*second))
                .collect();
            let layer = Int8Linear::quantise(&vec![1.0; width], &[0.0], width, &[width / 2]);
            let (mut found, mut quantised) = (vec![f32::NAN; rows * width], QuantisedRows::default());
            geglu(&pool, &numbers, width, &mut found, None);
            let what = format!("{} {rows} x {width}", pool.isa().name());
            assert_close(&found, &expected, 1e-5, &what);
            let alone = std::mem::replace(&mut found, vec![f32::NAN; rows * width]);
            geglu(&pool, &numbers, width, &mut found, Some((&layer, &mut quantised)));
            assert_eq!((&found, quantised.len()), (&alone, rows), "{what}");
            for (index, row) in found.chunks(width).enumerate() {
                let pairs = quantised.dequantised(index).into_iter().zip(row);
                // Half a step of a range of at most 50.
                pairs.for_each(|(byte, number)| assert!((byte - number).abs() < 0.1, "{what}"));
            }
        }
    }
}

fn normalised(row: &[f64], gain: &[f32], bias: &[f32]) -> Vec<f64> {
    let mean = row.iter().sum::<f64>() / row.len() as f64;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row.len() as f64;
    let factor = 1.0 / (variance + 1e-5).sqrt();
    let terms = row.iter().zip(gain).zip(bias);
    terms.map(|((x, gain), bias)| (x - mean) * factor * f64::from(*gain) + f64::from(*bias)).collect()
}
