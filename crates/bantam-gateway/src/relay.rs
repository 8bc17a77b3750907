//! A committed stream: items are written in the caller's dialect as they come, and the request is settled before the
//! caller sees the end.

use std::sync::Arc;

use bantam_backend::{AnswerStream, BackendError, BackendFault};
use bantam_types::{AttemptOutcome, RequestOutcome};
use bantam_wire::outcome::UsageSoFar;
use bantam_wire::{AnswerContext, ApiError, Call, ErrorCode, RoutingNote, StreamEncoder, StreamItem};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use crate::case::{Arrival, AttemptFacts, Case};
use crate::deployment::Rung;
use crate::reply::ReplyStream;

/// A stream in progress and what can be said of it already.
pub(crate) struct Relay {
    pub(crate) early_note: RoutingNote,
    pub(crate) items: ReplyStream,
}

/// Relays `answer`. Dropped half-way, it settles as cancelled.
pub(crate) fn relay(
    case: Case,
    arrival: Arrival,
    rung: Arc<Rung>,
    answer: AnswerStream,
    call: &Call,
) -> Relay {
    let mut early_note = case.note(arrival.request_id, &rung);
    early_note.cost = None;
    let context = AnswerContext {
        call,
        request_id: arrival.request_id,
        created_unix_s: arrival.unix_ms / 1000,
        model: &rung.name,
    };
    let mut state = State {
        case,
        request_id: arrival.request_id,
        encoder: call.endpoint.stream(context),
        rung,
        items: answer.items,
        first_byte_us: answer.first_byte_us,
        retries: answer.retries,
        usage: UsageSoFar::default(),
        over: false,
    };
    state.case.learn(state.facts());
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
    /// Writes the caller's dialect.
    encoder: Box<dyn StreamEncoder>,
    first_byte_us: u64,
    retries: u32,
    /// What it has told of its usage.
    usage: UsageSoFar,
    over: bool,
}

impl State {
    /// Returns the next bytes for the caller.
    async fn next(&mut self) -> Option<Bytes> {
        while !self.over {
            match self.items.next().await {
                Some(Ok(item)) => {
                    if self.usage.note(&item) {
                        self.case.learn(self.facts());
                    }
                    let mut out = Vec::new();
                    if let Err(error) = self.encoder.push(item, &mut out) {
                        let error = BackendError::from(BackendFault::from(error));
                        return Some(self.fail(&error).await);
                    }
                    // An encoder may keep an item back.
                    if !out.is_empty() {
                        return Some(out.into());
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
            usage: self.usage.usage(),
            first_byte_us: Some(self.first_byte_us),
            confidence: None,
            retries: self.retries,
            fault: None,
        }
    }

    /// The good end: settle, then the end of the stream with the note.
    async fn end(&mut self) -> Bytes {
        self.over = true;
        let facts = AttemptFacts { usage: self.usage.of_whole(), ..self.facts() };
        self.case.end(AttemptOutcome::Accepted, facts);
        let note = self.case.note(self.request_id, &self.rung);
        let mut out = Vec::new();
        match self.case.settle(RequestOutcome::Answered, 200).await {
            Ok(()) => self.encoder.finish(&note, &mut out),
            Err(error) => self.encoder.fail(&error, &mut out),
        }
        out.into()
    }

    /// A failure in the middle of a stream: what was sent cannot be taken back, so the caller is told.
    async fn fail(&mut self, error: &BackendError) -> Bytes {
        self.over = true;
        let usage = error.clone().with_usage(self.usage.usage()).usage();
        let facts = AttemptFacts { usage, fault: Some(error.fault), ..self.facts() };
        self.case.end(AttemptOutcome::Failed(error.fault.reason()), facts);
        let told = ApiError::new(
            ErrorCode::UpstreamFailed,
            "stream_broken",
            format!("the stream of `{}` broke off: {}", self.rung.name, error.fault),
        );
        let told = match self.case.settle(RequestOutcome::Failed, told.code.status()).await {
            Ok(()) => told,
            Err(ledger_error) => ledger_error,
        };
        let mut out = Vec::new();
        self.encoder.fail(&told, &mut out);
        out.into()
    }
}
