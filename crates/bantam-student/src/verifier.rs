//! Checks whether the text supports a written answer.
//!
//! Token probabilities say how confident a model was, but a model that copies a wrong name can be confident. So a
//! verifier compares both texts: are there words in the answer that training answers usually copy from their texts, and
//! words in the text that training answers usually take up? A logistic regression combines this with the probabilities.
//! It is fitted on held-out rows, and kept only if it ranks their answers better than the probabilities alone.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::fusion::{Fusion, Sign, odds};
use crate::hash::FileHash;

/// The fewest right and the fewest wrong rows that a verifier can be fitted on.
const ROWS_MIN: usize = 10;
/// The number of cross-validation folds.
const FOLDS: usize = 5;
/// The fewest rows that must contain a word for it to have its own statistics; rarer words share those of their class.
const ROWS_OF_A_WORD_MIN: u32 = 3;
/// The most words with their own statistics.
const WORDS_MAX: usize = 4096;
/// The most words of a text or an answer that are read.
const WORDS_SEEN_MAX: usize = 2048;
/// The largest effect of one word, as a logarithm.
const DOUBT_MAX: f64 = 5.0;

/// The sign of each feature's weight.
const SIGNS: [Sign; 8] = [
    Sign::Positive,
    Sign::Positive,
    Sign::Positive,
    Sign::Positive,
    Sign::Positive,
    Sign::Positive,
    Sign::Negative,
    Sign::Any,
];

/// What the model itself reports about an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnswerEvidence {
    /// The lowest probability of a relevant token.
    pub least: f32,
    /// The 10th percentile of the tokens' probabilities.
    pub tenth: f32,
    /// The geometric mean of the tokens' probabilities.
    pub mean: f32,
    /// The share of all answers, including sampled ones, that are equal; 1 if none was sampled.
    pub agreement: f32,
    /// Tokens of the answer.
    pub tokens: usize,
}

/// Estimates the probability that a written answer is right, given the text that it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verifier {
    /// The salt of the words' hashes; `None` in files of older versions, which hash words without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<Salt>,
    words: Words,
    fusion: Fusion,
}

/// The value that the words of one student's verifier are hashed with, so that a precomputed table of hashed words
/// cannot reveal the words in every student's file, and two files do not show which words they share. It is not secret:
/// the file contains it, as 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Salt(String);

/// The number of hexadecimal digits in a salt.
const SALT_DIGITS: usize = 32;

impl Salt {
    /// Returns the salt for a student with these `facts`, such as the hash of its rows and its seed. Equal facts give an
    /// equal salt, because equal rows and settings must give an equal student.
    pub fn of(facts: &[&str]) -> Self {
        let mut parts: Vec<Vec<u8>> = vec![b"bantam verifier salt".to_vec()];
        for fact in facts {
            parts.push((fact.len() as u64).to_le_bytes().to_vec());
            parts.push(fact.as_bytes().to_vec());
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let mut digits = FileHash::of(&parts).to_hex();
        digits.truncate(SALT_DIGITS);
        Self(digits)
    }

    fn is_sound(&self) -> bool {
        let is_hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        self.0.len() == SALT_DIGITS && self.0.bytes().all(is_hexadecimal)
    }
}

/// A held-out row: the text, the model's answer and evidence, and whether the answer is right.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedAnswer<'r> {
    /// The text.
    pub text: &'r str,
    /// The answer.
    pub answer: &'r str,
    /// The model's evidence.
    pub evidence: AnswerEvidence,
    /// Whether the answer is right.
    pub is_right: bool,
}

impl Verifier {
    /// Fits a verifier on answers to held-out rows, with word statistics from the `taught` rows (text, answer). Returns
    /// it with the cross-validated probability of each answer, or `None` if too few answers are right or too few are
    /// wrong.
    ///
    /// Words are hashed with `salt`. Equal rows and salts give an equal verifier.
    pub fn fit<'t>(
        taught: impl Iterator<Item = (&'t str, &'t str)>,
        judged: &[JudgedAnswer<'_>],
        salt: Salt,
    ) -> Option<(Self, Vec<f32>)> {
        let right = judged.iter().filter(|row| row.is_right).count();
        if right.min(judged.len() - right) < ROWS_MIN {
            return None;
        }
        let hasher = WordHasher { salt: Some(&salt) };
        let words = Words::of(taught, hasher);
        let rows: Vec<(Vec<f64>, bool)> = judged
            .iter()
            .map(|row| (words.numbers((row.text, row.answer), &row.evidence, hasher), row.is_right))
            .collect();
        let mut held_out = vec![0.0; rows.len()];
        for fold in 0..FOLDS {
            let others: Vec<_> = rows
                .iter()
                .enumerate()
                .filter(|(at, _)| at % FOLDS != fold)
                .map(|(_, row)| row.clone())
                .collect();
            let fusion = Fusion::fit(&others, &SIGNS);
            for (into, (numbers, _)) in held_out.iter_mut().zip(&rows).skip(fold).step_by(FOLDS) {
                *into = fusion.probability(numbers);
            }
        }
        Some((Self { fusion: Fusion::fit(&rows, &SIGNS), words, salt: Some(salt) }, held_out))
    }

