//! Splits recorded answers into training rows and rows reserved for certification.

use bantam_student::{Example, Student, normalised};
use sha2::{Digest, Sha256};

use crate::proof_row::ProofRow;

/// Returns whether the row with `text` is reserved for certification and never trained on.
///
/// The decision is a hash of the normalised text: the same text always falls on the same side, however
/// often it was recorded and whenever a student is trained, so a certificate can never be proved on a
/// text that its student has seen. `share` is the share reserved for certification, 0 to 1.
pub fn reserved_for_certification(text: &str, share: f64) -> bool {
    let digest = Sha256::digest(normalised(text).as_bytes());
    let bytes: [u8; 8] = digest.first_chunk().copied().unwrap_or_default();
    (u64::from_be_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64 <= share
}

/// Returns the rows whose text the student was not trained on, the only ones that may prove a certificate.
pub fn unseen(student: &Student, rows: &[Example]) -> Vec<Example> {
    unseen_by(|text| student.has_seen(text), rows)
}

/// Like [`unseen`], for any kind of student. A text that was trained on is left out even if its context is new: this
/// may lose evidence, but never certifies a student on rows it knows.
pub fn unseen_by<R: ProofRow>(has_seen: impl Fn(&str) -> bool, rows: &[R]) -> Vec<R> {
    rows.iter().filter(|row| !has_seen(row.text())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_fall_on_the_same_side() {
        for share in [0.1, 0.5, 0.9] {
            for number in 0..200 {
                let text = format!("Where is order {number}?");
                let other = format!("  where is ORDER, {number}");
                assert_eq!(
                    reserved_for_certification(&text, share),
                    reserved_for_certification(&other, share)
                );
            }
        }
    }

    #[test]
    fn reserves_the_requested_share() {
        let kept = (0..10_000).filter(|number| reserved_for_certification(&number.to_string(), 0.25)).count();
        assert!((2300..2700).contains(&kept), "{kept}");
    }
}
