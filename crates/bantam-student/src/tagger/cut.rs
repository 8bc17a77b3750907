//! From a text to its words, the same for every tagger.

/// The words of a text: runs of letters, runs of digits, and every other character that is no space.
pub(crate) fn cut(text: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
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

/// Bytes of a context, from its end, that are looked at, so that a long one costs no more than a short one.
const CONTEXT_BYTES_MAX: usize = 16 * 1024;

/// Returns as much of a context's end as is looked at.
pub(crate) fn end_of(context: &str) -> &str {
    &context[context.ceil_char_boundary(context.len().saturating_sub(CONTEXT_BYTES_MAX))..]
}

/// Whether a character is a combining mark of the common block: it belongs to the letter before it.
fn is_mark(character: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_context_the_end_is_kept_whole_characters_only() {
        let long = format!("{}?", "ü".repeat(CONTEXT_BYTES_MAX));
        let end = end_of(&long);
        assert!(end.len() <= CONTEXT_BYTES_MAX && end.len() > CONTEXT_BYTES_MAX - 2 && end.ends_with("ü?"));
        assert_eq!((end_of("how many?"), end_of("")), ("how many?", ""));
    }

    #[test]
    fn words_are_runs_of_letters_or_digits_and_single_signs() {
        let words = |text: &'static str| cut(text).map(|(start, end)| &text[start..end]).collect::<Vec<_>>();
        assert_eq!(words("  at 7pm, don't…"), ["at", "7", "pm", ",", "don", "'", "t", "…"]);
        assert_eq!(words("Zu\u{308}rich für 2"), ["Zu\u{308}rich", "für", "2"]);
        assert_eq!(words(" \n"), [""; 0]);
    }
}
