//! From a text to the ids that an encoder reads, with the place of every word.

use crate::encoder::TextReader;

use super::cut::cut;

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
    /// Whether there was room for all of the text.
    pub is_whole: bool,
}

/// Returns what an encoder of so many tokens reads. A context never takes more than a quarter of them.
pub fn sequence(tokenizer: &TextReader, text: &str, context: &str, tokens_max: usize) -> Sequence {
    let (mut ids, mut words, mut is_whole) = (vec![tokenizer.start_id()], Vec::new(), true);
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
            is_whole = false;
            break;
        }
        // A word of control characters gives nothing, and nothing is said about it.
        if ids.len() > token {
            words.push(TaggedWord { start, end, token });
        }
    }
    ids.push(tokenizer.end_id());
    Sequence { ids, words, is_whole }
}
