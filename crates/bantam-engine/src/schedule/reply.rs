//! Delivers replies to callers: the scheduler never waits for a reader; a reader may wait in any way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::request::{Chosen, GenerationReport, RequestError, Scores};

/// A scheduler's reply to a request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Chosen(Chosen),
    Generated(GenerationReport),
    Scored(Scores),
    Failed(RequestError),
}

/// Wakes the scheduler's thread.
#[derive(Debug, Default)]
pub(super) struct WakeSignal {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl WakeSignal {
    pub(super) fn notify(&self) {
        *self.is_set.lock() = true;
        self.changed.notify_one();
    }

    /// Waits for the next notification, or until `until`.
    pub(super) fn wait(&self, until: Option<Instant>) {
        let mut is_set = self.is_set.lock();
        while !*is_set {
            match until {
                Some(until) if self.changed.wait_until(&mut is_set, until).timed_out() => break,
                Some(_) => {}
                None => self.changed.wait(&mut is_set),
            }
        }
        *is_set = false;
    }
}

#[derive(Debug)]
struct Mailbox {
    state: Mutex<MailboxState>,
    filled: Condvar,
    signal: Arc<WakeSignal>,
    unread_max: usize,
    /// Whether the reader has left.
    is_gone: AtomicBool,
}

#[derive(Debug, Default)]
struct MailboxState {
    unread: VecDeque<Reply>,
    is_closed: bool,
    waker: Option<Waker>,
}

/// The scheduler's end. Dropping it before the final reply reports that the scheduler stopped.
#[derive(Debug)]
pub(super) struct ReplySender(Arc<Mailbox>);

/// The caller's end.
#[derive(Debug)]
pub(super) struct ReplyReceiver(Arc<Mailbox>);

/// Creates both ends. The reader counts as too slow when `unread_max` replies wait.
pub(super) fn reply_channel(signal: Arc<WakeSignal>, unread_max: usize) -> (ReplySender, ReplyReceiver) {
    let mailbox = Arc::new(Mailbox {
        state: Mutex::default(),
        filled: Condvar::new(),
        signal,
        unread_max: unread_max.max(1),
        is_gone: AtomicBool::new(false),
    });
    (ReplySender(Arc::clone(&mailbox)), ReplyReceiver(mailbox))
}

impl ReplySender {
    /// Sends a reply; anything but `Chosen` is the final one.
    pub(super) fn send(&self, reply: Reply) {
        let mut state = self.0.state.lock();
        if state.is_closed {
            return;
        }
        state.is_closed = !matches!(reply, Reply::Chosen(_));
        state.unread.push_back(reply);
        let waker = state.waker.take();
        drop(state);
        self.0.filled.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns whether the reader has left.
    pub(super) fn is_gone(&self) -> bool {
        self.0.is_gone.load(Ordering::Acquire)
    }

    /// Returns whether the reader is too slow.
    pub(super) fn is_full(&self) -> bool {
        self.0.state.lock().unread.len() >= self.0.unread_max
    }
}

impl Drop for ReplySender {
    fn drop(&mut self) {
        self.send(Reply::Failed(RequestError::Stopped));
    }
}

impl ReplyReceiver {
    /// Polls for the next reply; `None` after the final one.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Reply>> {
        let mut state = self.0.state.lock();
        if let Some(reply) = self.take(&mut state) {
            return Poll::Ready(Some(reply));
        }
        if state.is_closed {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Waits for the next reply; `None` after the final one.
    pub(super) fn wait(&mut self) -> Option<Reply> {
        let mut state = self.0.state.lock();
        loop {
            if let Some(reply) = self.take(&mut state) {
                return Some(reply);
            }
            if state.is_closed {
                return None;
            }
            self.0.filled.wait(&mut state);
        }
    }

    fn take(&self, state: &mut MailboxState) -> Option<Reply> {
        let was_full = state.unread.len() >= self.0.unread_max;
        let reply = state.unread.pop_front()?;
        if was_full {
            self.0.signal.notify();
        }
        Some(reply)
    }
}

impl Drop for ReplyReceiver {
    fn drop(&mut self) {
        self.0.is_gone.store(true, Ordering::Release);
        self.0.signal.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(token: u32) -> Reply {
        Reply::Chosen(Chosen { tokens: vec![token], text: String::new(), at: std::time::Duration::ZERO })
    }

    fn is_token(reply: Option<Reply>, token: u32) -> bool {
        matches!(reply, Some(Reply::Chosen(chosen)) if chosen.tokens == [token])
    }

    #[test]
    fn replies_arrive_in_order_and_nothing_follows_the_final_one() {
        let (replies, mut receiver) = reply_channel(Arc::default(), 2);
        replies.send(token(1));
        assert!(!replies.is_full());
        replies.send(token(2));
        assert!(replies.is_full());
        replies.send(Reply::Failed(RequestError::ShutDown));
        replies.send(token(3));
        assert!(is_token(receiver.wait(), 1));
        assert!(is_token(receiver.wait(), 2));
        assert!(matches!(receiver.wait(), Some(Reply::Failed(RequestError::ShutDown))));
        assert!(receiver.wait().is_none());
        drop(receiver);
        assert!(replies.is_gone());
    }

    #[test]
    fn a_dropped_sender_fails_the_request_and_wakes_the_reader() {
        let (replies, mut receiver) = reply_channel(Arc::default(), 1);
        let reader = std::thread::spawn(move || (receiver.wait(), receiver.wait().is_none()));
        drop(replies);
        assert!(matches!(reader.join().unwrap(), (Some(Reply::Failed(RequestError::Stopped)), true)));
    }

    #[test]
    fn reading_from_a_full_mailbox_wakes_the_scheduler() {
        let signal = Arc::new(WakeSignal::default());
        let (replies, mut receiver) = reply_channel(Arc::clone(&signal), 1);
        replies.send(token(1));
        assert!(receiver.wait().is_some());
        assert!(*signal.is_set.lock());
        signal.wait(None);
        assert!(!*signal.is_set.lock());
    }
}
