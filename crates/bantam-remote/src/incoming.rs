//! The body of an answer as it arrives: each wait has its limit, and every byte counts as life.

use std::time::{Duration, Instant};

use bantam_backend::{BackendFault, HeldMemory};
use bytes::{Bytes, BytesMut};
use http::{Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{timeout, timeout_at};

use crate::client::LanePlace;
use crate::decoding::Decoding;
use crate::exchange::Deadlines;
use crate::upstream::Limits;

/// How many times the bytes of an answer are in memory while it is passed on.
const TIMES_KEPT: usize = 3;

/// How long an answer waits for memory.
const MEMORY_PATIENCE: Duration = Duration::from_secs(1);

/// What a body may begin with, and what then means nothing.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The body of one answer.
pub(crate) struct Body {
    incoming: Incoming,
    decoding: Decoding,
    /// Its place in the client, which is given back with it.
    _place: Option<LanePlace>,
    /// Bytes that were looked at, and not read yet.
    ahead: Bytes,
    says_events: bool,
    deadlines: Deadlines,
    chunk_timeout: Duration,
    bytes_max: usize,
    /// Encoded bytes that may still come.
    bytes_left: usize,
    /// The first byte has come: what counts from then on are pauses.
    has_begun: bool,
    /// When to stop waiting for more although the body has not ended.
    enough_at: Option<Instant>,
    /// What is kept of it takes a part of the process's memory.
    memory: HeldMemory,
}

/// What a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Server-sent events.
    Events,
    /// One document.
    Whole,
}

impl Body {
    /// Returns the body of `response`.
    ///
    /// # Errors
    /// When it is in an encoding that is not undone here.
    pub(crate) fn new(
        mut response: Response<Incoming>,
        limits: Limits,
        deadlines: Deadlines,
        memory: HeldMemory,
    ) -> Result<Self, BackendFault> {
        let place = response.extensions_mut().remove();
        let decoding = Decoding::of(response.headers(), limits.response_bytes_max)?;
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        Ok(Self {
            _place: place,
            says_events: kind.eq_ignore_ascii_case("text/event-stream"),
            incoming: response.into_body(),
            decoding,
            ahead: Bytes::new(),
            deadlines,
            chunk_timeout: limits.chunk_timeout,
            bytes_max: limits.response_bytes_max,
            bytes_left: limits.response_bytes_max,
            has_begun: false,
            enough_at: None,
            memory,
        })
    }

    /// Returns how many encoded bytes have come.
    pub(crate) const fn bytes_received(&self) -> usize {
        self.bytes_max - self.bytes_left
    }

    /// Notes that `bytes` of it are kept: as they came, as they are read, and as they are written again. Waits a moment
    /// where there is no memory for them.
    ///
    /// # Errors
    /// When there still is none.
    pub(crate) async fn keep(&mut self, bytes: usize) -> Result<(), BackendFault> {
        let held = bytes.saturating_mul(TIMES_KEPT);
        if self.memory.try_grow_to(held).is_ok() {
            return Ok(());
        }
        timeout(MEMORY_PATIENCE, self.memory.grow_to(held)).await.map_err(|_| BackendFault::NoMemory)
    }

    /// Returns the most bytes that it may have.
    pub(crate) const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Gives a body that says everything already this long to end.
    pub(crate) fn end_within(&mut self, grace: Duration) {
        self.enough_at.get_or_insert_with(|| Instant::now() + grace);
    }

