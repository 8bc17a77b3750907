//! Byte positions to lines, columns and the text that a message shows.

use std::ops::Range;

use crate::Excerpt;

/// How many characters of a line are shown.
const SHOWN_MAX: usize = 100;

/// What stands in place of each character of a secret.
const MASK: char = '*';

/// A text with the start of each line, to find line and column of a byte.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Returns the lines of `text`.
    pub(crate) fn new(text: &'a str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    /// Returns the line (from 1) that byte `at` is on; the last one when there is no such byte.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at).max(1)
    }

    /// Returns the column (characters, from 1) of byte `at` in its line.
    pub(crate) fn column(&self, at: usize) -> usize {
        let (start, line) = self.line_text(at);
        line.char_indices().take_while(|(offset, _)| start + offset < at).count() + 1
    }

    /// Returns the first byte of the line that `at` is on, and the line without its break.
    pub(crate) fn line_text(&self, at: usize) -> (usize, &'a str) {
        let number = self.line(at);
        let start = self.starts.get(number - 1).copied().unwrap_or(0);
        let end = self.starts.get(number).copied().unwrap_or(self.text.len());
        (start, self.text.get(start..end).unwrap_or("").trim_end_matches(['\n', '\r']))
    }

    /// Returns the line around `span` for a terminal, with every byte of `secrets` blotted out.
    pub(crate) fn excerpt(&self, span: &Range<usize>, secrets: &[Range<usize>]) -> Excerpt {
        let (start, line) = self.line_text(span.start);
        let offset = self.column(span.start) - 1;
        let covered = line.char_indices().filter(|(at, _)| span.contains(&(start + at))).count();
        let skipped = if offset < SHOWN_MAX * 3 / 4 { 0 } else { offset - SHOWN_MAX / 2 };
        let text: String = line
            .char_indices()
            .skip(skipped)
            .take(SHOWN_MAX)
            .map(|(at, character)| match character {
                _ if secrets.iter().any(|secret| secret.contains(&(start + at))) => MASK,
                '\t' => ' ',
                control if control.is_control() => '\u{fffd}',
                plain => plain,
            })
            .collect();
        let room = text.chars().count().saturating_sub(offset - skipped);
        let length = covered.min(room).max(1);
        Excerpt { text: text.trim_end().to_owned(), offset: offset - skipped, length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, span: Range<usize>, expected: (usize, usize, &str)) {
        let lines = Lines::new(text);
        let excerpt = lines.excerpt(&span, &[]);
        let shown = excerpt.text.as_str();
        assert_eq!((lines.line(span.start), lines.column(span.start), shown), expected);
    }

    #[test]
    fn counts_lines_and_characters_from_one() {
        check("ä = 1\r\nbü = 2\n", 9..11, (2, 2, "bü = 2"));
        check("", 0..0, (1, 1, ""));
        check("a\n", 2..2, (2, 1, ""));
        check("a", 99..120, (1, 2, "a"));
    }

    #[test]
    fn shows_no_control_character() {
        check("a = \u{1b}[31m\tx", 0..1, (1, 1, "a = \u{fffd}[31m x"));
    }

    #[test]
    fn shows_the_part_of_a_long_line_around_the_mistake() {
        let text = format!("{}!{}", "x".repeat(400), "y".repeat(400));
        let excerpt = Lines::new(&text).excerpt(&(400..401), &[]);
        assert_eq!(excerpt.text.chars().nth(excerpt.offset), Some('!'));
        assert_eq!(excerpt.text.len(), SHOWN_MAX);
    }

    #[test]
    fn blots_a_secret_out_to_its_last_byte() {
        let excerpt = Lines::new("k = 'hush'").excerpt(&(0..1), &[4..10, 900..1000]);
        assert_eq!(excerpt.text, "k = ******");
    }
}
