//! Splits, confidence intervals and certification runs.
//!
//! What is measured here is what is served: evidence comes from the student's own `predict` and is
//! judged by the gateway's own rule.

mod asked;
mod certificate_file;
mod certification;
mod confidence;
mod extraction;
mod interval;
mod proof_row;
mod split;

pub use asked::{NoAnswer, ask_for_evidence, is_about_the_text};
pub use certificate_file::{LoadCertificateError, load_certificate, save_certificate};
pub use certification::{Claim, NotCertifiable, gather_evidence, prove};
pub use confidence::{accepted_share, confidence_auc};
pub use extraction::{ExpectedAnswer, FieldCounts, expected_answers, gather_objects};
pub use interval::{nearest_rank, wilson};
pub use proof_row::{ProofRow, hash_rows};
pub use split::{reserved_for_certification, unseen, unseen_by};
