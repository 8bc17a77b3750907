//! Tokens of decoders that begin from nothing: bytes, and pieces of words that come often in the rows at hand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use bantam_weights::{Dtype, NewTensor, NewValue, WriteWeightsError, write_gguf};

/// The chat template of decoders that begin from nothing.
const TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] \
                        + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}\
                        {{ '<|im_start|>assistant\\n' }}{% endif %}";
/// Control tokens, after all others: the start of a turn, and its end, which ends answers.
const CONTROL: [&str; 2] = ["<|im_start|>", "<|im_end|>"];
/// Words of the rows for each time that a pair must come to become a token. What is rarer stays in pieces, so that
/// words nobody has seen, which are all pieces, look like those that were learnt from.
const WORDS_A_PAIR: u64 = 5_000;
/// And how often it must come at least.
const COUNT_MIN: u64 = 10;

/// A small vocabulary of GPT-2's kind: all bytes, pairs that were merged, and two control tokens.
///
/// White space is never merged with letters. So a word has the same tokens at the beginning of a text, after a space
/// and within quotes, and to copy it is to write the same tokens again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SmallTokens {
    /// The ids that became one, in the order in which they are merged; the first of them has the id 256.
    merges: Vec<(u32, u32)>,
}

impl SmallTokens {
    /// Returns the vocabulary of bytes alone, whose texts are three to four times as long as a large model's.
    pub const fn bytes() -> Self {
        Self { merges: Vec::new() }
    }

    /// Returns a vocabulary with at most `merges_max` pairs, those that come most often in `texts`.
    pub fn learn<'t>(texts: impl Iterator<Item = &'t str>, merges_max: usize) -> Self {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        texts.flat_map(words).for_each(|word| *counts.entry(word).or_default() += 1);
        let count_min = (counts.values().sum::<u64>() / WORDS_A_PAIR).max(COUNT_MIN);
        let mut words: Vec<(Vec<u32>, u64)> =
            counts.iter().map(|(word, count)| (word.bytes().map(u32::from).collect(), *count)).collect();
        let mut pairs = Pairs::default();
        for (index, (word, count)) in words.iter().enumerate() {
            pairs.add(index, word, *count);
        }
        let mut merges = Vec::new();
        while merges.len() < merges_max {
            let Some(pair) = pairs.most(count_min) else { break };
            let token = 256 + merges.len() as u32;
            merges.push(pair);
            for index in pairs.places(pair) {
                let (word, count) = &mut words[index];
                pairs.take(word, *count);
                *word = merged(word, pair, token);
                pairs.add(index, word, *count);
            }
        }
        Self { merges }
    }

    /// Returns how many tokens there are.
    pub fn vocabulary(&self) -> usize {
        256 + self.merges.len() + CONTROL.len()
    }

    /// Writes a file that is nothing but the vocabulary, for the engine's own tokenizer to read.
    ///
    /// # Errors
    /// [`WriteWeightsError`], when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), WriteWeightsError> {
        let tensors = [NewTensor { name: "none", dtype: Dtype::F32, shape: &[1], bytes: &[0; 4] }];
        self.with_metadata(|keys| write_gguf(path, keys, &tensors)).map(drop)
    }

    /// Calls `body` with the metadata keys of the tokenizer, as a GGUF file has them.
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
        // Plain ones, then control tokens.
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

/// How often pairs come, and in which words.
#[derive(Default)]
struct Pairs {
    counts: HashMap<(u32, u32), u64>,
    /// Words that a pair has been in; some may have lost it since.
    places: HashMap<(u32, u32), BTreeSet<usize>>,
}

impl Pairs {
    fn add(&mut self, index: usize, word: &[u32], count: u64) {
        for pair in word.windows(2).map(|pair| (pair[0], pair[1])) {
            *self.counts.entry(pair).or_default() += count;
            self.places.entry(pair).or_default().insert(index);
        }
    }

    fn take(&mut self, word: &[u32], count: u64) {
        for pair in word.windows(2).map(|pair| (pair[0], pair[1])) {
            if let Some(left) = self.counts.get_mut(&pair) {
                *left -= count;
            }
        }
    }

