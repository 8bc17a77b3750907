//! The steps that split a text into pieces; tokens are merged only within a piece.

use super::classes::CharClass;
use super::words::WordRules;

/// Stands for a space in tokenizers that are not byte-level.
pub(super) const SPACE_MARK: char = '▁';

/// A step; its pieces go to the next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SplitStep {
    /// Splits into words.
    Words(WordRules),
    /// Puts a space before a piece that does not start with one.
    PrefixSpace,
    /// Isolates runs of certain characters.
    Runs(RunPattern),
    /// Splits at white space and removes it.
    DropSpace,
    /// Splits at a string, like `Split` in `tokenizer.json`.
    Literal { pattern: Box<str>, keep: SplitBehavior },
    /// Replaces spaces with [`SPACE_MARK`], puts one before the piece, and splits before each.
    Mark { prefix: PrependScheme, cuts: bool },
}

/// Runs of characters that become separate pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunPattern {
    /// Each number character separately: `\p{N}`
    EachNumber,
    /// `\p{N}+`
    Numbers,
    /// `[0-9][0-9][0-9]`
    DigitTriples,
    /// `[\p{P}\$\+<=>\^~\|]+`
    Punctuation,
}

impl RunPattern {
    /// Returns the runs of a known regular expression, as written in `tokenizer.json`.
    pub(super) fn of_expression(expression: &str) -> Option<Self> {
        Some(match expression {
            r"\p{N}" => Self::EachNumber,
            r"\p{N}+" => Self::Numbers,
            "[0-9][0-9][0-9]" => Self::DigitTriples,
            r"[\p{P}\$\+<=>\^~\|]+" => Self::Punctuation,
            _ => return None,
        })
    }
}

/// What happens to the string at which a text is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SplitBehavior {
    /// It becomes a piece of its own.
    Isolated,
    /// It ends the piece before it.
    WithPrevious,
    /// It starts the piece after it.
    WithNext,
    /// It is removed.
    Removed,
}

/// When a marker is put before a piece that does not start with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PrependScheme {
    Never,
    /// Only at the start of the text.
    First,
    Always,
}

/// Splits a piece with all steps and passes each result to `sink`, in order. Pieces are never empty.
///
/// `is_first` says whether the piece is at the start of the whole text.
pub(super) fn cut(steps: &[SplitStep], text: &str, is_first: bool, sink: &mut dyn FnMut(&str)) {
    if text.is_empty() {
        return;
    }
    let Some((step, rest)) = steps.split_first() else { return sink(text) };
    let mut next = |piece: &str, is_first: bool| cut(rest, piece, is_first, sink);
    match step {
        SplitStep::Words(rules) => {
            let mut left = text;
            while !left.is_empty() {
                // At least one byte, so that the loop ends whatever the rules.
                let (word, after) = left.split_at(rules.first(left).max(1));
                next(word, is_first && left.len() == text.len());
                left = after;
            }
        }
        SplitStep::PrefixSpace if text.starts_with(' ') => next(text, is_first),
        SplitStep::PrefixSpace => next(&format!(" {text}"), is_first),
        SplitStep::Runs(run) => cut_runs(*run, text, &mut |at, piece| next(piece, is_first && at == 0)),
        SplitStep::DropSpace => {
            let mut at = 0;
            for piece in text.split(char::is_whitespace) {
                next(piece, is_first && at == 0);
                at += 1 + piece.len();
            }
        }
        SplitStep::Literal { pattern, keep } => {
            cut_literal(pattern, *keep, text, &mut |at, piece| next(piece, is_first && at == 0));
        }
        SplitStep::Mark { prefix, cuts } => {
            let mut marked = String::with_capacity(text.len() + 8);
            let is_prefixed = match prefix {
                PrependScheme::Never => false,
                PrependScheme::First => is_first,
                PrependScheme::Always => true,
            };
            if is_prefixed && !text.starts_with([' ', SPACE_MARK]) {
                marked.push(SPACE_MARK);
            }
            marked
                .extend(text.chars().map(|character| if character == ' ' { SPACE_MARK } else { character }));
            if !cuts {
                return next(&marked, is_first);
            }
            let mut start = 0;
            for (at, _) in marked.match_indices(SPACE_MARK).filter(|(at, _)| *at > 0) {
                next(&marked[start..at], is_first && start == 0);
                start = at;
            }
            next(&marked[start..], is_first && start == 0);
        }
    }
}

