//! What a caller holds while a request is under way. Dropping it cancels the request.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::mail::{Inlet, Letter};
use super::request::{Chosen, GenerationReport, RequestError, Scores};

/// A generation under way: its tokens as they come, then its report or why there is none.
#[derive(Debug)]
pub struct Generation(pub(super) Inlet);

/// What a [`Generation`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GenerationEvent {
    /// The next tokens.
    Chosen(Chosen),
    /// The end: nothing follows.
    Over(GenerationReport),
}

impl Generation {
    /// Returns the next event when it is there, and nothing after [`GenerationEvent::Over`] or an error.
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<GenerationEvent, RequestError>>> {
        self.0.poll(context).map(|letter| letter.and_then(event))
    }

    /// Returns the next event, and nothing after [`GenerationEvent::Over`] or an error.
    pub async fn next(&mut self) -> Option<Result<GenerationEvent, RequestError>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Returns the next event after blocking the thread for it, and nothing after [`GenerationEvent::Over`] or an
    /// error.
    pub fn next_blocking(&mut self) -> Option<Result<GenerationEvent, RequestError>> {
        self.0.wait().and_then(event)
    }

    /// Returns all tokens and the report after blocking the thread for them.
    pub fn collect_blocking(mut self) -> Result<(Vec<u32>, GenerationReport), RequestError> {
        let mut tokens = Vec::new();
        while let Some(event) = self.next_blocking() {
            match event? {
                GenerationEvent::Chosen(chosen) => tokens.extend(chosen.tokens),
                GenerationEvent::Over(report) => return Ok((tokens, report)),
            }
        }
        Err(RequestError::Stopped)
    }
}

fn event(letter: Letter) -> Option<Result<GenerationEvent, RequestError>> {
    match letter {
        Letter::Chosen(chosen) => Some(Ok(GenerationEvent::Chosen(chosen))),
        Letter::Generated(report) => Some(Ok(GenerationEvent::Over(report))),
        Letter::Failed(error) => Some(Err(error)),
        Letter::Scored(_) => None,
    }
}

/// Scores under way; a future of them.
#[derive(Debug)]
pub struct PendingScores(pub(super) Inlet);

impl PendingScores {
    /// Returns the scores after blocking the thread for them.
    pub fn wait_blocking(mut self) -> Result<Scores, RequestError> {
        scores(self.0.wait())
    }
}

impl Future for PendingScores {
    type Output = Result<Scores, RequestError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context).map(scores)
    }
}

fn scores(letter: Option<Letter>) -> Result<Scores, RequestError> {
    match letter {
        Some(Letter::Scored(scores)) => Ok(scores),
        Some(Letter::Failed(error)) => Err(error),
        _ => Err(RequestError::Stopped),
    }
}
