//! Folds Unicode to the ASCII it looks like: the first step, before any recogniser.

mod lookalike;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

use crate::view::next_position;

/// Returns `text` as it looks: compatibility forms composed, invisible characters and combining accents
/// removed, digits of all scripts and look-alike letters as ASCII, and other non-ASCII letters in lower case.
///
/// Only non-ASCII stretches take the slow path, because most texts hold at most a curly quote. This is
/// correct because no mark that is kept composes with an ASCII letter.
pub(crate) fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut visible_chars = String::new();
    let mut from = 0;
    while let Some(start) = next_position(text.as_bytes(), from, |byte| byte >= 0x80) {
        out.push_str(&text[from..start]);
        let end = text[start..].find(|c: char| c.is_ascii()).map_or(text.len(), |length| start + length);
        visible_chars.clear();
        visible_chars.extend(text[start..end].chars().filter_map(visible).filter(|c| !is_accent(*c)));
        match is_nfkc_quick(visible_chars.chars()) {
            IsNormalized::Yes => visible_chars.chars().for_each(|c| fold_char(c, &mut out)),
            _ => visible_chars.nfkc().for_each(|c| fold_char(c, &mut out)),
        }
        from = end;
    }
    out.push_str(&text[from..]);
    out
}

fn fold_char(c: char, out: &mut String) {
    match lookalike::ascii(c) {
        Some(ascii) => out.push(ascii),
        None if c.is_ascii() => out.push(c),
        None => out.extend(c.to_lowercase()),
    }
}

const fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// Returns `text` normalised and in lower case, but with its own letters.
///
/// Look-alikes differ between cases (Cyrillic capital Ve looks like B, the small
/// one like no ASCII letter), so words of other scripts need this view to match in any case.
pub(crate) fn lowered(text: &str) -> String {
    text.chars().filter_map(visible).nfkc().flat_map(char::to_lowercase).collect()
}

/// Drops zero-width characters, and turns tag characters into the ASCII that they smuggle.
fn visible(c: char) -> Option<char> {
    match c {
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' => None,
        '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => None,
        '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' => None,
        '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' => None,
        '\u{e0020}'..='\u{e007e}' => char::from_u32(u32::from(c) - 0xe0000),
        '\u{e0000}'..='\u{e0fff}' => None,
        _ => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        assert_eq!(folded(input), expected);
    }

    #[test]
    fn drops_zero_width_characters() {
        check("b\u{200b}o\u{ad}b\u{2060}@x\u{feff}", "bob@x");
    }

    #[test]
    fn folds_width_digits_and_dashes() {
        check("ｂｏｂ＠ｅｘａｍｐｌｅ．ｃｏｍ", "bob@example.com");
        check("٤١١١ ۴١١١ ४१११ ④１¹₁", "4111 4111 4111 4111");
        check("555\u{2011}1234\u{a0}\u{2013}", "555-1234 -");
    }

    #[test]
    fn folds_look_alikes_and_strips_accents() {
        check("раураӏ", "paypal");
        check("ΒΟΒ", "BOB");
        check("b\u{332}o\u{336}b", "bob");
    }

    #[test]
    fn keeps_ordinary_text_around_a_mark() {
        check("it\u{2019}s plain, e\u{301}tude\u{2026} done", "it's plain, etude... done");
        check("일본 カフェ", "일본 カフェ");
    }

    #[test]
    fn reads_smuggled_tags() {
        check("\u{e0062}\u{e006f}\u{e0062}", "bob");
    }

    #[test]
    fn lower_cases_words_of_other_scripts() {
        assert_eq!(lowered("ВЕТЕР"), lowered("ветер"));
    }
}