/// Passes on the runs and the text between them, with their offsets.
fn cut_runs(run: RunPattern, text: &str, sink: &mut dyn FnMut(usize, &str)) {
    let mut at = 0;
    while let Some((start, end)) = next_run(run, &text[at..]) {
        if start > 0 {
            sink(at, &text[at..at + start]);
        }
        sink(at + start, &text[at + start..at + end]);
        at += end;
    }
    if at < text.len() {
        sink(at, &text[at..]);
    }
}

/// Returns the start and end of the next run, which is not empty.
fn next_run(run: RunPattern, text: &str) -> Option<(usize, usize)> {
    let is_in = |character: char| match run {
        RunPattern::Punctuation => {
            matches!(character, '$' | '+' | '<' | '=' | '>' | '^' | '~' | '|')
                || CharClass::of(character) == CharClass::Punctuation
        }
        _ => CharClass::of(character) == CharClass::Number,
    };
    if run == RunPattern::DigitTriples {
        let mut triples = text.as_bytes().windows(3);
        let start = triples.position(|bytes| bytes.iter().all(u8::is_ascii_digit))?;
        return Some((start, start + 3));
    }
    let start = text.find(is_in)?;
    let rest = &text[start..];
    let length = match run {
        RunPattern::EachNumber => rest.chars().next().map_or(0, char::len_utf8),
        _ => rest.find(|character| !is_in(character)).unwrap_or(rest.len()),
    };
    Some((start, start + length))
}

/// Passes on the pieces around each match of a non-empty pattern.
fn cut_literal(pattern: &str, keep: SplitBehavior, text: &str, sink: &mut dyn FnMut(usize, &str)) {
    let mut start = 0;
    for (at, _) in text.match_indices(pattern) {
        let end = at + pattern.len();
        let (before, next) = match keep {
            SplitBehavior::Isolated | SplitBehavior::Removed => (at, end),
            SplitBehavior::WithPrevious => (end, end),
            SplitBehavior::WithNext => (at, at),
        };
        sink(start, &text[start..before]);
        if keep == SplitBehavior::Isolated {
            sink(at, &text[at..end]);
        }
        start = next;
    }
    sink(start, &text[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(steps: &[SplitStep], text: &str, expected: &[&str]) {
        let mut found = Vec::new();
        cut(steps, text, true, &mut |piece| found.push(piece.to_owned()));
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn numbers_and_punctuation_are_isolated() {
        check(&[SplitStep::Runs(RunPattern::EachNumber)], "a12½b", &["a", "1", "2", "½", "b"]);
        check(&[SplitStep::Runs(RunPattern::Numbers)], "a12½b", &["a", "12½", "b"]);
        check(&[SplitStep::Runs(RunPattern::DigitTriples)], "1234567 12a", &["123", "456", "7 12a"]);
        check(
            &[SplitStep::Runs(RunPattern::Punctuation)],
            "a, b<=c—d",
            &["a", ",", " b", "<=", "c", "—", "d"],
        );
    }

    #[test]
    fn markers_replace_spaces_and_texts_are_split_before_them() {
        let mark = |prefix, cuts| [SplitStep::Mark { prefix, cuts }];
        check(&mark(PrependScheme::Always, true), "ab  c ", &["▁ab", "▁", "▁c", "▁"]);
        check(&mark(PrependScheme::Never, false), "ab c", &["ab▁c"]);
        let words = [SplitStep::DropSpace, SplitStep::Mark { prefix: PrependScheme::First, cuts: true }];
        check(&words, "ab c", &["▁ab", "c"]);
        check(&words, " ab c", &["ab", "c"]);
    }

    #[test]
    fn a_literal_is_kept_according_to_its_behavior() {
        let at = |keep| [SplitStep::Literal { pattern: "-".into(), keep }];
        check(&at(SplitBehavior::Isolated), "a-b", &["a", "-", "b"]);
        check(&at(SplitBehavior::Removed), "a-b-", &["a", "b"]);
        check(&at(SplitBehavior::WithPrevious), "a-b", &["a-", "b"]);
        check(&at(SplitBehavior::WithNext), "-a-b", &["-a", "-b"]);
    }
}
