//! Models in the memory of this process: which there are, and how to unload one.

use std::time::Duration;

use crate::BoxFuture;

/// The models of a process, as far as they are in memory.
pub trait Residents: Send + Sync {
    /// Returns what is in memory, or on its way in or out.
    fn list(&self) -> Vec<ResidentModel>;

    /// Unloads the model that callers call `name`, once nobody uses it, waiting for that at most `wait`.
    fn unload<'a>(&'a self, name: &'a str, wait: Duration) -> BoxFuture<'a, Unload>;
}

/// A model, or an adapter over one, in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResidentModel {
    /// What callers call it.
    pub name: String,
    /// Its file and a checksum of that, as the ledger has it.
    pub identity: String,
    /// `loading`, `loaded` or `leaving`.
    pub state: &'static str,
    /// Bytes of memory that it takes; for an adapter, its own alone.
    pub bytes: u64,
    /// Requests that use it now.
    pub leases: usize,
    /// Tokens of the longest request.
    pub context_tokens: u64,
    /// When it is unloaded if nobody asks for it, in RFC 3339; `None` means never.
    pub expires_at: Option<String>,
    /// The other names that share it.
    pub shared_by: Vec<String>,
    /// For an adapter: the name of the model that it runs on.
    pub base: Option<String>,
}

/// What became of unloading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unload {
    /// It is out of memory.
    Done,
    /// It was not in memory.
    NotLoaded,
    /// There is no model of that name.
    Unknown,
    /// The model of that name runs elsewhere.
    Elsewhere,
    /// Still used after the wait.
    StillUsed {
        /// By how many requests.
        leases: usize,
    },
}

/// No models at all: for servers without models of their own.
#[derive(Clone, Copy, Debug)]
pub struct NoResidents;

impl Residents for NoResidents {
    fn list(&self) -> Vec<ResidentModel> {
        Vec::new()
    }

    fn unload<'a>(&'a self, _name: &'a str, _wait: Duration) -> BoxFuture<'a, Unload> {
        Box::pin(std::future::ready(Unload::Unknown))
    }
}
