//! Tokenizers from Hugging Face's `tokenizer.json`.

mod model;
mod pipeline;

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

use super::added::{AddedToken, AddedTokens};
use super::special::{SpecialTokens, looks_like_control};
use super::split::SPACE_MARK;
use super::start::{TokenIds, byte_name};
use super::vocabulary::{TokenKind, Vocabulary, excerpt, unsupported};
use super::{Model, Tokenizer, TokenizerError, alphabet};
use crate::WordPiece;
use model::ModelJson;
use pipeline::{PreTokenization, SurroundingTokens};

/// The largest ones in use have 260,000 tokens and about 35 MB.
const BYTES_MAX: usize = 256 << 20;
/// Largest number of unused ids.
const SPARE_IDS: usize = 1 << 17;

#[derive(Deserialize)]
struct TokenizerJson {
    #[serde(default)]
    added_tokens: Vec<AddedTokenJson>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: ModelJson,
}

#[derive(Deserialize)]
struct AddedTokenJson {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

impl AddedTokenJson {
    fn is_control(&self) -> bool {
        self.special || looks_like_control(&self.content)
    }
}

/// Reads and checks a tokenizer.
pub(super) fn read(bytes: &[u8]) -> Result<Tokenizer, TokenizerError> {
    if bytes.len() > BYTES_MAX {
        return Err(TokenizerError::TooLong { found: bytes.len(), at_most: BYTES_MAX });
    }
    let file: TokenizerJson = serde_json::from_slice(bytes).map_err(TokenizerError::Json)?;
    let tokens = file.model.tokens();
    let mut names = TokenIds::with_capacity(tokens.len());
    for (name, id) in &tokens {
        if names.insert(name, *id).is_some() {
            return Err(TokenizerError::DuplicateToken { token: excerpt(name.as_bytes()) });
        }
    }
    let is_word_piece = file.model.kind() == "WordPiece";
    let (mut normalisers, mut cut) = (Vec::new(), PreTokenization::default());
    if !is_word_piece {
        pipeline::normalisers(&file.normalizer, &mut normalisers)?;
        pipeline::cut(&file.pre_tokenizer, &mut cut)?;
    }
    let vocabulary = vocabulary(&file, &names, cut.is_byte_level)?;
    let model = match file.model.kind() {
        "BPE" => Model::Bpe(file.model.bpe(&names, &vocabulary, cut.is_byte_level)?),
        "Unigram" if cut.is_byte_level => return Err(unsupported("model", "byte-level Unigram")),
        "Unigram" => Model::Unigram(file.model.unigram(&vocabulary)?),
        "WordPiece" => Model::WordPiece(WordPiece::from_tokenizer_json(bytes)?),
        other => return Err(unsupported("model", other)),
    };
    let mut around = SurroundingTokens::default();
    pipeline::around(&file.post_processor, &vocabulary, &mut around)?;
    let (plain, normalised): (Vec<_>, Vec<_>) =
        file.added_tokens.iter().partition(|token| !token.normalized || normalisers.is_empty());
    let added = find_added(&plain, str::to_owned)?;
    let added_normalised =
        find_added(&normalised, |text| super::normalise::apply(&normalisers, text).into_owned())?;
    let mut special = SpecialTokens::default();
    special.add_known(added.tokens());
    special.check(&vocabulary)?;
    Ok(Tokenizer {
        added,
        added_normalised,
        normalisers,
        steps: cut.steps,
        model,
        before: around.before,
        after: around.after,
        has_prefix_space: is_word_piece || pipeline::strips_space(&file.decoder),
        special,
        chat_template: None,
        vocabulary,
    })
}

/// Returns the vocabulary: the model's tokens and the added ones.
fn vocabulary(
    file: &TokenizerJson,
    names: &TokenIds<'_>,
    is_byte_level: bool,
) -> Result<Vocabulary, TokenizerError> {
    let added_ids = file.added_tokens.iter().map(|token| token.id);
    let ids = names.values().copied().chain(added_ids).max().map_or(0, |id| id as usize + 1);
    let at_most = names.len() + file.added_tokens.len() + SPARE_IDS;
    if ids > at_most {
        return Err(TokenizerError::TooManyTokens { found: ids, at_most });
    }
    let mut vocabulary = Vocabulary::new(ids)?;
    for token in &file.added_tokens {
        let is_same = names.get(&*token.content).is_none_or(|&id| id == token.id);
        if !is_same {
            return Err(TokenizerError::DuplicateToken { token: excerpt(token.content.as_bytes()) });
        }
        let kind = if token.is_control() { TokenKind::Control } else { TokenKind::UserDefined };
        vocabulary.set(token.id, token.content.as_bytes(), kind)?;
    }
    let added: HashSet<&str> = file.added_tokens.iter().map(|token| &*token.content).collect();
    let model = &file.model;
    let word_part = model.continuing_subword_prefix.as_deref().filter(|_| model.kind() == "WordPiece");
    for (&name, &id) in names.iter().filter(|(name, _)| !added.contains(**name)) {
        let is_unknown = model.unk_token.as_deref() == Some(name) || model.unk_id == Some(u64::from(id));
        let byte = byte_name(name).filter(|_| model.byte_fallback);
        let bytes = match (byte, word_part) {
            (Some(byte), _) => vec![byte],
            _ if is_byte_level => alphabet::bytes_of(name).unwrap_or_else(|| name.as_bytes().to_vec()),
            (_, Some(mark)) => match name.strip_prefix(mark) {
                Some(rest) => rest.as_bytes().to_vec(),
                None => format!(" {name}").into_bytes(),
            },
            _ => name.replace(SPACE_MARK, " ").into_bytes(),
        };
        let kind = match (is_unknown, byte) {
            (true, _) => TokenKind::Unknown,
            (_, Some(_)) => TokenKind::Byte,
            _ => TokenKind::Normal,
        };
        vocabulary.set(id, &bytes, kind)?;
    }
    Ok(vocabulary)
}

/// Returns the tokens that are matched literally. `text_of` returns the text to match.
fn find_added(
    tokens: &[&AddedTokenJson],
    text_of: impl Fn(&str) -> String,
) -> Result<AddedTokens, TokenizerError> {
    let tokens = tokens.iter().map(|token| AddedToken {
        id: token.id,
        text: text_of(&token.content).into(),
        is_control: token.is_control(),
        is_word: token.single_word,
        strips_left: token.lstrip,
        strips_right: token.rstrip,
    });
    AddedTokens::new(tokens.collect())
}
