//! The contract of every backend.
//!
//! A backend takes a [`Cleared`] request, which only the privacy policy can make, and returns an [`Answer`] or a
//! [`BackendError`] that says whose fault it was. Students, the engine and upstreams all stand behind this one trait,
//! so the gateway, evaluation and audits drive the same code.

mod answer;
mod error;
mod heavy;
mod memory;
mod notes;
mod residents;

use std::future::Future;
use std::pin::Pin;

use bantam_privacy::Cleared;
use bantam_types::Tier;
use bantam_wire::{Call, CallKind, Unsupported};

pub use answer::{Answer, AnswerStream, StudentAnswer, WholeAnswer};
pub use error::{BackendError, BackendFault, ConnectFault, Repeat};
pub use heavy::{HEAVY_BYTES, heavy};
pub use memory::{HeldMemory, MemoryBudget, MemoryUsedUp};
pub use notes::UpstreamNotes;
pub use residents::{NoResidents, ResidentModel, Residents, Unload};

/// A future that may be sent to another thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a cleared request is to be asked; by default, as a call of nobody's that nothing more is known of.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// A system message of the task's own to put before the caller's messages.
    pub system: Option<std::sync::Arc<str>>,
    /// Whether a stream is wanted; a backend may answer whole all the same.
    pub stream: bool,
    /// Where the text that a task's student reads begins in the last user message: behind the template.
    pub payload_start: usize,
    /// When the whole attempt must be over.
    pub deadline: Option<std::time::Instant>,
    /// What was tried for the same request before.
    pub before: CallsBefore,
    /// The name of the key that the caller showed. What is kept of a request to make later ones faster is kept by caller.
    pub caller: Option<std::sync::Arc<str>>,
}

/// Calls that were made for a request before the one that is asked for, so that repeats of all kinds stay within one
/// limit and one time.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallsBefore {
    /// How many: by the caller's own repeats, as far as they say so, and by attempts that may have been billed.
    pub calls: u32,
    /// When the first attempt on this backend began.
    pub began: Option<std::time::Instant>,
}

/// Anything that answers requests.
pub trait Backend: Send + Sync {
    /// Returns the tier it runs on; it refuses requests cleared for another.
    fn tier(&self) -> Tier;

    /// Returns the first feature that `call` asks for and that it cannot honour. What it would ignore, it cannot
    /// honour: see [`bantam_wire::support`].
    fn cannot_honour(&self, call: &Call) -> Option<Unsupported>;

    /// Returns whether it takes calls of `kind` now; false while its circuit breaker is open.
    fn is_available(&self, kind: CallKind) -> bool;

    /// Returns whether it counts a prompt's tokens exactly before it reads them, and refuses those that are too many: then
    /// no estimate needs to keep calls away from it.
    fn counts_tokens(&self) -> bool {
        false
    }

    /// Returns how long calls of `kind` are still refused, where that is known: how long its circuit breaker stays open.
    fn refused_for(&self, kind: CallKind) -> Option<std::time::Duration> {
        let _ = kind;
        None
    }

    /// Returns the upstream that it asks, by its name in the configuration; nothing for what answers in this process.
    fn upstream(&self) -> Option<&str> {
        None
    }

    /// Returns what a student's answer to a request is based on, in lines for people; nothing where it has nothing to
    /// add.
    fn evidence(&self, request: Cleared, ask: Ask) -> BoxFuture<'_, Vec<String>> {
        drop((request, ask));
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Answers one request. Dropping the future cancels the call.
    fn answer(&self, request: Cleared, ask: Ask) -> BoxFuture<'_, Result<Answer, BackendError>>;
}
