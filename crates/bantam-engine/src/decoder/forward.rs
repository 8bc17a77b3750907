//! A step: new tokens of any number of sequences through all layers at once.

use std::ops::Range;

use bantam_kernels::{AttendSpan, KvStore, PAGE_TOKENS, Pool};

use super::adapter::Adapter;
use super::layer::Step;
use super::linear::{Needed, fit};
use super::scratch::{DecoderScratch, Logits, Memory};
use super::{Decoder, DecoderConfig};

/// Tokens that go through the layers together. It bounds what a step needs in memory, and keeps what a layer
/// hands to the next in the caches.
const SLICE_TOKENS: usize = 512;

/// For which tokens of a span logits are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// For none: the span only fills the store.
    None,
    /// For the last.
    Last,
    /// For each.
    All,
    /// For the one at this place of the span and those after it.
    From(usize),
}

impl Wanted {
    /// Returns which of a span's tokens these are.
    pub(crate) fn rows(self, tokens: usize) -> Range<usize> {
        match self {
            Self::None => tokens..tokens,
            Self::Last => tokens - 1..tokens,
            Self::All => 0..tokens,
            Self::From(first) => first.min(tokens)..tokens,
        }
    }
}

/// New tokens of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// The tokens; at least one.
    pub tokens: &'a [u32],
    /// Tokens of the sequence before them, whose keys and values are in the store.
    pub start: usize,
    /// The sequence's pages, for `start` and all of `tokens`. Pages that these are written to must be in no other
    /// span of the step.
    pub pages: &'a [u32],
    /// What changes the model for this sequence.
    pub adapter: Option<&'a Adapter>,
    /// For which of the tokens logits are wanted.
    pub logits: Wanted,
}

/// Why a step could not be run. Nothing was written then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// A span without tokens.
    #[error("span {span} has no tokens")]
    EmptySpan {
        /// Which of the step.
        span: usize,
    },
    /// More tokens than the model has positions.
    #[error("span {span} ends at token {end}; the model takes {positions}")]
    TooLong {
        /// Which of the step.
        span: usize,
        /// Tokens of the sequence with the span's.
        end: usize,
        /// Most tokens of a sequence.
        positions: usize,
    },
    /// A token that the model does not have.
    #[error("span {span} has token {token}; the model knows {vocabulary}")]
    UnknownToken {
        /// Which of the step.
        span: usize,
        /// The token.
        token: u32,
        /// Tokens there are.
        vocabulary: usize,
    },
    /// Fewer pages than tokens need.
    #[error("span {span} ends at token {end} and has {pages} pages of 16")]
    TooFewPages {
        /// Which of the step.
        span: usize,
        /// Tokens of the sequence with the span's.
        end: usize,
        /// Its pages.
        pages: usize,
    },
    /// A page that the store does not have.
    #[error("span {span} has page {page}; the store has {pages}")]
    UnknownPage {
        /// Which of the step.
        span: usize,
        /// The page.
        page: u32,
        /// Pages there are.
        pages: usize,
    },
    /// An adapter of a model with other sizes.
    #[error("the adapter of span {span} was made for another model")]
    OtherAdapter {
        /// Which of the step.
        span: usize,
    },
    /// A store of a model with other sizes.
    #[error("the store was made for another model")]
    OtherStore,
}

/// Tokens of one span that go through the layers in one slice.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    span: usize,
    /// Of the span's tokens.
    tokens: Range<usize>,
}

