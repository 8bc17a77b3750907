//! BPE vocabularies of SentencePiece, which merge by scores.

use super::super::bpe::{Bpe, UnknownTokens};
use super::super::merges::{Merge, Merges};
use super::super::normalise::Normaliser;
use super::super::split::SPACE_MARK;
use super::super::start::{CharacterTokens, InitialTokens, NONE, TokenIds, byte_name, byte_table};
use super::super::vocabulary::{TokenKind, unsupported};
use super::super::{Model, Tokenizer, TokenizerError};
use super::{SCORES, TokenList, TokenizerParts, check_count, finish};
use crate::metadata::{Metadata, Value};

/// Longer tokens would have many possible merges; real ones have a few dozen bytes.
const TOKEN_BYTES_MAX: usize = 1024;

/// Reads a BPE model that merges by scores, like SentencePiece: of all pairs that form a token, the best score first.
pub(super) fn read(metadata: &Metadata<'_>, list: &TokenList<'_>) -> Result<Tokenizer, TokenizerError> {
    let names = list.by_name()?;
    if let Some(name) = names.keys().find(|name| name.len() > TOKEN_BYTES_MAX) {
        return Err(unsupported("long token", name));
    }
    let scores = scores(metadata, list.tokens.len())?;
    let vocabulary = list.vocabulary(|token, kind| match kind {
        TokenKind::Byte => Ok(vec![byte_name(token).ok_or_else(|| unsupported("byte token", token))?]),
        _ => Ok(token.replace(SPACE_MARK, " ").into_bytes()),
    })?;
    let bytes = byte_table(
        list.tokens
            .iter()
            .zip(&list.kinds)
            .zip(0u32..)
            .filter_map(|((token, kind), id)| (*kind == TokenKind::Byte).then_some((*token, id))),
    );
    let unknown = metadata.u32("tokenizer.ggml.unknown_token_id");
    let id = unknown.map(|id| vocabulary.require("unknown token", u64::from(id))).transpose()?;
    let mut characters = CharacterTokens::of(&names);
    characters.add_placeholders(&names, list.tokens.len());
    let has_bytes = bytes.iter().any(|&id| id != NONE);
    let bpe = Bpe {
        merges: Merges::new(merges(&characters, &names, &scores)),
        start: InitialTokens::Characters(characters),
        whole_tokens: None,
        unknown: UnknownTokens { bytes: has_bytes.then_some(bytes), id, is_fused: false },
    };
    let prefix = metadata.bool("tokenizer.ggml.add_space_prefix").unwrap_or(true);
    let mut normalisers = vec![Normaliser::Replace { from: " ".into(), to: SPACE_MARK.to_string().into() }];
    if prefix {
        normalisers.push(Normaliser::Prepend(SPACE_MARK.to_string().into()));
    }
    let parts =
        TokenizerParts { normalisers, adds_bos: true, has_prefix_space: prefix, ..TokenizerParts::default() };
    finish(metadata, list, vocabulary, Model::Bpe(bpe), parts)
}

/// Returns the score of each token.
pub(super) fn scores(metadata: &Metadata<'_>, tokens: usize) -> Result<Vec<f32>, TokenizerError> {
    let wrong = || TokenizerError::Key { key: SCORES };
    let array = metadata.array(SCORES).ok_or_else(wrong)?;
    check_count(SCORES, array.len(), tokens)?;
    let float = |value| match value {
        Value::Float(score) if score.is_finite() => Ok(score as f32),
        _ => Err(wrong()),
    };
    array.iter().map(float).collect()
}

/// Returns every pair of tokens or characters that forms a token, in the order of the scores.
fn merges(characters: &CharacterTokens, names: &TokenIds<'_>, scores: &[f32]) -> Vec<Merge> {
    let mut order: Vec<(&str, u32)> = names.iter().map(|(name, id)| (*name, *id)).collect();
    let score = |id: u32| scores.get(id as usize).copied().unwrap_or(f32::MIN);
    order.sort_unstable_by(|a, b| score(b.1).total_cmp(&score(a.1)).then(a.1.cmp(&b.1)));
    let part = |text: &str| {
        let mut parts = text.chars();
        match (parts.next(), parts.next()) {
            (Some(one), None) => Some(characters.find(one)),
            _ => names.get(text).copied(),
        }
    };
    let (mut merges, mut rank, mut last) = (Vec::new(), 0, None);
    for (name, id) in order {
        // Equal scores have equal ranks, so that the leftmost pair is merged first.
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
