//! Constrains answers to a formal language, token by token.
//!
//! [`Grammars`] holds a model's tokens in the form needed to compute masks and compiles each [`Grammar`] once; every
//! answer starts its own [`Constraint`]. The engine underneath is llguidance: derivatives of regular expressions
//! under an Earley parser, walked along a trie of all tokens.
//!
//! **Invariant:** a JSON schema is compiled completely, or refused with the path and the keyword that cannot be
//! honoured. No part is ignored, so every answer that a constraint allows is valid under the schema.
//!
//! **Invariant:** limits count work, not time, so they refuse the same grammars on every machine.

mod compile;
mod lark;
mod mask;

use std::sync::{Arc, OnceLock};

pub use compile::{
    CompileGrammarError, Grammar, GrammarLimits, Grammars, JsonLayout, check_grammar, check_schema,
};
use llguidance::Matcher;
pub use mask::TokenMask;

use crate::ending::{Endings, Progress};

/// A compiled grammar, which can constrain any number of answers.
pub struct CompiledGrammar {
    fresh: Matcher,
    /// Control tokens that are never allowed, whatever the grammar says.
    refused: TokenMask,
    /// How its answers can end; `None` if that cannot be known.
    endings: Option<Arc<Endings>>,
    /// A short answer, once computed.
    shortest: ShortestAnswer,
}

/// The tokens of a short answer, shared by all answers of a grammar; `None` if no answer was found.
type ShortestAnswer = Arc<OnceLock<Option<Arc<[u32]>>>>;

impl CompiledGrammar {
    /// Returns the constraint for a new answer.
    #[must_use]
    pub fn start(&self) -> Constraint {
        Constraint {
            matcher: self.fresh.deep_clone(),
            refused: self.refused.clone(),
            endings: self.endings.clone(),
            shortest: Arc::clone(&self.shortest),
        }
    }
}

impl std::fmt::Debug for CompiledGrammar {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("CompiledGrammar").finish_non_exhaustive()
    }
}

/// The state of one answer in its grammar. Once it fails, it stays failed.
pub struct Constraint {
    matcher: Matcher,
    refused: TokenMask,
    endings: Option<Arc<Endings>>,
    shortest: ShortestAnswer,
}

impl Clone for Constraint {
    fn clone(&self) -> Self {
        Self {
            matcher: self.matcher.deep_clone(),
            refused: self.refused.clone(),
            endings: self.endings.clone(),
            shortest: Arc::clone(&self.shortest),
        }
    }
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Constraint").field("is_finished", &self.is_finished()).finish_non_exhaustive()
    }
}

/// Why a constraint cannot continue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// The token is not allowed next.
    #[error("token {0} is not allowed here: choose one that the mask allows")]
    Refused(u32),
    /// A step exceeds the work limit, or no token is allowed next.
    #[error("the grammar cannot continue from here: {0}; simplify it or raise its limits")]
    Stuck(String),
}

impl Constraint {
    /// Returns the tokens allowed next. If the text is complete, they include the end-of-sequence tokens.
    pub fn mask(&mut self) -> Result<TokenMask, ConstraintError> {
        let allowed = self.matcher.compute_mask_or_eos().map_err(|error| stuck(&error.to_string()))?;
        let mut mask = TokenMask::from(allowed);
        mask.remove(&self.refused);
        if mask.is_empty() {
            return Err(ConstraintError::Stuck("no token is allowed next".to_owned()));
        }
        Ok(mask)
    }

    /// Appends a token. If the token is not allowed, returns an error and changes nothing.
    pub fn accept(&mut self, token: u32) -> Result<(), ConstraintError> {
        if self.refused.allows(token) || token as usize >= self.refused.vocabulary() {
            return Err(ConstraintError::Refused(token));
        }
        match self.matcher.try_consume_tokens(&[token]) {
            Ok(1) => Ok(()),
            Ok(_) => Err(ConstraintError::Refused(token)),
            Err(error) => Err(stuck(&error.to_string())),
        }
    }

    /// Appends and returns all tokens that are forced. Returns none if there is a choice, or if the table says
    /// [`Forcing::Off`](crate::Forcing::Off).
    pub fn forced(&mut self) -> Result<Vec<u32>, ConstraintError> {
        if self.is_finished() {
            return Ok(Vec::new());
        }
        let tokens = self.matcher.consume_ff_tokens();
        match self.matcher.get_error() {
            None => Ok(tokens),
            Some(error) => Err(stuck(&error)),
        }
    }

    /// Returns whether the text so far is a complete sentence of the language.
    pub fn is_complete(&mut self) -> bool {
        self.is_finished() && !self.matcher.is_error() || self.matcher.is_accepting().unwrap_or(false)
    }

    /// Returns how far a new answer is from its end; `None` if that cannot be known for its grammar.
    pub(crate) fn progress(&self) -> Option<Progress> {
        self.endings.clone().map(Progress::new)
    }

    /// Returns text as the model's tokenizer splits it; `None` after an error.
    pub(crate) fn tokenize(&self, text: &[u8]) -> Option<Vec<u32>> {
        self.matcher.tok_env().ok().map(|environment| environment.tokenize_bytes(text))
    }

    /// Returns a short answer of the grammar, computed once by `find`.
    pub(crate) fn shortest(&self, find: impl FnOnce() -> Option<Arc<[u32]>>) -> Option<Arc<[u32]>> {
        self.shortest.get_or_init(find).clone()
    }

    /// Returns whether only the end may follow.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.matcher.is_stopped()
    }
}

/// Keeps only the first line: the others may contain text of the answer.
fn stuck(error: &str) -> ConstraintError {
    ConstraintError::Stuck(error.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests;
