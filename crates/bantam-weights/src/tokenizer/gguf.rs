//! Tokenizers from a GGUF file's metadata.

mod likely;
mod pre;
mod scores;

use std::collections::HashSet;

use super::added::{Added, AddedToken};
use super::bpe::{Bpe, Unknown, Wholes};
use super::merges::{Merge, Merges};
use super::normalise::Change;
use super::special::{FillInTheMiddle, Special, looks_like_control};
use super::split::{SPACE_MARK, Step};
use super::start::{Names, Start};
use super::vocabulary::{Kind, Vocabulary, shown, unsupported};
use super::{Model, Tokenizer, TokenizerError, alphabet};
use crate::WordPiece;
use crate::metadata::{Metadata, Value};
use pre::Pre;

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
        "llama" => scores::read(metadata, &list),
        "t5" => likely::read(metadata, &list),
        "bert" => word_piece(metadata, &list),
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
    fn by_name(&self) -> Result<Names<'a>, TokenizerError> {
        let mut names = Names::with_capacity(self.tokens.len());
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
        let mut seen = HashSet::new();
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
        start: Start::of_bytes(&names),
        wholes: pre.takes_wholes.then(|| Wholes::new(&vocabulary)),
        unknown: Unknown::default(),
    };
    let changes = if pre.composes { vec![Change::Nfc] } else { Vec::new() };
    let parts = Parts { changes, steps: pre.steps, adds_bos: pre.adds_bos, ..Parts::default() };
    finish(metadata, list, vocabulary, Model::Bpe(bpe), parts)
}

/// What goes with a model.
#[derive(Default)]
struct Parts {
    changes: Vec<Change>,
    steps: Vec<Step>,
    /// What is done where the file does not say it.
    adds_bos: bool,
    adds_eos: bool,
    has_prefix_space: bool,
}

fn finish(
    metadata: &Metadata<'_>,
    list: &List<'_>,
    mut vocabulary: Vocabulary,
    model: Model,
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
    let eos = id(metadata, "tokenizer.ggml.eos_token_id")
        .filter(|_| flag("tokenizer.ggml.add_eos_token", parts.adds_eos));
    Ok(Tokenizer {
        vocabulary,
        added: Added::new(added)?,
        added_normalised: Added::new(Vec::new())?,
        changes: parts.changes,
        steps: parts.steps,
        model,
        before: bos.into_iter().collect(),
        after: eos.into_iter().collect(),
        has_prefix_space: parts.has_prefix_space,
        special,
        chat_template: metadata.text("tokenizer.chat_template").map(str::to_owned),
    })
}

/// BERT's word pieces.
fn word_piece(metadata: &Metadata<'_>, list: &List<'_>) -> Result<Tokenizer, TokenizerError> {
    let model = WordPiece::of_metadata(metadata)?;
    let vocabulary = list.vocabulary(|token, kind| {
        let is_text = kind == Kind::Normal;
        Ok(if is_text { token.replace(SPACE_MARK, " ") } else { token.to_owned() }.into_bytes())
    })?;
    let around = (vec![model.start_id()], vec![model.end_id()]);
    let parts = Parts { has_prefix_space: true, ..Parts::default() };
    let mut tokenizer = finish(metadata, list, vocabulary, Model::WordPiece(model), parts)?;
    (tokenizer.before, tokenizer.after) = around;
    Ok(tokenizer)
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
