//! The features of a linear tagger: for every word of a text, fingerprints of the word and its neighbours.
//!
//! A feature is a 64-bit fingerprint of its kind and content. Words are compared in lower case; their spelling
//! (capitals, digits) is a separate feature, the *shape*.

use crate::tagger::cut::{end_of, word_spans};

/// The most words of a text that are read.
pub(crate) const WORDS_MAX: usize = 1024;
/// The most words of a context that are read, from its end, where a question usually is.
const CONTEXT_WORDS_MAX: usize = 32;
/// The words of a text that are features of all its words.
const SHARED_WORDS_MAX: usize = 48;
/// The first words of a line that are features of the next line's words, and of its own words.
const LINE_WORDS_MAX: usize = 6;
const OWN_LINE_WORDS_MAX: usize = 2;
/// Line numbers from the top and the bottom are capped at this.
const LINES_MAX: usize = 15;
/// The longest prefix and suffix of a word that is a feature, in characters.
const AFFIX_CHARS_MAX: usize = 4;

/// The words of a text and their features.
#[derive(Debug, Default)]
pub(crate) struct TextFeatures {
    /// The byte range of every word.
    pub(crate) words: Vec<(usize, usize)>,
    /// The features of all words, one word after the other.
    pub(crate) features: Vec<u64>,
    /// Where each word's features end.
    pub(crate) ends: Vec<u32>,
    /// The features that all words share: the words of the text and its context.
    pub(crate) shared: Vec<u64>,
    /// Whether all words of the text are read.
    pub(crate) is_whole: bool,
    spellings: Vec<Spelling>,
    /// The line of each word; empty for a text of one line.
    lines: Vec<u32>,
    /// The first word of each line.
    line_starts: Vec<usize>,
    context: Vec<u64>,
    lower: String,
}

/// The fingerprints of one word.
#[derive(Debug, Clone, Copy, Default)]
struct Spelling {
    word: u64,
    shape: u64,
    starts: [u64; AFFIX_CHARS_MAX],
    ends: [u64; AFFIX_CHARS_MAX],
}

/// The neighbour before the first word and after the last.
const EDGE: Spelling =
    Spelling { word: 1, shape: 2, starts: [0; AFFIX_CHARS_MAX], ends: [0; AFFIX_CHARS_MAX] };

impl TextFeatures {
    /// Replaces the content with the features of a text in a context.
    pub(crate) fn set(&mut self, text: &str, context: &str) {
        self.words.clear();
        self.words.extend(word_spans(text).take(WORDS_MAX + 1));
        self.is_whole = self.words.len() <= WORDS_MAX;
        self.words.truncate(WORDS_MAX);
        self.spellings.clear();
        for (start, end) in &self.words {
            self.spellings.push(spelling(&text[*start..*end], &mut self.lower));
        }
        self.read_lines(text);
        self.read_context(context);
        self.shared.clear();
        let text_words =
            self.spellings.iter().take(SHARED_WORDS_MAX).map(|spelling| mix(50, spelling.word, 0));
        self.shared.extend(text_words.chain(self.context.iter().map(|word| mix(61, *word, 0))));
        self.shared.sort_unstable();
        self.shared.dedup();
        self.features.clear();
        self.ends.clear();
        for at in 0..self.spellings.len() {
            self.add_word(at);
            self.ends.push(self.features.len() as u32);
        }
    }

    /// Returns the features of one word.
    pub(crate) fn of_word(&self, word: usize) -> &[u64] {
        let start = word.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.features[start..self.ends[word] as usize]
    }

    /// Returns the fingerprint of the word itself, which is unknown if training never saw the word.
    pub(crate) fn own(&self, word: usize) -> u64 {
        mix(1, self.spellings[word].word, 0)
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
        let words: Vec<(usize, usize)> = word_spans(context).collect();
        for (start, end) in &words[words.len().saturating_sub(CONTEXT_WORDS_MAX)..] {
            self.context.push(spelling(&context[*start..*end], &mut self.lower).word);
        }
        let whole = self.context.iter().fold(0, |whole, word| mix(60, whole, *word));
        self.context.sort_unstable();
        self.context.dedup();
        self.context.push(whole);
    }

    /// Adds the features of one word.
    fn add_word(&mut self, at: usize) {
        let neighbour = |offset: isize| {
            at.checked_add_signed(offset).and_then(|at| self.spellings.get(at)).copied().unwrap_or(EDGE)
        };
        let [far_before, before, own, after, far_after] = [-2, -1, 0, 1, 2].map(neighbour);
        let out = &mut self.features;
        let position = if at == 0 { 1 } else { 2 + u64::from(at + 1 == self.spellings.len()) };
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
            mix(16, position, 0),
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
            add_line(&self.spellings, &self.line_starts, (at, *line as usize), out);
        }
        for word in &self.context {
            out.extend([mix(62, *word, own.shape), mix(63, *word, own.word)]);
        }
    }
}

/// Adds the features from a word's line and the line above.
fn add_line(spellings: &[Spelling], starts: &[usize], (at, line): (usize, usize), out: &mut Vec<u64>) {
    let words = |line: usize| starts[line]..starts.get(line + 1).copied().unwrap_or(spellings.len());
    let (own, shape) = (words(line), spellings[at].shape);
    let edges = u64::from(own.start == at) + 2 * u64::from(own.end == at + 1);
    let (top, bottom) = (line.min(LINES_MAX) as u64, (starts.len() - 1 - line).min(LINES_MAX) as u64);
    out.extend([
        mix(70, edges, shape),
        mix(71, top, 0),
        mix(72, bottom, 0),
        mix(73, top, edges),
        mix(74, own.len() as u64, edges),
        mix(75, spellings[own.start].word, edges),
    ]);
    out.extend(spellings[own].iter().take(OWN_LINE_WORDS_MAX).map(|word| mix(76, word.word, shape)));
    let above = line.checked_sub(1).map_or(0..0, words);
    out.extend(spellings[above].iter().take(LINE_WORDS_MAX).map(|word| mix(77, word.word, shape)));
}

fn spelling(word: &str, lower: &mut String) -> Spelling {
    lower.clear();
    lower.extend(word.chars().flat_map(char::to_lowercase));
    let mut spelling = Spelling { word: hash(lower), shape: shape(word), ..Spelling::default() };
    let mut starts = lower.char_indices().map(|(at, _)| at).skip(1).chain([lower.len()]);
    let mut ends = lower.char_indices().rev().map(|(at, _)| at);
    for length in 0..AFFIX_CHARS_MAX {
        let (Some(start), Some(end)) = (starts.next(), ends.next()) else { break };
        spelling.starts[length] = hash(&lower[..start]);
        spelling.ends[length] = hash(&lower[end..]);
    }
    spelling
}

/// Returns the shape of a word: a run of capitals or of small letters counts as one, digits count up to four, and other
/// characters as themselves.
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

/// Returns the FNV-1a hash with its bits mixed.
fn hash(text: &str) -> u64 {
    let folded = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(0, folded, 0)
}

/// Mixes a kind and two numbers into a fingerprint (by the finaliser of SplitMix64) that is never 0 in practice.
fn mix(kind: u64, first: u64, second: u64) -> u64 {
    let mixed = first.wrapping_add(kind.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mixed = mixed ^ second.rotate_left(29).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
