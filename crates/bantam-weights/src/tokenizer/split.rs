//! The steps that cut a text into the pieces within which tokens are merged.

use super::classes::Class;
use super::words::WordRules;

/// Written for a space by tokenizers that have no bytes.
pub(super) const SPACE_MARK: char = '▁';

/// One step; each piece that it gives goes through the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Cuts into words.
    Words(WordRules),
    /// Puts a space before a piece that begins with none.
    PrefixSpace,
    /// Cuts runs of some characters out.
    Runs(Run),
    /// Drops white space and cuts there.
    DropSpace,
    /// Cuts at a text, as `Split` of `tokenizer.json` does.
    Literal { pattern: Box<str>, keep: Keep },
    /// Writes spaces as [`SPACE_MARK`], puts one before the piece and cuts before each.
    Mark { prefix: Prefix, cuts: bool },
}

/// Runs of characters that stand apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// Each number by itself: `\p{N}`
    EachNumber,
    /// `\p{N}+`
    Numbers,
    /// `[0-9][0-9][0-9]`
    DigitTriples,
    /// `[\p{P}\$\+<=>\^~\|]+`
    Punctuation,
}

impl Run {
    /// The runs of a regular expression that is known, as `tokenizer.json` writes it.
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

/// What becomes of a text that pieces are cut at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// A piece of its own.
    Isolated,
    /// The end of the piece before it.
    WithPrevious,
    /// The start of the piece after it.
    WithNext,
    /// Nothing.
    Removed,
}

/// Whether a piece gets a mark at its start where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    Never,
    /// Where the piece stands at the text's start.
    First,
    Always,
}

/// Cuts a piece by all steps, and gives each result to a sink, in order. A piece is never empty.
///
/// `is_first` says whether the piece stands at the start of the whole text.
pub(super) fn cut(steps: &[Step], text: &str, is_first: bool, sink: &mut dyn FnMut(&str)) {
    if text.is_empty() {
        return;
    }
    let Some((step, rest)) = steps.split_first() else { return sink(text) };
    let mut next = |piece: &str, is_first: bool| cut(rest, piece, is_first, sink);
    match step {
        Step::Words(rules) => {
            let mut left = text;
            while !left.is_empty() {
                // At least one character, so that this ends whatever the rules.
                let (word, after) = left.split_at(rules.first(left).max(1));
                next(word, is_first && left.len() == text.len());
                left = after;
            }
        }
        Step::PrefixSpace if text.starts_with(' ') => next(text, is_first),
        Step::PrefixSpace => next(&format!(" {text}"), is_first),
        Step::Runs(run) => cut_runs(*run, text, &mut |at, piece| next(piece, is_first && at == 0)),
        Step::DropSpace => {
            let mut at = 0;
            for piece in text.split(char::is_whitespace) {
                next(piece, is_first && at == 0);
                at += 1 + piece.len();
            }
        }
        Step::Literal { pattern, keep } => {
            cut_literal(pattern, *keep, text, &mut |at, piece| next(piece, is_first && at == 0));
        }
        Step::Mark { prefix, cuts } => {
            let mut marked = String::with_capacity(text.len() + 8);
            let is_prefixed = match prefix {
                Prefix::Never => false,
                Prefix::First => is_first,
                Prefix::Always => true,
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

/// Gives the runs, and what stands between them, with the place of each.
fn cut_runs(run: Run, text: &str, sink: &mut dyn FnMut(usize, &str)) {
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

/// Where the next run starts and ends; it is not empty.
fn next_run(run: Run, text: &str) -> Option<(usize, usize)> {
    let is_in = |character: char| match run {
        Run::Punctuation => {
            matches!(character, '$' | '+' | '<' | '=' | '>' | '^' | '~' | '|')
                || Class::of(character) == Class::Punctuation
        }
        _ => Class::of(character) == Class::Number,
    };
    if run == Run::DigitTriples {
        let mut triples = text.as_bytes().windows(3);
        let start = triples.position(|bytes| bytes.iter().all(u8::is_ascii_digit))?;
        return Some((start, start + 3));
    }
    let start = text.find(is_in)?;
    let rest = &text[start..];
    let length = match run {
        Run::EachNumber => rest.chars().next().map_or(0, char::len_utf8),
        _ => rest.find(|character| !is_in(character)).unwrap_or(rest.len()),
    };
    Some((start, start + length))
}

/// Gives the pieces around each place where a pattern, which is not empty, stands.
fn cut_literal(pattern: &str, keep: Keep, text: &str, sink: &mut dyn FnMut(usize, &str)) {
    let mut start = 0;
    for (at, _) in text.match_indices(pattern) {
        let end = at + pattern.len();
        let (before, next) = match keep {
            Keep::Isolated | Keep::Removed => (at, end),
            Keep::WithPrevious => (end, end),
            Keep::WithNext => (at, at),
        };
        sink(start, &text[start..before]);
        if keep == Keep::Isolated {
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
    fn check(steps: &[Step], text: &str, expected: &[&str]) {
        let mut found = Vec::new();
        cut(steps, text, true, &mut |piece| found.push(piece.to_owned()));
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn numbers_and_punctuation_are_cut_out() {
        check(&[Step::Runs(Run::EachNumber)], "a12½b", &["a", "1", "2", "½", "b"]);
        check(&[Step::Runs(Run::Numbers)], "a12½b", &["a", "12½", "b"]);
        check(&[Step::Runs(Run::DigitTriples)], "1234567 12a", &["123", "456", "7 12a"]);
        check(&[Step::Runs(Run::Punctuation)], "a, b<=c—d", &["a", ",", " b", "<=", "c", "—", "d"]);
    }

    #[test]
    fn marks_are_put_and_cut_at() {
        let mark = |prefix, cuts| [Step::Mark { prefix, cuts }];
        check(&mark(Prefix::Always, true), "ab  c ", &["▁ab", "▁", "▁c", "▁"]);
        check(&mark(Prefix::Never, false), "ab c", &["ab▁c"]);
        let words = [Step::DropSpace, Step::Mark { prefix: Prefix::First, cuts: true }];
        check(&words, "ab c", &["▁ab", "c"]);
        check(&words, " ab c", &["ab", "c"]);
    }

    #[test]
    fn a_literal_is_kept_where_it_belongs() {
        let at = |keep| [Step::Literal { pattern: "-".into(), keep }];
        check(&at(Keep::Isolated), "a-b", &["a", "-", "b"]);
        check(&at(Keep::Removed), "a-b-", &["a", "b"]);
        check(&at(Keep::WithPrevious), "a-b", &["a-", "b"]);
        check(&at(Keep::WithNext), "-a-b", &["-a", "-b"]);
    }
}
