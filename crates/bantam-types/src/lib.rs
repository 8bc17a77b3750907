//! Bantam's vocabulary as types: tiers, labels, tasks, money, tokens, verdicts
//! and the records that the ledger keeps.
//!
//! Everything here is a plain value. Nothing in this crate reads a clock, a
//! file, the environment or a socket, so every other crate may depend on it.
//! A good addition is a type that at least two crates need and that names a word
//! of the project's vocabulary; a type that only one crate uses belongs in that crate.

mod label;
mod money;
mod record;
mod task;
mod tier;
mod verdict;

pub use label::{Label, ParseLabelError};
pub use money::{ParsePriceError, Price, TokenUsage, Usd, UsdPerMillion};
pub use record::{AttemptOutcome, AttemptRecord, RequestOutcome, Settlement};
pub use task::{ParseTaskNameError, TaskKind, TaskName, Template};
pub use tier::{ParseTierError, Tier};
pub use verdict::{EscalationReason, Verdict};
