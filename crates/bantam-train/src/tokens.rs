//! The tokenizer of decoders trained from scratch: bytes, and pieces of words that are frequent in the training rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use bantam_weights::{Dtype, NewTensor, NewValue, WriteWeightsError, write_gguf};

/// The chat template of decoders trained from scratch.
const TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] \
                        + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}\
                        {{ '<|im_start|>assistant\\n' }}{% endif %}";
/// Control tokens, after all others: the start of a turn, and its end, which also ends answers.
const CONTROL: [&str; 2] = ["<|im_start|>", "<|im_end|>"];
/// A pair becomes a token if it occurs at least once per this many words. Rarer words stay in pieces, so that unseen
/// words, which consist only of pieces, look like the training words.
const WORDS_PER_OCCURRENCE: u64 = 5_000;
/// The minimum number of occurrences of a pair, however few words there are.
const COUNT_MIN: u64 = 10;

/// A small byte-level BPE vocabulary as in GPT-2: all bytes, merged pairs, and two control tokens.
///
/// White space is never merged with letters. So a word has the same tokens at the start of a text, after a space and
/// within quotes, and copying it means repeating the same tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SmallTokens {
    /// The merged pairs in merge order; the first one has the id 256.
    merges: Vec<(u32, u32)>,
}

impl SmallTokens {
    /// Returns the vocabulary of bytes alone. Texts have three to four times as many tokens as with a large vocabulary.
    pub const fn bytes() -> Self {
        Self { merges: Vec::new() }
    }

    /// Returns a vocabulary with at most `merges_max` merges, the most frequent pairs of `texts`.
    pub fn learn<'t>(texts: impl Iterator<Item = &'t str>, merges_max: usize) -> Self {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        texts.flat_map(words).for_each(|word| *counts.entry(word).or_default() += 1);
        let count_min = (counts.values().sum::<u64>() / WORDS_PER_OCCURRENCE).max(COUNT_MIN);
        let mut words: Vec<(Vec<u32>, u64)> =
            counts.iter().map(|(word, count)| (word.bytes().map(u32::from).collect(), *count)).collect();
        let mut pairs = PairCounts::default();
        for (index, (word, count)) in words.iter().enumerate() {
            pairs.add(index, word, *count);
        }
        let mut merges = Vec::new();
        while merges.len() < merges_max {
            let Some(pair) = pairs.most_frequent(count_min) else { break };
            let token = 256 + merges.len() as u32;
            merges.push(pair);
            for index in pairs.take_words(pair) {
                let (word, count) = &mut words[index];
                pairs.remove(word, *count);
                *word = merged(word, pair, token);
                pairs.add(index, word, *count);
            }
        }
        Self { merges }
    }

    /// Returns the number of tokens.
    pub fn vocabulary(&self) -> usize {
        256 + self.merges.len() + CONTROL.len()
    }

    /// Writes a GGUF file with nothing but the vocabulary, for the engine's tokenizer to read.
    ///
    /// # Errors
    /// [`WriteWeightsError`] if it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), WriteWeightsError> {
        let tensors = [NewTensor { name: "none", dtype: Dtype::F32, shape: &[1], bytes: &[0; 4] }];
        self.with_metadata(|keys| write_gguf(path, keys, &tensors)).map(drop)
    }

    /// Calls `body` with the tokenizer's GGUF metadata.
    pub(crate) fn with_metadata<R>(&self, body: impl FnOnce(&[(&str, NewValue<'_>)]) -> R) -> R {
        let mut names: Vec<String> = (0..=255).map(|byte| character(byte).to_string()).collect();
        let mut merges = Vec::with_capacity(self.merges.len());
        for (left, right) in &self.merges {
            let (left, right) = (names[*left as usize].clone(), names[*right as usize].clone());
            merges.push(format!("{left} {right}"));
            names.push(left + &right);
        }
        let plain = names.len();
        let tokens: Vec<&str> = names.iter().map(String::as_str).chain(CONTROL).collect();
        let merges: Vec<&str> = merges.iter().map(String::as_str).collect();
        // Type 1 is a normal token, type 3 a control token.
        let types: Vec<i32> = (0..tokens.len()).map(|index| if index < plain { 1 } else { 3 }).collect();
        body(&[
            ("tokenizer.ggml.model", NewValue::Text("gpt2")),
            ("tokenizer.ggml.pre", NewValue::Text("gpt-2")),
            ("tokenizer.ggml.tokens", NewValue::Texts(&tokens)),
            ("tokenizer.ggml.token_type", NewValue::I32s(&types)),
            ("tokenizer.ggml.merges", NewValue::Texts(&merges)),
            ("tokenizer.ggml.eos_token_id", NewValue::U32(plain as u32 + 1)),
            ("tokenizer.ggml.add_bos_token", NewValue::Bool(false)),
            ("tokenizer.chat_template", NewValue::Text(TEMPLATE)),
        ])
    }
}

/// How often pairs occur, and in which words.
#[derive(Default)]
struct PairCounts {
    counts: HashMap<(u32, u32), u64>,
    /// The words that have contained a pair; some may no longer do.
    words: HashMap<(u32, u32), BTreeSet<usize>>,
}

impl PairCounts {
    fn add(&mut self, index: usize, word: &[u32], count: u64) {
        for pair in word.windows(2).map(|pair| (pair[0], pair[1])) {
            *self.counts.entry(pair).or_default() += count;
            self.words.entry(pair).or_default().insert(index);
        }
    }

    fn remove(&mut self, word: &[u32], count: u64) {
        for pair in word.windows(2).map(|pair| (pair[0], pair[1])) {
            if let Some(left) = self.counts.get_mut(&pair) {
                *left -= count;
            }
        }
    }

    /// Returns the most frequent pair; ties go to the smallest ids.
    fn most_frequent(&self, count_min: u64) -> Option<(u32, u32)> {
        let frequent = self.counts.iter().filter(|(_, count)| **count >= count_min);
        frequent.max_by_key(|(pair, count)| (**count, std::cmp::Reverse(**pair))).map(|(pair, _)| *pair)
    }

    fn take_words(&mut self, pair: (u32, u32)) -> BTreeSet<usize> {
        self.words.remove(&pair).unwrap_or_default()
    }
}

fn merged(word: &[u32], (left, right): (u32, u32), token: u32) -> Vec<u32> {
    let (mut merged, mut rest) = (Vec::with_capacity(word.len()), word);
    while let Some((first, after)) = rest.split_first() {
        let is_pair = *first == left && after.first() == Some(&right);
        merged.push(if is_pair { token } else { *first });
        rest = if is_pair { &after[1..] } else { after };
    }
    merged
}

/// Splits a text into runs of letters, single digits, and runs of anything else. It splits wherever GPT-2 does, and
/// also between a space and the word after it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    #[derive(PartialEq)]
    enum Class {
        Letter,
        Digit,
        Space,
        Mark,
    }
    let class = |symbol: char| match symbol {
        _ if symbol.is_alphabetic() => Class::Letter,
        _ if symbol.is_numeric() => Class::Digit,
        _ if symbol.is_whitespace() => Class::Space,
        _ => Class::Mark,
    };
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = class(rest.chars().next()?);
        let end = match first {
            Class::Digit => rest.chars().next().map(char::len_utf8),
            // Spaces and the punctuation after them stay together, as in ` "`.
            Class::Space => rest.find(|symbol| !matches!(class(symbol), Class::Space | Class::Mark)),
            _ => rest.find(|symbol| class(symbol) != first),
        };
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        Some(word)
    })
}

