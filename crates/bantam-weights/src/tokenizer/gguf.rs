//! Tokenizers from a GGUF file's metadata.

mod pre;
mod scores;
mod unigram;

use std::collections::HashSet;

use super::added::{AddedToken, AddedTokens};
use super::bpe::{Bpe, UnknownTokens, WholeTokens};
use super::merges::{Merge, Merges};
use super::normalise::Normaliser;
use super::special::{FillInTheMiddle, SpecialTokens, looks_like_control};
use super::split::{SPACE_MARK, SplitStep};
use super::start::{InitialTokens, TokenIds};
use super::vocabulary::{TokenKind, Vocabulary, excerpt, unsupported};
use super::{Model, Tokenizer, TokenizerError, alphabet};
use crate::WordPiece;
use crate::metadata::{Metadata, Value};
use pre::PreTokenizer;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";

/// Reads and checks a tokenizer.
pub(super) fn read(metadata: &Metadata<'_>) -> Result<Tokenizer, TokenizerError> {
    let list = TokenList::read(metadata)?;
    let model = metadata.text(MODEL).ok_or(TokenizerError::Key { key: MODEL })?;
    match model {
        "gpt2" => byte_level(metadata, &list),
        "llama" => scores::read(metadata, &list),
        "t5" => unigram::read(metadata, &list),
        "bert" => word_piece(metadata, &list),
        other => Err(unsupported("model", other)),
    }
}

/// The tokens in the file, with their kinds.
struct TokenList<'a> {
    tokens: Vec<&'a str>,
    kinds: Vec<TokenKind>,
}

impl<'a> TokenList<'a> {
    fn read(metadata: &Metadata<'a>) -> Result<Self, TokenizerError> {
        let tokens: Vec<&str> = metadata.texts(TOKENS).ok_or(TokenizerError::Key { key: TOKENS })?.collect();
        let kinds = match metadata.array(TYPES) {
            None if metadata.get(TYPES).is_some() => return Err(TokenizerError::Key { key: TYPES }),
            None => vec![TokenKind::Normal; tokens.len()],
            Some(types) => types.iter().map(kind_of).collect::<Result<_, _>>()?,
        };
        check_count(TYPES, kinds.len(), tokens.len())?;
        Ok(Self { tokens, kinds })
    }

