//! A streamed answer: events read strictly, each with a deadline, the first one awaited before anything
//! is promised to the caller.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bantam_backend::{AnswerStream, BackendError, BackendFault, StreamItem};
use bantam_wire::anthropic::StreamTranslator;
use bantam_wire::chunk::read_chunk;
use bantam_wire::sse::{SseEvent, SseReader};
use futures_util::StreamExt;
use futures_util::stream;
use http::{Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout_at;

use crate::exchange::{Deadlines, fault_of};
use crate::upstream::{Dialect, Upstream};

/// The largest single event.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Reads up to the first chunk and returns it with the rest of the stream behind it.
///
/// `keep` is dropped with the stream: it holds the upstream's place and settles its breaker.
pub(crate) async fn open(
    upstream: &Arc<Upstream>,
    response: Response<Incoming>,
    created_unix_s: i64,
    deadlines: Deadlines,
) -> Result<AnswerStream, BackendError> {
    let is_events = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.trim_start().starts_with("text/event-stream"));
    let mut chunks = Chunks {
        upstream: Arc::clone(upstream),
        body: response.into_body(),
        reader: SseReader::new(EVENT_BYTES_MAX),
        translator: (upstream.dialect == Dialect::Anthropic).then(|| StreamTranslator::new(created_unix_s)),
        ready: VecDeque::new(),
        deadlines,
        bytes: 0,
        seen_finish: false,
        done: false,
        over: false,
        begun: false,
    };
    if !is_events {
        return Err(chunks.explain_body().await.into());
    }
    let first = chunks.next().await;
    let first_byte_us = deadlines.elapsed_us();
    match first {
        None => Err(BackendFault::Cut.into()),
        Some(Err(error)) => Err(error),
        Some(Ok(item)) => {
            chunks.begun = true;
            let rest = stream::unfold(chunks, |mut chunks| async move {
                let item = chunks.next().await?;
                Some((item, chunks))
            });
            let items = stream::once(async move { Ok(item) }).chain(rest).boxed();
            Ok(AnswerStream { items, first_byte_us, retries: 0 })
        }
    }
}

/// The chunks of one answer.
struct Chunks {
    upstream: Arc<Upstream>,
    body: Incoming,
    reader: SseReader,
    translator: Option<StreamTranslator>,
    ready: VecDeque<String>,
    deadlines: Deadlines,
    bytes: usize,
    seen_finish: bool,
    /// Nothing more is read.
    done: bool,
    /// The end was returned, and the breaker knows how it went.
    over: bool,
    /// The first chunk was returned.
    begun: bool,
}

impl Chunks {
    /// Returns the next chunk, an error as the last item, or `None` at the good end.
    async fn next(&mut self) -> Option<Result<StreamItem, BackendError>> {
        let item = self.advance().await;
        if !self.over && !matches!(item, Ok(Some(_))) {
            self.done = true;
            self.over = true;
            if self.begun {
                let mut breaker = self.upstream.breaker.lock();
                if item.is_ok() { breaker.succeeded() } else { breaker.failed(Instant::now()) }
            }
        }
        item.map_err(BackendError::from).transpose()
    }

    async fn advance(&mut self) -> Result<Option<StreamItem>, BackendFault> {
        loop {
            if let Some(data) = self.ready.pop_front() {
                let facts = read_chunk(&data).map_err(|error| fault_of(&error))?;
                self.seen_finish |= facts.finishes;
                return Ok(Some(StreamItem { data, facts }));
            }
            if self.done {
                return Ok(None);
            }
            match self.reader.next_event().map_err(|_| BackendFault::Garbage)? {
                Some(event) => self.take(event)?,
                None => self.fill().await?,
            }
        }
    }

    fn take(&mut self, event: SseEvent) -> Result<(), BackendFault> {
        match &mut self.translator {
            None if event.data.trim() == "[DONE]" => self.done = true,
            None => self.ready.push_back(event.data),
            Some(translator) => {
                self.ready.extend(translator.translate(&event).map_err(|error| fault_of(&error))?);
                self.done = translator.is_finished();
            }
        }
        Ok(())
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

    /// Says what a body that is no event stream is: an error object, or garbage.
    async fn explain_body(&mut self) -> BackendFault {
        let until = self.deadlines.first_byte.min(self.deadlines.total);
        match timeout_at(until.into(), self.body.frame()).await {
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => bantam_wire::completion::read_completion(&data)
                    .map_or_else(|error| fault_of(&error), |_| BackendFault::Garbage),
                Err(_) => BackendFault::Garbage,
            },
            _ => BackendFault::Garbage,
        }
    }
}