    /// Returns the probability that `answer` is right for `text`.
    pub fn probability(&self, text: &str, answer: &str, evidence: &AnswerEvidence) -> f32 {
        let hasher = WordHasher { salt: self.salt.as_ref() };
        self.fusion.probability(&self.words.numbers((text, answer), evidence, hasher))
    }

    /// Returns whether [`Self::fit`] can have produced this.
    pub fn is_sound(&self) -> bool {
        self.fusion.is_sound(SIGNS.len())
            && self.salt.as_ref().is_none_or(Salt::is_sound)
            && [&self.words.of_answers, &self.words.of_texts].into_iter().all(Shares::is_sound)
    }
}

/// The word statistics of the training rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    /// For a word in an answer: how often it was in the text.
    of_answers: Shares,
    /// For a word in a text: how often it was in the answer.
    of_texts: Shares,
}

/// How often words of one side occur on the other. Words are stored as hashes, so that the rows cannot be read from
/// them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shares {
    /// A word's hash, the number of rows it occurs in, and in how many of these it is on the other side too; sorted by
    /// hash.
    words: Vec<(u32, u32, u32)>,
    /// The same counts for rare words with a digit, with a capital, and others.
    rare: [(u32, u32); 3],
}

impl Words {
    fn of<'t>(rows: impl Iterator<Item = (&'t str, &'t str)>, hasher: WordHasher<'_>) -> Self {
        let (mut of_answers, mut of_texts) = (Counts::default(), Counts::default());
        for (text, answer) in rows {
            let (text, answer) = (hasher.words_of(text), hasher.words_of(answer));
            of_answers.add(&answer, &text);
            of_texts.add(&text, &answer);
        }
        Self { of_answers: of_answers.shares(), of_texts: of_texts.shares() }
    }

    fn numbers(
        &self,
        (text, answer): (&str, &str),
        evidence: &AnswerEvidence,
        hasher: WordHasher<'_>,
    ) -> Vec<f64> {
        let (text, answer) = (hasher.words_of(text), hasher.words_of(answer));
        let unknown = text.keys().filter(|word| self.of_texts.known(**word).is_none()).count();
        vec![
            odds(evidence.least),
            odds(evidence.tenth),
            odds(evidence.mean),
            f64::from(evidence.agreement),
            self.of_answers.least_missing(&answer, &text),
            self.of_texts.least_missing(&text, &answer),
            unknown as f64 / text.len().max(1) as f64,
            (1.0 + evidence.tokens as f64).ln(),
        ]
    }
}

impl Shares {
    /// Returns the logarithm of the lowest probability that a word of `side` is missing from `other`.
    fn least_missing(&self, side: &HashMap<u32, Class>, other: &HashMap<u32, Class>) -> f64 {
        let missing = side.iter().filter(|(word, _)| !other.contains_key(word));
        let doubt = missing.map(|(word, class)| {
            let (rows, both) = self.rare[*class as usize];
            let rare = (f64::from(both) + 0.5) / (f64::from(rows) + 1.0);
            let share = match self.known(*word) {
                Some((rows, both)) => (f64::from(both) + rare) / (f64::from(rows) + 1.0),
                None => rare,
            };
            (1.0 - share).ln()
        });
        doubt.fold(0.0, f64::min).max(-DOUBT_MAX)
    }

    fn known(&self, word: u32) -> Option<(u32, u32)> {
        let at = self.words.binary_search_by_key(&word, |known| known.0).ok()?;
        self.words.get(at).map(|(_, rows, both)| (*rows, *both))
    }