impl Decoder {
    /// Runs all spans, writes their keys and values to `kv` and returns the logits asked for, spans in order.
    ///
    /// A row's answer is the same to the bit whatever else is in the step, and on whatever number of threads.
    pub fn forward<'s>(
        &self,
        pool: &Pool,
        kv: &mut KvStore,
        spans: &[Span<'_>],
        scratch: &'s mut DecoderScratch,
    ) -> Result<Logits<'s>, ForwardError> {
        self.check(kv, spans)?;
        let vocabulary = self.config.vocabulary;
        let count: usize = spans.iter().map(|span| span.logits.rows(span.tokens.len()).len()).sum();
        let DecoderScratch { memory, logits } = scratch;
        let logits = fit(logits, count * vocabulary);
        let mut done = 0;
        for slice in slices(spans) {
            let rows = self.run(pool, kv, spans, &slice, memory);
            if rows > 0 {
                let to = &mut logits[done * vocabulary..(done + rows) * vocabulary];
                self.write_logits(pool, rows, memory, to);
                done += rows;
            }
        }
        Ok(Logits { numbers: logits, vocabulary })
    }

    /// Leaves the last layer's states for the rows of a slice that logits are wanted for in `memory`; returns how
    /// many these are. Other rows are done with once the last layer has their keys and values.
    fn run(
        &self,
        pool: &Pool,
        kv: &mut KvStore,
        spans: &[Span<'_>],
        slice: &[Segment],
        memory: &mut Memory,
    ) -> usize {
        let rows: usize = slice.iter().map(|segment| segment.tokens.len()).sum();
        let mut attended: Vec<AttendSpan<'_>> = Vec::with_capacity(slice.len());
        let mut adapters: Vec<(Range<usize>, &Adapter)> = Vec::new();
        memory.positions.clear();
        let mut end = 0;
        for segment in slice {
            let span = &spans[segment.span];
            let (start, rows) = (span.start + segment.tokens.start, end..end + segment.tokens.len());
            end = rows.end;
            memory.positions.extend((start..start + rows.len()).map(|position| position as u32));
            adapters.extend(span.adapter.map(|adapter| (rows.clone(), adapter)));
            attended.push(AttendSpan { rows, pages: span.pages, start, window: None });
        }
        self.embed(spans, slice, fit(&mut memory.states, rows * self.config.hidden));
        self.ropes.0.angles(pool, &memory.positions, &mut memory.angles);
        if let Some(local) = &self.ropes.1 {
            local.angles(pool, &memory.positions, &mut memory.local_angles);
        }
        memory.has_sums = false;
        let step = Step { config: &self.config, pool, ropes: &self.ropes, rows, adapters: &adapters };
        let Some((last, layers)) = self.layers.split_last() else { return 0 };
        for (index, layer) in layers.iter().enumerate() {
            layer.forward(index, &step, kv, &mut attended, memory);
        }
        let index = layers.len();
        last.project(index, &step, kv, &mut attended, memory);
        let wanted = wanted_rows(spans, slice);
        memory.keep(&self.config, &wanted);
        let (attended, adapters) = narrow(&attended, &adapters, &wanted);
        let rows = attended.last().map_or(0, |span| span.rows.end);
        if rows > 0 {
            let step = Step { rows, adapters: &adapters, ..step };
            last.attend_and_feed_forward(index, &step, kv, &attended, memory);
        }
        rows
    }

    fn embed(&self, spans: &[Span<'_>], slice: &[Segment], states: &mut [f32]) {
        let scale = self.config.embedding_scale;
        // It was there, and its type was read, when the decoder was opened.
        let Some(table) = self.file.tensor(&self.embeddings) else { return };
        let tokens = slice.iter().flat_map(|segment| &spans[segment.span].tokens[segment.tokens.clone()]);
        for (token, state) in tokens.zip(states.chunks_exact_mut(self.config.hidden)) {
            let found = table.write_row(*token as usize, state);
            debug_assert_eq!(found, Ok(true));
            if scale != 1.0 {
                state.iter_mut().for_each(|number| *number *= scale);
            }
        }
    }

    /// Writes the logits for the rows in `memory`.
    fn write_logits(&self, pool: &Pool, rows: usize, memory: &mut Memory, logits: &mut [f32]) {
        let step = Step { config: &self.config, pool, ropes: &self.ropes, rows, adapters: &[] };
        let grouped = self.head.is_grouped();
        memory.normalise(&self.norm, &step, Needed { grouped, numbers: !grouped });
        self.head.forward(pool, &memory.rows, rows, logits);
        if let Some(cap) = self.config.logit_softcap {
            logits.iter_mut().for_each(|logit| *logit = cap * (*logit / cap).tanh());
        }
    }

    fn check(&self, kv: &KvStore, spans: &[Span<'_>]) -> Result<(), ForwardError> {
        if kv.shape() != self.kv_shape() {
            return Err(ForwardError::OtherStore);
        }
        spans.iter().enumerate().try_for_each(|(index, span)| check_span(&self.config, kv, index, span))
    }
}

fn check_span(
    config: &DecoderConfig,
    kv: &KvStore,
    span: usize,
    found: &Span<'_>,
) -> Result<(), ForwardError> {
    let DecoderConfig { positions, vocabulary, .. } = *config;
    if found.tokens.is_empty() {
        return Err(ForwardError::EmptySpan { span });
    }
    let end = found.start.saturating_add(found.tokens.len());
    if end > positions {
        return Err(ForwardError::TooLong { span, end, positions });
    }
    if let Some(token) = found.tokens.iter().copied().find(|token| *token as usize >= vocabulary) {
        return Err(ForwardError::UnknownToken { span, token, vocabulary });
    }
    let pages = found.pages.len();
    if end > pages * PAGE_TOKENS {
        return Err(ForwardError::TooFewPages { span, end, pages });
    }
    let pages = kv.pages();
    if let Some(page) = found.pages.iter().copied().find(|page| *page as usize >= pages) {
        return Err(ForwardError::UnknownPage { span, page, pages });
    }
    match found.adapter.is_some_and(|adapter| !adapter.fits(config)) {
        true => Err(ForwardError::OtherAdapter { span }),
        false => Ok(()),
    }
}

/// Cuts a step into slices of at most [`SLICE_TOKENS`] tokens, spans in their order.
fn slices<'s>(spans: &'s [Span<'_>]) -> impl Iterator<Item = Vec<Segment>> + 's {
    let (mut span, mut first) = (0, 0);
    std::iter::from_fn(move || {
        let (mut slice, mut room) = (Vec::new(), SLICE_TOKENS);
        while room > 0 && span < spans.len() {
            let tokens = spans[span].tokens.len();
            let end = tokens.min(first + room);
            slice.push(Segment { span, tokens: first..end });
            room -= end - first;
            (span, first) = if end == tokens { (span + 1, 0) } else { (span, end) };
        }
        (!slice.is_empty()).then_some(slice)
    })
}

/// Returns the rows of a slice that logits are wanted for.
fn wanted_rows(spans: &[Span<'_>], slice: &[Segment]) -> Vec<Range<usize>> {
    let (mut end, mut wanted) = (0, Vec::new());
    for segment in slice {
        let span = &spans[segment.span];
        let rows = span.logits.rows(span.tokens.len());
        let (from, to) = (rows.start.max(segment.tokens.start), rows.end.min(segment.tokens.end));
        if from < to {
            let shift = |token: usize| end + token - segment.tokens.start;
            wanted.push(shift(from)..shift(to));
        }
        end += segment.tokens.len();
    }
    wanted
}

/// Returns spans and adapters of the wanted rows alone, each range of which lies within one span.
fn narrow<'a>(
    spans: &[AttendSpan<'a>],
    adapters: &[(Range<usize>, &'a Adapter)],
    wanted: &[Range<usize>],
) -> (Vec<AttendSpan<'a>>, Vec<(Range<usize>, &'a Adapter)>) {
    let (mut narrowed, mut adapted) = (Vec::with_capacity(wanted.len()), Vec::new());
    let mut end = 0;
    for range in wanted {
        let rows = end..end + range.len();
        end = rows.end;
        if let Some(span) = spans.iter().find(|span| span.rows.contains(&range.start)) {
            let start = span.start + range.start - span.rows.start;
            narrowed.push(AttendSpan { rows: rows.clone(), start, ..span.clone() });
        }
        let adapter = adapters.iter().find(|(rows, _)| rows.contains(&range.start));
        adapted.extend(adapter.map(|(_, adapter)| (rows, *adapter)));
    }
    (narrowed, adapted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(tokens: &[u32], logits: Wanted) -> Span<'_> {
        Span { tokens, start: 0, pages: &[], adapter: None, logits }
    }

    #[test]
    fn slices_hold_every_token_once_and_are_bounded() {
        let tokens = vec![1; 1200];
        let spans = [
            span(&tokens[..500], Wanted::Last),
            span(&tokens, Wanted::From(1100)),
            span(&tokens[..1], Wanted::All),
        ];
        let found: Vec<Vec<Segment>> = slices(&spans).collect();
        let segment = |span, tokens| Segment { span, tokens };
        let expected = [
            vec![segment(0, 0..500), segment(1, 0..12)],
            vec![segment(1, 12..524)],
            vec![segment(1, 524..1036)],
            vec![segment(1, 1036..1200), segment(2, 0..1)],
        ];
        assert_eq!(found, expected);
        let rows =
            |slice: &Vec<Segment>| wanted_rows(&spans, slice).into_iter().flatten().collect::<Vec<usize>>();
        let wanted: Vec<Vec<usize>> = found.iter().map(rows).collect();
        assert_eq!(wanted, [vec![499], vec![], vec![], (64..165).collect()]);
        assert_eq!(slices(&[]).count(), 0);
    }
}
