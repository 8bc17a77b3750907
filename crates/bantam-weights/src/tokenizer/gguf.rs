//! Tokenizers from a GGUF file's metadata.

use std::collections::HashMap;

use super::added::{Added, AddedToken};
use super::bpe::{Bpe, NONE, Start, Unknown, Wholes};
use super::merges::{Merge, Merges};
use super::normalise::Change;
use super::special::{FillInTheMiddle, Special, looks_like_control};
use super::split::{Run, SPACE_MARK, Step};
use super::vocabulary::{Kind, Vocabulary, shown};
use super::words::WordRules;
use super::{Model, Tokenizer, TokenizerError, alphabet};
use crate::metadata::{Metadata, Value};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";

/// Reads and checks everything.
pub(super) fn read(metadata: &Metadata<'_>) -> Result<Tokenizer, TokenizerError> {
    let list = List::read(metadata)?;
    let model = metadata.text(MODEL).ok_or(TokenizerError::Key { key: MODEL })?;
    match model {
        "gpt2" => byte_level(metadata, &list),
        "llama" => by_scores(metadata, &list),
        other => Err(unsupported("model", other)),
    }
}

/// The tokens as the file has them, with their kinds.
struct List<'a> {
    tokens: Vec<&'a str>,
    kinds: Vec<Kind>,
}

impl<'a> List<'a> {
    fn read(metadata: &Metadata<'a>) -> Result<Self, TokenizerError> {
        let tokens: Vec<&str> = metadata.texts(TOKENS).ok_or(TokenizerError::Key { key: TOKENS })?.collect();
        let kinds = match metadata.array(TYPES) {
            None if metadata.get(TYPES).is_some() => return Err(TokenizerError::Key { key: TYPES }),
            None => vec![Kind::Normal; tokens.len()],
            Some(types) => types.iter().map(kind_of).collect::<Result<_, _>>()?,
        };
        check_count(TYPES, kinds.len(), tokens.len())?;
        Ok(Self { tokens, kinds })
    }

    /// The tokens that text may give, by their names.
    fn by_name(&self) -> Result<HashMap<&'a str, u32>, TokenizerError> {
        let mut names = HashMap::with_capacity(self.tokens.len());
        for ((token, kind), id) in self.tokens.iter().zip(&self.kinds).zip(0u32..) {
            if *kind == Kind::Normal && names.insert(*token, id).is_some() {
                return Err(TokenizerError::DuplicateToken { token: shown(token.as_bytes()) });
            }
        }
        Ok(names)
    }

    /// The vocabulary, with each token's bytes as a function gives them for text.
    fn vocabulary(
        &self,
        bytes_of: impl Fn(&str, Kind) -> Result<Vec<u8>, TokenizerError>,
    ) -> Result<Vocabulary, TokenizerError> {
        let mut vocabulary = Vocabulary::new(self.tokens.len())?;
        for ((token, kind), id) in self.tokens.iter().zip(&self.kinds).zip(0u32..) {
            vocabulary.set(id, &bytes_of(token, *kind)?, *kind)?;
        }
        Ok(vocabulary)
    }

    /// The tokens that are found in text as they are written; of two with one text the first.
    fn added(&self, vocabulary: &Vocabulary) -> Vec<AddedToken> {
        let mut seen = std::collections::HashSet::new();
        let tokens = vocabulary.iter().filter_map(|(id, bytes, kind)| {
            let is_control = match kind {
                Kind::Control | Kind::Unknown => true,
                Kind::UserDefined => {
                    self.tokens.get(id as usize).is_some_and(|token| looks_like_control(token))
                }
                _ => return None,
            };
            let text: Box<str> = std::str::from_utf8(bytes).ok()?.into();
            let (is_word, strips_left, strips_right) = (false, false, false);
            Some(AddedToken { id, text, is_control, is_word, strips_left, strips_right })
        });
        tokens.filter(|token| seen.insert(token.text.clone())).collect()
    }
}

fn kind_of(value: Value<'_>) -> Result<Kind, TokenizerError> {
    let number = match value {
        Value::Signed(number) => number,
        Value::Unsigned(number) => number.try_into().unwrap_or(i64::MAX),
        _ => return Err(TokenizerError::Key { key: TYPES }),
    };
    Ok(match number {
        1 => Kind::Normal,
        2 => Kind::Unknown,
        3 => Kind::Control,
        4 => Kind::UserDefined,
        0 | 5 => Kind::Unused,
        6 => Kind::Byte,
        other => return Err(unsupported("token type", &other.to_string())),
    })
}

