//! Splits a text into the sequences of ids that an encoder reads, with the position of every word.

use crate::encoder::TextReader;

use super::cut::{end_of, word_spans};

/// The most windows of a text that are read.
const WINDOWS_MAX: usize = 32;

/// A word of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaggedWord {
    /// Its first byte in the text.
    pub start: usize,
    /// The byte after its last one.
    pub end: usize,
    /// The index of its first id.
    pub token: usize,
}

/// A sequence that an encoder reads at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// `[CLS]`, the context and `[SEP]` if there is a context, a part of the text, `[SEP]`.
    pub ids: Vec<u32>,
    /// The words that are tagged in this sequence. It may also show words before and after them, which other sequences
    /// tag.
    pub words: Vec<TaggedWord>,
}

/// The sequences in which an encoder reads a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// One sequence if the text fits, otherwise several that overlap by a quarter. Each word is tagged in the sequence
    /// that shows more of its neighbours on both sides. Never empty.
    pub sequences: Vec<Sequence>,
    /// Whether they cover all of the text.
    pub is_whole: bool,
}

impl Windows {
    /// Returns the tagged words, in the text's order.
    pub fn words(&self) -> impl Iterator<Item = &TaggedWord> {
        self.sequences.iter().flat_map(|sequence| &sequence.words)
    }
}

/// Returns the sequences that an encoder with `tokens_max` tokens reads. A context takes at most a quarter of them; of
/// a longer one only the end is kept, where a question usually is.
pub fn windows(tokenizer: &TextReader, text: &str, context: &str, tokens_max: usize) -> Windows {
    let mut before = vec![tokenizer.start_id()];
    if !context.trim().is_empty() {
        let mut context_ids = Vec::new();
        tokenizer.append(end_of(context), &mut context_ids);
        let kept = context_ids.len().min((tokens_max / 4).saturating_sub(1));
        before.extend_from_slice(&context_ids[context_ids.len() - kept..]);
        before.push(tokenizer.end_id());
    }
    let room = tokens_max.saturating_sub(before.len() + 1).max(1);
    let (mut ids, mut words) = (Vec::new(), Vec::new());
    for (start, end) in word_spans(text) {
        let token = ids.len();
        tokenizer.append_word(text, (start, end), &mut ids);
        ids.truncate(token + room);
        if token > WINDOWS_MAX * room {
            // More than all windows can show, so the text is not read completely.
            break;
        }
        // A word of control characters has no ids and is skipped.
        if ids.len() > token {
            words.push(TaggedWord { start, end, token });
        }
    }
    let parts = parts(&words, ids.len(), room);
    let is_whole = parts.last().is_none_or(|part| part.shown.1 == words.len());
    let sequence = |part: &WindowWords| {
        let token_of = |word: usize| words.get(word).map_or(ids.len(), |word| word.token);
        let (first, end) = (token_of(part.shown.0), token_of(part.shown.1));
        let mut shown = before.clone();
        shown.extend_from_slice(&ids[first..end]);
        shown.push(tokenizer.end_id());
        let shifted = |word: &TaggedWord| TaggedWord { token: word.token - first + before.len(), ..*word };
        Sequence { ids: shown, words: words[part.tagged.0..part.tagged.1].iter().map(shifted).collect() }
    };
    Windows { sequences: parts.iter().map(sequence).collect(), is_whole }
}

/// The words of one window, as half-open ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WindowWords {
    /// The words that the window shows.
    shown: (usize, usize),
    /// The words that are tagged in this window.
    tagged: (usize, usize),
}

fn parts(words: &[TaggedWord], tokens: usize, room: usize) -> Vec<WindowWords> {
    let token_of = |word: usize| words.get(word).map_or(tokens, |word| word.token);
    let mut parts: Vec<WindowWords> = Vec::new();
    let mut first = 0;
    while parts.len() < WINDOWS_MAX {
        let end = (first + 1..=words.len()).take_while(|end| token_of(*end) - token_of(first) <= room).last();
        let end = end.unwrap_or(words.len());
        let shown = (first, end);
        let tagged = match parts.last_mut() {
            Some(before) => {
                let middle = (token_of(first) + token_of(before.shown.1)) / 2;
                let from = (first..before.shown.1).find(|word| token_of(*word) >= middle);
                before.tagged.1 = from.unwrap_or(before.shown.1);
                (before.tagged.1, end)
            }
            None => shown,
        };
        parts.push(WindowWords { shown, tagged });
        if end >= words.len() {
            break;
        }
        let far = |word: &usize| token_of(end) - token_of(*word) <= room / 4;
        first = (first + 1..end).find(far).unwrap_or(end);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(lengths: &[usize]) -> (Vec<TaggedWord>, usize) {
        let mut token = 0;
        let words = lengths.iter().enumerate().map(|(at, length)| {
            let word = TaggedWord { start: 2 * at, end: 2 * at + 1, token };
            token += length;
            word
        });
        (words.collect(), token)
    }

    #[test]
    fn a_text_that_fits_is_one_window() {
        for lengths in [&[][..], &[3], &[1, 2, 3, 4]] {
            let (words, tokens) = words(lengths);
            let whole = (0, words.len());
            assert_eq!(parts(&words, tokens, 10), [WindowWords { shown: whole, tagged: whole }]);
        }
    }

    #[test]
    fn a_long_text_has_overlapping_windows_and_every_word_is_tagged_once() {
        for room in [4, 7, 16, 50] {
            let lengths: Vec<usize> = (0..90).map(|at| 1 + at % 4).collect();
            let (words, tokens) = words(&lengths);
            let parts = parts(&words, tokens, room);
            assert!(parts.len() > 1);
            let mut next = 0;
            for part in &parts {
                assert_eq!(part.tagged.0, next, "{parts:?}");
                next = part.tagged.1;
                assert!(part.shown.0 <= part.tagged.0 && part.tagged.1 <= part.shown.1);
                let tokens = lengths[part.shown.0..part.shown.1].iter().sum::<usize>();
                assert!(tokens <= room, "{tokens} > {room}");
            }
            assert!(next == words.len() || parts.len() == WINDOWS_MAX);
            if room == 16 {
                let overlaps = parts.windows(2).all(|pair| pair[1].shown.0 < pair[0].shown.1);
                assert!(overlaps && parts[1].tagged.0 > parts[1].shown.0, "{parts:?}");
            }
        }
    }
}
