//! WordPiece from Hugging Face's `tokenizer.json`.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::normalise::NormaliserRules;
use super::{SpecialIds, VocabularySource, WordPiece, WordPieceError};
use crate::safetensors::json::UniquePairs;

const BYTES_MAX: usize = 64 << 20;
/// Longer words would make their pieces expensive; every BERT tokenizer has 100.
const WORD_CHARS_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenizerJson {
    #[serde(rename = "version")]
    _version: Option<IgnoredAny>,
    #[serde(rename = "truncation")]
    _truncation: Option<IgnoredAny>,
    #[serde(rename = "padding")]
    _padding: Option<IgnoredAny>,
    #[serde(rename = "decoder")]
    _decoder: Option<IgnoredAny>,
    #[serde(default)]
    added_tokens: Vec<AddedTokenJson>,
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: Value,
    model: ModelJson,
}

#[derive(Deserialize)]
struct AddedTokenJson {
    content: String,
    special: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelJson {
    #[serde(rename = "type")]
    kind: String,
    unk_token: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
    vocab: UniquePairs<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NormalizerJson {
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    clean_text: bool,
    handle_chinese_chars: bool,
    strip_accents: Option<bool>,
    lowercase: bool,
}

pub(super) fn read(bytes: &[u8]) -> Result<WordPiece, WordPieceError> {
    if bytes.len() > BYTES_MAX {
        return Err(WordPieceError::TooLong { found: bytes.len(), at_most: BYTES_MAX });
    }
    let TokenizerJson { added_tokens, normalizer, pre_tokenizer, post_processor, model, .. } =
        serde_json::from_slice(bytes).map_err(WordPieceError::Json)?;
    expect_kind("model", &model.kind, "WordPiece")?;
    expect_kind("pre_tokenizer", kind_of(&pre_tokenizer), "BertPreTokenizer")?;
    if let Some(token) = added_tokens.into_iter().find(|token| !token.special) {
        return Err(unsupported("added token", &token.content));
    }
    if !(1..=WORD_CHARS_MAX).contains(&model.max_input_chars_per_word) {
        let found = model.max_input_chars_per_word.to_string();
        return Err(unsupported("max_input_chars_per_word", &found));
    }
    let vocab = &model.vocab.0;
    let unknown = vocab.iter().find(|(token, _)| *token == model.unk_token).map(|(_, id)| *id);
    let unknown = unknown.ok_or(WordPieceError::MissingToken { token: model.unk_token })?;
    let (start, end) = around(&post_processor)?;
    // Every token can start a word; those with the prefix can also continue one.
    let starts = vocab.iter().map(|(token, id)| (token.as_bytes(), *id));
    let marked = vocab.iter().filter_map(|(token, id)| {
        Some((token.strip_prefix(&model.continuing_subword_prefix)?.as_bytes(), *id))
    });
    WordPiece::new(VocabularySource {
        starts: starts.filter(|(token, _)| !token.is_empty()).collect(),
        continuations: marked.filter(|(token, _)| !token.is_empty()).collect(),
        special: SpecialIds { start, end, unknown },
        word_chars_max: model.max_input_chars_per_word,
        rules: rules(normalizer)?,
    })
}

fn rules(normalizer: Value) -> Result<NormaliserRules, WordPieceError> {
    expect_kind("normalizer", kind_of(&normalizer), "BertNormalizer")?;
    let normalizer: NormalizerJson = serde_json::from_value(normalizer).map_err(WordPieceError::Json)?;
    Ok(NormaliserRules {
        clean_text: normalizer.clean_text,
        chinese_apart: normalizer.handle_chinese_chars,
        strip_accents: normalizer.strip_accents.unwrap_or(normalizer.lowercase),
        lowercase: normalizer.lowercase,
    })
}

/// Returns the tokens before and after a text.
fn around(post_processor: &Value) -> Result<(u32, u32), WordPieceError> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let kind = kind_of(post_processor);
    let found = match kind {
        "BertProcessing" => id(&post_processor["cls"][1]).zip(id(&post_processor["sep"][1])),
        "TemplateProcessing" => {
            let special = |item: &Value| {
                let name = item["SpecialToken"]["id"].as_str()?;
                match post_processor["special_tokens"][name]["ids"].as_array()?.as_slice() {
                    [one] => id(one),
                    _ => None,
                }
            };
            match post_processor["single"].as_array().map(Vec::as_slice) {
                Some([before, text, after]) if text["Sequence"]["id"] == "A" => {
                    special(before).zip(special(after))
                }
                _ => None,
            }
        }
        _ => None,
    };
    found.ok_or_else(|| unsupported("post_processor", kind))
}

fn kind_of(part: &Value) -> &str {
    part["type"].as_str().unwrap_or("none")
}

fn expect_kind(what: &'static str, found: &str, expected: &str) -> Result<(), WordPieceError> {
    if found == expected { Ok(()) } else { Err(unsupported(what, found)) }
}

fn unsupported(what: &'static str, found: &str) -> WordPieceError {
    WordPieceError::Unsupported { what, found: found.chars().take(64).collect() }
}
