//! Turns a text into n-gram fingerprints.
//!
//! An n-gram is represented by a 64-bit fingerprint and never by its characters: no string is built per n-gram, a
//! student file holds no text of its training rows, and the chance that any two of a million n-grams share a
//! fingerprint is below one in thirty million, so nothing is lost compared with a dictionary of strings.

/// The bytes of a text that are read; the rest is ignored, so that the work per request is bounded.
pub const TEXT_BYTES_MAX: usize = 32 * 1024;

const WORD_SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const PAIR_SEED: u64 = 0xd1b5_4a32_d192_ed03;
const CHAR_SEED: u64 = 0x2545_f491_4f6c_dd1d;
const STEP: u64 = 0x9fb2_1c65_1e98_df25;
const FINISH: u64 = 0xd6e8_feb8_6659_fd93;
const CHAR_LENGTH_MIN: usize = 2;
const CHAR_LENGTH_MAX: usize = 4;
const SPACE: u32 = ' ' as u32;

/// The form of a text that n-grams are taken from: lower case, one space per run of white space, a space at both ends.
///
/// With this padding every word has a space on both sides, so character n-grams include the boundaries of words.
#[derive(Debug, Default, Clone)]
pub(crate) struct NormalisedText {
    characters: Vec<u32>,
}

impl NormalisedText {
    /// Replaces the content with the normalised `text`; a blank text leaves it empty.
    pub(crate) fn set(&mut self, text: &str) {
        self.characters.clear();
        self.characters.push(SPACE);
        for character in bounded(text).chars() {
            if character.is_ascii() {
                let byte = character.to_ascii_lowercase();
                if byte.is_ascii_whitespace() || byte.is_ascii_control() {
                    self.push_space();
                } else {
                    self.characters.push(u32::from(byte));
                }
            } else if character.is_whitespace() {
                self.push_space();
            } else {
                self.characters.extend(character.to_lowercase().map(u32::from));
            }
        }
        self.push_space();
        if self.characters.len() == 1 {
            self.characters.clear();
        }
    }

    /// Calls `found` with the fingerprint of every word and every pair of neighbouring words.
    pub(crate) fn for_each_word_gram(&self, mut found: impl FnMut(u64)) {
        let mut previous = None;
        let mut word = WORD_SEED;
        let mut open = false;
        for &code in &self.characters {
            if is_word(code) {
                word = step(word, code);
                open = true;
            } else if open {
                let finished = finish(word);
                found(finished);
                if let Some(before) = previous {
                    found(finish(step_wide(step_wide(PAIR_SEED, before), finished)));
                }
                previous = Some(finished);
                word = WORD_SEED;
                open = false;
            }
        }
    }

    /// Calls `found` with the fingerprint of every run of 2 to 4 characters within a word and the spaces around it.
    ///
    /// Runs across words and runs of five were not better on intent data, and cost time and space.
    pub(crate) fn for_each_char_gram(&self, mut found: impl FnMut(u64)) {
        for start in 0..self.characters.len() {
            let mut state = CHAR_SEED;
            for (position, &code) in self.characters[start..].iter().take(CHAR_LENGTH_MAX).enumerate() {
                state = step(state, code);
                if position + 1 >= CHAR_LENGTH_MIN {
                    found(finish(state));
                    if code == SPACE {
                        break;
                    }
                }
            }
        }
    }

    fn push_space(&mut self) {
        if self.characters.last() != Some(&SPACE) {
            self.characters.push(SPACE);
        }
    }
}

/// Returns the first [`TEXT_BYTES_MAX`] bytes, or fewer to avoid splitting a character.
fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

fn is_word(code: u32) -> bool {
    if code < 128 {
        let byte = code as u8;
        byte.is_ascii_alphanumeric() || byte == b'_'
    } else {
        char::from_u32(code).is_some_and(char::is_alphanumeric)
    }
}

fn step(state: u64, code: u32) -> u64 {
    step_wide(state, u64::from(code) + 1)
}

fn step_wide(state: u64, value: u64) -> u64 {
    let mixed = (state ^ value).wrapping_mul(STEP);
    mixed ^ (mixed >> 32)
}

/// Mixes the state into all bits, so that the low ones can index a table. Never returns 0.
fn finish(state: u64) -> u64 {
    let mixed = state.wrapping_mul(FINISH);
    (mixed ^ (mixed >> 29)).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn grams(text: &str) -> (Vec<u64>, Vec<u64>) {
        let mut normal = NormalisedText::default();
        normal.set(text);
        let (mut words, mut chars) = (Vec::new(), Vec::new());
        normal.for_each_word_gram(|key| words.push(key));
        normal.for_each_char_gram(|key| chars.push(key));
        (words, chars)
    }

    #[test]
    fn empty_and_blank_texts_have_no_ngrams() {
        for text in ["", " ", "\n\t \u{a0}"] {
            assert_eq!(grams(text), (vec![], vec![]), "{text:?}");
        }
    }

    #[test]
    fn case_and_white_space_do_not_matter() {
        assert_eq!(grams("Größe  ZÄHLT\n"), grams(" größe zählt"));
    }

    #[test]
    fn counts_words_pairs_and_character_runs() {
        let (words, chars) = grams("ab c");
        assert_eq!(words.len(), 3);
        // " a", " ab", " ab ", "ab", "ab ", "b ", " c", " c ", "c ": none continues past the space that ends a word.
        assert_eq!(chars.len(), 9);
    }

    #[test]
    fn fingerprints_of_distinct_ngrams_differ() {
        let mut seen = HashSet::new();
        for first in 'a'..='z' {
            for second in 'a'..='z' {
                for third in 'a'..='z' {
                    let (words, _) = grams(&format!("{first}{second}{third}"));
                    assert!(words.iter().all(|key| seen.insert(*key)));
                }
            }
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let long = "é".repeat(TEXT_BYTES_MAX);
        assert_eq!(bounded(&long).len(), TEXT_BYTES_MAX);
        let odd = format!("a{long}");
        assert_eq!(bounded(&odd).len(), TEXT_BYTES_MAX - 1);
        assert_eq!(grams(&long).0.len(), 1);
    }
}
