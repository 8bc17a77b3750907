//! Which tokens may follow, so that the answer is in a language that was asked for.
//!
//! A [`Grammar`] is compiled once by [`Grammars`], which hold a model's tokens in the form that masks are
//! computed on; each answer starts its own [`Constraint`]. The engine beneath is llguidance: derivatives of
//! regular expressions under an Earley parser, walked along a trie of all tokens.
//!
//! **Invariant:** a JSON schema is compiled whole or refused with the place and the name of what stands in the
//! way. Nothing of it is ignored, so an answer that a constraint allowed is an answer that the schema allows.
//!
//! **Invariant:** limits count work, not time, so what is refused here is refused on every machine.

mod compile;
mod mask;

use std::sync::{Arc, OnceLock};

pub use compile::{
    CompileGrammarError, Grammar, GrammarLimits, Grammars, JsonLayout, check_grammar, check_schema,
};
use llguidance::Matcher;
pub use mask::TokenMask;

/// A grammar, ready to constrain any number of answers.
pub struct CompiledGrammar {
    fresh: Matcher,
    /// The control tokens that may not be allowed, whatever the grammar says.
    refused: TokenMask,
    is_json: bool,
    /// A short answer, once it was looked for; None where there is none.
    shortest: Shortest,
}

/// The tokens of a short answer, the same for all answers of a grammar.
type Shortest = Arc<OnceLock<Option<Arc<[u32]>>>>;

impl CompiledGrammar {
    /// Returns the constraint of one answer, at its beginning.
    #[must_use]
    pub fn start(&self) -> Constraint {
        Constraint {
            matcher: self.fresh.deep_clone(),
            refused: self.refused.clone(),
            is_json: self.is_json,
            shortest: Arc::clone(&self.shortest),
        }
    }
}

impl std::fmt::Debug for CompiledGrammar {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("CompiledGrammar").finish_non_exhaustive()
    }
}

/// Where one answer stands in its grammar. Once it has failed it stays failed.
pub struct Constraint {
    matcher: Matcher,
    refused: TokenMask,
    is_json: bool,
    shortest: Shortest,
}

impl Clone for Constraint {
    fn clone(&self) -> Self {
        Self {
            matcher: self.matcher.deep_clone(),
            refused: self.refused.clone(),
            is_json: self.is_json,
            shortest: Arc::clone(&self.shortest),
        }
    }
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Constraint").field("is_finished", &self.is_finished()).finish_non_exhaustive()
    }
}

/// Why a constraint cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// The token may not follow.
    #[error("token {0} may not follow here: choose one that the mask allows")]
    Refused(u32),
    /// A step needs more work than the limits allow, or nothing may follow.
    #[error("the grammar cannot go on from here: {0}; make it simpler, or raise its limits")]
    Stuck(String),
}

impl Constraint {
    /// Returns the tokens that may follow. Where the text is complete the end-of-sequence tokens are among them.
    pub fn mask(&mut self) -> Result<TokenMask, ConstraintError> {
        let allowed = self.matcher.compute_mask_or_eos().map_err(|error| stuck(&error.to_string()))?;
        let mut mask = TokenMask::from(allowed);
        mask.remove(&self.refused);
        if mask.is_empty() {
            return Err(ConstraintError::Stuck("no token may follow".to_owned()));
        }
        Ok(mask)
    }

    /// Appends a token, or says that it may not follow and leaves everything as it was.
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

    /// Appends all tokens that must follow, and returns them: none where there is a choice, or where the table
    /// says [`Forcing::Off`](crate::Forcing::Off).
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

    /// Returns whether the text so far is one of the language.
    pub fn is_complete(&mut self) -> bool {
        self.is_finished() && !self.matcher.is_error() || self.matcher.is_accepting().unwrap_or(false)
    }

    /// Returns whether the language is JSON.
    pub(crate) const fn is_json(&self) -> bool {
        self.is_json
    }

    /// Returns a short answer of the grammar, which `find` finds for the first answer.
    pub(crate) fn shortest(&self, find: impl FnOnce() -> Option<Arc<[u32]>>) -> Option<Arc<[u32]>> {
        self.shortest.get_or_init(find).clone()
    }

    /// Returns whether nothing may follow but the end.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.matcher.is_stopped()
    }
}

/// Keeps the first line: what follows may hold the answer's text.
fn stuck(error: &str) -> ConstraintError {
    ConstraintError::Stuck(error.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests;
