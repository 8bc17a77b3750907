//! Streams that make their callers wait: proxies between cut connections on which nothing comes for long, so the head is
//! sent in time, and then a comment now and again. The work goes on, and its deadlines are kept, also where the caller
//! stops reading.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bantam_wire::{ApiError, Endpoint};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::case::Arrival;
use crate::live::{Live, LiveStreams, OnList};
use crate::reply::{Reply, ReplyBody, ReplyStream};

/// Awaits the reply to a caller who wants a stream. Where it takes longer than `every`, the stream begins without it: an
/// error is then told in the stream, and no header says how the answer came about.
///
/// # Errors
/// When the reply is an error, and was there in time.
pub(crate) async fn in_time(
    mut answering: BoxFuture<'static, Result<Reply, ApiError>>,
    every: Duration,
    arrival: Arrival,
    endpoint: &'static dyn Endpoint,
    live: &Arc<LiveStreams>,
) -> Result<Reply, ApiError> {
    let reply = match timeout(every, &mut answering).await {
        Ok(reply) => reply?,
        Err(_) => {
            let body = ReplyBody::Stream(late(answering, endpoint, live));
            Reply { request_id: arrival.request_id, endpoint, note: None, body }
        }
    };
    let body = match reply.body {
        ReplyBody::Stream(items) => ReplyBody::Stream(KeptAlive::new(items, every, endpoint).boxed()),
        body => body,
    };
    Ok(Reply { body, ..reply })
}

/// Returns the stream of a reply that is not there yet. It begins with a comment, so that the head leaves at once.
fn late(
    answering: BoxFuture<'static, Result<Reply, ApiError>>,
    endpoint: &'static dyn Endpoint,
    live: &Arc<LiveStreams>,
) -> ReplyStream {
    let one = |bytes: Bytes| stream::once(async move { bytes }).boxed();
    let told = move |error: &ApiError| one(endpoint.error_in_stream(error).into());
    let items = answering.map(move |reply| match reply.map(|reply| reply.body) {
        Ok(ReplyBody::Stream(items)) => items,
        Ok(ReplyBody::Whole(body)) => one(body),
        Ok(ReplyBody::Error(error)) | Err(error) => told(&error),
    });
    let awaited = Arc::new(Awaited(Mutex::new(Place { reply: Late::Coming(items.boxed()), reader: None })));
    let on_list = live.add(Arc::clone(&awaited) as Arc<dyn Live>);
    let items = LateReply { awaited, _on_list: on_list }.flatten_stream();
    one(Bytes::from_static(endpoint.comment())).chain(items).boxed()
}

/// A reply that is not there yet: worked on whenever its reader looks for it, and now and again when none does.
struct LateReply {
    awaited: Arc<Awaited>,
    _on_list: OnList,
}

/// What a reader shares with those who look whether it still reads.
struct Awaited(Mutex<Place>);

struct Place {
    reply: Late,
    /// Wakes whoever looked last and found nothing.
    reader: Option<Waker>,
}

enum Late {
    Coming(BoxFuture<'static, ReplyStream>),
    Here(ReplyStream),
    Taken,
}

impl Place {
    fn poll_reply(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Late::Coming(coming) = &mut self.reply {
            self.reply = Late::Here(ready!(coming.poll_unpin(context)));
        }
        Poll::Ready(())
    }
}

impl Future for LateReply {
    type Output = ReplyStream;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<ReplyStream> {
        let mut place = self.awaited.0.lock();
        if place.poll_reply(context).is_pending() {
            place.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        match std::mem::replace(&mut place.reply, Late::Taken) {
            Late::Here(items) => Poll::Ready(items),
            Late::Coming(_) | Late::Taken => Poll::Ready(stream::empty().boxed()),
        }
    }
}

impl Live for Awaited {
    fn look(&self) {
        let mut place = self.0.lock();
        if matches!(place.reply, Late::Coming(_)) {
            // Whatever is waited for wakes the reader, as if it had looked itself.
            let reader = place.reader.clone().unwrap_or_else(|| Waker::noop().clone());
            if place.poll_reply(&mut Context::from_waker(&reader)).is_ready() {
                reader.wake();
            }
        }
    }
}

impl Drop for LateReply {
    fn drop(&mut self) {
        let left = std::mem::replace(&mut self.awaited.0.lock().reply, Late::Taken);
        drop(left);
    }
}

/// A stream with a comment wherever it pauses for long.
struct KeptAlive {
    items: ReplyStream,
    every: Duration,
    endpoint: &'static dyn Endpoint,
    /// When something was sent last.
    sent: Instant,
    pause: Pin<Box<Sleep>>,
}

impl KeptAlive {
    fn new(items: ReplyStream, every: Duration, endpoint: &'static dyn Endpoint) -> Self {
        let sent = Instant::now();
        Self { items, every, endpoint, sent, pause: Box::pin(sleep_until(sent + every)) }
    }
}

impl Stream for KeptAlive {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Poll::Ready(item) = self.items.poll_next_unpin(context) {
            self.sent = Instant::now();
            return Poll::Ready(item);
        }
        // The timer is only moved when it rings: items come far more often.
        while self.pause.poll_unpin(context).is_ready() {
            let now = Instant::now();
            let due = self.sent + self.every;
            let is_due = now >= due;
            let next = if is_due { now + self.every } else { due };
            self.pause.as_mut().reset(next);
            if is_due {
                self.sent = now;
                return Poll::Ready(Some(Bytes::from_static(self.endpoint.comment())));
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use bantam_wire::openai;

    use super::*;

    #[tokio::test]
    async fn a_comment_is_sent_wherever_a_stream_pauses() {
        let comment = openai::CHAT.comment();
        let (sender, receiver) = channel();
        let mut kept = KeptAlive::new(receiver, Duration::from_millis(10), openai::CHAT);
        for item in ["a", "b"] {
            for _ in 0..3 {
                assert_eq!(kept.next().await.as_deref(), Some(comment), "the stream is silent");
            }
            sender.send(Bytes::from_static(item.as_bytes())).unwrap();
            let next = kept.by_ref().filter(|bytes| std::future::ready(bytes != comment)).next().await;
            assert_eq!(next.as_deref(), Some(item.as_bytes()));
        }
        drop(sender);
        let rest: Vec<Bytes> = kept.collect().await;
        assert!(rest.iter().all(|bytes| bytes == comment), "{rest:?}");
    }

    #[tokio::test]
    async fn what_is_there_is_sent_before_any_comment() {
        let items = stream::iter(["a", "b", "c"]).map(|item| Bytes::from_static(item.as_bytes()));
        let kept = KeptAlive::new(items.boxed(), Duration::from_nanos(1), openai::CHAT);
        assert_eq!(kept.collect::<Vec<_>>().await, ["a", "b", "c"]);
    }

    fn channel() -> (tokio::sync::mpsc::UnboundedSender<Bytes>, ReplyStream) {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let receiver =
            stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
        (sender, receiver.boxed())
    }
}
