//! The row-wise steps of decoders, and adapters.

use bantam_kernels::{
    Addend, Gate, GroupedRows, LowRank, RmsNorm, Rope, RopeAngles, RopeStyle, add_low_rank, gated,
    gated_quantise,
};

use crate::support::{Seeded, assert_close, pools};

fn rms(numbers: &[f32], gain: &[f32]) -> Vec<f64> {
    let mean = numbers.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / numbers.len() as f64;
    let factor = 1.0 / (mean + 1e-5).sqrt();
    numbers.iter().zip(gain).map(|(x, gain)| f64::from(*x) * factor * f64::from(*gain)).collect()
}

#[test]
fn rows_and_heads_are_divided_by_their_root_mean_square() {
    for pool in pools() {
        let mut seeded = Seeded::new(11);
        for (rows, width) in [(1, 1), (3, 17), (70, 64), (2, 576)] {
            let norm = RmsNorm::new(seeded.numbers(width), 1e-5);
            // Two heads of four; the others stay unchanged.
            let mut numbers = seeded.numbers(rows * 4 * width);
            let before = numbers.clone();
            norm.forward(&pool, &mut numbers, 4 * width, 1..3);
            for (row, (found, before)) in numbers.chunks(width).zip(before.chunks(width)).enumerate() {
                if (1..3).contains(&(row % 4)) {
                    let gain: Vec<f32> = gain_of(&norm, &pool, width);
                    assert_close(found, &rms(before, &gain), 1e-5, pool.isa().name());
                } else {
                    assert_eq!(found, before);
                }
            }
        }
    }
}

/// Recovers a norm's gain approximately, from its output for ones.
fn gain_of(norm: &RmsNorm, pool: &bantam_kernels::Pool, width: usize) -> Vec<f32> {
    let mut ones = vec![1.0; width];
    norm.forward(pool, &mut ones, width, 0..1);
    ones.iter().map(|gain| gain * (1.0_f32 + 1e-5).sqrt()).collect()
}

#[test]
fn a_residual_is_added_and_the_norm_is_quantised() {
    for pool in pools() {
        let mut seeded = Seeded::new(12);
        let (count, width) = (37, 200);
        let gain = seeded.numbers(width);
        let norm = RmsNorm::new(gain.clone(), 1e-5);
        let (mut rows, addend) = (seeded.numbers(count * width), seeded.numbers(count * width));
        let sums: Vec<f32> = rows.iter().zip(&addend).map(|(a, b)| a + b).collect();
        let mut quantised = GroupedRows::default();
        norm.quantise(&pool, &mut rows, Addend::Rows(&addend), &mut quantised);
        assert_eq!(rows, sums);
        for (index, row) in sums.chunks(width).enumerate() {
            assert_close(&quantised.dequantised(index), &rms(row, &gain), 0.012, pool.isa().name());
        }
        let mut again = GroupedRows::default();
        norm.quantise(&pool, &mut rows, Addend::None, &mut again);
        assert_eq!(again.dequantised(5), quantised.dequantised(5));
    }
}

#[test]
fn pairs_of_elements_rotate_by_their_positions() {
    for pool in pools() {
        let mut seeded = Seeded::new(13);
        for (style, size, rotated) in [
            (RopeStyle::Halves, 64, 64),
            (RopeStyle::Pairs, 64, 64),
            (RopeStyle::Halves, 40, 26),
            (RopeStyle::Pairs, 10, 4),
        ] {
            let frequencies = Rope::plain_frequencies(10_000.0, rotated);
            let rope = Rope::new(style, size, frequencies.clone(), 1.5);
            let positions = [0, 1, 7, 300, 8000];
            let mut angles = RopeAngles::default();
            rope.angles(&pool, &positions, &mut angles);
            assert_eq!((angles.len(), angles.is_empty()), (5, false));
            let before = seeded.numbers(5 * 3 * size);
            let mut numbers = before.clone();
            rope.forward(&pool, &mut numbers, 3 * size, 0..2, &angles);
            let mut expected: Vec<f64> = before.iter().copied().map(f64::from).collect();
            for (head, numbers) in expected.chunks_mut(size).enumerate().filter(|(head, _)| head % 3 < 2) {
                for (i, frequency) in frequencies.iter().enumerate() {
                    let (a, b) = match style {
                        RopeStyle::Halves => (i, i + rotated / 2),
                        RopeStyle::Pairs => (2 * i, 2 * i + 1),
                    };
                    let (sine, cosine) = (f64::from(positions[head / 3]) * f64::from(*frequency)).sin_cos();
                    let (x, y) = (numbers[a], numbers[b]);
                    numbers[a] = 1.5 * (x * cosine - y * sine);
                    numbers[b] = 1.5 * (y * cosine + x * sine);
                }
            }
            assert_close(&numbers, &expected, 1e-6, &format!("{style:?} {size}"));
        }
    }
}

