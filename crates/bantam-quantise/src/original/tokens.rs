//! Converts `tokenizer.json` to GGUF metadata keys and checks the result on probe texts.

use std::path::Path;

use bantam_weights::{EncodeOptions, NewValue, Tokenizer, WeightFile, write_gguf};
use serde_json::Value;

use super::{MetadataValue, texts, written};
use crate::write::QuantiseModelError;

/// GGUF's names of pre-tokenizers. One of them has to give the original's ids.
const PRE_TOKENIZERS: [&str; 9] =
    ["gpt-2", "llama-bpe", "qwen2", "qwen35", "gpt-4o", "tekken", "smollm", "default", "command-r"];
/// Texts on which the pre-tokenizers differ.
const PROBES: [&str; 8] = [
    "Hello, world! It's 12345 o'clock; we'll SEE you at 7:30pm, won't we?",
    "  two spaces\n\n\nthree lines\t\ttabs \r\n end ",
    "naïve café Straße ÅNGSTRÖM e\u{301}le\u{300}ve",
    "日本語のテキスト 中文字符 한국어 Ελληνικά русский",
    "fn main() { let x_1 = foo::bar(\"a\\n\", 0x1F, 3.14e-10); }",
    "🙂👩‍👩‍👧 <|im_start|>user <s> </s> [INST] #$%^&*()_+-=",
    "१२३ ٤٥٦ Ⅷ ½ 1,000,000.00 2026-11-21",
    "I'M SURE they'VE don'T 'tis",
];

type Keys = Vec<(String, MetadataValue)>;

/// Returns the metadata keys of a folder's tokenizer.
pub(super) fn keys(folder: &Path, vocabulary: usize, scratch: &Path) -> Result<Keys, QuantiseModelError> {
    let original = Tokenizer::open(folder)?;
    let path = folder.join("tokenizer.json");
    let json = std::fs::read(&path).map_err(|source| QuantiseModelError::Read { path, source })?;
    let json: Value = serde_json::from_slice(&json).unwrap_or_default();
    let model = &json["model"];
    let is_bpe = model["type"] == "BPE" || (model["type"].is_null() && model["merges"].is_array());
    if !is_bpe {
        return Err(QuantiseModelError::Tokenizer { what: format!("a model of type {}", model["type"]) });
    }
    let list = TokenList::read(&json, vocabulary)?;
    let has_bytes = model["byte_fallback"] == true;
    let candidates: Vec<Keys> = match has_bytes {
        false => PRE_TOKENIZERS.iter().map(|pre| byte_level(&list, model, pre)).collect::<Result<_, _>>()?,
        true => [true, false]
            .map(|prefix| by_scores(&list, model, prefix))
            .into_iter()
            .collect::<Result<_, _>>()?,
    };
    for mut keys in candidates {
        special(&original, &mut keys);
        if gives_same_ids(&original, &keys, scratch) {
            return Ok(keys);
        }
    }
    Err(QuantiseModelError::Tokenizer { what: "a pre-tokenizer that GGUF has no name for".to_owned() })
}

/// All tokens with their types, numbered as in GGUF.
struct TokenList {
    tokens: Vec<String>,
    kinds: Vec<i32>,
}

impl TokenList {
    fn read(json: &Value, vocabulary: usize) -> Result<Self, QuantiseModelError> {
        let wrong = |what: &str| QuantiseModelError::Tokenizer { what: what.to_owned() };
        let mut tokens: Vec<String> = (0..vocabulary).map(|id| format!("[PAD{id}]")).collect();
        let mut kinds = vec![5; vocabulary];
        let named = json["model"]["vocab"].as_object().ok_or_else(|| wrong("no vocabulary"))?;
        let has_bytes = json["model"]["byte_fallback"] == true;
        let unknown = json["model"]["unk_token"].as_str();
        let mut set = |id: &Value, token: &str, kind: i32| {
            let id = id.as_u64().and_then(|id| usize::try_from(id).ok()).filter(|id| *id < vocabulary);
            let id = id.ok_or_else(|| wrong("a token id outside the vocabulary of the weights"))?;
            token.clone_into(&mut tokens[id]);
            kinds[id] = kind;
            Ok::<(), QuantiseModelError>(())
        };
        for (token, id) in named {
            let is_byte = has_bytes && token.len() == 6 && token.starts_with("<0x") && token.ends_with('>');
            let is_unknown = Some(token.as_str()) == unknown;
            set(
                id,
                token,
                if is_byte {
                    6
                } else if is_unknown {
                    2
                } else {
                    1
                },
            )?;
        }
        for added in json["added_tokens"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let token = added["content"].as_str().unwrap_or_default();
            let is_unknown = Some(token) == unknown && has_bytes;
            let kind = if is_unknown {
                2
            } else if added["special"] == true {
                3
            } else {
                4
            };
            set(&added["id"], token, kind)?;
        }
        Ok(Self { tokens, kinds })
    }

