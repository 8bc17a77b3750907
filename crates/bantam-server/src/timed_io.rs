//! Reads and writes that time out: a head that trickles in, a connection that lies idle, a caller that takes nothing.
//!
//! HTTP/1 in hyper has one timer for head and idleness; here they differ, because a keep-alive connection may rest for a
//! minute while a head must be whole within seconds. While a request is being answered neither runs: then it is the caller
//! who must take what is written.
//!
//! An HTTP/2 connection carries many requests, and frames that belong to none. Its first request must come as soon as that of
//! any other; after that, only a time without any request and without anything written ends it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::serve::ServerSettings;
use crate::streams::{PART_BYTES_MAX, Progress};

/// Which requests are and were answered on this connection.
pub(crate) struct Phase {
    /// Requests that are being answered.
    busy: AtomicUsize,
    /// Requests whose head was whole.
    requests: AtomicU64,
    made: Instant,
    /// Milliseconds from `made` to the end of the newest answer.
    ended_ms: AtomicU64,
}

impl Phase {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            busy: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            made: Instant::now(),
            ended_ms: AtomicU64::new(0),
        })
    }

    /// Marks the connection busy until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// Notes that an answer ends, or goes on to be written.
    fn ends_now(&self) {
        let elapsed_ms = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.ended_ms.store(elapsed_ms, Ordering::Relaxed);
    }

    /// Returns when the newest answer ended.
    fn ended(&self) -> Instant {
        self.made + Duration::from_millis(self.ended_ms.load(Ordering::Relaxed))
    }
}

/// Held while a request is being answered, to its last byte.
pub(crate) struct Busy(Arc<Phase>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.ends_now();
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

pin_project! {
    /// A response body that keeps its connection marked busy. Over HTTP/2 it comes in parts, and is watched.
    pub(crate) struct BusyBody {
        #[pin]
        body: Body,
        busy: Busy,
        progress: Option<Arc<Progress>>,
        // What is left of a frame that was too large to be handed over at once.
        rest: Bytes,
    }
}

impl BusyBody {
    pub(crate) const fn new(body: Body, busy: Busy, progress: Option<Arc<Progress>>) -> Self {
        Self { body, busy, progress, rest: Bytes::new() }
    }
}

impl http_body::Body for BusyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        let Some(progress) = this.progress else { return this.body.poll_frame(context) };
        progress.asked();
        if this.rest.is_empty() {
            match ready!(this.body.poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => *this.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                end => return Poll::Ready(end),
            }
        }
        let part = if this.rest.len() <= PART_BYTES_MAX {
            std::mem::take(this.rest)
        } else {
            // A copy, so that a caller who takes no more keeps this part in memory and not all of it.
            Bytes::copy_from_slice(&this.rest.split_to(PART_BYTES_MAX))
        };
        progress.handed();
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let mut hint = self.body.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

/// The shortest pause before the timer looks whether a request is still being answered.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(100);

/// What the timer of a connection is waiting for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// Nothing: a request is being answered.
    No,
    /// The first byte of the next request.
    Idle,
    /// The rest of a head.
    Head,
}

/// How an HTTP/2 connection begins; no request of HTTP/1.1 does.
const HTTP2_PREFACE: &[u8] = b"PRI ";

/// The fewest bytes that a caller who is waited for must take within the time limit: a few a second would keep an answer in
/// memory for days.
const TAKEN_BYTES_MIN: usize = 4 << 10;

/// A write for which there is no room.
struct BlockedWrite {
    timer: Pin<Box<Sleep>>,
    /// Bytes that were taken since the timer was set.
    taken: usize,
}

/// A socket whose reads and writes fail when they take too long.
pub(crate) struct TimedIo {
    socket: TcpStream,
    blocked: Option<BlockedWrite>,
    write_timeout: Duration,
    /// Nothing while the first bytes are awaited.
    is_http2: Option<bool>,
    timer: Pin<Box<Sleep>>,
    phase: Arc<Phase>,
    waiting: Waiting,
    /// How many requests there were when a read was last polled.
    requests: u64,
    header_timeout: Duration,
    idle_timeout: Duration,
}

