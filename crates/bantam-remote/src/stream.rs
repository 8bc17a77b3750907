//! A streamed answer: events read strictly, each with a deadline, the first one awaited before anything is promised to
//! the caller.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bantam_backend::{AnswerStream, BackendError, BackendFault};
use bantam_wire::sse::SseReader;
use bantam_wire::{Endpoint, EventReader, Format, StreamItem};
use futures_util::StreamExt;
use futures_util::stream;
use http::{Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout_at;

use crate::exchange::Deadlines;
use crate::upstream::Upstream;
use crate::watch::Watch;

/// The largest single event.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// A stream whose first item has arrived.
pub(crate) struct OpenStream {
    first: StreamItem,
    first_byte_us: u64,
    rest: Events,
}

impl OpenStream {
    /// Returns the stream, which tells `watch` how it ends.
    pub(crate) fn watched_by(mut self, watch: Watch) -> AnswerStream {
        self.rest.watch = Some(watch);
        let first = self.first;
        let rest = stream::unfold(self.rest, |mut events| async move {
            let item = events.next().await?;
            Some((item, events))
        });
        let items = stream::once(async move { Ok(first) }).chain(rest).boxed();
        AnswerStream { items, first_byte_us: self.first_byte_us, retries: 0 }
    }
}

/// Reads a stream in `format` for a caller of `endpoint`, up to its first item.
pub(crate) async fn open(
    upstream: &Arc<Upstream>,
    response: Response<Incoming>,
    (format, endpoint): (Format, &'static dyn Endpoint),
    deadlines: Deadlines,
) -> Result<OpenStream, BackendError> {
    let is_events = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.trim_start().starts_with("text/event-stream"));
    let mut events = Events {
        upstream: Arc::clone(upstream),
        body: response.into_body(),
        reader: SseReader::new(EVENT_BYTES_MAX),
        events: EventReader::new(format, endpoint),
        ready: VecDeque::new(),
        deadlines,
        bytes: 0,
        seen_finish: false,
        done: false,
        begun: false,
        watch: None,
    };
    if !is_events {
        return Err(events.explain_body(format, endpoint).await.into());
    }
    let first = events.next().await;
    let first_byte_us = deadlines.elapsed_us();
    match first {
        None => Err(BackendFault::Cut.into()),
        Some(Err(error)) => Err(error),
        Some(Ok(item)) => {
            events.begun = true;
            Ok(OpenStream { first: item, first_byte_us, rest: events })
        }
    }
}

/// The events of one answer.
struct Events {
    upstream: Arc<Upstream>,
    body: Incoming,
    reader: SseReader,
    events: EventReader,
    ready: VecDeque<StreamItem>,
    deadlines: Deadlines,
    bytes: usize,
    /// An answer has ended.
    seen_finish: bool,
    /// Nothing more is read.
    done: bool,
    /// The first item was returned.
    begun: bool,
    /// What has to learn how the stream ends. A stream that is dropped before its end says nothing.
    watch: Option<Watch>,
}

impl Events {
    /// Returns the next item, an error as the last, or `None` at the good end.
    async fn next(&mut self) -> Option<Result<StreamItem, BackendError>> {
        let item = self.advance().await;
        if !matches!(item, Ok(Some(_))) {
            self.done = true;
            if let Some(watch) = self.watch.take() {
                match item {
                    Err(fault) if !self.deadlines.is_callers_own(fault) => watch.failed(None),
                    Err(_) => {}
                    Ok(_) => watch.succeeded(),
                }
            }
        }
        item.map_err(BackendError::from).transpose()
    }

    async fn advance(&mut self) -> Result<Option<StreamItem>, BackendFault> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                self.seen_finish |= item.finishes();
                return Ok(Some(item));
            }
            if self.done {
                return Ok(None);
            }
            match self.reader.next_event().map_err(|_| BackendFault::Garbage)? {
                Some(event) => {
                    self.events.read(event, &mut self.ready)?;
                    self.done = self.events.is_done();
                }
                None => self.fill().await?,
            }
        }
    }

    async fn fill(&mut self) -> Result<(), BackendFault> {
        let now = Instant::now();
        let until =
            if self.begun { now + self.upstream.settings.chunk_timeout } else { self.deadlines.first_byte };
        match timeout_at(until.min(self.deadlines.total).into(), self.body.frame()).await {
            Err(_) if Instant::now() >= self.deadlines.total => Err(BackendFault::TotalTimeout),
            Err(_) if self.begun => Err(BackendFault::ChunkTimeout),
            Err(_) => Err(BackendFault::FirstByteTimeout),
            Ok(Some(Err(_))) => Err(BackendFault::Cut),
            // Some servers close without the end event; an answer that was finished is whole all the same.
            Ok(None) if self.seen_finish && self.reader.is_between_events() => {
                self.done = true;
                Ok(())
            }
            Ok(None) => Err(BackendFault::Cut),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    self.bytes += data.len();
                    if self.bytes > self.upstream.settings.response_bytes_max {
                        return Err(BackendFault::TooLarge);
                    }
                    self.reader.push(&data);
                }
                Ok(())
            }
        }
    }

    /// Says what a body is that is not an event stream: an error object, or garbage.
    async fn explain_body(&mut self, format: Format, endpoint: &dyn Endpoint) -> BackendFault {
        let until = self.deadlines.first_byte.min(self.deadlines.total);
        match timeout_at(until.into(), self.body.frame()).await {
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => format
                    .read_answer(data, endpoint)
                    .map_or_else(BackendFault::from, |_| BackendFault::Garbage),
                Err(_) => BackendFault::Garbage,
            },
            _ => BackendFault::Garbage,
        }
    }
}
