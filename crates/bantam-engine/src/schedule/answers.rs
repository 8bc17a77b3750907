//! A caller's handles to a request under way. Dropping one cancels the request.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::reply::{Reply, ReplyReceiver};
use super::request::{Chosen, GenerationReport, RequestError, Scores};

/// A generation under way: yields its tokens as they are generated, then its report or an error.
#[derive(Debug)]
pub struct Generation(pub(super) ReplyReceiver);

/// An event of a [`Generation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GenerationEvent {
    /// The next tokens.
    Chosen(Chosen),
    /// The end: nothing follows.
    Over(GenerationReport),
}

impl Generation {
    /// Polls for the next event; `None` after [`GenerationEvent::Over`] or an error.
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<GenerationEvent, RequestError>>> {
        self.0.poll(context).map(|reply| reply.and_then(event))
    }

    /// Returns the next event; `None` after [`GenerationEvent::Over`] or an error.
    pub async fn next(&mut self) -> Option<Result<GenerationEvent, RequestError>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Like [`Self::next`], but blocks the thread.
    pub fn next_blocking(&mut self) -> Option<Result<GenerationEvent, RequestError>> {
        self.0.wait().and_then(event)
    }

    /// Returns all tokens and the report. Blocks the thread.
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

fn event(reply: Reply) -> Option<Result<GenerationEvent, RequestError>> {
    match reply {
        Reply::Chosen(chosen) => Some(Ok(GenerationEvent::Chosen(chosen))),
        Reply::Generated(report) => Some(Ok(GenerationEvent::Over(report))),
        Reply::Failed(error) => Some(Err(error)),
        Reply::Scored(_) => None,
    }
}

/// A future of scores under way.
#[derive(Debug)]
pub struct PendingScores(pub(super) ReplyReceiver);

impl PendingScores {
    /// Returns the scores. Blocks the thread.
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

fn scores(reply: Option<Reply>) -> Result<Scores, RequestError> {
    match reply {
        Some(Reply::Scored(scores)) => Ok(scores),
        Some(Reply::Failed(error)) => Err(error),
        _ => Err(RequestError::Stopped),
    }
}
