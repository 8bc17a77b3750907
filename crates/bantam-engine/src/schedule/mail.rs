//! How answers reach their callers: the scheduler never waits for a reader, and a reader waits as it likes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::request::{Chosen, GenerationReport, RequestError, Scores};

/// What the scheduler has to say about a request.
#[derive(Clone, Debug)]
pub(super) enum Letter {
    Chosen(Chosen),
    Generated(GenerationReport),
    Scored(Scores),
    Failed(RequestError),
}

/// Wakes the scheduler's thread.
#[derive(Debug, Default)]
pub(super) struct Bell {
    has_rung: Mutex<bool>,
    rung: Condvar,
}

impl Bell {
    pub(super) fn ring(&self) {
        *self.has_rung.lock() = true;
        self.rung.notify_one();
    }

    /// Waits until the bell has rung since the last wait, or until that moment.
    pub(super) fn wait(&self, until: Option<Instant>) {
        let mut has_rung = self.has_rung.lock();
        while !*has_rung {
            match until {
                Some(until) if self.rung.wait_until(&mut has_rung, until).timed_out() => break,
                Some(_) => {}
                None => self.rung.wait(&mut has_rung),
            }
        }
        *has_rung = false;
    }
}

#[derive(Debug)]
struct Mail {
    box_: Mutex<Letters>,
    filled: Condvar,
    bell: Arc<Bell>,
    unread_max: usize,
    /// Whether the reader has left.
    is_gone: AtomicBool,
}

#[derive(Debug, Default)]
struct Letters {
    unread: VecDeque<Letter>,
    is_over: bool,
    waker: Option<Waker>,
}

/// The scheduler's end. Dropped before the last letter, it says that the scheduler stopped.
#[derive(Debug)]
pub(super) struct Outbox(Arc<Mail>);

/// The caller's end.
#[derive(Debug)]
pub(super) struct Inlet(Arc<Mail>);

/// Returns both ends. The reader is too slow when `unread_max` letters wait.
pub(super) fn mail(bell: Arc<Bell>, unread_max: usize) -> (Outbox, Inlet) {
    let mail = Arc::new(Mail {
        box_: Mutex::default(),
        filled: Condvar::new(),
        bell,
        unread_max: unread_max.max(1),
        is_gone: AtomicBool::new(false),
    });
    (Outbox(Arc::clone(&mail)), Inlet(mail))
}

impl Outbox {
    /// Puts a letter in; whatever is not a choice is the last.
    pub(super) fn send(&self, letter: Letter) {
        let mut letters = self.0.box_.lock();
        if letters.is_over {
            return;
        }
        letters.is_over = !matches!(letter, Letter::Chosen(_));
        letters.unread.push_back(letter);
        let waker = letters.waker.take();
        drop(letters);
        self.0.filled.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns whether nobody will read what is sent.
    pub(super) fn is_gone(&self) -> bool {
        self.0.is_gone.load(Ordering::Acquire)
    }

    /// Returns whether the reader should read first.
    pub(super) fn is_full(&self) -> bool {
        self.0.box_.lock().unread.len() >= self.0.unread_max
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.send(Letter::Failed(RequestError::Stopped));
    }
}

impl Inlet {
    /// Returns the next letter when it is there, none after the last.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Letter>> {
        let mut letters = self.0.box_.lock();
        if let Some(letter) = self.take(&mut letters) {
            return Poll::Ready(Some(letter));
        }
        if letters.is_over {
            return Poll::Ready(None);
        }
        letters.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Waits for the next letter, none after the last.
    pub(super) fn wait(&mut self) -> Option<Letter> {
        let mut letters = self.0.box_.lock();
        loop {
            if let Some(letter) = self.take(&mut letters) {
                return Some(letter);
            }
            if letters.is_over {
                return None;
            }
            self.0.filled.wait(&mut letters);
        }
    }

    fn take(&self, letters: &mut Letters) -> Option<Letter> {
        let was_full = letters.unread.len() >= self.0.unread_max;
        let letter = letters.unread.pop_front()?;
        if was_full {
            self.0.bell.ring();
        }
        Some(letter)
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.0.is_gone.store(true, Ordering::Release);
        self.0.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(token: u32) -> Letter {
        Letter::Chosen(Chosen { tokens: vec![token], text: String::new(), at: std::time::Duration::ZERO })
    }

    fn is_token(letter: Option<Letter>, token: u32) -> bool {
        matches!(letter, Some(Letter::Chosen(chosen)) if chosen.tokens == [token])
    }

    #[test]
    fn letters_arrive_in_order_and_nothing_follows_the_last() {
        let (outbox, mut inlet) = mail(Arc::default(), 2);
        outbox.send(token(1));
        assert!(!outbox.is_full());
        outbox.send(token(2));
        assert!(outbox.is_full());
        outbox.send(Letter::Failed(RequestError::ShutDown));
        outbox.send(token(3));
        assert!(is_token(inlet.wait(), 1));
        assert!(is_token(inlet.wait(), 2));
        assert!(matches!(inlet.wait(), Some(Letter::Failed(RequestError::ShutDown))));
        assert!(inlet.wait().is_none());
        drop(inlet);
        assert!(outbox.is_gone());
    }

    #[test]
    fn a_sender_that_vanishes_is_a_failure_that_wakes_the_reader() {
        let (outbox, mut inlet) = mail(Arc::default(), 1);
        let reader = std::thread::spawn(move || (inlet.wait(), inlet.wait().is_none()));
        drop(outbox);
        assert!(matches!(reader.join().unwrap(), (Some(Letter::Failed(RequestError::Stopped)), true)));
    }

    #[test]
    fn a_full_box_that_is_read_rings_the_bell() {
        let bell = Arc::new(Bell::default());
        let (outbox, mut inlet) = mail(Arc::clone(&bell), 1);
        outbox.send(token(1));
        assert!(inlet.wait().is_some());
        assert!(*bell.has_rung.lock());
        bell.wait(None);
        assert!(!*bell.has_rung.lock());
    }
}
