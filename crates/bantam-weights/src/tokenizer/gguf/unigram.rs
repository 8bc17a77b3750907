//! Unigram vocabularies of SentencePiece, such as T5's.

use super::super::charsmap::Charsmap;
use super::super::normalise::Normaliser;
use super::super::split::SPACE_MARK;
use super::super::start::{NONE, byte_name, byte_table};
use super::super::unigram::Unigram;
use super::super::vocabulary::{TokenKind, unsupported};
use super::super::{Model, Tokenizer, TokenizerError};
use super::{TokenList, TokenizerParts, finish, scores};
use crate::metadata::{Metadata, Value};

const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";

/// Reads the vocabulary and the normalisation.
pub(super) fn read(metadata: &Metadata<'_>, list: &TokenList<'_>) -> Result<Tokenizer, TokenizerError> {
    let scores = scores::scores(metadata, list.tokens.len())?;
    let vocabulary = list.vocabulary(|token, kind| match kind {
        TokenKind::Byte => Ok(vec![byte_name(token).ok_or_else(|| unsupported("byte token", token))?]),
        _ => Ok(token.replace(SPACE_MARK, " ").into_bytes()),
    })?;
    let id = metadata.u32("tokenizer.ggml.unknown_token_id").unwrap_or(2);
    let unknown = vocabulary.require("unknown token", u64::from(id))?;
    let listed = || list.tokens.iter().zip(&list.kinds).zip(0u32..);
    let bytes = byte_table(
        listed().filter(|((_, kind), _)| **kind == TokenKind::Byte).map(|((token, _), id)| (*token, id)),
    );
    let bytes = bytes.iter().any(|&id| id != NONE).then_some(bytes);
    let tokens = list
        .tokens
        .iter()
        .zip(0u32..)
        .zip(&scores)
        .map(|((token, id), score)| (*token, id, f64::from(*score)));
    // The reference takes the lowest score of tokens that text can produce; the scores of others mean nothing.
    let tokens = tokens.filter(|(_, id, _)| vocabulary.kind(*id) == TokenKind::Normal);
    let model = Unigram::new(tokens.collect(), &|_| true, Some(unknown), bytes)?;
    let mut normalisers = Vec::new();
    if let Some(table) = metadata.array(CHARSMAP).filter(|table| !table.is_empty()) {
        let byte = |value| match value {
            Value::Unsigned(byte) => u8::try_from(byte).ok(),
            Value::Signed(byte) => i8::try_from(byte).ok().map(i8::cast_unsigned),
            _ => None,
        };
        let table = table.iter().map(byte).collect::<Option<Vec<u8>>>();
        let table = table.ok_or(TokenizerError::Key { key: CHARSMAP })?;
        normalisers.push(Normaliser::Charsmap(Charsmap::read(&table, false)?));
    }
    let flag = |key, default| metadata.bool(key).unwrap_or(default);
    let prefix = flag("tokenizer.ggml.add_space_prefix", true);
    let mark: Box<str> = SPACE_MARK.to_string().into();
    if flag("tokenizer.ggml.remove_extra_whitespaces", false) {
        normalisers.push(Normaliser::MarkWords);
    } else {
        normalisers.push(Normaliser::Replace { from: " ".into(), to: mark.clone() });
        normalisers.extend(prefix.then_some(Normaliser::Prepend(mark)));
    }
    let parts =
        TokenizerParts { normalisers, adds_eos: true, has_prefix_space: prefix, ..TokenizerParts::default() };
    finish(metadata, list, vocabulary, Model::Unigram(model), parts)
}
