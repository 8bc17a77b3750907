//! Finds the customer's own terms in any case, width or look-alike spelling.

use aho_corasick::{AhoCorasick, MatchKind};
use bantam_types::Label;

use crate::config::{BuildScannerError, DictionaryTerm};
use crate::findings::{FindingKind, Tally};
use crate::fold;
use crate::view::looked_at;

const TERM_BYTES_MAX: usize = 512;
const TERMS_MAX: usize = 200_000;

/// The most matches that are looked at in a text, by its bytes. Where terms begin or end alike, each byte of a text made for
/// it matches hundreds of them; no other text comes near this.
const MATCHES_PER_BYTE: usize = 4;
const MATCHES_BASE: usize = 4096;

/// All terms in one automaton.
pub(crate) struct Dictionary {
    automaton: Option<AhoCorasick>,
    patterns: Vec<Pattern>,
    has_spaces: bool,
}

/// One spelling of a term.
struct Pattern {
    term: u32,
    label: Label,
    starts_word: bool,
    ends_word: bool,
}

impl Dictionary {
    /// Builds the automaton over both spellings of each term: its own letters, and its ASCII look-alikes.
    pub(crate) fn new(terms: &[DictionaryTerm]) -> Result<Self, BuildScannerError> {
        if terms.len() > TERMS_MAX {
            return Err(BuildScannerError::TooManyTerms { terms: terms.len(), terms_max: TERMS_MAX });
        }
        let mut patterns = Vec::new();
        let mut spellings = Vec::new();
        for (index, term) in terms.iter().enumerate() {
            let bytes = term.term.len();
            if bytes > TERM_BYTES_MAX {
                return Err(BuildScannerError::TermTooLong { index, bytes, bytes_max: TERM_BYTES_MAX });
            }
            let plain = single_spaces(&fold::lowered(&term.term));
            let folded = single_spaces(&fold::folded(&term.term).to_ascii_lowercase());
            if plain.is_empty() || folded.is_empty() {
                return Err(BuildScannerError::EmptyTerm { index });
            }
            let differ = plain != folded;
            for spelling in std::iter::once(folded).chain(differ.then_some(plain)) {
                patterns.push(Pattern {
                    term: u32::try_from(index).unwrap_or(u32::MAX),
                    label: term.label,
                    starts_word: spelling.starts_with(char::is_alphanumeric),
                    ends_word: spelling.ends_with(char::is_alphanumeric),
                });
                spellings.push(spelling);
            }
        }
        let automaton = match spellings.is_empty() {
            true => None,
            false => Some(build(&spellings)?),
        };
        let has_spaces = spellings.iter().any(|spelling| spelling.contains(' '));
        Ok(Self { automaton, patterns, has_spaces })
    }

    /// Returns whether the dictionary has no terms.
    pub(crate) fn is_empty(&self) -> bool {
        self.automaton.is_none()
    }

    /// Counts every term in a lower-case text.
    ///
    /// Overlapping terms are all found, so that a harmless one cannot hide a sensitive one. Where there are too many matches
    /// to look at, the scan is incomplete.
    pub(crate) fn find(&self, lower: &str, tally: &mut Tally) {
        let Some(automaton) = &self.automaton else { return };
        let irregular = self.has_spaces && has_irregular_whitespace(lower.as_bytes());
        let normalised = if irregular { Some(single_spaces(lower)) } else { None };
        for text in std::iter::once(lower).chain(normalised.as_deref()) {
            let mut matches_left = MATCHES_BASE + MATCHES_PER_BYTE * text.len();
            for found in automaton.find_overlapping_iter(text) {
                looked_at(1);
                let Some(left) = matches_left.checked_sub(1) else {
                    tally.set_incomplete();
                    break;
                };
                matches_left = left;
                let pattern = &self.patterns[found.pattern().as_usize()];
                let before = text[..found.start()].chars().next_back().is_some_and(char::is_alphanumeric);
                let after = text[found.end()..].chars().next().is_some_and(char::is_alphanumeric);
                if !(before && pattern.starts_word || after && pattern.ends_word) {
                    tally.add(FindingKind::Dictionary, pattern.label, &pattern.term.to_le_bytes());
                }
            }
        }
    }
}

/// Shows only the number of patterns, because the terms may be secret.
impl std::fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dictionary").field("patterns", &self.patterns.len()).finish_non_exhaustive()
    }
}

fn build(spellings: &[String]) -> Result<AhoCorasick, BuildScannerError> {
    AhoCorasick::builder()
        .match_kind(MatchKind::Standard)
        .build(spellings)
        .map_err(|source| BuildScannerError::Automaton { what: "dictionary", source: source.into() })
}

/// Returns the words of `text` with one space between them.
fn single_spaces(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Returns whether there are control characters (such as line breaks) or double spaces.
fn has_irregular_whitespace(bytes: &[u8]) -> bool {
    let control = bytes.iter().fold(false, |control, &byte| control | (byte < b' '));
    control || bytes.windows(2).fold(false, |double, pair| double | (pair == b"  "))
}
