//! A streamed answer: events, each with a deadline. Nothing is promised to the caller before the answer says something.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bantam_backend::{AnswerStream, BackendError, BackendFault, HEAVY_BYTES, UpstreamNotes};
use bantam_wire::outcome::UsageSoFar;
use bantam_wire::sse::{ReadSseError, SseReader};
use bantam_wire::{CallKind, EventReader, Outcome, ReadAnswerError, StreamItem};
use futures_util::StreamExt;
use futures_util::stream;

use crate::exchange::{Asked, Deadlines};
use crate::incoming::Body;
use crate::refusal::error_in_stream;
use crate::upstream::Upstream;
use crate::watch::Watch;

/// How long a stream may stay open once its answers are whole: the usage and the end event may still come.
const END_GRACE: Duration = Duration::from_secs(2);

/// A stream that has said something.
pub(crate) struct OpenStream {
    first_byte_us: u64,
    events: Events,
}

impl OpenStream {
    /// Returns the stream, which tells `watch` how it ends, and the log of `upstream` how it fails.
    pub(crate) fn watched_by(
        mut self,
        watch: Watch,
        upstream: &Arc<Upstream>,
        notes: Option<Arc<UpstreamNotes>>,
    ) -> AnswerStream {
        self.events.watch = Some(watch);
        self.events.upstream = Some(Arc::clone(upstream));
        self.events.notes.clone_from(&notes);
        let deadline = Some(self.events.deadlines.total);
        let items = stream::unfold(self.events, |mut events| async move {
            let item = events.next().await?;
            Some((item, events))
        });
        let (items, first_byte_us) = (items.boxed(), self.first_byte_us);
        AnswerStream { items, first_byte_us, retries: 0, notes, deadline }
    }
}

/// Reads a stream up to where it says something: what fails before can still be asked for elsewhere.
pub(crate) async fn open(body: Body, asked: Asked, deadlines: Deadlines) -> Result<OpenStream, BackendError> {
    let reader = EventReader::new(asked.format, asked.endpoint);
    let mut events = Events::new(body, reader, asked, deadlines);
    let mut first_byte_us = None;
    let mut held = VecDeque::new();
    while !events.reader.has_said() {
        match events.advance().await {
            Ok(Some(item)) => held.push_back(item),
            Ok(None) => return Err(with_usage(BackendFault::Cut.into(), &held)),
            Err(error) => return Err(with_usage(error, held.iter().chain(&events.ready))),
        }
        first_byte_us.get_or_insert_with(|| deadlines.elapsed_us());
    }
    held.append(&mut events.ready);
    events.ready = held;
    Ok(OpenStream { first_byte_us: first_byte_us.unwrap_or_else(|| deadlines.elapsed_us()), events })
}

/// Reads a stream to its end and returns the answer that it adds up to.
pub(crate) async fn put_together(
    body: Body,
    asked: Asked,
    deadlines: Deadlines,
) -> Result<Outcome, BackendError> {
    if asked.format.kind() == CallKind::Embeddings {
        return Err(BackendFault::Garbage.into());
    }
    let mut events = Events::new(body, EventReader::of_steps(asked.format), asked, deadlines);
    let mut items = Vec::new();
    loop {
        match events.advance().await {
            Ok(Some(item)) => items.push(item),
            Ok(None) => break,
            Err(error) => return Err(with_usage(error, items.iter().chain(&events.ready))),
        }
        let received = events.body.bytes_received();
        if let Err(fault) = events.body.keep(received).await {
            return Err(with_usage(fault.into(), items.iter().chain(&events.ready)));
        }
    }
    let steps = items.into_iter().filter_map(|item| match item {
        StreamItem::Typed(step) => Some(step),
        StreamItem::Raw(_) => None,
    });
    Ok(Outcome::of_steps(steps))
}

/// Returns the error with what was counted before it.
fn with_usage<'i>(error: BackendError, items: impl IntoIterator<Item = &'i StreamItem>) -> BackendError {
    let mut seen = UsageSoFar::default();
    for item in items {
        seen.note(item);
    }
    error.with_usage(seen.usage())
}