    fn is_sound(&self) -> bool {
        let shares = self.words.iter().map(|(_, rows, both)| (*rows, *both)).chain(self.rare);
        self.words.len() <= WORDS_MAX
            && self.words.is_sorted_by(|one, next| one.0 < next.0)
            && shares.into_iter().all(|(rows, both)| both <= rows)
    }
}

/// The class of a rare word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Digits,
    Capital,
    Other,
}

/// The number of rows in which words occur, and in which they are on the other side too.
#[derive(Debug, Default)]
struct Counts(HashMap<u32, (Class, u32, u32)>);

impl Counts {
    fn add(&mut self, side: &HashMap<u32, Class>, other: &HashMap<u32, Class>) {
        for (word, class) in side {
            let (_, rows, both) = self.0.entry(*word).or_insert((*class, 0, 0));
            *rows = rows.saturating_add(1);
            *both = both.saturating_add(u32::from(other.contains_key(word)));
        }
    }

    fn shares(self) -> Shares {
        let mut words = Vec::new();
        let mut rare = [(0_u32, 0_u32); 3];
        for (word, (class, rows, both)) in self.0 {
            if rows >= ROWS_OF_A_WORD_MIN {
                words.push((word, rows, both));
            } else {
                let counts = &mut rare[class as usize];
                *counts = (counts.0.saturating_add(rows), counts.1.saturating_add(both));
            }
        }
        // Keep the most common words. Ties are broken by hash, so that the map's order does not matter.
        words.sort_unstable_by_key(|(word, rows, _)| (std::cmp::Reverse(*rows), *word));
        words.truncate(WORDS_MAX);
        words.sort_unstable();
        Shares { words, rare }
    }
}

/// Hashes words with an optional salt.
#[derive(Clone, Copy)]
struct WordHasher<'s> {
    salt: Option<&'s Salt>,
}

