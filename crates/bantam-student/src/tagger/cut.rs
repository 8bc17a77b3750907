//! Splits a text into words, the same way for every tagger.

/// Returns the byte ranges of a text's words: runs of letters, runs of digits, and every other non-space character.
pub(crate) fn word_spans(text: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
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
            let first_kind = kind(first);
            if first_kind == 0 {
                continue;
            }
            let mut end = start + first.len_utf8();
            let joins = |(_, next): &(usize, char)| first_kind != 3 && kind(*next) == first_kind;
            while let Some((at, next)) = rest.next_if(joins) {
                end = at + next.len_utf8();
            }
            return Some((start, end));
        }
    })
}

/// The most bytes at the end of a context that are read, so that a long one costs no more than a short one.
const CONTEXT_BYTES_MAX: usize = 16 * 1024;

/// Returns the end of a context that is read.
pub(crate) fn end_of(context: &str) -> &str {
    &context[context.ceil_char_boundary(context.len().saturating_sub(CONTEXT_BYTES_MAX))..]
}

/// Returns whether a character is a combining mark of the common block, which belongs to the letter before it.
fn is_mark(character: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_whole_characters_at_the_end_of_a_long_context() {
        let long = format!("{}?", "ü".repeat(CONTEXT_BYTES_MAX));
        let end = end_of(&long);
        assert!(end.len() <= CONTEXT_BYTES_MAX && end.len() > CONTEXT_BYTES_MAX - 2 && end.ends_with("ü?"));
        assert_eq!((end_of("how many?"), end_of("")), ("how many?", ""));
    }

    #[test]
    fn words_are_runs_of_letters_or_digits_and_single_marks() {
        let words =
            |text: &'static str| word_spans(text).map(|(start, end)| &text[start..end]).collect::<Vec<_>>();
        assert_eq!(words("  at 7pm, don't…"), ["at", "7", "pm", ",", "don", "'", "t", "…"]);
        assert_eq!(words("Zu\u{308}rich für 2"), ["Zu\u{308}rich", "für", "2"]);
        assert_eq!(words(" \n"), [""; 0]);
    }
}