    /// Returns the ids by name of the tokens that text can produce.
    fn by_name(&self) -> Result<TokenIds<'a>, TokenizerError> {
        let mut names = TokenIds::with_capacity(self.tokens.len());
        for ((token, kind), id) in self.tokens.iter().zip(&self.kinds).zip(0u32..) {
            if *kind == TokenKind::Normal && names.insert(*token, id).is_some() {
                return Err(TokenizerError::DuplicateToken { token: excerpt(token.as_bytes()) });
            }
        }
        Ok(names)
    }

    /// Returns the vocabulary. `bytes_of` returns the bytes of a token in text.
    fn vocabulary(
        &self,
        bytes_of: impl Fn(&str, TokenKind) -> Result<Vec<u8>, TokenizerError>,
    ) -> Result<Vocabulary, TokenizerError> {
        let mut vocabulary = Vocabulary::new(self.tokens.len())?;
        for ((token, kind), id) in self.tokens.iter().zip(&self.kinds).zip(0u32..) {
            vocabulary.set(id, &bytes_of(token, *kind)?, *kind)?;
        }
        Ok(vocabulary)
    }

    /// Returns the tokens that are matched literally; of two with the same text, the first.
    fn added(&self, vocabulary: &Vocabulary) -> Vec<AddedToken> {
        let mut seen = HashSet::new();
        let tokens = vocabulary.iter().filter_map(|(id, bytes, kind)| {
            let is_control = match kind {
                TokenKind::Control | TokenKind::Unknown => true,
                TokenKind::UserDefined => {
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

fn kind_of(value: Value<'_>) -> Result<TokenKind, TokenizerError> {
    let number = match value {
        Value::Signed(number) => number,
        Value::Unsigned(number) => number.try_into().unwrap_or(i64::MAX),
        _ => return Err(TokenizerError::Key { key: TYPES }),
    };
    Ok(match number {
        1 => TokenKind::Normal,
        2 => TokenKind::Unknown,
        3 => TokenKind::Control,
        4 => TokenKind::UserDefined,
        0 | 5 => TokenKind::Unused,
        6 => TokenKind::Byte,
        other => return Err(unsupported("token type", &other.to_string())),
    })
}

/// Reads byte-level BPE, introduced by GPT-2.
fn byte_level(metadata: &Metadata<'_>, list: &TokenList<'_>) -> Result<Tokenizer, TokenizerError> {
    let pre = PreTokenizer::of(metadata.text(PRE).unwrap_or("default"))?;
    let names = list.by_name()?;
    let vocabulary = list.vocabulary(|token, kind| {
        let is_text = matches!(kind, TokenKind::Normal | TokenKind::Unused | TokenKind::Byte);
        Ok(alphabet::bytes_of(token).filter(|_| is_text).unwrap_or_else(|| token.as_bytes().to_vec()))
    })?;
    let listed = metadata.texts(MERGES).ok_or(TokenizerError::Key { key: MERGES })?;
    let mut merges = Vec::with_capacity(listed.len());
    for (number, text) in listed.enumerate() {
        let wrong = |what| TokenizerError::Merge { number, merge: excerpt(text.as_bytes()), what };
        let (left, right) = text.split_once(' ').ok_or(wrong("it has only one part"))?;
        let id = |name: &str| names.get(name).copied();
        // A file has fewer than 4 Gi merges, because each takes ten bytes.
        let rank = number as u32;
        merges.push(Merge {
            left: id(left).ok_or(wrong("its left part is not in the vocabulary"))?,
            right: id(right).ok_or(wrong("its right part is not in the vocabulary"))?,
            rank,
            id: id(&[left, right].concat()).ok_or(wrong("its result is not in the vocabulary"))?,
        });
    }
    let bpe = Bpe {
        merges: Merges::new(merges),
        start: InitialTokens::of_bytes(&names),
        whole_tokens: pre.uses_whole_tokens.then(|| WholeTokens::new(&vocabulary)),
        unknown: UnknownTokens::default(),
    };
    let normalisers = if pre.composes { vec![Normaliser::Nfc] } else { Vec::new() };
    let parts =
        TokenizerParts { normalisers, steps: pre.steps, adds_bos: pre.adds_bos, ..TokenizerParts::default() };
    finish(metadata, list, vocabulary, Model::Bpe(bpe), parts)
}

/// The parts of a tokenizer besides its model.
#[derive(Default)]
struct TokenizerParts {
    normalisers: Vec<Normaliser>,
    steps: Vec<SplitStep>,
    /// Used if the file does not specify it.
    adds_bos: bool,
    adds_eos: bool,
    has_prefix_space: bool,
}

fn finish(
    metadata: &Metadata<'_>,
    list: &TokenList<'_>,
    mut vocabulary: Vocabulary,
    model: Model,
    parts: TokenizerParts,
) -> Result<Tokenizer, TokenizerError> {
    let added = list.added(&vocabulary);
    for token in added.iter().filter(|token| token.is_control) {
        if vocabulary.kind(token.id) == TokenKind::UserDefined {
            vocabulary.set_kind(token.id, TokenKind::Control);
        }
    }
    let special = special(metadata, &added, &vocabulary)?;
    let flag = |key, default| metadata.bool(key).unwrap_or(default);
    let bos = special.bos.filter(|_| flag("tokenizer.ggml.add_bos_token", parts.adds_bos));
    let eos = id(metadata, "tokenizer.ggml.eos_token_id")
        .filter(|_| flag("tokenizer.ggml.add_eos_token", parts.adds_eos));
    Ok(Tokenizer {
        vocabulary,
        added: AddedTokens::new(added)?,
        added_normalised: AddedTokens::new(Vec::new())?,
        normalisers: parts.normalisers,
        steps: parts.steps,
        model,
        before: bos.into_iter().collect(),
        after: eos.into_iter().collect(),
        has_prefix_space: parts.has_prefix_space,
        special,
        chat_template: metadata.text("tokenizer.chat_template").map(str::to_owned),
    })
}

/// Reads BERT's WordPiece.
fn word_piece(metadata: &Metadata<'_>, list: &TokenList<'_>) -> Result<Tokenizer, TokenizerError> {
    let model = WordPiece::of_metadata(metadata)?;
    let vocabulary = list.vocabulary(|token, kind| {
        let is_text = kind == TokenKind::Normal;
        Ok(if is_text { token.replace(SPACE_MARK, " ") } else { token.to_owned() }.into_bytes())
    })?;
    let around = (vec![model.start_id()], vec![model.end_id()]);
    let parts = TokenizerParts { has_prefix_space: true, ..TokenizerParts::default() };
    let mut tokenizer = finish(metadata, list, vocabulary, Model::WordPiece(model), parts)?;
    (tokenizer.before, tokenizer.after) = around;
    Ok(tokenizer)
}

/// Returns the id of a key. The largest number means none.
fn id(metadata: &Metadata<'_>, key: &str) -> Option<u32> {
    metadata.u32(key).filter(|&id| id != u32::MAX)
}

fn special(
    metadata: &Metadata<'_>,
    added: &[AddedToken],
    vocabulary: &Vocabulary,
) -> Result<SpecialTokens, TokenizerError> {
    let named = |key: &str| id(metadata, &format!("tokenizer.ggml.{key}_token_id"));
    let either = |first: &str, second: &str| named(first).or_else(|| named(second));
    let middle = || {
        Some(FillInTheMiddle {
            prefix: either("fim_pre", "prefix")?,
            suffix: either("fim_suf", "suffix")?,
            middle: either("fim_mid", "middle")?,
        })
    };
    let mut special = SpecialTokens {
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
