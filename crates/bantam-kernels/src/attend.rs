//! Causal attention of new tokens to the cached keys and values of their sequences.

mod head;

use std::ops::Range;

use crate::grid::even_part;
use crate::kv::{Columns, KvElements, KvStore, PAGE_TOKENS};
use crate::pool::Pool;
use crate::shared::SharedSlice;
use head::{BLOCK, Head, HeadScratch};

/// The new tokens of one sequence.
#[derive(Clone, Debug)]
pub struct AttendSpan<'a> {
    /// Rows of the queries and outputs, in order.
    pub rows: Range<usize>,
    /// Pages of the sequence, for all tokens up to the last of `rows`. The keys and values of `rows` must be written.
    pub pages: &'a [u32],
    /// Number of the sequence's tokens before `rows`.
    pub start: usize,
    /// How many tokens each token sees, including itself; `None` for all.
    pub window: Option<usize>,
}

/// How to compute scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttendOptions {
    /// Number of query heads: a multiple of the key heads, each of which is shared by neighbouring query heads.
    pub heads: usize,
    /// Factor for products of queries and keys.
    pub scale: f32,
    /// If set, scores become `softcap * tanh(score / softcap)`.
    pub softcap: Option<f32>,
}

/// Working memory of [`attend`].
#[derive(Clone, Debug, Default)]
pub struct AttendScratch {
    numbers: Vec<f32>,
}

/// Writes, for each row of the spans and each query head, the mean of the values that the token sees, weighted by the
/// softmax of the scaled products of its query with their keys. A token sees itself and the tokens before it.
///
/// `queries` and `outputs` have one row per token with all heads; rows outside all spans are not written. A row's
/// result is bit-identical whatever else is in the batch.
///
/// # Panics
/// If the lengths do not match, spans share a row, or a page does not exist.
pub fn attend(
    pool: &Pool,
    (store, layer): (&KvStore, usize),
    queries: Columns<'_>,
    options: AttendOptions,
    spans: &[AttendSpan<'_>],
    scratch: &mut AttendScratch,
    outputs: &mut [f32],
) {
    let shape = store.shape();
    let width = options.heads * shape.head_size;
    assert!(layer < shape.layers, "layer {layer} of {}", shape.layers);
    assert!(options.heads.is_multiple_of(shape.kv_heads), "query heads are not a multiple of key heads");
    assert!(queries.width() >= width, "queries lack heads");
    assert_eq!(outputs.len(), queries.rows() * width);
    check(store, spans, queries.rows());
    let shared_by = options.heads / shape.kv_heads;
    if shared_by == 0 {
        return;
    }
    let mut tasks = Vec::new();
    for span in spans {
        let count = span.rows.len() * shared_by;
        let blocks = count.div_ceil(BLOCK);
        for head in 0..shape.kv_heads {
            tasks.extend((0..blocks).map(|index| (span, head, even_part(count, blocks, index))));
        }
    }
    let layout = HeadScratch::new(shape.head_size);
    scratch.numbers.resize(layout.all() * pool.threads(), 0.0);
    let (scratches, outputs) = (SharedSlice::new(&mut scratch.numbers), SharedSlice::new(outputs));
    pool.run(tasks.len(), |thread, index| {
        // The last tokens see most, so they go first: the work left at the end is short.
        let (span, head, block) = tasks[tasks.len() - 1 - index].clone();
        // SAFETY: no two chunks run on one thread at the same time.
        let memory = unsafe { scratches.part(thread * layout.all()..(thread + 1) * layout.all()) };
        let head =
            Head { store, layer, head, queries, options, span, block, layout, memory, outputs: &outputs };
        match &store.numbers {
            KvElements::F32(numbers) => pool.isa().call(head.typed(numbers)),
            KvElements::F16(numbers) => pool.isa().call(head.typed(numbers)),
        }
    });
}

fn check(store: &KvStore, spans: &[AttendSpan<'_>], rows: usize) {
    let mut is_covered = vec![false; rows];
    for span in spans {
        assert!(span.rows.end <= rows, "span outside the rows");
        assert!(span.start + span.rows.len() <= span.pages.len() * PAGE_TOKENS, "too few pages");
        assert!(span.pages.iter().all(|page| (*page as usize) < store.pages()), "no such page");
        for row in span.rows.clone() {
            assert!(!std::mem::replace(&mut is_covered[row], true), "row {row} in two spans");
        }
    }
}
