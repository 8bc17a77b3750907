//! One request from submission to its final reply.

use std::sync::Arc;
use std::time::Instant;

use super::adapters::LoadedAdapter;
use super::reply::{Reply, ReplySender};
use super::request::{
    Choice, Chooser, Chosen, FinishReason, GenerationReport, RequestBase, RequestError, Scores, Timings,
};
use super::scoring::Scoring;
use crate::prefix::{PageTable, PrefixKey, PrefixScope};

/// A request with its state.
pub(super) struct Sequence<A> {
    /// Numbers requests in the order of submission.
    pub(super) id: u64,
    pub(super) task: Arc<str>,
    pub(super) adapter: Option<Arc<LoadedAdapter<A>>>,
    pub(super) deadline: Option<Instant>,
    pub(super) scope: PrefixScope,
    pub(super) replies: ReplySender,
    /// The prompt and the generated tokens.
    pub(super) tokens: Vec<u32>,
    pub(super) prompt: usize,
    /// Number of leading tokens whose keys and values are in the pages.
    pub(super) computed: usize,
    /// Number of tokens when it was given pages: it prefills until these are computed.
    pub(super) prefill: usize,
    pub(super) table: PageTable,
    pub(super) work: Work,
    pub(super) trace: RequestTrace,
}

/// The work after the prompt.
pub(super) enum Work {
    Generate { chooser: Box<dyn Chooser>, tokens_max: usize },
    Score(Scoring),
}

/// Timestamps and counters of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestTrace {
    pub(super) submitted: Instant,
    pub(super) started: Option<Instant>,
    pub(super) prefilled: Option<Instant>,
    pub(super) first: Option<Instant>,
    pub(super) cached: usize,
    pub(super) steps: u64,
    /// The last counted step.
    pub(super) step: u64,
    pub(super) preemptions: u32,
}

impl<A> Sequence<A> {
    pub(super) fn new(
        id: u64,
        asked: RequestBase<A>,
        work: Work,
        replies: ReplySender,
        submitted: Instant,
    ) -> Self {
        let prompt = asked.prompt.len();
        Self {
            id,
            task: asked.task,
            adapter: asked.adapter,
            deadline: asked.deadline,
            scope: asked.scope,
            replies,
            tokens: asked.prompt,
            prompt,
            computed: 0,
            prefill: prompt,
            table: PageTable::default(),
            work,
            trace: RequestTrace {
                submitted,
                started: None,
                prefilled: None,
                first: None,
                cached: 0,
                steps: 0,
                step: u64::MAX,
                preemptions: 0,
            },
        }
    }

    pub(super) fn key(&self) -> PrefixKey {
        PrefixKey { adapter: self.adapter.as_ref().map(|adapter| adapter.id()), scope: self.scope }
    }

    pub(super) fn is_prefilling(&self) -> bool {
        self.computed < self.prefill
    }

    /// Returns whether it can generate its next token and its reader keeps up.
    pub(super) fn is_decoding(&self) -> bool {
        matches!(self.work, Work::Generate { .. }) && !self.is_prefilling() && !self.is_stalled()
    }

    /// Returns whether it waits for its reader.
    pub(super) fn is_stalled(&self) -> bool {
        matches!(self.work, Work::Generate { .. }) && self.replies.is_full()
    }

    /// Returns whether it is a request for scores.
    pub(super) fn is_scoring(&self) -> bool {
        matches!(self.work, Work::Score(_))
    }

    /// Returns the branches to run once the prompt is computed.
    pub(super) fn scoring(&mut self) -> Option<&mut Scoring> {
        if self.is_prefilling() {
            return None;
        }
        match &mut self.work {
            Work::Score(scoring) => Some(scoring),
            Work::Generate { .. } => None,
        }
    }

    pub(super) fn generated(&self) -> usize {
        self.tokens.len() - self.prompt
    }

    /// Counts a step once, even if several of its spans belong to this sequence.
    pub(super) fn count_step(&mut self, step: u64) {
        if self.trace.step != step {
            self.trace.step = step;
            self.trace.steps += 1;
        }
    }

    /// Appends the chooser's tokens and sends them to the reader. Returns the finish reason if the generation ends.
    pub(super) fn choose(
        &mut self,
        row: &mut [f32],
        now: Instant,
    ) -> Result<Option<FinishReason>, RequestError> {
        let generated = self.generated();
        let Work::Generate { chooser, tokens_max } = &mut self.work else { return Ok(None) };
        let vocabulary = row.len();
        let choosing = std::panic::AssertUnwindSafe(|| chooser.choose(row));
        let choice = std::panic::catch_unwind(choosing)
            .map_err(|payload| RequestError::ChooserPanicked { message: panic_message(payload.as_ref()) })?
            .map_err(|error| RequestError::Chooser { generated, source: error.into() })?;
        let Choice { mut tokens, mut text, is_over } = choice;
        if tokens.is_empty() && !is_over {
            return Err(RequestError::NothingChosen { generated });
        }
        if let Some(token) = tokens.iter().copied().find(|token| *token as usize >= vocabulary) {
            return Err(RequestError::UnknownToken { token, vocabulary });
        }
        let room = tokens_max.saturating_sub(generated);
        let is_cut = tokens.len() > room;
        if is_cut {
            tokens.truncate(room);
            text.clear();
        }
        self.tokens.extend_from_slice(&tokens);
        self.trace.first.get_or_insert(now);
        if !tokens.is_empty() || !text.is_empty() {
            let at = now.saturating_duration_since(self.trace.submitted);
            self.replies.send(Reply::Chosen(Chosen { tokens, text, at }));
        }
        Ok(if is_over && !is_cut {
            Some(FinishReason::Chosen)
        } else {
            (self.generated() >= self.limit()).then_some(FinishReason::Length)
        })
    }

    fn limit(&self) -> usize {
        if let Work::Generate { tokens_max, .. } = self.work { tokens_max } else { 0 }
    }

    /// Sends the final reply of a generation.
    pub(super) fn finish(self, reason: FinishReason, now: Instant) {
        let report = GenerationReport { reason, tokens: self.generated(), timings: self.timings(now) };
        self.replies.send(Reply::Generated(report));
    }

    /// Sends the scores.
    pub(super) fn answer(self, now: Instant) {
        let timings = self.timings(now);
        if let Work::Score(scoring) = self.work {
            self.replies.send(Reply::Scored(Scores { paths: scoring.into_found(), timings }));
        }
    }

    /// Sends an error as the final reply.
    pub(super) fn fail(self, error: RequestError) {
        self.replies.send(Reply::Failed(error));
    }

    fn timings(&self, now: Instant) -> Timings {
        let RequestTrace { submitted, started, prefilled, first, .. } = self.trace;
        let (started, prefilled) = (started.unwrap_or(now), prefilled.unwrap_or(now));
        Timings {
            queued: started.saturating_duration_since(submitted),
            prefill: prefilled.saturating_duration_since(started),
            first: first.unwrap_or(now).saturating_duration_since(submitted),
            total: now.saturating_duration_since(submitted),
            prompt_tokens: self.prompt,
            cached_tokens: self.trace.cached,
            steps: self.trace.steps,
            preemptions: self.trace.preemptions,
        }
    }
}

/// Returns the message of a panic.
pub(super) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
