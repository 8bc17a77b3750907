//! From a text to the ids that an encoder reads, with the place of every word.

use crate::encoder::TextReader;

/// A word of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaggedWord {
    /// Its first byte in the text.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
    /// Which of the ids is its first.
    pub token: usize,
}

/// What an encoder reads of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// `[CLS]`, the context and `[SEP]` where there is one, the text, `[SEP]`.
    pub ids: Vec<u32>,
    /// The text's words, as many as there was room for.
    pub words: Vec<TaggedWord>,
}

/// Returns what an encoder of so many tokens reads. A context never takes more than a quarter of them.
pub fn sequence(tokenizer: &TextReader, text: &str, context: &str, tokens_max: usize) -> Sequence {
    let (mut ids, mut words) = (vec![tokenizer.start_id()], Vec::new());
    if !context.trim().is_empty() {
        tokenizer.append(context, &mut ids);
        ids.truncate((tokens_max / 4).max(1));
        ids.push(tokenizer.end_id());
    }
    for (start, end) in cut(text) {
        let token = ids.len();
        tokenizer.append_word(text, (start, end), &mut ids);
        if ids.len() + 1 > tokens_max {
            ids.truncate(token);
            break;
        }
        // A word of control characters gives nothing, and nothing is said about it.
        if ids.len() > token {
            words.push(TaggedWord { start, end, token });
        }
    }
    ids.push(tokenizer.end_id());
    Sequence { ids, words }
}

/// The words of a text: runs of letters, runs of digits, and every other character that is no space.
fn cut(text: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    let kind = |character: char| match character {
        _ if character.is_whitespace() => 0,
        _ if character.is_numeric() => 1,
        _ if character.is_alphanumeric() || is_mark(character) => 2,
        _ => 3,
    };
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        loop {
            let (start, first) = rest.next()?;
            let of_first = kind(first);
            if of_first == 0 {
                continue;
            }
            let mut end = start + first.len_utf8();
            let joins = |(_, next): &(usize, char)| of_first != 3 && kind(*next) == of_first;
            while let Some((at, next)) = rest.next_if(joins) {
                end = at + next.len_utf8();
            }
            return Some((start, end));
        }
    })
}

/// Whether a character is a combining mark of the common block: it belongs to the letter before it.
fn is_mark(character: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_or_digits_and_single_signs() {
        let words = |text: &'static str| cut(text).map(|(start, end)| &text[start..end]).collect::<Vec<_>>();
        assert_eq!(words("  at 7pm, don't…"), ["at", "7", "pm", ",", "don", "'", "t", "…"]);
        assert_eq!(words("Zu\u{308}rich für 2"), ["Zu\u{308}rich", "für", "2"]);
        assert_eq!(words(" \n"), [""; 0]);
    }
}
