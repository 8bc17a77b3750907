//! The nouns of Bantam: tiers, labels, tasks, money, tokens, verdicts and the
//! records that the ledger keeps.
//!
//! Everything here is a plain value. Nothing in this crate reads a clock, a
//! file, the environment or a socket, so every other crate may depend on it.
//! A good addition is a word that at least two crates need and that DESIGN's
//! vocabulary already has; anything that only one crate uses belongs there.

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
