//! Attention over a paged KV cache.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bantam_kernels::{
    AttendOptions, AttendScratch, AttendSpan, Columns, KvPrecision, KvShape, KvStore, Pool, attend,
};

use crate::support::{Seeded, assert_close, pools};

/// A store whose pages are all written, each sequence's in random order.
struct Sequences {
    store: KvStore,
    pages: Vec<Vec<u32>>,
}

impl Sequences {
    fn new(seeded: &mut Seeded, shape: KvShape, lengths: &[usize]) -> Self {
        let count = lengths.iter().map(|length| length.div_ceil(16)).sum::<usize>() + 1;
        let mut store = KvStore::new(shape, count);
        let mut free: Vec<u32> = (0..count as u32).collect();
        let width = shape.kv_heads * shape.head_size;
        let mut pages = Vec::new();
        for length in lengths.iter().copied() {
            let own: Vec<u32> =
                (0..length.div_ceil(16)).map(|_| free.swap_remove(seeded.below(free.len()))).collect();
            for layer in 0..shape.layers {
                // Two writes, the second starting in the middle of a page.
                for (start, end) in [(0, length / 3), (length / 3, length)] {
                    let rows = seeded.numbers((end - start) * 2 * width);
                    let (keys, values) =
                        (Columns::new(&rows, 2 * width, 0), Columns::new(&rows, 2 * width, width));
                    store.write(layer, &own, start, keys, values);
                }
            }
            pages.push(own);
        }
        Self { store, pages }
    }
}

fn reference(
    store: &KvStore,
    layer: usize,
    queries: &[f32],
    options: AttendOptions,
    span: &AttendSpan<'_>,
) -> Vec<f64> {
    let shape = store.shape();
    let (size, width) = (shape.head_size, options.heads * shape.head_size);
    let mut outputs = Vec::new();
    for row in span.rows.clone() {
        let end = span.start + row - span.rows.start + 1;
        let seen = span.window.map_or(0, |window| end.saturating_sub(window))..end;
        for head in 0..options.heads {
            let query = &queries[row * width + head * size..][..size];
            let kv_head = head / (options.heads / shape.kv_heads);
            let tokens: Vec<_> = seen.clone().map(|t| store.read(layer, span.pages, t, kv_head)).collect();
            let scores = tokens.iter().map(|(key, _)| {
                let sum: f64 = key.iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let score = sum * f64::from(options.scale);
                options.softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
            });
            let scores: Vec<f64> = scores.collect();
            let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
            let total: f64 = weights.iter().sum();
            for i in 0..size {
                let sum =
                    tokens.iter().zip(&weights).map(|((_, value), weight)| weight * f64::from(value[i]));
                outputs.push(sum.sum::<f64>() / total);
            }
        }
    }
    outputs
}

fn check(
    pool: &Pool,
    shape: KvShape,
    options: AttendOptions,
    window: Option<usize>,
    lengths: &[(usize, usize)],
) {
    let mut seeded = Seeded::new(21);
    let all: Vec<usize> = lengths.iter().map(|(start, new)| start + new).collect();
    let sequences = Sequences::new(&mut seeded, shape, &all);
    let rows: usize = lengths.iter().map(|(_, new)| new).sum();
    let width = options.heads * shape.head_size;
    let queries: Vec<f32> = seeded.numbers(rows * width).into_iter().map(|number| number * 6.0).collect();
    let mut first = 0;
    let mut spans = Vec::new();
    for ((start, new), pages) in lengths.iter().zip(&sequences.pages) {
        spans.push(AttendSpan { rows: first..first + new, pages, start: *start, window });
        first += new;
    }
    let layer = shape.layers - 1;
    let expected: Vec<f64> =
        spans.iter().flat_map(|span| reference(&sequences.store, layer, &queries, options, span)).collect();
    let (mut scratch, mut found) = (AttendScratch::default(), vec![f32::NAN; rows * width]);
    let columns = Columns::new(&queries, width, 0);
    attend(pool, (&sequences.store, layer), columns, options, &spans, &mut scratch, &mut found);
    let what = format!("{} {shape:?} {options:?} {window:?} {lengths:?}", pool.isa().name());
    assert_close(&found, &expected, 2e-5, &what);

    // The last row of each sequence alone, with queries inside wider rows.
    for span in &spans {
        let row = span.rows.end - 1;
        let mut wide = vec![f32::NAN; width + 5];
        wide[5..].copy_from_slice(&queries[row * width..(row + 1) * width]);
        let start = span.start + span.rows.len() - 1;
        let alone = [AttendSpan { rows: 0..1, start, ..span.clone() }];
        let mut again = vec![f32::NAN; width];
        let columns = Columns::new(&wide, width + 5, 5);
        attend(pool, (&sequences.store, layer), columns, options, &alone, &mut scratch, &mut again);
        assert_eq!(again, found[row * width..(row + 1) * width], "{what}: bit-identical");
    }
}

