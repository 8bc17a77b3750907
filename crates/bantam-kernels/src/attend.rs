//! Causal attention of new tokens to the keys and values of their sequences.

mod head;

use std::ops::Range;

use crate::grid::even_part;
use crate::kv::{Columns, KvStore, Numbers, PAGE_TOKENS};
use crate::pool::Pool;
use crate::shared::SharedSlice;
use head::{BLOCK, Head, Room};

/// New tokens of one sequence.
#[derive(Clone, Debug)]
pub struct AttendSpan<'a> {
    /// Rows of the queries and outputs, in order.
    pub rows: Range<usize>,
    /// Pages of the sequence, for all tokens up to the last of `rows`. Keys and values of `rows` are written.
    pub pages: &'a [u32],
    /// Tokens of the sequence before `rows`.
    pub start: usize,
    /// How many tokens one sees, itself included; none: all.
    pub window: Option<usize>,
}

/// How scores are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttendOptions {
    /// Query heads: a multiple of the heads of keys, which so many neighbours share.
    pub heads: usize,
    /// What products of queries and keys are multiplied by.
    pub scale: f32,
    /// Where given, scores become `softcap * tanh(score / softcap)`.
    pub softcap: Option<f32>,
}

/// Memory that [`attend`] works in.
#[derive(Clone, Debug, Default)]
pub struct AttendScratch {
    numbers: Vec<f32>,
}

/// Writes, for each row of the spans and each query head, the mean of the values that the token sees, weighted by
/// softmax of scaled products of its query with their keys. A token sees itself and those before it.
///
/// `queries` and `outputs` have a row of all heads for each token; rows of no span stay as they are. What comes
/// out for a row is the same to the bit whatever else is in the batch.
///
/// # Panics
/// If the lengths do not fit, spans share a row, or a page does not exist.
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
    assert!(options.heads.is_multiple_of(shape.kv_heads), "heads of keys are shared evenly");
    assert!(queries.width() >= width, "queries of all heads");
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
    let room = Room::new(shape.head_size);
    scratch.numbers.resize(room.all() * pool.threads(), 0.0);
    let (rooms, outputs) = (SharedSlice::new(&mut scratch.numbers), SharedSlice::new(outputs));
    pool.run(tasks.len(), |thread, index| {
        // The last tokens see most: they go first, so that what is left at the end is short.
        let (span, head, block) = tasks[tasks.len() - 1 - index].clone();
        // SAFETY: no two chunks run on the same thread at once.
        let memory = unsafe { rooms.part(thread * room.all()..(thread + 1) * room.all()) };
        let head =
            Head { store, layer, head, queries, options, span, block, room, memory, outputs: &outputs };
        match &store.numbers {
            Numbers::F32(numbers) => pool.isa().call(head.over(numbers)),
            Numbers::F16(numbers) => pool.isa().call(head.over(numbers)),
        }
    });
}

fn check(store: &KvStore, spans: &[AttendSpan<'_>], rows: usize) {
    let mut is_taken = vec![false; rows];
    for span in spans {
        assert!(span.rows.end <= rows, "rows of a span");
        assert!(span.start + span.rows.len() <= span.pages.len() * PAGE_TOKENS, "pages for all tokens");
        assert!(span.pages.iter().all(|page| (*page as usize) < store.pages()), "pages that exist");
        for row in span.rows.clone() {
            assert!(!std::mem::replace(&mut is_taken[row], true), "row {row} in two spans");
        }
    }
}
