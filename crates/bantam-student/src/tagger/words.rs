//! From a text to the ids that an encoder reads, with the place of every word.

use crate::encoder::TextReader;

use super::cut::{cut, end_of};

/// Windows that are read of a text; the rest is not looked at.
const WINDOWS_MAX: usize = 32;

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

/// What an encoder reads of a text at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// `[CLS]`, the context and `[SEP]` where there is one, some of the text, `[SEP]`.
    pub ids: Vec<u32>,
    /// The words that are judged here. Further ones, which another sequence judges, may stand before and after them.
    pub words: Vec<TaggedWord>,
}

/// What an encoder reads of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// One sequence where the text fits into it, otherwise several that overlap by a quarter: each word is judged in the
    /// one that shows more of what stands on both sides of it. Never empty.
    pub sequences: Vec<Sequence>,
    /// Whether that is all of the text.
    pub is_whole: bool,
}

impl Windows {
    /// Returns the words of the text that are judged, in its order.
    pub fn words(&self) -> impl Iterator<Item = &TaggedWord> {
        self.sequences.iter().flat_map(|sequence| &sequence.words)
    }
}

/// Returns what an encoder of so many tokens reads. A context never takes more than a quarter of them: its end, where a
/// question stands.
pub fn windows(tokenizer: &TextReader, text: &str, context: &str, tokens_max: usize) -> Windows {
    let mut before = vec![tokenizer.start_id()];
    if !context.trim().is_empty() {
        let mut said = Vec::new();
        tokenizer.append(end_of(context), &mut said);
        let kept = said.len().min((tokens_max / 4).saturating_sub(1));
        before.extend_from_slice(&said[said.len() - kept..]);
        before.push(tokenizer.end_id());
    }
    let room = tokens_max.saturating_sub(before.len() + 1).max(1);
    let (mut ids, mut words) = (Vec::new(), Vec::new());
    for (start, end) in cut(text) {
        let token = ids.len();
        tokenizer.append_word(text, (start, end), &mut ids);
        ids.truncate(token + room);
        if token > WINDOWS_MAX * room {
            // More than all windows show, so that the text is known not to be read whole.
            break;
        }
        // A word of control characters gives nothing, and nothing is said about it.
        if ids.len() > token {
            words.push(TaggedWord { start, end, token });
        }
    }
    let parts = parts(&words, ids.len(), room);
    let is_whole = parts.last().is_none_or(|part| part.shown.1 == words.len());
    let sequence = |part: &Part| {
        let token_of = |word: usize| words.get(word).map_or(ids.len(), |word| word.token);
        let (first, end) = (token_of(part.shown.0), token_of(part.shown.1));
        let mut shown = before.clone();
        shown.extend_from_slice(&ids[first..end]);
        shown.push(tokenizer.end_id());
        let place = |word: &TaggedWord| TaggedWord { token: word.token - first + before.len(), ..*word };
        Sequence { ids: shown, words: words[part.judged.0..part.judged.1].iter().map(place).collect() }
    };
    Windows { sequences: parts.iter().map(sequence).collect(), is_whole }
}

/// Words of one sequence: from one, to before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    shown: (usize, usize),
    judged: (usize, usize),
}

fn parts(words: &[TaggedWord], tokens: usize, room: usize) -> Vec<Part> {
    let token_of = |word: usize| words.get(word).map_or(tokens, |word| word.token);
    let mut parts: Vec<Part> = Vec::new();
    let mut first = 0;
    while parts.len() < WINDOWS_MAX {
        let end = (first + 1..=words.len()).take_while(|end| token_of(*end) - token_of(first) <= room).last();
        let end = end.unwrap_or(words.len());
        let shown = (first, end);
        let judged = match parts.last_mut() {
            Some(before) => {
                let middle = (token_of(first) + token_of(before.shown.1)) / 2;
                let from = (first..before.shown.1).find(|word| token_of(*word) >= middle);
                before.judged.1 = from.unwrap_or(before.shown.1);
                (before.judged.1, end)
            }
            None => shown,
        };
        parts.push(Part { shown, judged });
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
    fn a_text_that_fits_is_shown_whole() {
        for lengths in [&[][..], &[3], &[1, 2, 3, 4]] {
            let (words, tokens) = words(lengths);
            let whole = (0, words.len());
            assert_eq!(parts(&words, tokens, 10), [Part { shown: whole, judged: whole }]);
        }
    }

    #[test]
    fn a_long_text_is_shown_in_parts_that_overlap_and_every_word_is_judged_once() {
        for room in [4, 7, 16, 50] {
            let lengths: Vec<usize> = (0..90).map(|at| 1 + at % 4).collect();
            let (words, tokens) = words(&lengths);
            let parts = parts(&words, tokens, room);
            assert!(parts.len() > 1);
            let mut next = 0;
            for part in &parts {
                assert_eq!(part.judged.0, next, "{parts:?}");
                next = part.judged.1;
                assert!(part.shown.0 <= part.judged.0 && part.judged.1 <= part.shown.1);
                let tokens = lengths[part.shown.0..part.shown.1].iter().sum::<usize>();
                assert!(tokens <= room, "{tokens} > {room}");
            }
            assert!(next == words.len() || parts.len() == WINDOWS_MAX);
            if room == 16 {
                let overlaps = parts.windows(2).all(|pair| pair[1].shown.0 < pair[0].shown.1);
                assert!(overlaps && parts[1].judged.0 > parts[1].shown.0, "{parts:?}");
            }
        }
    }
}
