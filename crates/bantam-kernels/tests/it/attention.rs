//! Attention over ragged batches.

use bantam_kernels::{AttentionScratch, Heads, attention};

use crate::support::{Seeded, assert_close, pools};

fn reference(qkv: &[f32], ends: &[usize], heads: Heads) -> Vec<f64> {
    let width = heads.count * heads.size;
    let at = |row: usize, column: usize| f64::from(qkv[row * 3 * width + column]);
    let mut outputs = vec![0.0; qkv.len() / 3];
    let mut start = 0;
    for end in ends.iter().copied() {
        for head in 0..heads.count {
            for row in start..end {
                let of = head * heads.size;
                let scores = (start..end).map(|other| {
                    let products = (0..heads.size).map(|i| at(row, of + i) * at(other, width + of + i));
                    products.sum::<f64>() / (heads.size as f64).sqrt()
                });
                let scores: Vec<f64> = scores.collect();
                let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for i in 0..heads.size {
                    let values = (start..end).zip(&weights);
                    outputs[row * width + of + i] =
                        values.map(|(other, weight)| weight / sum * at(other, 2 * width + of + i)).sum();
                }
            }
        }
        start = end;
    }
    outputs
}

#[test]
fn attention_is_that_of_the_reference_for_each_sequence_of_a_batch() {
    let mut scratches = AttentionScratch::default();
    for pool in pools() {
        let mut seeded = Seeded::new(6);
        let batches: [&[usize]; 6] = [&[1], &[12], &[5, 5, 22], &[17, 50, 51, 83], &[130], &[0, 3]];
        for (ends, (count, size)) in batches
            .into_iter()
            .flat_map(|ends| [(2, 32), (1, 64), (3, 5), (12, 32)].map(|heads| (ends, heads)))
        {
            let heads = Heads { count, size };
            let rows = ends[ends.len() - 1];
            // Scores of some tens, so that the largest has to be taken off before exponentials are.
            let mut qkv: Vec<f32> = seeded.numbers(rows * 3 * count * size);
            qkv.iter_mut().for_each(|number| *number *= 4.0);
            let mut found = vec![f32::NAN; rows * count * size];
            attention(&pool, &qkv, ends, heads, &mut scratches, &mut found);
            let what = format!("{} {ends:?} {heads:?}", pool.isa().name());
            assert_close(&found, &reference(&qkv, ends, heads), 1e-4, &what);
        }
    }
}

#[test]
fn no_tokens_are_no_work() {
    for pool in pools() {
        let heads = Heads { count: 2, size: 8 };
        attention(&pool, &[], &[], heads, &mut AttentionScratch::default(), &mut []);
        attention(&pool, &[], &[0, 0], heads, &mut AttentionScratch::default(), &mut []);
    }
}