/// The events of one answer.
struct Events {
    body: Body,
    sse: SseReader,
    /// About how many bytes of an event have come that has not ended.
    unread: usize,
    reader: EventReader,
    ready: VecDeque<StreamItem>,
    deadlines: Deadlines,
    /// Nothing more is read.
    done: bool,
    /// What has to learn how the stream ends. A stream that is dropped before its end says nothing.
    watch: Option<Watch>,
    /// Whose log tells how the stream fails, once it has begun.
    upstream: Option<Arc<Upstream>>,
    /// What the upstream said beside it.
    notes: Option<Arc<UpstreamNotes>>,
}

impl Events {
    fn new(body: Body, reader: EventReader, asked: Asked, deadlines: Deadlines) -> Self {
        Self {
            sse: SseReader::new(body.bytes_max()),
            unread: 0,
            body,
            reader: reader.expecting(asked.answers),
            ready: VecDeque::new(),
            deadlines,
            done: false,
            watch: None,
            upstream: None,
            notes: None,
        }
    }

    /// Returns the next item, an error as the last, or `None` at the good end.
    async fn next(&mut self) -> Option<Result<StreamItem, BackendError>> {
        let item = self.advance().await;
        let item = item.map_err(|error| BackendError { notes: self.notes.clone(), ..error });
        if !matches!(item, Ok(Some(_))) {
            self.done = true;
            if let Some(watch) = self.watch.take() {
                match &item {
                    Err(error) if self.deadlines.is_callers_own(error.fault) => {}
                    Err(error) => watch.told(error),
                    Ok(_) => watch.succeeded(),
                }
            }
            if let (Err(error), Some(upstream)) = (&item, &self.upstream) {
                upstream.log_failure(None, error, self.deadlines.started);
            }
        }
        item.transpose()
    }

    async fn advance(&mut self) -> Result<Option<StreamItem>, BackendError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            if self.done {
                return Ok(None);
            }
            match self.sse.next_event() {
                // A comment that a proxy wrapped as data.
                Ok(Some(event)) if event.data.starts_with(':') => {}
                Ok(Some(event)) => {
                    self.unread = 0;
                    let told = event.data.contains("\"error\"").then(|| event.data.clone());
                    if let Err(error) = self.reader.read(event, &mut self.ready) {
                        return Err(match (error, told) {
                            (ReadAnswerError::ErrorObject, Some(told)) => error_in_stream(told.as_bytes()),
                            (error, _) => BackendFault::from(error).into(),
                        });
                    }
                    if self.reader.is_done() {
                        self.end(BackendFault::Cut)?;
                    } else if self.reader.is_whole() {
                        self.body.end_within(END_GRACE);
                    }
                }
                Ok(None) => self.fill().await?,
                Err(ReadSseError::TooLarge(_)) => self.end(BackendFault::TooLarge)?,
                Err(ReadSseError::NotUtf8) => self.end(BackendFault::Garbage)?,
            }
        }
    }

    async fn fill(&mut self) -> Result<(), BackendFault> {
        match self.body.next().await {
            Ok(Some(data)) => {
                self.sse.push(&data);
                self.unread += data.len();
                if self.unread > HEAVY_BYTES {
                    self.body.keep(self.unread).await?;
                }
                Ok(())
            }
            Ok(None) if self.sse.is_foreign() => self.end(BackendFault::Garbage),
            Ok(None) => self.end(BackendFault::Cut),
            Err(fault) => self.end(fault),
        }
    }

    /// Ends the stream: well where its answers are whole, whatever came of the rest; as `otherwise` where they are not.
    fn end(&mut self, otherwise: BackendFault) -> Result<(), BackendFault> {
        if !self.reader.is_whole() {
            return Err(otherwise);
        }
        self.reader.end(&mut self.ready);
        self.done = true;
        Ok(())
    }
}
