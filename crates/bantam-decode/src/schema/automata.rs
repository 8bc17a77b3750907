//! What can be decided about patterns by running them as automata.

use llguidance::derivre::{Regex, RegexAst, RegexBuilder};
use llguidance::regex_to_lark;

use super::pattern;

/// Most work on one question.
const FUEL: u64 = 5_000;
/// Longest pattern to look at, in bytes.
const BYTES_MAX: usize = 256;
/// Longest text to try, in bytes.
const TEXT_MAX: usize = 4_096;

/// Returns whether a pattern occurs in a text; `None` if that takes too much work.
pub(super) fn matches(expression: &str, text: &str) -> Option<bool> {
    is_match(&pattern::translate_widely(expression).ok()?, text)
}

/// Returns whether a translated pattern occurs in a text; `None` if that takes too much work.
pub(super) fn is_match(translated: &str, text: &str) -> Option<bool> {
    if text.len() > TEXT_MAX || translated.len() > 4 * BYTES_MAX {
        return None;
    }
    let mut builder = RegexBuilder::new();
    let found = builder.mk(&RegexAst::SearchRegex(regex_to_lark(translated, "dw"))).ok()?;
    Some(builder.to_regex_limited(found, FUEL).ok()?.is_match(text))
}

/// Returns whether no text contains both patterns, so far as that can be decided.
pub(super) fn are_disjoint(one: &str, other: &str) -> bool {
    let both = || {
        let both = RegexAst::And(vec![search(one)?, search(other)?]);
        let mut builder = RegexBuilder::new();
        let both = builder.mk(&both).ok()?;
        builder.to_regex_limited(both, FUEL).ok()
    };
    both().is_some_and(|mut automaton: Regex| automaton.always_empty())
}

fn search(expression: &str) -> Option<RegexAst> {
    if expression.len() > BYTES_MAX {
        return None;
    }
    let translated = pattern::translate_widely(expression).ok()?;
    Some(RegexAst::SearchRegex(regex_to_lark(&translated, "dw")))
}
