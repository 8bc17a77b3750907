//! Hashes of the texts that a student was trained on, which must not prove its certificate.

use serde::{Deserialize, Serialize};

use crate::Example;
use crate::hash::FileHash;

/// Hex digits of one text's hash. With 32 bits and 15,000 training rows, one in 280,000 unseen texts is mistaken
/// for a seen one, which loses evidence but never soundness.
const DIGITS: usize = 8;

/// The hashes of all training texts, sorted, as one string of hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeenTexts(String);

impl SeenTexts {
    /// Returns the hashes of the rows' texts.
    pub(crate) fn of(rows: &[Example]) -> Self {
        Self::of_texts(rows.iter().map(|row| row.text.as_str()))
    }

    /// Returns the hashes of texts.
    pub fn of_texts<'t>(texts: impl Iterator<Item = &'t str>) -> Self {
        let mut hashes: Vec<String> = texts.map(digits).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self(hashes.concat())
    }

    /// Returns whether a text equal to `text` in [`normalised`] form was trained on.
    pub fn contains(&self, text: &str) -> bool {
        let target = digits(text);
        let at = |index: usize| self.0.get(index * DIGITS..(index + 1) * DIGITS).unwrap_or_default();
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if at(middle) < target.as_str() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low < self.len() && at(low) == target
    }

    /// Returns the number of distinct texts.
    pub fn len(&self) -> usize {
        self.0.len() / DIGITS
    }

    /// Returns whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether `of` can have produced this value.
    pub fn is_sound(&self) -> bool {
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let at = |index: usize| self.0.get(index * DIGITS..(index + 1) * DIGITS);
        self.0.len().is_multiple_of(DIGITS)
            && self.0.bytes().all(hexadecimal)
            && (1..self.len()).all(|index| at(index - 1) < at(index))
    }
}

fn digits(text: &str) -> String {
    let mut hash = FileHash::of(&[normalised(text).as_bytes()]).to_hex();
    hash.truncate(DIGITS);
    hash
}

/// Returns the words of `text` in lower case, without punctuation and extra white space. Texts that are equal in
/// this form count as the same.
pub fn normalised(text: &str) -> String {
    let words = text.split(|symbol: char| !symbol.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_a_text_despite_case_and_punctuation_but_no_others() {
        let row = |number: usize| Example { text: format!("Order {number}, please!"), label: "a".to_owned() };
        let rows: Vec<Example> = (0..500).chain(0..10).map(row).collect();
        let seen = SeenTexts::of(&rows);
        assert_eq!(seen.len(), 500);
        assert!(seen.is_sound());
        for number in 0..500 {
            assert!(seen.contains(&format!("order {number} PLEASE")));
        }
        let foreign = (500..5000).filter(|number| seen.contains(&format!("order {number} please"))).count();
        assert_eq!(foreign, 0);
        assert!(!SeenTexts::of(&[]).contains("x"));
    }

    #[test]
    fn rejects_values_it_cannot_have_produced() {
        for bad in ["0", "0000000g", "0000000200000001", "0000000100000001", "0000000A"] {
            assert!(!SeenTexts(bad.to_owned()).is_sound(), "{bad}");
        }
    }
}