    /// The pair that comes most often; of several the one with the smallest ids.
    fn most(&self, count_min: u64) -> Option<(u32, u32)> {
        let often = self.counts.iter().filter(|(_, count)| **count >= count_min);
        often.max_by_key(|(pair, count)| (**count, std::cmp::Reverse(**pair))).map(|(pair, _)| *pair)
    }

    fn places(&mut self, pair: (u32, u32)) -> BTreeSet<usize> {
        self.places.remove(&pair).unwrap_or_default()
    }
}

fn merged(word: &[u32], (left, right): (u32, u32), token: u32) -> Vec<u32> {
    let (mut made, mut rest) = (Vec::with_capacity(word.len()), word);
    while let Some((first, after)) = rest.split_first() {
        let is_pair = *first == left && after.first() == Some(&right);
        made.push(if is_pair { token } else { *first });
        rest = if is_pair { &after[1..] } else { after };
    }
    made
}

/// Cuts a text into runs of letters, single digits, and runs of anything else. Where GPT-2 cuts, this cuts too, but that
/// it keeps a space before a word.
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
            // A space and the marks behind it are one, as in `, "`.
            Class::Space => rest.find(|symbol| !matches!(class(symbol), Class::Space | Class::Mark)),
            _ => rest.find(|symbol| class(symbol) != first),
        };
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        Some(word)
    })
}

/// The character that stands for a byte in vocabularies of GPT-2's kind: itself where it can be seen, and the ones
/// from 256 on for the others, in their order.
fn character(byte: u8) -> char {
    let is_seen = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if is_seen(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|byte| !is_seen(*byte)).count() as u32;
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
    fn bytes_have_the_characters_that_gpt_2_gave_them() {
        assert_eq!(
            [0, b'\n', b' ', b'A', 0x7f, 0xad, 0xff].map(character),
            ['Ā', 'Ċ', 'Ġ', 'A', 'ġ', 'Ń', 'ÿ']
        );
    }

    #[test]
    fn what_comes_often_is_one_token_wherever_it_stands() {
        let text = "two lamps {\"product\": \"lamp\", \"count\": 12}";
        let learnt = SmallTokens::learn(std::iter::repeat_n(text, 20), 512);
        let tokenizer = tokenizer(&learnt);
        assert_eq!(tokenizer.vocabulary(), learnt.vocabulary());
        let [alone, behind, quoted] = ["lamps", " lamps", "\"lamps"].map(|text| ids(&tokenizer, text));
        assert_eq!(alone.len(), 1);
        assert_eq!((behind.last(), quoted.last()), (alone.last(), alone.last()));
        assert_eq!(ids(&tokenizer, " 12").len(), 3, "digits stay apart");
        assert!(ids(&tokenizer, text).len() < 24, "{:?}", ids(&tokenizer, text));
        // A word that nobody has seen is still all there.
        let unseen: Vec<u8> =
            ids(&tokenizer, "Ünseen\n").iter().flat_map(|id| tokenizer.token_bytes(*id).to_vec()).collect();
        assert_eq!(unseen, "Ünseen\n".as_bytes());
    }

    #[test]
    fn what_is_rare_stays_in_pieces_and_equal_texts_give_equal_tokens() {
        assert_eq!(SmallTokens::learn(std::iter::repeat_n("rare", 9), 512), SmallTokens::bytes());
        let texts = ["the cat sat on the mat", "a bat at the hat"];
        let learn = || SmallTokens::learn(texts.into_iter().cycle().take(40), 7);
        assert_eq!(learn(), learn());
        assert_eq!(learn().merges.len(), 7);
    }

    #[test]
    fn texts_are_cut_between_letters_digits_spaces_and_marks() {
        let found: Vec<&str> = words("Add 12b, \"x\": {}\n ok").collect();
        assert_eq!(found, ["Add", " ", "1", "2", "b", ",", " \"", "x", "\":", " {}\n ", "ok"]);
        assert_eq!(words("").count(), 0);
    }
}