#[test]
fn attention_matches_the_reference() {
    for pool in pools() {
        for precision in [KvPrecision::F32, KvPrecision::F16] {
            for (kv_heads, heads, head_size) in [(3, 9, 64), (1, 1, 5), (2, 4, 128), (1, 14, 24), (2, 2, 40)]
            {
                let shape = KvShape { layers: 2, kv_heads, head_size, precision };
                let scale = 1.0 / (head_size as f32).sqrt();
                let plain = AttendOptions { heads, scale, softcap: None };
                check(&pool, shape, plain, None, &[(0, 1)]);
                check(&pool, shape, plain, None, &[(0, 20), (37, 1), (250, 9)]);
                check(&pool, shape, plain, Some(10), &[(0, 20), (300, 5), (500, 1)]);
                let capped = AttendOptions { softcap: Some(2.5), ..plain };
                check(&pool, shape, capped, Some(260), &[(3, 14), (530, 3)]);
            }
        }
    }
}

#[test]
fn unseen_tokens_do_not_matter() {
    let pool = Pool::new(2);
    let shape = KvShape { layers: 1, kv_heads: 1, head_size: 16, precision: KvPrecision::F32 };
    let mut seeded = Seeded::new(22);
    let rows = seeded.numbers(20 * 16);
    let options = AttendOptions { heads: 1, scale: 0.25, softcap: None };
    let outputs = [0.0, f32::NAN, f32::INFINITY].map(|stale| {
        let mut store = KvStore::new(shape, 2);
        let old = vec![stale; 32 * 16];
        store.write(0, &[1, 0], 0, Columns::new(&old, 16, 0), Columns::new(&old, 16, 0));
        store.write(0, &[1, 0], 0, Columns::new(&rows, 16, 0), Columns::new(&rows, 16, 0));
        let mut outputs = vec![0.0; 3 * 16];
        let span = AttendSpan { rows: 1..3, pages: &[1, 0], start: 18, window: None };
        let queries = Columns::new(&rows[..3 * 16], 16, 0);
        let mut scratch = AttendScratch::default();
        attend(&pool, (&store, 0), queries, options, &[span], &mut scratch, &mut outputs);
        outputs
    });
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(outputs[0], outputs[2]);
    assert_eq!(outputs[0][..16], [0.0; 16], "a row outside all spans is unchanged");
}

#[test]
fn copied_pages_are_equal() {
    for precision in [KvPrecision::F32, KvPrecision::F16] {
        let mut seeded = Seeded::new(23);
        let shape = KvShape { layers: 2, kv_heads: 3, head_size: 8, precision };
        let mut sequences = Sequences::new(&mut seeded, shape, &[32]);
        let (store, pages) = (&mut sequences.store, &sequences.pages[0]);
        let spare = (0..3).find(|page| !pages.contains(page)).expect("one more page");
        store.copy_page(pages[1], spare);
        let copied = [pages[0], spare];
        for (layer, head, token) in [(0, 0, 0), (1, 2, 31), (1, 0, 16)] {
            assert_eq!(store.read(layer, &copied, token, head), store.read(layer, pages, token, head));
        }
        let bytes = if precision == KvPrecision::F32 { 4 } else { 2 };
        assert_eq!(store.page_bytes(), 2 * 3 * 8 * 2 * 16 * bytes);
    }
}

#[test]
fn invalid_spans_are_refused() {
    let pool = Pool::new(1);
    let shape = KvShape { layers: 1, kv_heads: 1, head_size: 4, precision: KvPrecision::F32 };
    let store = KvStore::new(shape, 2);
    let queries = [0.0; 16];
    let span = AttendSpan { rows: 0..2, pages: &[0], start: 3, window: None };
    let bad = [
        vec![span.clone(), AttendSpan { rows: 1..3, ..span.clone() }],
        vec![AttendSpan { start: 15, ..span.clone() }],
        vec![AttendSpan { pages: &[2], ..span.clone() }],
        vec![AttendSpan { rows: 3..5, ..span }],
    ];
    for spans in bad {
        let call = || {
            let options = AttendOptions { heads: 1, scale: 1.0, softcap: None };
            let (mut scratch, mut outputs) = (AttendScratch::default(), [0.0; 16]);
            let queries = Columns::new(&queries, 4, 0);
            attend(&pool, (&store, 0), queries, options, &spans, &mut scratch, &mut outputs);
        };
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err(), "{spans:?}");
    }
}
