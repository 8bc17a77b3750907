//! Bantam's vocabulary as types: tiers, labels, tasks, money, tokens, verdicts
//! and the records that the ledger keeps.
//!
//! Everything here is a plain value. Nothing in this crate reads a clock, a
//! file, the environment or a socket, so every other crate may depend on it.
//! A good addition is a type that at least two crates need and that names a word
//! of the project's vocabulary (`docs/README.md`); a type that only one crate uses belongs in that crate.
//!
//! # Example
//!
//! A cost is a whole number of picodollars, and labels have an order:
//!
//! ```
//! use bantam_types::{Label, Price, TokenUsage, UsdPerMillion};
//!
//! let price = Price {
//!     input: UsdPerMillion::from_dollars(1.25)?,
//!     cached_input: UsdPerMillion::from_dollars(0.125)?,
//!     output: UsdPerMillion::from_dollars(10.0)?,
//!     as_of: "2026-11-01".to_owned(),
//! };
//! let usage = TokenUsage { input: 1_000, cached_input: 400, output: 10 };
//! assert_eq!(price.cost(usage).to_string(), "0.0009");
//!
//! assert!(Label::Internal < Label::Restricted);
//! # Ok::<(), bantam_types::ParsePriceError>(())
//! ```

mod cancel;
mod causes;
mod fault;
mod label;
mod money;
mod record;
mod task;
mod tier;
mod verdict;

pub use cancel::Cancel;
pub use causes::with_causes;
pub use fault::FaultKind;
pub use label::{Label, ParseLabelError};
pub use money::{ParsePriceError, Price, TokenUsage, Usd, UsdPerMillion};
pub use record::{AttemptOutcome, AttemptRecord, RequestOutcome, Settlement};
pub use task::{ParseTaskNameError, TaskKind, TaskName, Template};
pub use tier::{ParseTierError, Tier};
pub use verdict::{EscalationReason, Verdict};