    /// Returns the next decoded bytes, or `None` at the end.
    ///
    /// # Errors
    /// When they do not come in time, when the connection breaks, or when there are too many.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BackendFault> {
        if !self.ahead.is_empty() {
            return Ok(Some(std::mem::take(&mut self.ahead)));
        }
        self.receive().await
    }

    /// Looks at what the body begins with. What it is counts, not what its headers call it: some servers send events
    /// whatever was asked for, some send a document.
    ///
    /// # Errors
    /// See [`Self::next`].
    pub(crate) async fn holds(&mut self) -> Result<Holds, BackendFault> {
        loop {
            if let Some(holds) = sniff(&self.ahead, self.says_events) {
                return Ok(holds);
            }
            match self.receive().await? {
                None => return Ok(if self.says_events { Holds::Events } else { Holds::Whole }),
                Some(data) if self.ahead.is_empty() => self.ahead = data,
                Some(data) => {
                    let mut ahead = BytesMut::from(self.ahead.as_ref());
                    ahead.extend_from_slice(&data);
                    self.ahead = ahead.freeze();
                }
            }
        }
    }

    /// Returns all of it.
    ///
    /// # Errors
    /// See [`Self::next`].
    pub(crate) async fn whole(mut self) -> Result<Bytes, BackendFault> {
        // Most answers arrive in one piece, which is then used without a copy.
        let first = self.next().await?.unwrap_or_default();
        self.keep(first.len()).await?;
        let mut rest = BytesMut::new();
        while let Some(data) = self.next().await? {
            self.keep(first.len() + rest.len() + data.len()).await?;
            rest.extend_from_slice(&data);
        }
        let whole = if rest.is_empty() {
            first
        } else {
            let mut whole = BytesMut::with_capacity(first.len() + rest.len());
            whole.extend_from_slice(&first);
            whole.extend_from_slice(&rest);
            whole.freeze()
        };
        let whole = self.memory.until_dropped(whole);
        Ok(if whole.starts_with(BYTE_ORDER_MARK) { whole.slice(BYTE_ORDER_MARK.len()..) } else { whole })
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, BackendFault> {
        loop {
            let pause =
                if self.has_begun { Instant::now() + self.chunk_timeout } else { self.deadlines.first_byte };
            let mut until = pause.min(self.deadlines.total);
            if let Some(enough_at) = self.enough_at {
                until = until.min(enough_at);
            }
            let frame = match timeout_at(until.into(), self.incoming.frame()).await {
                Err(_) => return self.waited_in_vain(),
                Ok(None) => {
                    let rest = self.decoding.finish()?;
                    return Ok(Some(rest).filter(|rest| !rest.is_empty()));
                }
                Ok(Some(Err(_))) => return Err(BackendFault::Cut),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            self.has_begun |= !data.is_empty();
            self.bytes_left = self.bytes_left.checked_sub(data.len()).ok_or(BackendFault::TooLarge)?;
            let decoded = self.decoding.push(data)?;
            if !decoded.is_empty() {
                return Ok(Some(decoded));
            }
        }
    }

    fn waited_in_vain(&self) -> Result<Option<Bytes>, BackendFault> {
        let now = Instant::now();
        if self.enough_at.is_some_and(|enough_at| now >= enough_at) {
            Ok(None)
        } else if now >= self.deadlines.total {
            Err(BackendFault::TotalTimeout)
        } else if self.has_begun {
            Err(BackendFault::ChunkTimeout)
        } else {
            Err(BackendFault::FirstByteTimeout)
        }
    }
}

/// Returns what bytes that begin like this hold; nothing while they do not tell.
fn sniff(bytes: &[u8], says_events: bool) -> Option<Holds> {
    if bytes.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(bytes) {
        return None;
    }
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let bytes = bytes.trim_ascii_start();
    match bytes.first()? {
        b'{' | b'[' => return Some(Holds::Whole),
        b':' => return Some(Holds::Events),
        _ if says_events => return Some(Holds::Events),
        _ => {}
    }
    let fields: [&[u8]; 4] = [b"data", b"event", b"id", b"retry"];
    if fields.iter().any(|field| bytes.starts_with(field)) {
        return Some(Holds::Events);
    }
    if fields.iter().any(|field| field.starts_with(bytes)) { None } else { Some(Holds::Whole) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_body_is_counts_more_than_what_it_is_called() {
        use Holds::{Events, Whole};
        for (bytes, called_events, otherwise) in [
            ("", None, None),
            (" \r\n\n", None, None),
            ("\u{feff}", None, None),
            ("{", Some(Whole), Some(Whole)),
            ("\u{feff} {\"a\":1}", Some(Whole), Some(Whole)),
            ("[", Some(Whole), Some(Whole)),
            ("\n\n: keep-alive", Some(Events), Some(Events)),
            ("da", Some(Events), None),
            ("data: x", Some(Events), Some(Events)),
            ("event: x", Some(Events), Some(Events)),
            ("\u{feff}id: 7", Some(Events), Some(Events)),
            ("retry: 7", Some(Events), Some(Events)),
            ("<html>", Some(Events), Some(Whole)),
            ("upstream error", Some(Events), Some(Whole)),
        ] {
            assert_eq!(sniff(bytes.as_bytes(), true), called_events, "{bytes:?}");
            assert_eq!(sniff(bytes.as_bytes(), false), otherwise, "{bytes:?}");
        }
    }
}
