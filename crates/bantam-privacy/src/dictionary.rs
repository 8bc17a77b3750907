//! The customer's own words, found in any case, width or look-alike spelling.

use aho_corasick::{AhoCorasick, MatchKind};
use bantam_types::Label;

use crate::config::{BuildScannerError, DictionaryTerm};
use crate::findings::{Kind, Tally};
use crate::fold;

const TERM_BYTES_MAX: usize = 512;
const TERMS_MAX: usize = 200_000;

/// All terms in one automaton.
pub(crate) struct Dictionary {
    automaton: Option<AhoCorasick>,
    patterns: Vec<Pattern>,
    has_blanks: bool,
}

/// One spelling of a term.
struct Pattern {
    term: u32,
    label: Label,
    starts_word: bool,
    ends_word: bool,
}

impl Dictionary {
    /// Builds the automaton over both spellings of each term: as it is, and as it looks in ASCII.
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
            let plain = single_blanks(&fold::lowered(&term.term));
            let looks = single_blanks(&fold::folded(&term.term).to_ascii_lowercase());
            if plain.is_empty() || looks.is_empty() {
                return Err(BuildScannerError::EmptyTerm { index });
            }
            let twice = plain != looks;
            for spelling in std::iter::once(looks).chain(twice.then_some(plain)) {
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
        let has_blanks = spellings.iter().any(|spelling| spelling.contains(' '));
        Ok(Self { automaton, patterns, has_blanks })
    }

    /// Returns whether there is nothing to look for.
    pub(crate) fn is_empty(&self) -> bool {
        self.automaton.is_none()
    }

    /// Notes every term in a text in lower case.
    ///
    /// Overlapping terms are all found: a harmless one must not hide a sensitive one.
    pub(crate) fn find(&self, lower: &str, tally: &mut Tally) {
        let Some(automaton) = &self.automaton else { return };
        let uneven = self.has_blanks && has_uneven_blanks(lower.as_bytes());
        let evened = if uneven { Some(single_blanks(lower)) } else { None };
        for text in std::iter::once(lower).chain(evened.as_deref()) {
            for found in automaton.find_overlapping_iter(text) {
                let pattern = &self.patterns[found.pattern().as_usize()];
                let before = text[..found.start()].chars().next_back().is_some_and(char::is_alphanumeric);
                let after = text[found.end()..].chars().next().is_some_and(char::is_alphanumeric);
                if !(before && pattern.starts_word || after && pattern.ends_word) {
                    tally.add(Kind::Dictionary, pattern.label, &pattern.term.to_le_bytes());
                }
            }
        }
    }
}

/// Shows how many terms there are, as the terms may be secret themselves.
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

fn single_blanks(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

fn has_uneven_blanks(bytes: &[u8]) -> bool {
    let odd = bytes.iter().fold(false, |odd, &byte| odd | (byte < b' '));
    odd || bytes.windows(2).fold(false, |double, pair| double | (pair == b"  "))
}
