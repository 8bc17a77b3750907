//! A committed stream: items are written in the caller's dialect as they come, and the request is settled before the
//! caller sees the end.
//!
//! Whoever reads drives the stream. Where nobody reads, its deadline is kept all the same: see [`crate::live`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bantam_backend::{AnswerStream, BackendError, BackendFault};
use bantam_types::{AttemptOutcome, RequestOutcome};
use bantam_wire::outcome::UsageSoFar;
use bantam_wire::{AnswerContext, ApiError, Call, ErrorCode, RoutingNote, StreamEncoder, StreamItem};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, Stream, StreamExt};
use parking_lot::Mutex;

use crate::case::{Arrival, AttemptFacts, Case};
use crate::deployment::Rung;
use crate::live::{Live, OnList};
use crate::reply::ReplyStream;

/// How long after a deadline a stream is ended from outside: one that is read finds out by itself, and knows more of it.
const GRACE: Duration = Duration::from_millis(50);

/// A stream in progress and what can be said of it already.
pub(crate) struct Relay {
    pub(crate) early_note: RoutingNote,
    pub(crate) items: ReplyStream,
}

/// Relays `answer`. Dropped half-way, it settles as cancelled.
pub(crate) fn relay(
    case: Box<Case>,
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
    let streams = Arc::clone(case.live_streams());
    let mut running = Running {
        case,
        request_id: arrival.request_id,
        encoder: call.endpoint.stream(context),
        rung,
        items: answer.items,
        first_byte_us: answer.first_byte_us,
        retries: answer.retries,
        usage: UsageSoFar::default(),
    };
    running.case.learn(running.facts());
    let shared = Shared {
        deadline: answer.deadline,
        place: Mutex::new(Place { stage: Stage::Running(Box::new(running)), reader: None }),
    };
    let shared = Arc::new(shared);
    let on_list = answer.deadline.map(|_| streams.add(Arc::clone(&shared) as Arc<dyn Live>));
    Relay { early_note, items: Reader { shared, _on_list: on_list }.boxed() }
}

/// What a reader and the deadline share.
struct Shared {
    /// By when the stream must be over, whether anybody reads it or not.
    deadline: Option<Instant>,
    place: Mutex<Place>,
}

struct Place {
    stage: Stage,
    /// Wakes whoever read last and found nothing.
    reader: Option<Waker>,
}

/// Where a stream is.
enum Stage {
    /// Items come.
    Running(Box<Running>),
    /// The request is being settled; what comes of that are the caller's last bytes.
    Settling(BoxFuture<'static, Bytes>),
    /// All is settled; perhaps the last bytes have not been read yet.
    Over(Option<Bytes>),
}

/// The caller's side of a stream.
struct Reader {
    shared: Arc<Shared>,
    _on_list: Option<OnList>,
}

impl Stream for Reader {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut place = self.shared.place.lock();
        let polled = place.stage.poll_next(context);
        if polled.is_pending()
            && !place.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker()))
        {
            place.reader = Some(context.waker().clone());
        }
        polled
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let left = std::mem::replace(&mut self.shared.place.lock().stage, Stage::Over(None));
        drop(left);
    }
}

impl Live for Shared {
    fn look(&self) {
        if self.deadline.is_none_or(|deadline| Instant::now() < deadline + GRACE) {
            return;
        }
        let mut place = self.place.lock();
        let Place { stage, reader } = &mut *place;
        if matches!(stage, Stage::Running(_)) {
            tracing::debug!("a stream was ended at its deadline, because its caller does not read on");
            stage.end_if_running(&BackendFault::TotalTimeout.into());
        }
        // Nobody may come to wait for the books: what they say is kept for whoever comes after all.
        if let Stage::Settling(settling) = stage {
            let waker = reader.as_ref().unwrap_or(Waker::noop());
            if let Poll::Ready(last) = settling.poll_unpin(&mut Context::from_waker(waker)) {
                *stage = Stage::Over(Some(last));
            }
            waker.wake_by_ref();
        }
    }
}

