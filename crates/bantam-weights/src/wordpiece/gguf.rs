//! WordPiece from a GGUF file's metadata.
//!
//! Converters write `▁word` for tokens that start a word and `piece` for `##piece`; names in brackets are unchanged.

use super::normalise::NormaliserRules;
use super::{SpecialIds, VocabularySource, WordPiece, WordPieceError};
use crate::metadata::Metadata;

const MODEL: &str = "tokenizer.ggml.model";
const TOKENS: &str = "tokenizer.ggml.tokens";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
const WORD_MARK: &str = "▁";
/// GGUF does not specify this; it is 100 in every BERT tokenizer.
const WORD_CHARS_MAX: usize = 100;

pub(super) fn read(metadata: &Metadata<'_>) -> Result<WordPiece, WordPieceError> {
    let model = metadata.text(MODEL).ok_or(WordPieceError::Key { key: MODEL })?;
    if model != "bert" {
        return Err(WordPieceError::Unsupported { what: "model", found: model.chars().take(64).collect() });
    }
    let tokens = metadata.texts(TOKENS).ok_or(WordPieceError::Key { key: TOKENS })?;
    let count = u32::try_from(tokens.len()).map_err(|_| WordPieceError::TooManyTokens)?;
    let special = special(metadata, count)?;
    let (mut starts, mut continuations) = (Vec::new(), Vec::new());
    for (id, token) in (0..count).zip(tokens) {
        if let Some(word) = token.strip_prefix(WORD_MARK).filter(|word| !word.is_empty()) {
            starts.push((word.as_bytes(), id));
            continue;
        }
        let is_name = token.starts_with('[') && token.ends_with(']');
        if !is_name && !token.is_empty() {
            continuations.push((token.as_bytes(), id));
        }
    }
    if starts.is_empty() {
        return Err(WordPieceError::MissingToken { token: WORD_MARK.to_owned() });
    }
    // GGUF does not specify whether a model is cased; llama.cpp, which defines the format, treats all as uncased.
    let rules =
        NormaliserRules { clean_text: true, chinese_apart: true, strip_accents: true, lowercase: true };
    WordPiece::new(VocabularySource { starts, continuations, special, word_chars_max: WORD_CHARS_MAX, rules })
}

fn special(metadata: &Metadata<'_>, count: u32) -> Result<SpecialIds, WordPieceError> {
    let id = |keys: &[&'static str]| {
        let found = keys.iter().find_map(|key| metadata.u32(key)).filter(|&id| id < count);
        found.ok_or(WordPieceError::Key { key: keys.first().copied().unwrap_or_default() })
    };
    Ok(SpecialIds {
        start: id(&["tokenizer.ggml.cls_token_id", "tokenizer.ggml.bos_token_id"])?,
        // The misspelled key is part of the format.
        end: id(&["tokenizer.ggml.seperator_token_id", "tokenizer.ggml.eos_token_id"])?,
        unknown: id(&[UNKNOWN])?,
    })
}
