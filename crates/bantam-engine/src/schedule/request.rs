//! Requests to the scheduler, and its answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::adapters::LoadedAdapter;
use crate::prefix::PrefixScope;

/// Chooses the next tokens of one sequence.
///
/// It runs on the scheduler's thread, between steps of all sequences, so it must not block.
pub trait Chooser: Send {
    /// Returns the next tokens, given one logit per token of the vocabulary, which it may overwrite. An error fails
    /// the request.
    fn choose(&mut self, logits: &mut [f32]) -> Result<Choice, ChooserError>;
}

/// Why a [`Chooser`] cannot continue.
pub type ChooserError = Box<dyn std::error::Error + Send + Sync>;

impl<F: FnMut(&mut [f32]) -> Result<Choice, ChooserError> + Send> Chooser for F {
    fn choose(&mut self, logits: &mut [f32]) -> Result<Choice, ChooserError> {
        self(logits)
    }
}

/// The choice of a [`Chooser`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The next tokens: one, or more if a grammar forces them. Empty only at the end.
    pub tokens: Vec<u32>,
    /// Text for the reader now, which need not be the text of exactly these tokens. Passed on unchanged, unless the
    /// request's limit cuts the tokens.
    pub text: String,
    /// Whether the generation ends. An end-of-sequence token that readers should not see is not in `tokens`.
    pub is_over: bool,
}

/// The part common to all requests.
#[derive(Debug)]
pub struct RequestBase<A> {
    /// The task for fair scheduling: tasks with work get equal shares of the steps' tokens.
    pub task: Arc<str>,
    /// The adapter to apply.
    pub adapter: Option<Arc<LoadedAdapter<A>>>,
    /// The prompt, at least one token.
    pub prompt: Vec<u32>,
    /// When to give up.
    pub deadline: Option<Instant>,
    /// Who may share what is computed for the prompt.
    pub scope: PrefixScope,
}

/// Requests a continuation of a prompt.
pub struct Generate<A> {
    /// The task and the prompt.
    pub asked: RequestBase<A>,
    /// Most tokens to generate, at least one.
    pub tokens_max: usize,
    /// Chooses the tokens.
    pub chooser: Box<dyn Chooser>,
}

/// Requests the probabilities of continuations of a prompt, without generating any.
#[derive(Debug)]
pub struct Score<A> {
    /// The task and the prompt.
    pub asked: RequestBase<A>,
    /// The positions to score: for a classifier's labels, the inner nodes of the label trie.
    pub paths: Vec<ScorePath>,
}

/// A position after a prompt, and the tokens to score there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScorePath {
    /// The tokens between the prompt and the position; empty for the end of the prompt.
    pub tokens: Vec<u32>,
    /// The tokens whose probabilities are requested.
    pub next: Vec<u32>,
}

/// The next tokens of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The next tokens; empty only at the end.
    pub tokens: Vec<u32>,
    /// Text for the reader now.
    pub text: String,
    /// When they were chosen, relative to the submission of the request.
    pub at: Duration,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The chooser ended it.
    Chosen,
    /// It reached its token limit.
    Length,
}

/// The timings of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From submission to the first step.
    pub queued: Duration,
    /// From the first step to the end of the prompt.
    pub prefill: Duration,
    /// From submission to the first token, or the first row of scores.
    pub first: Duration,
    /// From submission to the end.
    pub total: Duration,
    /// Tokens in the prompt.
    pub prompt_tokens: usize,
    /// Prompt tokens found in the prefix cache.
    pub cached_tokens: usize,
    /// Model steps that the request took part in.
    pub steps: u64,
    /// How often it lost its pages to an older request and was recomputed.
    pub preemptions: u32,
}

/// How a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenerationReport {
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens generated.
    pub tokens: usize,
    /// The timings.
    pub timings: Timings,
}

/// The answer to a [`Score`].
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// For each path, in order: each requested token with the natural logarithm of its probability.
    pub paths: Vec<Vec<(u32, f32)>>,
    /// The timings.
    pub timings: Timings,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full.
    #[error("the queue is full: {waiting} requests are waiting, the limit is {limit}; try again later")]
    QueueFull {
        /// Waiting requests.
        waiting: usize,
        /// The limit.
        limit: usize,
    },
    /// The request is too long for the model's context, so it could never run.
    #[error("the prompt of {prompt} tokens plus {more} more exceed the model's context of {context}")]
    TooLong {
        /// Tokens in the prompt.
        prompt: usize,
        /// Tokens to follow.
        more: usize,
        /// The model's context.
        context: usize,
    },
    /// The request is too long for the KV cache, so it could never run.
    #[error("the request needs {needed} pages of the KV cache, which has only {pages}")]
    TooManyPages {
        /// Pages needed.
        needed: usize,
        /// Pages in the cache.
        pages: usize,
    },
    /// A path is too long for one step.
    #[error("path {path} has {tokens} tokens; the limit per step is {limit}")]
    PathTooLong {
        /// The path's index.
        path: usize,
        /// Tokens in the path.
        tokens: usize,
        /// The limit.
        limit: usize,
    },
    /// A token is not in the vocabulary.
    #[error("token {token} is not in the model's vocabulary of {vocabulary}")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// The request is empty: no prompt, no tokens to generate, or no path.
    #[error("the request is empty: {missing} is missing or 0")]
    Nothing {
        /// The empty field.
        missing: &'static str,
    },
    /// The scheduler accepts no more requests.
    #[error("the scheduler is shutting down")]
    ShuttingDown,
    /// The scheduler's thread has panicked; [`Scheduler::failure`](super::Scheduler::failure) has the message.
    #[error("the scheduler has stopped after an internal failure")]
    Stopped,
}

/// Why a submitted request failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestError {
    /// The deadline passed.
    #[error("the deadline passed after {waited:?} with {generated} tokens generated")]
    DeadlinePassed {
        /// Time since submission.
        waited: Duration,
        /// Tokens generated by then.
        generated: usize,
    },
    /// The model refused the request.
    #[error("the model failed")]
    Model(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The model panicked.
    #[error("the model panicked: {message}")]
    ModelPanicked {
        /// The panic message.
        message: String,
    },
    /// The model returned the wrong number of logits.
    #[error("the model returned {found} logits instead of {expected}")]
    WrongLogits {
        /// Number of logits returned.
        found: usize,
        /// Number of logits requested.
        expected: usize,
    },
    /// The chooser failed.
    #[error("the chooser failed after {generated} tokens")]
    Chooser {
        /// Tokens generated by then.
        generated: usize,
        /// The cause.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The chooser panicked.
    #[error("the chooser panicked: {message}")]
    ChooserPanicked {
        /// The panic message.
        message: String,
    },
    /// The chooser returned no token without ending the generation.
    #[error("the chooser chose no token after {generated} tokens")]
    NothingChosen {
        /// Tokens generated by then.
        generated: usize,
    },
    /// The chooser chose a token outside the vocabulary.
    #[error("the chooser chose token {token}, outside the vocabulary of {vocabulary}")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// The scheduler was shut down before the request was answered.
    #[error("the scheduler shut down before the request was answered")]
    ShutDown,
    /// The scheduler's thread panicked.
    #[error("the scheduler stopped after an internal failure")]
    Stopped,
}
