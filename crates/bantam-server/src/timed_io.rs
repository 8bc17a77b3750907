//! Reads that time out: a head that trickles in, a connection that lies idle.
//!
//! HTTP/1 in hyper has one timer for both; here they differ, because a keep-alive connection may rest for a
//! minute while a head must be whole within seconds. While a request is being answered neither runs.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// Which requests are and were answered on this connection.
pub(crate) struct Phase {
    busy: AtomicBool,
    /// Requests whose head was whole.
    requests: AtomicU64,
    made: Instant,
    /// Milliseconds from `made` to the end of the newest answer.
    ended_ms: AtomicU64,
}

impl Phase {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            busy: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            made: Instant::now(),
            ended_ms: AtomicU64::new(0),
        })
    }

    /// Marks the connection busy until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.store(true, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
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
        let elapsed_ms = u64::try_from(self.0.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.ended_ms.store(elapsed_ms, Ordering::Relaxed);
        self.0.busy.store(false, Ordering::Relaxed);
    }
}

pin_project! {
    /// A response body that keeps its connection marked busy.
    pub(crate) struct BusyBody {
        #[pin]
        body: Body,
        busy: Busy,
    }
}

impl BusyBody {
    pub(crate) const fn new(body: Body, busy: Busy) -> Self {
        Self { body, busy }
    }
}

impl http_body::Body for BusyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.project().body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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

/// A socket whose reads fail when they take too long.
pub(crate) struct TimedIo {
    socket: TcpStream,
    timer: Pin<Box<Sleep>>,
    phase: Arc<Phase>,
    waiting: Waiting,
    /// How many requests there were when a read was last polled.
    requests: u64,
    header_timeout: Duration,
    idle_timeout: Duration,
}

impl TimedIo {
    pub(crate) fn new(
        socket: TcpStream,
        phase: Arc<Phase>,
        header_timeout: Duration,
        idle_timeout: Duration,
    ) -> Self {
        // A new connection must send its first head in time: only a used one may rest.
        let timer = Box::pin(sleep(header_timeout));
        Self { socket, timer, phase, waiting: Waiting::Head, requests: 0, header_timeout, idle_timeout }
    }

    /// Polls the timer of a read for which there is nothing to read.
    ///
    /// Nobody polls a read when an answer ends, so the timer runs on while one is under way and looks again
    /// when it fires: only what it finds then decides. So an idle connection may rest for as long as the
    /// longer of the two time-outs.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let busy = self.phase.busy.load(Ordering::Relaxed);
        if busy {
            self.waiting = Waiting::No;
        } else if self.waiting == Waiting::No {
            self.waiting = Waiting::Idle;
            self.timer.as_mut().reset(self.phase.ended() + self.idle_timeout);
        }
        if self.timer.as_mut().poll(context).is_ready() {
            if !busy {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
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
        let busy = this.phase.busy.load(Ordering::Relaxed);
        if !busy && buffer.filled().len() > before && this.waiting != Waiting::Head {
            this.waiting = Waiting::Head;
            this.timer.as_mut().reset(Instant::now() + this.header_timeout);
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for TimedIo {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
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
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(context, slices)
    }
}
