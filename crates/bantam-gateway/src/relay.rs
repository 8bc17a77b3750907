//! A committed stream: chunks pass through, the last one carries the note, and it is settled before the
//! caller sees the end.

use std::sync::Arc;

use bantam_backend::{AnswerStream, BackendError, StreamItem};
use bantam_types::{AttemptOutcome, RequestOutcome, TokenUsage};
use bantam_wire::chunk::{DONE, error_event, event, event_with_note};
use bantam_wire::{ApiError, ErrorCode, RoutingNote};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use crate::case::{AttemptFacts, Case};
use crate::deployment::Rung;
use crate::reply::ReplyStream;

/// A stream under way and what can be said of it already.
pub(crate) struct Relay {
    pub(crate) early_note: RoutingNote,
    pub(crate) items: ReplyStream,
}

/// Relays `answer`. Dropped half-way, it settles as cancelled.
pub(crate) fn relay(
    case: Case,
    request_id: u128,
    rung: Arc<Rung>,
    answer: AnswerStream,
    include_usage: bool,
) -> Relay {
    let mut early_note = case.note(request_id, &rung);
    early_note.cost = None;
    let state = State {
        case,
        request_id,
        rung,
        items: answer.items,
        first_byte_us: answer.first_byte_us,
        retries: answer.retries,
        include_usage,
        usage: None,
        held: None,
        over: false,
    };
    let items = stream::unfold(state, |mut state| async move {
        let bytes = state.next().await?;
        Some((bytes, state))
    });
    Relay { early_note, items: items.boxed() }
}

struct State {
    case: Case,
    request_id: u128,
    rung: Arc<Rung>,
    items: stream::BoxStream<'static, Result<StreamItem, BackendError>>,
    first_byte_us: u64,
    retries: u32,
    include_usage: bool,
    usage: Option<TokenUsage>,
    /// The newest chunk of the end: kept back because it may be the last, which carries the note.
    held: Option<StreamItem>,
    over: bool,
}

impl State {
    /// Returns the next bytes for the caller.
    async fn next(&mut self) -> Option<Bytes> {
        while !self.over {
            match self.items.next().await {
                Some(Ok(item)) => {
                    self.usage = item.facts.usage.or(self.usage);
                    let pure_usage = !item.facts.has_choices && item.facts.usage.is_some();
                    if pure_usage && !self.include_usage {
                        continue;
                    }
                    let before = if item.facts.finishes || self.held.is_some() {
                        self.held.replace(item)
                    } else {
                        return Some(event(&item.data).into());
                    };
                    if let Some(before) = before {
                        return Some(event(&before.data).into());
                    }
                }
                Some(Err(error)) => return Some(self.fail(&error).await),
                None => return Some(self.end().await),
            }
        }
        None
    }

    fn facts(&self) -> AttemptFacts {
        AttemptFacts {
            usage: self.usage,
            first_byte_us: Some(self.first_byte_us),
            confidence: None,
            retries: self.retries,
        }
    }

    /// The good end: settle, then the last chunk with the note.
    async fn end(&mut self) -> Bytes {
        self.over = true;
        self.case.end(AttemptOutcome::Accepted, self.facts());
        let note = self.case.note(self.request_id, &self.rung);
        if let Err(error) = self.case.settle(RequestOutcome::Answered, 200).await {
            return error_event(&error).into();
        }
        let mut out = match self.held.take() {
            Some(item) => event_with_note(&item.data, &item.facts, &note),
            None => Vec::new(),
        };
        out.extend_from_slice(DONE);
        out.into()
    }

    /// A failure in mid-stream: what was sent cannot be taken back, so it is said aloud.
    async fn fail(&mut self, error: &BackendError) -> Bytes {
        self.over = true;
        self.case.end(AttemptOutcome::Failed(error.fault.reason()), self.facts());
        let told = ApiError::new(
            ErrorCode::UpstreamFailed,
            "stream_broken",
            format!("the stream of `{}` broke off: {}", self.rung.name, error.fault),
        );
        let told = match self.case.settle(RequestOutcome::Failed, told.code.status()).await {
            Ok(()) => told,
            Err(ledger_error) => ledger_error,
        };
        error_event(&told).into()
    }
}
