//! Whether a rung is worth asking after others refused the request.
//!
//! What is wrong with the request itself would be refused again, and paid for in time. What is wrong with it only for one
//! model or provider may be right for another.

use std::sync::Arc;

use bantam_backend::BackendFault;

use crate::deployment::Rung;

/// The rungs that refused a request, each with its reason.
#[derive(Default)]
pub(crate) struct Refusals(Vec<(Arc<Rung>, BackendFault)>);

impl Refusals {
    /// Notes why `rung` gave no answer.
    pub(crate) fn note(&mut self, rung: &Arc<Rung>, fault: BackendFault) {
        if fault.blames_request() {
            self.0.push((Arc::clone(rung), fault));
        }
    }

    /// Returns whether `rung` could take what was refused.
    pub(crate) fn leave(&self, rung: &Rung) -> bool {
        self.0.iter().all(|(refused, fault)| could_take(rung, refused, *fault))
    }
}

fn could_take(rung: &Rung, refused: &Rung, fault: BackendFault) -> bool {
    let is_same_upstream =
        rung.backend.upstream().is_some_and(|name| refused.backend.upstream() == Some(name));
    if is_same_upstream && rung.model == refused.model {
        return false;
    }
    match fault {
        BackendFault::Refused(_) => false,
        BackendFault::ContextLength { tokens, context } => {
            rung.context_tokens.is_none_or(|longest| longest > context && longest >= tokens)
        }
        BackendFault::ContextExceeded(_) => {
            let known = rung.context_tokens.zip(refused.context_tokens);
            known.is_none_or(|(longest, exceeded)| longest > exceeded)
        }
        // A policy is its provider's, and the same for all of its models.
        BackendFault::Filtered(_) => !is_same_upstream,
        _ => true,
    }
}
