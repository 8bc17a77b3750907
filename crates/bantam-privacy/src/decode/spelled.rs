//! Separators written as words or in brackets: `bob at example dot com`, `bob[at]example[.]com`.

/// Replaces spelled-out separators with the marks that they stand for.
///
/// Only called if a word such as ` dot ` was found. Every `dot` becomes a mark;
/// a bare `at` does only if a host name follows.
pub(crate) fn despelled(lower: &str) -> String {
    let mut out = String::with_capacity(lower.len());
    let mut glue = true;
    let words: Vec<Word<'_>> = words(lower).collect();
    for (index, word) in words.iter().enumerate() {
        match mark(word.text)
            .filter(|&mark| mark != '@' || word.text != "at" || host_follows(&words[index + 1..]))
        {
            Some(mark) => {
                out.push(mark);
                glue = true;
            }
            None => {
                if word.after_space && !glue {
                    out.push(' ');
                }
                out.push_str(word.text);
                glue = false;
            }
        }
    }
    out
}

/// Returns whether the words begin with `example.com`, or with `example` and a spelled-out dot.
fn host_follows(words: &[Word<'_>]) -> bool {
    let inner = |word: &Word<'_>| word.text.trim_end_matches('.').contains('.');
    words.first().is_some_and(inner) || words.get(1).is_some_and(|word| mark(word.text) == Some('.'))
}

struct Word<'a> {
    text: &'a str,
    /// Whether whitespace precedes it.
    after_space: bool,
}

/// Splits at whitespace and around bracketed separators.
fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let trimmed = rest.trim_start();
        let after_space = trimmed.len() < rest.len();
        let length = match bracketed(trimmed) {
            Some(length) => length,
            None => trimmed
                .char_indices()
                .find(|&(at, c)| c.is_whitespace() || (at > 0 && is_open(c)))
                .map_or(trimmed.len(), |(at, _)| at),
        };
        let (text, after) = trimmed.split_at(length);
        rest = after;
        (length > 0).then_some(Word { text, after_space })
    })
}

const fn is_open(c: char) -> bool {
    matches!(c, '(' | '[' | '{' | '<')
}

/// The longest bracketed separator: `( underscore )`.
const BRACKETED_BYTES_MAX: usize = 14;

/// Returns the length of the bracketed separator at the start of `text`.
fn bracketed(text: &str) -> Option<usize> {
    text.starts_with(is_open).then_some(())?;
    let close =
        text.bytes().take(BRACKETED_BYTES_MAX).position(|byte| matches!(byte, b')' | b']' | b'}' | b'>'))?;
    mark(&text[..=close]).map(|_| close + 1)
}

fn mark(word: &str) -> Option<char> {
    let inner = word.trim_matches(|c: char| is_open(c) || matches!(c, ')' | ']' | '}' | '>'));
    let bare = inner.len() == word.len();
    Some(match inner.trim() {
        "at" | "@" | "arroba" | "ät" => '@',
        "dot" | "punkt" | "punto" | "point" | "." => '.',
        "dash" | "hyphen" => '-',
        "underscore" => '_',
        "colon" if !bare => ':',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        assert_eq!(despelled(input), expected);
    }

    #[test]
    fn replaces_words_and_brackets_with_marks() {
        check("write to bob at example dot com today", "write to bob@example.com today");
        check("bob(at)example[dot]com", "bob@example.com");
        check("bob [ at ] example {.} com", "bob@example.com");
        check("look at the polka dot dress at noon", "look at the polka.dress at noon");
        check("10 dot 0 dot 0 dot 1", "10.0.0.1");
    }

    #[test]
    fn keeps_other_brackets() {
        check("see (below) [1] f(x) <b>é", "see (below) [1] f(x) <b>é");
    }
}
