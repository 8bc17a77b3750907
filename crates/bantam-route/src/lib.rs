//! Plans requests, judges answers, and does the mathematics of certificates.
//!
//! Everything here is pure: facts in, decision *with its explanation* out. The gateway, `bantam route
//! --explain` and a replay of old traffic run this same code.

pub mod certificate;
pub mod judge;
pub mod plan;
pub mod template;

pub use certificate::{Certificate, Certification, Evidence, certify};
pub use judge::{Gate, StudentFacts, judge_student, match_label};
pub use plan::{Plan, RungFacts, RungKind, Skip, SkipReason, plan};
pub use template::{Recognition, TemplateMiner};
