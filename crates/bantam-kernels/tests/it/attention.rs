//! Attention over ragged batches.

use bantam_kernels::{AttentionScope, AttentionScratch, Heads, RotationTable, attention};

use crate::support::{Seeded, assert_close, pools};

/// The rotation base and the reach, as the reference takes them.
#[derive(Clone, Copy, Debug)]
struct ReferenceOptions {
    base: Option<f64>,
    reach: usize,
}

/// Returns a copy of `qkv` with queries and keys rotated to their positions.
fn rotated(qkv: &[f32], ends: &[usize], heads: Heads, base: f64) -> Vec<f64> {
    let (width, half) = (heads.count * heads.size, heads.size / 2);
    let mut rows: Vec<f64> = qkv.iter().copied().map(f64::from).collect();
    let mut start = 0;
    for end in ends.iter().copied() {
        for row in start..end {
            for head in 0..2 * heads.count {
                for i in 0..half {
                    let frequency = base.powf(-(i as f64) / half as f64) as f32;
                    let angle = f64::from((row - start) as f32 * frequency);
                    let first = row * 3 * width + head * heads.size + i;
                    let (x, y) = (rows[first], rows[first + half]);
                    rows[first] = x * angle.cos() - y * angle.sin();
                    rows[first + half] = y * angle.cos() + x * angle.sin();
                }
            }
        }
        start = end;
    }
    rows
}

fn reference(qkv: &[f32], ends: &[usize], heads: Heads, options: ReferenceOptions) -> Vec<f64> {
    let width = heads.count * heads.size;
    let qkv = match options.base {
        None => qkv.iter().copied().map(f64::from).collect(),
        Some(base) => rotated(qkv, ends, heads, base),
    };
    let at = |row: usize, column: usize| qkv[row * 3 * width + column];
    let mut outputs = vec![0.0; qkv.len() / 3];
    let mut start = 0;
    for end in ends.iter().copied() {
        for head in 0..heads.count {
            for row in start..end {
                let of = head * heads.size;
                let seen = row.saturating_sub(options.reach).max(start)..(row + options.reach + 1).min(end);
                let scores = seen.clone().map(|other| {
                    let products = (0..heads.size).map(|i| at(row, of + i) * at(other, width + of + i));
                    products.sum::<f64>() / (heads.size as f64).sqrt()
                });
                let scores: Vec<f64> = scores.collect();
                let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for i in 0..heads.size {
                    let values = seen.clone().zip(&weights);
                    outputs[row * width + of + i] =
                        values.map(|(other, weight)| weight / sum * at(other, 2 * width + of + i)).sum();
                }
            }
        }
        start = end;
    }
    outputs
}

fn check(options: ReferenceOptions, all_heads: &[(usize, usize)]) {
    let mut scratches = AttentionScratch::default();
    for pool in pools() {
        let mut seeded = Seeded::new(6);
        let batches: [&[usize]; 6] = [&[1], &[12], &[5, 5, 22], &[17, 50, 51, 83], &[130], &[0, 3]];
        for (ends, (count, size)) in
            batches.into_iter().flat_map(|ends| all_heads.iter().map(move |heads| (ends, *heads)))
        {
            let heads = Heads { count, size };
            let rows = ends[ends.len() - 1];
            // Scores of some tens, so that the maximum must be subtracted before the exponentials.
            let mut qkv: Vec<f32> = seeded.numbers(rows * 3 * count * size);
            qkv.iter_mut().for_each(|number| *number *= 4.0);
            let mut found = vec![f32::NAN; rows * count * size];
            let table = options.base.map(|base| RotationTable::new(base, size, 130));
            let reach = (options.reach < 1000).then_some(options.reach);
            let scope = AttentionScope { rotation: table.as_ref(), reach };
            attention(&pool, &qkv, ends, (heads, scope), &mut scratches, &mut found);
            let what = format!("{} {ends:?} {heads:?} {options:?}", pool.isa().name());
            assert_close(&found, &reference(&qkv, ends, heads, options), 1e-4, &what);
        }
    }
}

#[test]
fn attention_matches_the_reference_for_each_sequence_of_a_batch() {
    check(ReferenceOptions { base: None, reach: 1000 }, &[(2, 32), (1, 64), (3, 5), (12, 32)]);
}

#[test]
fn tokens_see_only_within_their_reach() {
    for reach in [0, 1, 4, 16, 64] {
        check(ReferenceOptions { base: None, reach }, &[(2, 32), (3, 5)]);
    }
}

#[test]
fn queries_and_keys_rotate_with_their_positions_in_the_sequence() {
    for reach in [1000, 7] {
        check(ReferenceOptions { base: Some(40.0), reach }, &[(2, 32), (1, 64), (3, 10), (2, 2)]);
        check(ReferenceOptions { base: Some(160_000.0), reach }, &[(12, 64)]);
    }
}

#[test]
fn an_empty_batch_is_accepted() {
    for pool in pools() {
        let heads = Heads { count: 2, size: 8 };
        attention(
            &pool,
            &[],
            &[],
            (heads, AttentionScope::default()),
            &mut AttentionScratch::default(),
            &mut [],
        );
        attention(
            &pool,
            &[],
            &[0, 0],
            (heads, AttentionScope::default()),
            &mut AttentionScratch::default(),
            &mut [],
        );
    }
}