/// Returns the character that represents a byte in GPT-2's vocabulary: the byte itself if it is printable, and
/// otherwise the next free character from 256 on.
fn character(byte: u8) -> char {
    let is_printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if is_printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|byte| !is_printable(*byte)).count() as u32;
    char::from_u32(256 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use bantam_weights::{EncodeOptions, Tokenizer};

    use super::*;

    fn tokenizer(tokens: &SmallTokens) -> Tokenizer {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.gguf");
        tokens.write(&path).unwrap();
        Tokenizer::open(&path).unwrap()
    }

    fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
        tokenizer.encode(text, EncodeOptions { add_special: false, parse_special: false })
    }

    #[test]
    fn bytes_map_to_gpt_2_s_characters() {
        assert_eq!(
            [0, b'\n', b' ', b'A', 0x7f, 0xad, 0xff].map(character),
            ['Ā', 'Ċ', 'Ġ', 'A', 'ġ', 'Ń', 'ÿ']
        );
    }

    #[test]
    fn a_frequent_word_is_one_token_in_every_context() {
        let text = "two lamps {\"product\": \"lamp\", \"count\": 12}";
        let learnt = SmallTokens::learn(std::iter::repeat_n(text, 20), 512);
        let tokenizer = tokenizer(&learnt);
        assert_eq!(tokenizer.vocabulary(), learnt.vocabulary());
        let [alone, behind, quoted] = ["lamps", " lamps", "\"lamps"].map(|text| ids(&tokenizer, text));
        assert_eq!(alone.len(), 1);
        assert_eq!((behind.last(), quoted.last()), (alone.last(), alone.last()));
        assert_eq!(ids(&tokenizer, " 12").len(), 3, "digits are not merged");
        assert!(ids(&tokenizer, text).len() < 24, "{:?}", ids(&tokenizer, text));
        // An unseen word still decodes to itself.
        let unseen: Vec<u8> =
            ids(&tokenizer, "Ünseen\n").iter().flat_map(|id| tokenizer.token_bytes(*id).to_vec()).collect();
        assert_eq!(unseen, "Ünseen\n".as_bytes());
    }

    #[test]
    fn rare_words_stay_in_pieces_and_equal_texts_give_equal_vocabularies() {
        assert_eq!(SmallTokens::learn(std::iter::repeat_n("rare", 9), 512), SmallTokens::bytes());
        let texts = ["the cat sat on the mat", "a bat at the hat"];
        let learn = || SmallTokens::learn(texts.into_iter().cycle().take(40), 7);
        assert_eq!(learn(), learn());
        assert_eq!(learn().merges.len(), 7);
    }

    #[test]
    fn texts_are_split_between_letters_digits_spaces_and_punctuation() {
        let found: Vec<&str> = words("Add 12b, \"x\": {}\n ok").collect();
        assert_eq!(found, ["Add", " ", "1", "2", "b", ",", " \"", "x", "\":", " {}\n ", "ok"]);
        assert_eq!(words("").count(), 0);
    }
}
