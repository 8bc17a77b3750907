//! What a linear tagger looks at: for every word of a text, the fingerprints of what it and its neighbours look like.
//!
//! A feature is a 64-bit fingerprint of its kind and of what it holds. Words are looked at in lower case; how they were
//! written is a feature of its own, their *shape*.

use crate::tagger::cut::{cut, end_of};

/// Words that are read of a text; the rest is not looked at.
pub(crate) const WORDS_MAX: usize = 1024;
/// Words of a context that are looked at, up to its end, where a question stands.
const CONTEXT_WORDS_MAX: usize = 32;
/// Words of a text that are told to all others.
const TOLD_WORDS_MAX: usize = 48;
/// Words of a line, from its first, that are told to the words of the next line and, a few, to those of its own.
const LINE_WORDS_MAX: usize = 6;
const OWN_LINE_WORDS_MAX: usize = 2;
/// Lines that are counted from the top and from the bottom.
const LINES_MAX: usize = 15;
/// The longest beginning and ending of a word that is a feature, in characters.
const AFFIX_CHARS_MAX: usize = 4;

/// A text's words and what is to be seen of them.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Where every word begins and ends, in bytes.
    pub(crate) words: Vec<(usize, usize)>,
    /// The features of all words, one word after the other.
    pub(crate) features: Vec<u64>,
    /// Where each word's features end.
    pub(crate) ends: Vec<u32>,
    /// The features that all words share: what the text and its context are about, as far as their words say so.
    pub(crate) of_text: Vec<u64>,
    /// Whether the text has no more words than are read.
    pub(crate) is_whole: bool,
    looks: Vec<Look>,
    /// Which line each word is on; empty for a text of one line.
    lines: Vec<u32>,
    /// The word that begins each line.
    line_starts: Vec<usize>,
    context: Vec<u64>,
    lower: String,
}

/// What one word looks like.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    word: u64,
    shape: u64,
    starts: [u64; AFFIX_CHARS_MAX],
    ends: [u64; AFFIX_CHARS_MAX],
}

/// Stands for what is before the first word and after the last.
const EDGE: Look = Look { word: 1, shape: 2, starts: [0; AFFIX_CHARS_MAX], ends: [0; AFFIX_CHARS_MAX] };

impl Seen {
    /// Looks at a text; what was seen before is forgotten.
    pub(crate) fn look(&mut self, text: &str, context: &str) {
        self.words.clear();
        self.words.extend(cut(text).take(WORDS_MAX + 1));
        self.is_whole = self.words.len() <= WORDS_MAX;
        self.words.truncate(WORDS_MAX);
        self.looks.clear();
        for (start, end) in &self.words {
            self.looks.push(look_at(&text[*start..*end], &mut self.lower));
        }
        self.read_lines(text);
        self.read_context(context);
        self.of_text.clear();
        let told = self.looks.iter().take(TOLD_WORDS_MAX).map(|look| mix(50, look.word, 0));
        self.of_text.extend(told.chain(self.context.iter().map(|word| mix(61, *word, 0))));
        self.of_text.sort_unstable();
        self.of_text.dedup();
        self.features.clear();
        self.ends.clear();
        for at in 0..self.looks.len() {
            self.describe(at);
            self.ends.push(self.features.len() as u32);
        }
    }

    /// Returns the features of one word.
    pub(crate) fn of_word(&self, word: usize) -> &[u64] {
        let start = word.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.features[start..self.ends[word] as usize]
    }

    /// Returns the fingerprint of the word itself, by which a word that was never seen shows.
    pub(crate) fn own(&self, word: usize) -> u64 {
        mix(1, self.looks[word].word, 0)
    }

    fn read_lines(&mut self, text: &str) {
        self.lines.clear();
        self.line_starts.clear();
        let mut before = self.words.first().map_or(0, |(start, _)| *start);
        for (word, (start, end)) in self.words.iter().enumerate() {
            if word == 0 || text[before..*start].contains('\n') {
                self.line_starts.push(word);
            }
            self.lines.push(self.line_starts.len() as u32 - 1);
            before = *end;
        }
        if self.line_starts.len() == 1 {
            self.lines.clear();
        }
    }

    fn read_context(&mut self, context: &str) {
        self.context.clear();
        let context = end_of(context);
        let words: Vec<(usize, usize)> = cut(context).collect();
        for (start, end) in &words[words.len().saturating_sub(CONTEXT_WORDS_MAX)..] {
            self.context.push(look_at(&context[*start..*end], &mut self.lower).word);
        }
        let whole = self.context.iter().fold(0, |whole, word| mix(60, whole, *word));
        self.context.sort_unstable();
        self.context.dedup();
        self.context.push(whole);
    }

