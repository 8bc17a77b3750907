//! Plans requests, judges answers, and does the mathematics of certificates.
//!
//! Everything here is pure: facts in, decision *with its explanation* out. The gateway, `bantam route
//! --explain` and a replay of old traffic run this same code.
//!
//! # Example
//!
//! From rows that a student has not seen to a threshold, and from the threshold to a verdict:
//!
//! ```
//! use bantam_route::{Certification, Evidence, Gate, StudentFacts, certify, judge_student};
//! use bantam_types::{EscalationReason, Verdict};
//!
//! // The student is right on 400 rows and, less certain, wrong on 20.
//! let right = (0..400).map(|_| Evidence { probability: Some(0.97), correct: true });
//! let wrong = (0..20).map(|_| Evidence { probability: Some(0.55), correct: false });
//! let evidence: Vec<Evidence> = right.chain(wrong).collect();
//!
//! let Certification::Certified { threshold, accepted, errors } = certify(&evidence, 0.02, 0.95) else {
//!     panic!("400 rows without an error prove 2 %");
//! };
//! assert_eq!((accepted, errors), (400, 0));
//!
//! let gate = Gate::Certified { threshold };
//! let sure = StudentFacts { probability: 0.97, out_of_scope: false, allowed: true };
//! assert_eq!(judge_student(sure, gate), Verdict::Accept);
//! let unsure = StudentFacts { probability: 0.4, ..sure };
//! assert_eq!(judge_student(unsure, gate), Verdict::Escalate(EscalationReason::LowConfidence));
//! ```

pub mod certificate;
pub mod judge;
mod label;
pub mod plan;
pub mod template;

pub use certificate::{Certificate, Certification, Evidence, certify};
pub use judge::{Gate, StudentFacts, judge_student};
pub use label::match_label;
pub use plan::{Plan, RungFacts, RungKind, Skip, SkipReason, plan};
pub use template::{PromptPrefixes, Recognition, TemplateMiner};