impl WordHasher<'_> {
    /// Returns the distinct words of a text, ignoring case, with their classes.
    fn words_of(self, text: &str) -> HashMap<u32, Class> {
        let words = text.split(|symbol: char| !symbol.is_alphanumeric()).filter(|word| !word.is_empty());
        let class = |word: &str| {
            if word.chars().any(char::is_numeric) {
                Class::Digits
            } else if word.chars().any(char::is_uppercase) {
                Class::Capital
            } else {
                Class::Other
            }
        };
        let mut found = HashMap::new();
        for word in words.take(WORDS_SEEN_MAX) {
            found.entry(self.hash(&word.to_lowercase())).or_insert(class(word));
        }
        found
    }

    fn hash(self, word: &str) -> u32 {
        let salt = self.salt.map_or(&b""[..], |salt| salt.0.as_bytes());
        let [first, second, third, fourth, ..] = *FileHash::of(&[salt, word.as_bytes()]).as_bytes();
        u32::from_be_bytes([first, second, third, fourth])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCTS: [&str; 5] = ["kettle", "lamp", "tent", "desk", "stove"];

    fn taught() -> Vec<(String, String)> {
        let row = |at: usize| {
            let product = PRODUCTS[at % 5];
            (format!("My {product} of order {at} broke."), format!("We replace the {product} of {at}."))
        };
        (100..160).map(row).collect()
    }

    fn sure(least: f32) -> AnswerEvidence {
        AnswerEvidence { least, tenth: least, mean: least, agreement: 1.0, tokens: 8 }
    }

    /// Returns answers of which every fourth names the wrong product, with the same confidence as the others.
    fn judged() -> Vec<(String, String, AnswerEvidence, bool)> {
        let row = |at: usize| {
            let is_right = !at.is_multiple_of(4);
            let named = PRODUCTS[if is_right { at % 5 } else { (at + 1) % 5 }];
            let text = format!("My {} of order {at} broke.", PRODUCTS[at % 5]);
            (text, format!("We replace the {named} of {at}."), sure(0.9 + (at % 7) as f32 / 100.0), is_right)
        };
        (200..300).map(row).collect()
    }

    fn fit(rows: &[(String, String, AnswerEvidence, bool)]) -> Option<(Verifier, Vec<f32>)> {
        fit_with(rows, Salt::of(&["rows", "7"]))
    }

    fn fit_with(rows: &[(String, String, AnswerEvidence, bool)], salt: Salt) -> Option<(Verifier, Vec<f32>)> {
        let taught = taught();
        let taught = taught.iter().map(|(text, answer)| (text.as_str(), answer.as_str()));
        let judged: Vec<JudgedAnswer<'_>> = rows
            .iter()
            .map(|(text, answer, evidence, is_right)| JudgedAnswer {
                text,
                answer,
                evidence: *evidence,
                is_right: *is_right,
            })
            .collect();
        Verifier::fit(taught, &judged, salt)
    }

    #[test]
    fn an_answer_with_a_word_that_the_text_does_not_support_is_less_probable() {
        let (verifier, held_out) = fit(&judged()).unwrap();
        for ((_, _, _, is_right), probability) in judged().iter().zip(&held_out) {
            assert_eq!(*probability > 0.6, *is_right, "{probability}");
        }
        let of = |answer: &str| verifier.probability("My tent of order 999 broke.", answer, &sure(0.95));
        let right = of("We replace the tent of 999.");
        assert!(right > 0.8, "{right}");
        for wrong in ["We replace the lamp of 999.", "We replace the tent of 998.", "We replace the of 999."]
        {
            assert!(of(wrong) < right - 0.25, "{wrong} {} {right}", of(wrong));
        }
        assert!(verifier.is_sound());
    }

    #[test]
    fn a_verifier_is_reproducible_and_round_trips_through_json() {
        let (verifier, _) = fit(&judged()).unwrap();
        assert_eq!(fit(&judged()).unwrap().0, verifier);
        let json = serde_json::to_string(&verifier).unwrap();
        assert_eq!(serde_json::from_str::<Verifier>(&json).unwrap(), verifier);
        assert!(!json.contains("kettle"), "{json}");
        let broken = json.replacen("\"rare\":[[", "\"rare\":[[0,1],[", 1);
        assert!(serde_json::from_str::<Verifier>(&broken).is_err());
        let mut unsorted = verifier;
        unsorted.words.of_texts.words.reverse();
        assert!(!unsorted.is_sound());
    }

    #[test]
    fn files_of_different_rows_have_no_word_hashes_in_common() {
        let hashes = |salt: &[&str]| {
            let (verifier, _) = fit_with(&judged(), Salt::of(salt)).unwrap();
            assert!(verifier.is_sound());
            let words = verifier.words.of_texts.words.iter().map(|word| word.0);
            words.collect::<std::collections::HashSet<u32>>()
        };
        let one = hashes(&["rows", "7"]);
        assert!(one.len() > 5);
        for other in [&["other rows", "7"][..], &["rows", "8"], &["rows7"], &[]] {
            assert!(one.is_disjoint(&hashes(other)), "{other:?}");
        }
        let plain = WordHasher { salt: None };
        assert!(PRODUCTS.iter().all(|word| !one.contains(&plain.hash(word))));
    }

    #[test]
    fn a_file_without_a_salt_still_works() {
        let taught = taught();
        let taught = taught.iter().map(|(text, answer)| (text.as_str(), answer.as_str()));
        let (salted, _) = fit(&judged()).unwrap();
        let hasher = WordHasher { salt: None };
        let old = Verifier { salt: None, words: Words::of(taught, hasher), fusion: salted.fusion.clone() };
        let json = serde_json::to_string(&old).unwrap();
        assert!(!json.contains("salt"), "keeps its fingerprint, and so its certificate: {json}");
        let read: Verifier = serde_json::from_str(&json).unwrap();
        assert!(read.is_sound() && read == old);
        for answer in ["We replace the tent of 999.", "We replace the lamp of 999."] {
            let of = |verifier: &Verifier| {
                verifier.probability("My tent of order 999 broke.", answer, &sure(0.95))
            };
            assert_eq!(of(&read), of(&salted), "the probability does not depend on the salt");
        }
        let damaged = serde_json::to_string(&salted).unwrap().replacen("\"salt\":\"", "\"salt\":\"xy", 1);
        assert!(!serde_json::from_str::<Verifier>(&damaged).unwrap().is_sound());
    }

    #[test]
    fn needs_enough_wrong_answers() {
        let mut rows = judged();
        rows.iter_mut().skip(30).for_each(|row| row.3 = true);
        assert!(fit(&rows).is_none());
    }

    #[test]
    fn accepts_texts_without_words() {
        let (verifier, _) = fit(&judged()).unwrap();
        for (text, answer) in [("", ""), ("?!", "..."), ("ζ", "中文")] {
            let probability = verifier.probability(text, answer, &sure(0.0));
            assert!((0.0..=1.0).contains(&probability));
        }
    }
}