impl Stage {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match self {
                Self::Running(running) => match ready!(running.poll_step(context)) {
                    Step::Bytes(bytes) => return Poll::Ready(Some(bytes)),
                    Step::End => self.settle(Running::end),
                    Step::Fail(error) => self.end_if_running(&error),
                },
                Self::Settling(settling) => {
                    let last = ready!(settling.poll_unpin(context));
                    *self = Self::Over(None);
                    return Poll::Ready(Some(last));
                }
                Self::Over(last) => return Poll::Ready(last.take()),
            }
        }
    }

    /// Ends a stream that runs because of `error`: what it held is given back now.
    fn end_if_running(&mut self, error: &BackendError) {
        self.settle(|running| running.fail(error));
    }

    fn settle(&mut self, end: impl FnOnce(Running) -> BoxFuture<'static, Bytes>) {
        match std::mem::replace(self, Self::Over(None)) {
            Self::Running(running) => *self = Self::Settling(end(*running)),
            other => *self = other,
        }
    }
}

/// A stream whose items come.
struct Running {
    case: Box<Case>,
    request_id: u128,
    rung: Arc<Rung>,
    items: BoxStream<'static, Result<StreamItem, BackendError>>,
    /// Writes the caller's dialect.
    encoder: Box<dyn StreamEncoder>,
    first_byte_us: u64,
    retries: u32,
    /// What it has told of its usage.
    usage: UsageSoFar,
}

/// What came of looking for the next item.
enum Step {
    /// This is for the caller.
    Bytes(Bytes),
    /// The answer is whole.
    End,
    /// Nothing more comes.
    Fail(BackendError),
}

impl Running {
    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        loop {
            match ready!(self.items.poll_next_unpin(context)) {
                Some(Ok(item)) => {
                    if self.usage.note(&item) {
                        self.case.learn(self.facts());
                    }
                    let mut out = Vec::new();
                    if let Err(error) = self.encoder.push(item, &mut out) {
                        return Poll::Ready(Step::Fail(BackendFault::from(error).into()));
                    }
                    // An encoder may keep an item back.
                    if !out.is_empty() {
                        return Poll::Ready(Step::Bytes(out.into()));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Step::Fail(error)),
                None => return Poll::Ready(Step::End),
            }
        }
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
    fn end(mut self) -> BoxFuture<'static, Bytes> {
        let facts = AttemptFacts { usage: self.usage.of_whole(), ..self.facts() };
        self.case.end(AttemptOutcome::Accepted, facts);
        let note = self.case.note(self.request_id, &self.rung);
        async move {
            let mut out = Vec::new();
            match self.case.settle(RequestOutcome::Answered, 200).await {
                Ok(()) => self.encoder.finish(&note, &mut out),
                Err(error) => self.encoder.fail(&error, &mut out),
            }
            out.into()
        }
        .boxed()
    }

    /// A failure in the middle of a stream: what was sent cannot be taken back, so the caller is told.
    fn fail(mut self, error: &BackendError) -> BoxFuture<'static, Bytes> {
        // The upstream's place and connection are free before anything is written.
        self.items = futures_util::stream::empty().boxed();
        let usage = error.clone().with_usage(self.usage.usage()).usage();
        let facts = AttemptFacts { usage, fault: Some(error.fault), ..self.facts() };
        self.case.end(AttemptOutcome::Failed(error.fault.reason()), facts);
        let told = ApiError::new(
            ErrorCode::UpstreamFailed,
            "stream_broken",
            format!("the stream of `{}` broke off: {}", self.rung.name, error.fault),
        );
        async move {
            let told = match self.case.settle(RequestOutcome::Failed, told.code.status()).await {
                Ok(()) => told,
                Err(ledger_error) => ledger_error,
            };
            let mut out = Vec::new();
            self.encoder.fail(&told, &mut out);
            out.into()
        }
        .boxed()
    }
}
