//! The rows that certificates are proved on: texts with their expected answers.

use bantam_student::Example;
use sha2::{Digest, Sha256};

/// A text and its expected answer.
pub trait ProofRow: Clone {
    /// Returns the text to ask about.
    fn text(&self) -> &str;

    /// Returns the expected answer in canonical form.
    fn answer(&self) -> &str;

    /// Returns what was said before the text; empty if there was nothing, or nothing that a student reads.
    fn context(&self) -> &str {
        ""
    }
}

impl ProofRow for Example {
    fn text(&self) -> &str {
        &self.text
    }

    fn answer(&self) -> &str {
        &self.label
    }
}

/// Precedes the contexts in the hash. No text has this length, so different rows cannot have the same hash input.
const CONTEXTS: u64 = u64::MAX;

/// Returns the SHA-256 of rows in hex, over each text and answer preceded by its length. If any row has a context, all
/// contexts follow; rows without contexts keep the hash that older versions computed.
pub fn hash_rows<R: ProofRow>(rows: &[R]) -> String {
    let mut hash = Sha256::new();
    let add = |hash: &mut Sha256, part: &str| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    };
    for row in rows {
        add(&mut hash, row.text());
        add(&mut hash, row.answer());
    }
    if rows.iter().any(|row| !row.context().is_empty()) {
        hash.update(CONTEXTS.to_le_bytes());
        rows.iter().for_each(|row| add(&mut hash, row.context()));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ExpectedAnswer;

    fn row(text: &str, context: &str, answer: &str) -> ExpectedAnswer {
        ExpectedAnswer { text: text.into(), context: context.into(), answer: answer.into() }
    }

    #[test]
    fn rows_that_differ_only_in_context_have_different_hashes() {
        let plain = [row("6", "", "a"), row("7", "", "b")];
        let with_context = [row("6", "how many?", "a"), row("7", "", "b")];
        let moved = [row("6", "", "a"), row("7", "how many?", "b")];
        let longer = [row("6", "", "a"), row("7", "", "b"), row("how many?", "", "")];
        let hashes = [&plain[..], &with_context, &moved, &longer].map(hash_rows);
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..index].contains(hash), "{hashes:?}");
        }
    }

    #[test]
    fn rows_without_contexts_hash_only_texts_and_answers() {
        let example = |text: &str, label: &str| Example { text: text.into(), label: label.into() };
        let plain = hash_rows(&[row("6", "", "a"), row("seven", "", "b")]);
        assert_eq!(plain, hash_rows(&[example("6", "a"), example("seven", "b")]));
        let mut bytes = Vec::new();
        for part in ["6", "a", "seven", "b"] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        let expected: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(plain, expected);
    }
}