/// Byte-level merging, as GPT-2 began it.
fn byte_level(metadata: &Metadata<'_>, list: &List<'_>) -> Result<Tokenizer, TokenizerError> {
    let pre = Pre::of(metadata.text(PRE).unwrap_or("default"))?;
    let names = list.by_name()?;
    let vocabulary = list.vocabulary(|token, kind| {
        let is_text = matches!(kind, Kind::Normal | Kind::Unused | Kind::Byte);
        Ok(alphabet::bytes_of(token).filter(|_| is_text).unwrap_or_else(|| token.as_bytes().to_vec()))
    })?;
    let mut table = Box::new([NONE; 256]);
    for (name, &id) in &names {
        if let Some([byte]) = alphabet::bytes_of(name).as_deref() {
            table[usize::from(*byte)] = id;
        }
    }
    let listed = metadata.texts(MERGES).ok_or(TokenizerError::Key { key: MERGES })?;
    let mut merges = Vec::with_capacity(listed.len());
    for (number, text) in listed.enumerate() {
        let wrong = |what| TokenizerError::Merge { number, merge: shown(text.as_bytes()), what };
        let (left, right) = text.split_once(' ').ok_or(wrong("one part"))?;
        let id = |name: &str| names.get(name).copied();
        // A file has fewer than 4 Gi merges: each takes ten bytes.
        let rank = number as u32;
        merges.push(Merge {
            left: id(left).ok_or(wrong("a left part"))?,
            right: id(right).ok_or(wrong("a right part"))?,
            rank,
            id: id(&[left, right].concat()).ok_or(wrong("a result"))?,
        });
    }
    let bpe = Bpe {
        merges: Merges::new(merges),
        start: Start::Bytes(table),
        wholes: pre.takes_wholes.then(|| Wholes::new(&vocabulary)),
        unknown: Unknown::default(),
    };
    let changes = if pre.composes { vec![Change::Nfc] } else { Vec::new() };
    finish(
        metadata,
        list,
        vocabulary,
        Parts { bpe, changes, steps: pre.steps, adds_bos: pre.adds_bos, prefix: false },
    )
}

/// What a GGUF file's name for its way of cutting words means.
struct Pre {
    steps: Vec<Step>,
    /// Tokens are taken whole where a word is one.
    takes_wholes: bool,
    adds_bos: bool,
    /// Whether the model's own tokenizer normalises to NFC, which the file does not say.
    composes: bool,
}

