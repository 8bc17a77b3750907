//! What can be asked of the scheduler, and what it answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::adapters::LoadedAdapter;

/// Picks the next tokens of one sequence.
///
/// It is called on the scheduler's thread, between steps of all sequences, so it must not wait for anything.
pub trait Chooser: Send {
    /// Returns what follows, given a logit for each token of the vocabulary, which it may write over. An error fails
    /// the request.
    fn choose(&mut self, logits: &mut [f32]) -> Result<Choice, ChooserError>;
}

/// Why a [`Chooser`] cannot go on.
pub type ChooserError = Box<dyn std::error::Error + Send + Sync>;

impl<F: FnMut(&mut [f32]) -> Result<Choice, ChooserError> + Send> Chooser for F {
    fn choose(&mut self, logits: &mut [f32]) -> Result<Choice, ChooserError> {
        self(logits)
    }
}

/// What a [`Chooser`] has picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The next tokens: one, or more where grammar leaves no choice. None only if it is over.
    pub tokens: Vec<u32>,
    /// What the reader may see now, which need not be the text of just these tokens. It is handed on as it is, unless
    /// the request's limit cuts the tokens.
    pub text: String,
    /// Whether nothing follows them. An end-of-sequence token that nobody should see is not among them.
    pub is_over: bool,
}

/// What every request says about itself.
#[derive(Debug)]
pub struct Asked<A> {
    /// Whose turn it takes: the tasks that have work get equal shares of the steps' tokens.
    pub task: Arc<str>,
    /// What to add to the model's weights.
    pub adapter: Option<Arc<LoadedAdapter<A>>>,
    /// The tokens to begin with, at least one.
    pub prompt: Vec<u32>,
    /// When to give up.
    pub deadline: Option<Instant>,
}

/// Asks for what follows a prompt.
pub struct Generate<A> {
    /// Who asks, and the prompt.
    pub asked: Asked<A>,
    /// Most tokens to generate, at least one.
    pub tokens_max: usize,
    /// Picks them.
    pub chooser: Box<dyn Chooser>,
}

/// Asks how probable continuations of a prompt are, without generating any.
#[derive(Debug)]
pub struct Score<A> {
    /// Who asks, and the prompt.
    pub asked: Asked<A>,
    /// What to look at: for the labels of a classifier, the inner nodes of the labels' trie.
    pub paths: Vec<ScorePath>,
}

/// One place after a prompt, and the tokens to look at there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScorePath {
    /// The tokens between the prompt and that place; none for the prompt's own end.
    pub tokens: Vec<u32>,
    /// The tokens whose probabilities are wanted.
    pub next: Vec<u32>,
}

/// What a generation went on by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The next tokens; none only at the end.
    pub tokens: Vec<u32>,
    /// What the reader may see now.
    pub text: String,
    /// When it was there, counted from when the request was submitted.
    pub at: Duration,
}

/// Why a generation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The chooser said so.
    Chosen,
    /// All tokens that were allowed are there.
    Length,
}

/// What a request took. Durations count from when it was submitted, but for `queued`, `prefill` and `total`, which
/// are what they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From submission to its first step.
    pub queued: Duration,
    /// From its first step to the end of its prompt.
    pub prefill: Duration,
    /// From submission to the first token, or the first row of scores.
    pub first: Duration,
    /// From submission to the end.
    pub total: Duration,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Those that did not have to be computed.
    pub cached_tokens: usize,
    /// Steps of the model that it took part in.
    pub steps: u64,
    /// How often it lost its pages to an older request and was computed again.
    pub preemptions: u32,
}

/// How a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenerationReport {
    /// Why it is over.
    pub reason: FinishReason,
    /// Tokens that were generated.
    pub tokens: usize,
    /// What it took.
    pub timings: Timings,
}

/// The answer to a [`Score`].
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// For each path, in their order: each asked token with the natural logarithm of its probability there.
    pub paths: Vec<Vec<(u32, f32)>>,
    /// What it took.
    pub timings: Timings,
}

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Too many wait already.
    #[error("{waiting} requests wait already and {limit} may: try again later")]
    QueueFull {
        /// Requests that wait.
        waiting: usize,
        /// Most that may.
        limit: usize,
    },
    /// It could never run, even alone: too long for the model.
    #[error("{prompt} tokens of prompt and {more} more exceed the model's context of {context}")]
    TooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens that are to follow.
        more: usize,
        /// The model's limit.
        context: usize,
    },
    /// It could never run, even alone: too long for the key-value memory.
    #[error("the request needs {needed} pages of key-value memory and there are {pages}")]
    TooManyPages {
        /// Pages it needs.
        needed: usize,
        /// Pages there are.
        pages: usize,
    },
    /// A path that cannot run in one step.
    #[error("path {path} has {tokens} tokens; a step takes {limit}")]
    PathTooLong {
        /// Which of the paths.
        path: usize,
        /// Its tokens.
        tokens: usize,
        /// Most that it may have.
        limit: usize,
    },
    /// A token that the model does not have.
    #[error("token {token} is not in the model's vocabulary of {vocabulary}")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Tokens there are.
        vocabulary: usize,
    },
    /// There is nothing to do: no prompt, no token to generate or no path.
    #[error("the request asks for nothing: {missing} is empty")]
    Nothing {
        /// What is missing.
        missing: &'static str,
    },
    /// The scheduler takes no more requests.
    #[error("the scheduler is shutting down")]
    ShuttingDown,
    /// The scheduler has failed; its log says why.
    #[error("the scheduler has stopped after a failure of its own")]
    Stopped,
}

/// Why a request that was taken has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestError {
    /// It took longer than it was given.
    #[error("the deadline passed after {waited:?} with {generated} tokens generated")]
    DeadlinePassed {
        /// How long it had been since it was submitted.
        waited: Duration,
        /// Tokens that were generated by then.
        generated: usize,
    },
    /// The model refused the request's tokens.
    #[error("the model failed")]
    Model(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The model panicked over the request's tokens.
    #[error("the model panicked: {message}")]
    ModelPanicked {
        /// What it said.
        message: String,
    },
    /// The model gave something else than was asked.
    #[error("the model returned {found} numbers where {expected} were wanted")]
    WrongLogits {
        /// Numbers that it returned.
        found: usize,
        /// Numbers that were wanted.
        expected: usize,
    },
    /// The chooser could not go on.
    #[error("the chooser failed after {generated} tokens")]
    Chooser {
        /// Tokens that were generated by then.
        generated: usize,
        /// Why.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The chooser panicked.
    #[error("the chooser panicked: {message}")]
    ChooserPanicked {
        /// What it said.
        message: String,
    },
    /// The chooser gave no token and did not say that it is over.
    #[error("the chooser picked no token after {generated}")]
    NothingChosen {
        /// Tokens that were generated by then.
        generated: usize,
    },
    /// The chooser picked a token that the model does not have.
    #[error("the chooser picked token {token}, which is not in the model's vocabulary of {vocabulary}")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Tokens there are.
        vocabulary: usize,
    },
    /// The scheduler was shut down before the request was answered.
    #[error("the scheduler shut down before the request was answered")]
    ShutDown,
    /// The scheduler failed.
    #[error("the scheduler stopped after a failure of its own")]
    Stopped,
}