    fn keys(&self, model: &str) -> Keys {
        let text = |text: &str| MetadataValue::Text(text.to_owned());
        vec![
            ("tokenizer.ggml.model".to_owned(), text(model)),
            ("tokenizer.ggml.tokens".to_owned(), MetadataValue::Texts(self.tokens.clone())),
            ("tokenizer.ggml.token_type".to_owned(), MetadataValue::I32s(self.kinds.clone())),
        ]
    }
}

/// Returns the merges as pairs.
fn merges(model: &Value) -> Result<Vec<(&str, &str)>, QuantiseModelError> {
    let wrong = || QuantiseModelError::Tokenizer { what: "a merge that does not have two parts".to_owned() };
    let listed = model["merges"].as_array().map(Vec::as_slice).unwrap_or_default();
    listed
        .iter()
        .map(|merge| match merge.as_str() {
            Some(text) => text.split_once(' ').ok_or_else(wrong),
            None => merge[0].as_str().zip(merge[1].as_str()).ok_or_else(wrong),
        })
        .collect()
}

fn byte_level(list: &TokenList, model: &Value, pre: &str) -> Result<Keys, QuantiseModelError> {
    let mut keys = list.keys("gpt2");
    let written = merges(model)?.into_iter().map(|(left, right)| format!("{left} {right}")).collect();
    keys.push(("tokenizer.ggml.pre".to_owned(), MetadataValue::Text(pre.to_owned())));
    keys.push(("tokenizer.ggml.merges".to_owned(), MetadataValue::Texts(written)));
    Ok(keys)
}

/// Converts a SentencePiece-style model: of all neighbours, the pair whose result has the highest score merges first.
fn by_scores(list: &TokenList, model: &Value, prefix: bool) -> Result<Keys, QuantiseModelError> {
    let mut ranks = std::collections::HashMap::new();
    for (rank, (left, right)) in merges(model)?.into_iter().enumerate() {
        ranks.entry([left, right].concat()).or_insert(rank);
    }
    let score = |token: &String| ranks.get(token).map_or(-1e9, |rank| -(*rank as f32) - 1.0);
    let mut keys = list.keys("llama");
    keys.push((
        "tokenizer.ggml.scores".to_owned(),
        MetadataValue::F32s(list.tokens.iter().map(score).collect()),
    ));
    keys.push(("tokenizer.ggml.add_space_prefix".to_owned(), MetadataValue::Bool(prefix)));
    let unknown = list.kinds.iter().position(|kind| *kind == 2);
    keys.extend(
        unknown.map(|id| ("tokenizer.ggml.unknown_token_id".to_owned(), MetadataValue::U32(id as u32))),
    );
    Ok(keys)
}

/// Adds the special tokens and the chat template.
fn special(original: &Tokenizer, keys: &mut Keys) {
    let mut put = |key: &str, value: MetadataValue| keys.push((format!("tokenizer.{key}"), value));
    let around = original.encode("x", EncodeOptions { add_special: true, parse_special: false });
    if let Some(bos) = original.bos() {
        put("ggml.bos_token_id", MetadataValue::U32(bos));
    }
    for (name, id) in ["eos", "eot", "eom"].iter().zip(original.eos_ids()) {
        put(&format!("ggml.{name}_token_id"), MetadataValue::U32(*id));
    }
    if let Some(pad) = original.pad() {
        put("ggml.padding_token_id", MetadataValue::U32(pad));
    }
    put(
        "ggml.add_bos_token",
        MetadataValue::Bool(original.bos().is_some() && around.first().copied() == original.bos()),
    );
    let ends = around.last().is_some_and(|last| original.eos_ids().contains(last));
    put("ggml.add_eos_token", MetadataValue::Bool(ends));
    if let Some(template) = original.chat_template() {
        put("chat_template", MetadataValue::Text(template.to_owned()));
    }
}

/// Whether the keys make a tokenizer that gives the original's ids on all probes.
fn gives_same_ids(original: &Tokenizer, keys: &Keys, scratch: &Path) -> bool {
    let path = scratch.join("tokenizer.gguf");
    let lists = texts(keys);
    let metadata: Vec<(&str, NewValue<'_>)> = written(keys, &lists).collect();
    if write_gguf(&path, &metadata, &[]).is_err() {
        return false;
    }
    let made = WeightFile::open(&path).ok().and_then(|file| Tokenizer::from_gguf(&file.metadata()).ok());
    // If this fails, the file goes with the scratch folder.
    let _ = std::fs::remove_file(&path);
    let Some(made) = made else { return false };
    PROBES.iter().all(|probe| {
        [(false, false), (true, true)].into_iter().all(|(add_special, parse_special)| {
            let options = EncodeOptions { add_special, parse_special };
            made.encode(probe, options) == original.encode(probe, options)
        })
    })
}