    /// Adds the features of one word.
    fn describe(&mut self, at: usize) {
        let look = |offset: isize| {
            at.checked_add_signed(offset).and_then(|place| self.looks.get(place)).copied().unwrap_or(EDGE)
        };
        let [far_before, before, own, after, far_after] = [-2, -1, 0, 1, 2].map(look);
        let out = &mut self.features;
        let place = if at == 0 { 1 } else { 2 + u64::from(at + 1 == self.looks.len()) };
        out.extend([
            mix(1, own.word, 0),
            mix(2, own.shape, 0),
            mix(3, before.word, 0),
            mix(4, after.word, 0),
            mix(5, far_before.word, 0),
            mix(6, far_after.word, 0),
            mix(7, before.word, own.word),
            mix(8, own.word, after.word),
            mix(9, before.word, after.word),
            mix(10, far_before.word, before.word),
            mix(11, after.word, far_after.word),
            mix(12, before.shape, own.shape),
            mix(13, own.shape, after.shape),
            mix(14, mix(0, before.word, own.word), after.word),
            mix(15, mix(0, far_before.word, before.word), own.shape),
            mix(16, place, 0),
            mix(17, before.word, own.shape),
            mix(18, after.word, own.shape),
            mix(19, before.ends[2], 0),
            mix(20, after.ends[2], 0),
            mix(21, before.shape, mix(0, own.shape, after.shape)),
        ]);
        let affixes = own.starts.iter().zip(&own.ends).enumerate();
        for (length, (start, end)) in affixes.filter(|(_, (start, _))| **start != 0) {
            out.extend([mix(30 + length as u64, *start, 0), mix(40 + length as u64, *end, 0)]);
        }
        if let Some(line) = self.lines.get(at) {
            describe_line(&self.looks, &self.line_starts, (at, *line as usize), out);
        }
        for word in &self.context {
            out.extend([mix(62, *word, own.shape), mix(63, *word, own.word)]);
        }
    }
}

/// Adds what a word's line and the one above say of it.
fn describe_line(looks: &[Look], starts: &[usize], (at, line): (usize, usize), out: &mut Vec<u64>) {
    let words = |line: usize| starts[line]..starts.get(line + 1).copied().unwrap_or(looks.len());
    let (own, shape) = (words(line), looks[at].shape);
    let edges = u64::from(own.start == at) + 2 * u64::from(own.end == at + 1);
    let (top, bottom) = (line.min(LINES_MAX) as u64, (starts.len() - 1 - line).min(LINES_MAX) as u64);
    out.extend([
        mix(70, edges, shape),
        mix(71, top, 0),
        mix(72, bottom, 0),
        mix(73, top, edges),
        mix(74, own.len() as u64, edges),
        mix(75, looks[own.start].word, edges),
    ]);
    out.extend(looks[own].iter().take(OWN_LINE_WORDS_MAX).map(|look| mix(76, look.word, shape)));
    let above = line.checked_sub(1).map_or(0..0, words);
    out.extend(looks[above].iter().take(LINE_WORDS_MAX).map(|look| mix(77, look.word, shape)));
}

fn look_at(word: &str, lower: &mut String) -> Look {
    lower.clear();
    lower.extend(word.chars().flat_map(char::to_lowercase));
    let mut look = Look { word: hash(lower), shape: shape(word), ..Look::default() };
    let mut starts = lower.char_indices().map(|(at, _)| at).skip(1).chain([lower.len()]);
    let mut ends = lower.char_indices().rev().map(|(at, _)| at);
    for length in 0..AFFIX_CHARS_MAX {
        let (Some(start), Some(end)) = (starts.next(), ends.next()) else { break };
        look.starts[length] = hash(&lower[..start]);
        look.ends[length] = hash(&lower[end..]);
    }
    look
}

/// How a word is written: runs of capitals and of small letters as one each, digits up to four, other signs as they are.
fn shape(word: &str) -> u64 {
    let (mut shape, mut run, mut last) = (0, 0, 0);
    for character in word.chars() {
        let kind = match character {
            _ if character.is_numeric() => 1,
            _ if character.is_uppercase() => 2,
            _ if character.is_alphabetic() => 3,
            _ => 4 + u64::from(u32::from(character)),
        };
        run = if kind == last { run + 1 } else { 1 };
        last = kind;
        if run == 1 || (kind == 1 && run <= 4) {
            shape = mix(0, shape, kind);
        }
    }
    shape
}

/// The hash FNV-1a, its bits spread.
fn hash(text: &str) -> u64 {
    let folded = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(0, folded, 0)
}

/// Mixes a kind and two numbers into a fingerprint that is never 0 in practice (the finaliser of SplitMix64).
fn mix(kind: u64, first: u64, second: u64) -> u64 {
    let mixed = first.wrapping_add(kind.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mixed = mixed ^ second.rotate_left(29).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
