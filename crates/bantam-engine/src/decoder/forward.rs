//! A forward step: runs new tokens of any number of sequences through all layers at once.

use std::ops::Range;

use bantam_kernels::{AttendSpan, KvStore, PAGE_TOKENS, Pool};

use super::adapter::Adapter;
use super::layer::StepContext;
use super::linear::{NeededForms, resized};
use super::scratch::{DecoderScratch, LayerScratch, Logits};
use super::{Decoder, DecoderConfig};

/// Tokens that go through the layers together. This bounds a step's memory, and keeps a layer's output in the CPU
/// caches for the next.
const SLICE_TOKENS: usize = 512;

/// The tokens of a span for which logits are returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogitRows {
    /// None: the span only fills the KV cache.
    None,
    /// The last one.
    Last,
    /// All.
    All,
    /// The token with this index in the span and all after it.
    From(usize),
}

impl LogitRows {
    /// Returns the indices of these tokens in the span.
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
    /// Number of the sequence's tokens before them, whose keys and values are in the store.
    pub tokens: &'a [u32],
    /// Tokens of the sequence before them, whose keys and values are in the store.
    pub start: usize,
    /// The sequence's pages, for `start` and all of `tokens`. A page that is written must not occur in another span
    /// of the step.
    pub pages: &'a [u32],
    /// The adapter for this sequence.
    pub adapter: Option<&'a Adapter>,
    /// The tokens for which to return logits.
    pub logits: LogitRows,
}

/// Why a step was refused. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// A span has no tokens.
    #[error("span {span} has no tokens")]
    EmptySpan {
        /// The span's index in the step.
        span: usize,
    },
    /// The sequence is longer than the model's context.
    #[error("span {span} ends at token {end}, beyond the model's context of {positions} tokens")]
    TooLong {
        /// The span's index in the step.
        span: usize,
        /// Length of the sequence including the span.
        end: usize,
        /// The model's longest sequence.
        positions: usize,
    },
    /// A token is not in the vocabulary.
    #[error("span {span} contains token {token}, outside the vocabulary of {vocabulary}")]
    UnknownToken {
        /// The span's index in the step.
        span: usize,
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// The span has too few pages for its tokens.
    #[error("span {span} ends at token {end} but has only {pages} pages of 16 tokens")]
    TooFewPages {
        /// The span's index in the step.
        span: usize,
        /// Length of the sequence including the span.
        end: usize,
        /// Number of its pages.
        pages: usize,
    },
    /// A page is not in the store.
    #[error("span {span} uses page {page}, but the store has {pages}")]
    UnknownPage {
        /// The span's index in the step.
        span: usize,
        /// The page.
        page: u32,
        /// Number of pages in the store.
        pages: usize,
    },
    /// The adapter was made for a model of other dimensions.
    #[error("the adapter of span {span} was made for another model")]
    OtherAdapter {
        /// The span's index in the step.
        span: usize,
    },
    /// The KV store was made for a model of other dimensions.
    #[error("the KV store was made for another model")]
    OtherStore,
}

/// The tokens of one span that are in one slice.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    span: usize,
    /// Indices into the span's tokens.
    tokens: Range<usize>,
}

impl Decoder {
    /// Runs all spans, writes their keys and values to `kv`, and returns the requested logits in the order of the
    /// spans.
    ///
    /// A row's result is bit-identical whatever else is in the step, and for any number of threads.
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
        let logits = resized(logits, count * vocabulary);
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

    /// Leaves the last layer's states for the rows of a slice whose logits are requested in `memory`, and returns
    /// their number. Other rows are finished once the last layer has their keys and values.
    fn run(
        &self,
        pool: &Pool,
        kv: &mut KvStore,
        spans: &[Span<'_>],
        slice: &[Segment],
        memory: &mut LayerScratch,
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
        self.embed(spans, slice, resized(&mut memory.states, rows * self.config.hidden));
        self.ropes.0.angles(pool, &memory.positions, &mut memory.angles);
        if let Some(local) = &self.ropes.1 {
            local.angles(pool, &memory.positions, &mut memory.local_angles);
        }
        memory.has_sums = false;
        let step = StepContext { config: &self.config, pool, ropes: &self.ropes, rows, adapters: &adapters };
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
            let step = StepContext { rows, adapters: &adapters, ..step };
            last.attend_and_feed_forward(index, &step, kv, &attended, memory);
        }
        rows
    }

    fn embed(&self, spans: &[Span<'_>], slice: &[Segment], states: &mut [f32]) {
        let scale = self.config.embedding_scale;
        // The tensor's existence and type were checked when the decoder was opened.
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

    /// Writes the logits of the rows in `memory`.
    fn write_logits(&self, pool: &Pool, rows: usize, memory: &mut LayerScratch, logits: &mut [f32]) {
        let step = StepContext { config: &self.config, pool, ropes: &self.ropes, rows, adapters: &[] };
        let grouped = self.head.is_grouped();
        memory.normalise(&self.norm, &step, NeededForms { grouped, numbers: !grouped });
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

/// Divides a step into slices of at most [`SLICE_TOKENS`] tokens, in the order of the spans.
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

/// Returns the rows of a slice whose logits are requested.
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

/// Returns the spans and adapters of only the wanted rows, each range of which is within one span.
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

    fn span(tokens: &[u32], logits: LogitRows) -> Span<'_> {
        Span { tokens, start: 0, pages: &[], adapter: None, logits }
    }

    #[test]
    fn slices_contain_every_token_once_and_are_bounded() {
        let tokens = vec![1; 1200];
        let spans = [
            span(&tokens[..500], LogitRows::Last),
            span(&tokens, LogitRows::From(1100)),
            span(&tokens[..1], LogitRows::All),
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
