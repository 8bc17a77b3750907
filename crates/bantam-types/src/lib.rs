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
//! use bantam_types::{Label, Price, Rates, TokenUsage, Unpriced, UsdPerMillion};
//!
//! let rates = Rates {
//!     input: UsdPerMillion::from_dollars(1.25)?,
//!     cached_input: UsdPerMillion::from_dollars(0.125)?,
//!     output: UsdPerMillion::from_dollars(10.0)?,
//!     ..Rates::default()
//! };
//! let price = Price::flat(rates, "2026-11-01");
//! let usage = TokenUsage::new(1_000, 400, 10);
//! assert_eq!(price.cost(usage).map(|cost| cost.to_string()), Ok("0.0009".to_owned()));
//!
//! // What the price does not state is not free.
//! let usage = TokenUsage { cache_write: 100, ..usage };
//! assert_eq!(price.cost(usage), Err(Unpriced::CacheWrite));
//!
//! assert!(Label::Internal < Label::Restricted);
//! # Ok::<(), bantam_types::ParsePriceError>(())
//! ```

mod cancel;
mod causes;
mod fault;
mod label;
mod money;
mod price;
mod rate_limit;
mod record;
mod task;
mod tier;
mod usage;
mod verdict;
mod words;

pub use cancel::Cancel;
pub use causes::with_causes;
pub use fault::FaultKind;
pub use label::{Label, ParseLabelError};
pub use money::{ParsePriceError, Usd, UsdPerMillion};
pub use price::{LongPromptRates, Price, Rates, ServiceRates, Unpriced};
pub use rate_limit::{RateLimit, RateLimits};
pub use record::{AttemptOutcome, AttemptRecord, RequestOutcome, Settlement};
pub use task::{ParseTaskNameError, TaskKind, TaskName, Template};
pub use tier::{ParseTierError, Tier};
pub use usage::{AnswerUsage, CountState, ServiceTier, TokenUsage};
pub use verdict::{EscalationReason, Verdict};
