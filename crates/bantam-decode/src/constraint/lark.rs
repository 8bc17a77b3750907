//! What must be known of a Lark grammar before the engine may read it.

use crate::schema::conjunction::places;

/// Deepest nesting of brackets, for each of which the engine's parser recurses.
pub(super) const BRACKETS_MAX: usize = 50;

/// Returns the nesting depth of brackets outside strings.
pub(super) fn brackets(text: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => while characters.next().is_some_and(|inner| inner != '"') {},
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Returns an upper bound for the combinations of places that the conjunctions of a grammar can be in at a time; 1 if it
/// has none.
///
/// Which terminals meet in a conjunction is not resolved: each of its sides is taken to hold all expressions of the
/// grammar, repeated as often as all repetitions together.
pub(super) fn combinations(text: &str) -> u64 {
    let (mut sides, mut all_places, mut repeats) = (1u32, 0u64, 1u64);
    for piece in pieces(text) {
        match piece {
            // Whatever is in a string is taken for its characters, though it may have escapes.
            Piece::String(inner) => all_places = all_places.saturating_add(inner.len() as u64),
            Piece::Expression(inner) => all_places = all_places.saturating_add(places(inner)),
            Piece::Other('&') => sides = sides.saturating_add(1),
            Piece::Repetition(most) => repeats = repeats.saturating_mul(most.max(1)),
            Piece::Other(_) => {}
        }
    }
    if sides == 1 { 1 } else { all_places.saturating_mul(repeats).max(2).saturating_pow(sides) }
}

enum Piece<'t> {
    String(&'t str),
    Expression(&'t str),
    /// The largest number in braces.
    Repetition(u64),
    Other(char),
}

/// Splits a grammar at its strings, expressions and repetitions, without comments.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let behind = &rest[character.len_utf8()..];
        rest = match character {
            '"' | '/' if character == '"' || !behind.starts_with('/') => {
                let length = closing(behind, character);
                let inner = &behind[..length];
                pieces.push(if character == '"' { Piece::String(inner) } else { Piece::Expression(inner) });
                behind.get(length + 1..).unwrap_or_default()
            }
            '/' | '#' => behind.find('\n').map_or("", |end| &behind[end..]),
            '{' => {
                let length = closing(behind, '}');
                let numbers = behind[..length].split(',').map(|number| number.trim().parse().unwrap_or(1));
                pieces.push(Piece::Repetition(numbers.max().unwrap_or(1)));
                behind.get(length + 1..).unwrap_or_default()
            }
            other => {
                pieces.push(Piece::Other(other));
                behind
            }
        };
    }
    pieces
}

/// Returns the length of the text before the closing character, which may be escaped within it.
fn closing(text: &str, close: char) -> usize {
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if character == close => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conjunctions_multiply_what_they_join() {
        assert_eq!(combinations("start: \"a\" | /b{9}/ // & in a comment\n"), 1);
        assert_eq!(combinations("start: T\nT: /a&b/ | \"&\"\n"), 1);
        // Two sides of the places of both: 1 + 1 and 9 + 1.
        assert_eq!(combinations("T: /a/ & /b{9}/"), 12 * 12);
        assert_eq!(combinations("T: (/a/ & /b{9}/){3,4}"), 48 * 48);
        assert!(combinations("T: /a{1000}/ & /b{1000}/ & /c{1000}/") > 1 << 30);
        assert_eq!(combinations("T: /a\\/&/"), 1);
        assert_eq!(combinations("T: \"a"), 1);
    }
}
