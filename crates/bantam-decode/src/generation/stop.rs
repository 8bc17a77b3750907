//! Detects stop strings in the bytes of an answer and releases whole characters.

/// Holds back bytes that could still become a stop string, and incomplete characters. Its output depends only on the
/// bytes, never on token boundaries.
#[derive(Clone, Debug)]
pub(super) struct StopFilter {
    stops: Vec<String>,
    held: Vec<u8>,
    /// Released bytes that are not whole characters yet.
    partial: Vec<u8>,
}

impl StopFilter {
    pub(super) fn new(stops: Vec<String>) -> Self {
        Self { stops, held: Vec::new(), partial: Vec::new() }
    }

    /// Takes bytes, adds releasable text to `text`, and returns the index of the stop string that ends first, or the
    /// longest of several that end together. Discards everything after it.
    pub(super) fn push(&mut self, bytes: &[u8], text: &mut String) -> Option<usize> {
        let mut found = None;
        for byte in bytes {
            self.held.push(*byte);
            let ending =
                self.stops.iter().enumerate().filter(|(_, stop)| self.held.ends_with(stop.as_bytes()));
            found = ending.max_by_key(|(index, stop)| (stop.len(), usize::MAX - index));
            if let Some((_, stop)) = found {
                self.held.truncate(self.held.len() - stop.len());
                break;
            }
        }
        let found = found.map(|(index, _)| index);
        let kept = if found.is_some() { 0 } else { self.undecided() };
        let decided = self.held.len() - kept;
        self.partial.extend(self.held.drain(..decided));
        self.release(text, false);
        found
    }

    /// Releases everything that is held back, at the end of the answer.
    pub(super) fn finish(&mut self, text: &mut String) {
        self.partial.append(&mut self.held);
        self.release(text, true);
    }

    /// Returns the length of the longest suffix of the held bytes that is a prefix of a stop string.
    fn undecided(&self) -> usize {
        let of = |stop: &String| {
            let longest = self.held.len().min(stop.len() - 1);
            (1..=longest).rev().find(|length| self.held.ends_with(&stop.as_bytes()[..*length])).unwrap_or(0)
        };
        self.stops.iter().map(of).max().unwrap_or(0)
    }

    fn release(&mut self, text: &mut String, is_last: bool) {
        let mut shown = 0;
        for chunk in self.partial.utf8_chunks() {
            text.push_str(chunk.valid());
            shown += chunk.valid().len();
            let is_open =
                shown + chunk.invalid().len() == self.partial.len() && is_beginning(chunk.invalid());
            if is_open && !is_last {
                break;
            }
            if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
                shown += chunk.invalid().len();
            }
        }
        self.partial.drain(..shown);
    }
}

/// Returns whether bytes are the incomplete beginning of a character.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds pieces; returns the text released after each and at the end, and the stop string found.
    fn feed(stops: &[&str], pieces: &[&[u8]]) -> (Vec<String>, Option<usize>) {
        let mut filter = StopFilter::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut shown = Vec::new();
        for piece in pieces {
            let mut text = String::new();
            let found = filter.push(piece, &mut text);
            shown.push(text);
            if found.is_some() {
                return (shown, found);
            }
        }
        let mut text = String::new();
        filter.finish(&mut text);
        shown.push(text);
        (shown, None)
    }

    #[test]
    fn a_stop_string_across_tokens_is_never_released() {
        let (shown, found) = feed(&["\n\nUser:"], &[b"Hi.\n", b"\nUs", b"er: what", b"?"]);
        assert_eq!((shown, found), (vec!["Hi.".into(), String::new(), String::new()], Some(0)));
        let (shown, found) = feed(&["\n\nUser:"], &[b"Hi.\n", b"\nUse", b"d up"]);
        assert_eq!(
            (shown, found),
            (vec!["Hi.".into(), String::new(), "\n\nUsed up".into(), String::new()], None)
        );
    }

    #[test]
    fn the_stop_string_that_ends_first_wins_then_the_longest() {
        assert_eq!(feed(&["abcd", "bc"], &[b"xabcd"]), (vec!["xa".into()], Some(1)));
        assert_eq!(feed(&["bc", "abc"], &[b"xabcd"]), (vec!["x".into()], Some(1)));
        assert_eq!(feed(&["aab"], &[b"aaaab"]), (vec!["aa".into()], Some(0)));
    }

    #[test]
    fn characters_are_released_whole_and_invalid_bytes_are_replaced() {
        assert_eq!(feed(&[], &[b"a\xC3", b"\xA9b"]).0, ["a", "\u{e9}b", ""]);
        assert_eq!(feed(&[], &[b"a\xC3", b"b"]).0, ["a", "\u{fffd}b", ""]);
        assert_eq!(feed(&[], &[b"a\xF0\x9F"]).0, ["a", "\u{fffd}"]);
        assert_eq!(feed(&["\u{e9}"], &[b"a\xC3", b"\xA9b"]), (vec!["a".into(), String::new()], Some(0)));
    }

    proptest! {
        #[test]
        fn the_output_does_not_depend_on_token_boundaries(
            text in "[ab\u{e9}]{0,30}",
            stops in prop::collection::vec("[ab\u{e9}]{1,4}", 0..4),
            cuts in prop::collection::vec(1usize..5, 40),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let whole = feed(&stops, &[text.as_bytes()]);
            let mut rest = text.as_bytes();
            let mut pieces = Vec::new();
            for cut in cuts {
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            pieces.push(rest);
            let cut = feed(&stops, &pieces);
            prop_assert_eq!(whole.0.concat(), cut.0.concat());
            prop_assert_eq!(whole.1, cut.1);
            if whole.1.is_none() {
                prop_assert_eq!(whole.0.concat(), text);
            }
        }
    }
}
