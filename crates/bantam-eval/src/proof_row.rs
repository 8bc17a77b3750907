//! What a certificate may be proved on: texts with the answers that they should get.

use bantam_student::Example;
use sha2::{Digest, Sha256};

/// A text to ask, and what should be said to it.
pub trait ProofRow: Clone {
    /// Returns what is asked.
    fn text(&self) -> &str;

    /// Returns the right answer, in the form in which equal answers are equal.
    fn answer(&self) -> &str;

    /// Returns what was said before the text; empty where there is nothing, or nothing that any student reads.
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

/// Stands before contexts in what is hashed: no text has this length, so no rows can be mistaken for others.
const CONTEXTS: u64 = u64::MAX;

/// Returns the SHA-256 of rows in hex, each text and answer with its length before it; where any row has a context, all
/// contexts follow. Rows without any have the hash that they had before there were contexts.
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
    fn rows_that_differ_in_context_alone_are_other_evidence() {
        let plain = [row("6", "", "a"), row("7", "", "b")];
        let told = [row("6", "how many?", "a"), row("7", "", "b")];
        let moved = [row("6", "", "a"), row("7", "how many?", "b")];
        let longer = [row("6", "", "a"), row("7", "", "b"), row("how many?", "", "")];
        let hashes = [&plain[..], &told, &moved, &longer].map(hash_rows);
        for (place, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..place].contains(hash), "{hashes:?}");
        }
    }

    #[test]
    fn rows_without_context_keep_the_hash_of_texts_and_labels() {
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