impl TimedIo {
    pub(crate) fn new(socket: TcpStream, phase: Arc<Phase>, settings: &ServerSettings) -> Self {
        let ServerSettings { header_timeout, idle_timeout, write_timeout, .. } = *settings;
        // A new connection must send its first head in time: only a used one may rest.
        let timer = Box::pin(sleep(header_timeout));
        Self {
            socket,
            blocked: None,
            write_timeout,
            is_http2: None,
            timer,
            phase,
            waiting: Waiting::Head,
            requests: 0,
            header_timeout,
            idle_timeout,
        }
    }

    /// Returns whether an answer is on its way: being made, or waiting for its caller to take it.
    fn is_busy(&self) -> bool {
        self.phase.is_busy() || self.blocked.is_some()
    }

    /// Notes what came of a write of `bytes`, and ends the wait for a caller that takes nothing, or next to nothing.
    fn written(
        &mut self,
        bytes: usize,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = written {
            let taken = result.as_ref().map_or(bytes, |taken| *taken);
            if taken >= bytes {
                self.blocked = None;
            } else if let Some(blocked) = &mut self.blocked {
                blocked.taken += taken;
                if blocked.taken >= TAKEN_BYTES_MIN {
                    self.blocked = None;
                }
            }
            // An answer that has left the gateway's hands is not over while its caller takes it.
            if self.is_http2 == Some(true) || !self.phase.is_busy() {
                self.phase.ends_now();
            }
            return Poll::Ready(result);
        }
        let timeout = self.write_timeout;
        let blocked =
            self.blocked.get_or_insert_with(|| BlockedWrite { timer: Box::pin(sleep(timeout)), taken: 0 });
        ready!(blocked.timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Polls the timer of a read for which there is nothing to read.
    ///
    /// Nobody polls a read when an answer ends, so the timer runs on while one is under way and looks again
    /// when it fires: only what it finds then decides. So an idle connection may rest for as long as the
    /// longer of the two time-outs.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let busy = self.is_busy();
        if busy {
            self.waiting = Waiting::No;
        } else if self.waiting == Waiting::No {
            self.waiting = Waiting::Idle;
            self.timer.as_mut().reset(self.phase.ended() + self.idle_timeout);
        }
        if self.timer.as_mut().poll(context).is_ready() {
            if !busy {
                let until = self.phase.ended() + self.idle_timeout;
                if self.waiting == Waiting::Head || until <= Instant::now() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                // Something was written meanwhile.
                self.timer.as_mut().reset(until);
                let _ = self.timer.as_mut().poll(context);
                return Poll::Pending;
            }
            self.timer.as_mut().reset(Instant::now() + self.idle_timeout.max(LOOK_AGAIN_MIN));
            let _ = self.timer.as_mut().poll(context);
        }
        Poll::Pending
    }
}

impl AsyncRead for TimedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let requests = this.phase.requests.load(Ordering::Relaxed);
        if requests != this.requests {
            // The head that was waited for has come, and whatever has followed it is another one's.
            this.requests = requests;
            this.waiting = Waiting::No;
        }
        let Poll::Ready(result) = Pin::new(&mut this.socket).poll_read(context, buffer) else {
            return this.poll_timer(context);
        };
        let busy = this.is_busy();
        let filled = buffer.filled().get(before..).unwrap_or_default();
        if !filled.is_empty() && this.is_http2.is_none() {
            this.is_http2 = Some(filled.starts_with(HTTP2_PREFACE));
        }
        let may_be_head = this.is_http2 != Some(true);
        if !busy && !filled.is_empty() && may_be_head && this.waiting != Waiting::Head {
            this.waiting = Waiting::Head;
            this.timer.as_mut().reset(Instant::now() + this.header_timeout);
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for TimedIo {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.written(bytes.len(), written, context)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write_vectored(context, slices);
        this.written(slices.iter().map(|slice| slice.len()).sum(), written, context)
    }
}