#[test]
fn gates_match_their_activation() {
    for pool in pools() {
        let mut seeded = Seeded::new(14);
        for (gate, width) in [(Gate::Silu, 100), (Gate::GeluTanh, 100), (Gate::Silu, 1), (Gate::Silu, 1536)] {
            let mut rows = seeded.numbers(9 * 2 * width);
            rows.iter_mut().for_each(|number| *number *= 12.0);
            (rows[0], rows[2 * width]) = (-200.0, 200.0);
            let expected = rows.chunks(2 * width).flat_map(|row| {
                let (gates, values) = row.split_at(width);
                let one = move |(x, value): (&f32, &f32)| {
                    let x = f64::from(*x);
                    let opened = match gate {
                        Gate::Silu => x / (1.0 + (-x).exp()),
                        Gate::GeluTanh => {
                            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                            x / 2.0 * (1.0 + inner.tanh())
                        }
                    };
                    opened * f64::from(*value)
                };
                gates.iter().zip(values).map(one).collect::<Vec<f64>>()
            });
            let expected: Vec<f64> = expected.collect();
            let mut found = vec![f32::NAN; 9 * width];
            gated(&pool, gate, &rows, width, &mut found);
            assert_close(&found, &expected, 5e-4, &format!("{gate:?}"));
            let (mut fused, mut plain) = (GroupedRows::default(), GroupedRows::default());
            gated_quantise(&pool, gate, &rows, width, &mut fused);
            plain.quantise(&pool, &found, width);
            (0..9).for_each(|row| assert_eq!(fused.dequantised(row), plain.dequantised(row)));
        }
    }
}

#[test]
fn adapters_change_only_the_rows_of_their_groups() {
    for pool in pools() {
        let mut seeded = Seeded::new(15);
        let (inputs, outputs, stride, start) = (50, 40, 60, 7);
        for ranks in [(4, 16), (1, 33)] {
            let factors = [ranks.0, ranks.1]
                .map(|rank| (rank, seeded.numbers(rank * inputs), seeded.numbers(outputs * rank)));
            let adapters =
                factors.each_ref().map(|(rank, down, up)| LowRank::new(down, up, inputs, *rank, 0.5));
            let (rows, mut found) = (seeded.numbers(31 * inputs), seeded.numbers(31 * stride));
            let mut expected: Vec<f64> = found.iter().copied().map(f64::from).collect();
            let groups = [(0..1, &adapters[0]), (3..30, &adapters[1])];
            for ((range, _), (rank, down, up)) in groups.iter().zip(&factors) {
                for row in range.clone() {
                    for output in 0..outputs {
                        let low = (0..*rank).map(|r| {
                            let sum = (0..inputs)
                                .map(|i| f64::from(rows[row * inputs + i]) * f64::from(down[r * inputs + i]));
                            sum.sum::<f64>() * f64::from(up[output * rank + r])
                        });
                        expected[row * stride + start + output] += 0.5 * low.sum::<f64>();
                    }
                }
            }
            let before = found.clone();
            add_low_rank(&pool, &rows, &groups, (stride, start), &mut found);
            assert_close(&found, &expected, 1e-4, pool.isa().name());

            let mut alone = before[9 * stride..10 * stride].to_vec();
            let group = [(0..1, &adapters[1])];
            add_low_rank(&pool, &rows[9 * inputs..10 * inputs], &group, (stride, start), &mut alone);
            assert_eq!(alone, found[9 * stride..10 * stride], "bit-identical");
        }
    }
}
