//! A value that one thread makes and a future waits for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Returns the two ends: whoever has the first one answers, or leaves without an answer by dropping it.
pub(crate) fn channel<T>() -> (Answerer<T>, Answer<T>) {
    let state = Arc::new(Mutex::new(State::Open(None)));
    (Answerer { state: Arc::clone(&state) }, Answer { state })
}

enum State<T> {
    /// Nothing yet, and whom to wake.
    Open(Option<Waker>),
    Answered(T),
    /// Taken, or never to come.
    Ended,
}

/// The end that gives the value.
pub(crate) struct Answerer<T> {
    state: Arc<Mutex<State<T>>>,
}

impl<T> Answerer<T> {
    /// Returns whether nobody waits any more.
    pub(crate) fn is_forgotten(&self) -> bool {
        Arc::strong_count(&self.state) == 1
    }

    /// Gives the value.
    pub(crate) fn answer(self, value: T) {
        self.end(State::Answered(value));
    }

    fn end(&self, end: State<T>) {
        let mut state = self.state.lock();
        let State::Open(waker) = &mut *state else { return };
        let waker = waker.take();
        *state = end;
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl<T> Drop for Answerer<T> {
    fn drop(&mut self) {
        self.end(State::Ended);
    }
}

/// Ready with the value, or with `None` when it will not come.
pub(crate) struct Answer<T> {
    state: Arc<Mutex<State<T>>>,
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.state.lock();
        if let State::Open(waker) = &mut *state {
            *waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        match std::mem::replace(&mut *state, State::Ended) {
            State::Answered(value) => Poll::Ready(Some(value)),
            State::Open(_) | State::Ended => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use bantam_books::block_on;

    use super::*;

    #[test]
    fn an_answer_reaches_another_thread() {
        let (answerer, answer) = channel();
        let thread = thread::spawn(move || answerer.answer(7));
        assert_eq!(block_on(answer), Some(7));
        thread.join().unwrap();
    }

    #[test]
    fn whoever_waits_for_nobody_is_told() {
        let (answerer, answer) = channel::<u8>();
        let thread = thread::spawn(move || drop(answerer));
        assert_eq!(block_on(answer), None);
        thread.join().unwrap();
    }

    #[test]
    fn an_answer_that_nobody_waits_for_is_known() {
        let (answerer, answer) = channel::<u8>();
        assert!(!answerer.is_forgotten());
        drop(answer);
        assert!(answerer.is_forgotten());
        answerer.answer(1);
    }
}