impl Pre {
    fn of(name: &str) -> Result<Self, TokenizerError> {
        let words = |rules| vec![Step::Words(rules)];
        let numbers_apart = || vec![Step::Runs(Run::EachNumber), Step::Words(WordRules::GPT2)];
        let steps = match name {
            "gpt-2" | "phi-2" | "olmo" | "mpt" | "jina-es" | "jina-de" | "roberta-bpe" | "gigachat"
            | "exaone4" => words(WordRules::GPT2),
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "dbrx" | "smaug-bpe" | "lfm2" => {
                words(WordRules::LLAMA3)
            }
            "qwen2" | "deepseek-r1-qwen" | "stablelm2" | "megrez" => words(WordRules::QWEN2),
            "qwen35" => words(WordRules::QWEN35),
            "gpt-4o" | "llama4" => words(WordRules::O200K),
            "tekken" => words(WordRules::TEKKEN),
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "minerva-7b" => numbers_apart(),
            "default" => vec![
                Step::Runs(Run::Punctuation),
                Step::Words(WordRules::GPT2),
                Step::Runs(Run::Numbers),
                Step::Runs(Run::DigitTriples),
            ],
            other => return Err(unsupported("pre-tokenizer", other)),
        };
        let takes_wholes =
            matches!(name, "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "tekken" | "lfm2");
        let composes = matches!(name, "qwen2" | "qwen35" | "deepseek-r1-qwen" | "megrez");
        let adds_bos = matches!(name, "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "tekken" | "lfm2");
        Ok(Self { steps, takes_wholes, adds_bos, composes })
    }
}

/// Longer tokens would make the list of ways to merge them long; real ones have a few dozen bytes.
const TOKEN_BYTES_MAX: usize = 1024;

/// Merging by scores, as SentencePiece does: of all pairs that make a token, the one with the best score.
fn by_scores(metadata: &Metadata<'_>, list: &List<'_>) -> Result<Tokenizer, TokenizerError> {
    let names = list.by_name()?;
    if let Some(name) = names.keys().find(|name| name.len() > TOKEN_BYTES_MAX) {
        return Err(unsupported("long token", name));
    }
    let scores = scores(metadata, list.tokens.len())?;
    let vocabulary = list.vocabulary(|token, kind| match kind {
        Kind::Byte => Ok(vec![byte_name(token).ok_or_else(|| unsupported("byte token", token))?]),
        _ => Ok(token.replace(SPACE_MARK, " ").into_bytes()),
    })?;
    let mut bytes = Box::new([NONE; 256]);
    for (id, token, _) in vocabulary.iter().filter(|(_, _, kind)| *kind == Kind::Byte) {
        if let [byte] = token {
            bytes[usize::from(*byte)] = id;
        }
    }
    let unknown = metadata.u32("tokenizer.ggml.unknown_token_id");
    let id = unknown.map(|id| vocabulary.require("unknown token", u64::from(id))).transpose()?;
    let characters = Characters::of(&names, list.tokens.len());
    let merges = characters.merges(&names, &scores);
    let has_bytes = bytes.iter().any(|&id| id != NONE);
    let bpe = Bpe {
        merges: Merges::new(merges),
        start: characters.start(&names),
        wholes: None,
        unknown: Unknown { bytes: has_bytes.then_some(bytes), id, is_fused: false },
    };
    let prefix = metadata.bool("tokenizer.ggml.add_space_prefix").unwrap_or(true);
    let mut changes = vec![Change::Replace { from: " ".into(), to: SPACE_MARK.to_string().into() }];
    if prefix {
        changes.push(Change::Prepend(SPACE_MARK.to_string().into()));
    }
    finish(metadata, list, vocabulary, Parts { bpe, changes, steps: Vec::new(), adds_bos: true, prefix })
}

fn scores(metadata: &Metadata<'_>, tokens: usize) -> Result<Vec<f32>, TokenizerError> {
    let wrong = || TokenizerError::Key { key: SCORES };
    let array = metadata.array(SCORES).ok_or_else(wrong)?;
    check_count(SCORES, array.len(), tokens)?;
    let float = |value| match value {
        Value::Float(score) if score.is_finite() => Ok(score as f32),
        _ => Err(wrong()),
    };
    array.iter().map(float).collect()
}

/// The byte that a token like `<0x0A>` stands for.
pub(super) fn byte_name(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}

/// The characters of all tokens: those that are tokens, and those that are only a part of one.
struct Characters {
    tokens: HashMap<char, u32>,
    borrowed: Vec<char>,
}

impl Characters {
    fn of(names: &HashMap<&str, u32>, ids: usize) -> Self {
        let mut all: Vec<char> = names.keys().flat_map(|name| name.chars()).collect();
        all.sort_unstable();
        all.dedup();
        let (mut tokens, mut borrowed) = (HashMap::new(), Vec::new());
        for character in all {
            let id = names.get(character.encode_utf8(&mut [0; 4]) as &str).copied().unwrap_or_else(|| {
                borrowed.push(character);
                // Both are few: ids by their limit, characters by Unicode's.
                (ids + borrowed.len() - 1) as u32
            });
            tokens.insert(character, id);
        }
        Self { tokens, borrowed }
    }

    /// Every way in which two tokens or characters make a token, in the order of the scores.
    fn merges(&self, names: &HashMap<&str, u32>, scores: &[f32]) -> Vec<Merge> {
        let mut order: Vec<(&str, u32)> = names.iter().map(|(name, id)| (*name, *id)).collect();
        let score = |id: u32| scores.get(id as usize).copied().unwrap_or(f32::MIN);
        order.sort_unstable_by(|a, b| score(b.1).total_cmp(&score(a.1)).then(a.1.cmp(&b.1)));
        let part = |text: &str| {
            let mut characters = text.chars();
            match (characters.next(), characters.next()) {
                (Some(one), None) => self.tokens.get(&one).copied(),
                _ => names.get(text).copied(),
            }
        };
        let (mut merges, mut rank, mut last) = (Vec::new(), 0, None);
        for (name, id) in order {
            // Equal scores have equal ranks, so that the leftmost goes first.
            rank += u32::from(last.is_some_and(|last| last != score(id)));
            last = Some(score(id));
            for (at, _) in name.char_indices().skip(1) {
                let (left, right) = name.split_at(at);
                if let Some((left, right)) = part(left).zip(part(right)) {
                    merges.push(Merge { left, right, rank, id });
                }
            }
        }
        merges
    }

    fn start(&self, names: &HashMap<&str, u32>) -> Start {
        let mut ascii = Box::new([NONE; 128]);
        let mut others = Vec::new();
        for (&character, &id) in &self.tokens {
            match ascii.get_mut(character as usize) {
                Some(slot) => *slot = id,
                None => others.push((character, id)),
            }
        }
        others.sort_unstable();
        let is_cut = names.keys().all(|name| !name.trim_start_matches(SPACE_MARK).contains(SPACE_MARK));
        Start::Characters { ascii, others, borrowed: self.borrowed.clone(), is_cut }
    }
}

struct Parts {
    bpe: Bpe,
    changes: Vec<Change>,
    steps: Vec<Step>,
    adds_bos: bool,
    prefix: bool,
}

fn finish(
    metadata: &Metadata<'_>,
    list: &List<'_>,
    mut vocabulary: Vocabulary,
    parts: Parts,
) -> Result<Tokenizer, TokenizerError> {
    let added = list.added(&vocabulary);
    for token in added.iter().filter(|token| token.is_control) {
        if vocabulary.kind(token.id) == Kind::UserDefined {
            vocabulary.set_kind(token.id, Kind::Control);
        }
    }
    let special = special(metadata, &added, &vocabulary)?;
    let flag = |key, default| metadata.bool(key).unwrap_or(default);
    let bos = special.bos.filter(|_| flag("tokenizer.ggml.add_bos_token", parts.adds_bos));
    let eos =
        id(metadata, "tokenizer.ggml.eos_token_id").filter(|_| flag("tokenizer.ggml.add_eos_token", false));
    Ok(Tokenizer {
        vocabulary,
        added: Added::new(added)?,
        added_normalised: Added::new(Vec::new())?,
        changes: parts.changes,
        steps: parts.steps,
        model: Model::Bpe(parts.bpe),
        before: bos.into_iter().collect(),
        after: eos.into_iter().collect(),
        has_prefix_space: parts.prefix,
        special,
        chat_template: metadata.text("tokenizer.chat_template").map(str::to_owned),
    })
}

/// The id of a key; that of none is written as the largest number.
fn id(metadata: &Metadata<'_>, key: &str) -> Option<u32> {
    metadata.u32(key).filter(|&id| id != u32::MAX)
}

fn special(
    metadata: &Metadata<'_>,
    added: &[AddedToken],
    vocabulary: &Vocabulary,
) -> Result<Special, TokenizerError> {
    let named = |key: &str| id(metadata, &format!("tokenizer.ggml.{key}_token_id"));
    let either = |first: &str, second: &str| named(first).or_else(|| named(second));
    let middle = || {
        Some(FillInTheMiddle {
            prefix: either("fim_pre", "prefix")?,
            suffix: either("fim_suf", "suffix")?,
            middle: either("fim_mid", "middle")?,
        })
    };
    let mut special = Special {
        bos: named("bos"),
        eos: ["eos", "eot", "eom"].iter().filter_map(|key| named(key)).collect(),
        pad: named("padding"),
        fill_in_the_middle: middle(),
    };
    special.add_known(added);
    special.check(vocabulary)?;
    Ok(special)
}

fn check_count(key: &'static str, found: usize, expected: usize) -> Result<(), TokenizerError> {
    if found == expected { Ok(()) } else { Err(TokenizerError::Count { key, found, expected }) }
}

pub(super) fn unsupported(what: &'static str, found: &str) -> TokenizerError {
    TokenizerError::Unsupported { what, found: shown(found.as_bytes()) }
}
