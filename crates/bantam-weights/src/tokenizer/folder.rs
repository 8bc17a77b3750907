//! A Hugging Face model folder: the tokenizer, and the files that name the tokens ending a text.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::special::SpecialTokens;
use super::{Tokenizer, TokenizerError};
use crate::file::WeightFile;

/// The files beside `tokenizer.json` are short; this is more than a hundred times their size.
const BYTES_MAX: u64 = 64 << 20;
const TOKENIZER_BYTES_MAX: u64 = 256 << 20;

/// Opens a GGUF file or a folder.
pub(super) fn open(path: &Path) -> Result<Tokenizer, TokenizerError> {
    let metadata =
        path.metadata().map_err(|source| TokenizerError::File { path: path.to_owned(), source })?;
    let path = match path.file_name() {
        _ if metadata.is_dir() => path,
        Some(name) if name == "tokenizer.json" => path.parent().unwrap_or(Path::new(".")),
        _ => return Tokenizer::from_gguf(&WeightFile::open(path)?.metadata()),
    };
    let (name, bytes) = match read(path, "tokenizer.json", TOKENIZER_BYTES_MAX)? {
        (name, Some(bytes)) => (name, bytes),
        (path, None) => {
            let source = io::Error::from(io::ErrorKind::NotFound);
            return Err(TokenizerError::File { path, source });
        }
    };
    let within = |source| TokenizerError::Within { path: name.clone(), source: Box::new(source) };
    let mut tokenizer = Tokenizer::from_json(&bytes).map_err(within)?;
    let config = json(path, "tokenizer_config.json")?;
    let map = json(path, "special_tokens_map.json")?;
    let generation = json(path, "generation_config.json")?;
    let model = json(path, "config.json")?;
    let named = |key: &str| [&config, &map].iter().find_map(|file| token_text(&file[key]).map(str::to_owned));
    let id = |name: Option<String>| name.and_then(|name| tokenizer.id_of(&name));
    let listed = |key: &str| [&generation, &model].iter().find_map(|file| ids(&file[key]));
    let one = |key: &str| listed(key).and_then(|ids| ids.first().copied());
    let mut eos = listed("eos_token_id").unwrap_or_default();
    eos.extend(id(named("eos_token")));
    eos.extend(&tokenizer.special.eos);
    eos.sort_unstable();
    eos.dedup();
    let special = SpecialTokens {
        bos: id(named("bos_token")).or_else(|| one("bos_token_id")),
        pad: id(named("pad_token")).or_else(|| one("pad_token_id")),
        eos,
        fill_in_the_middle: tokenizer.special.fill_in_the_middle,
    };
    special.check(&tokenizer.vocabulary)?;
    tokenizer.special = special;
    tokenizer.chat_template = template(&config["chat_template"])
        .or(read(path, "chat_template.jinja", BYTES_MAX)?
            .1
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        .or(template(&json(path, "chat_template.json")?["chat_template"]));
    Ok(tokenizer)
}

/// Reads a file of a folder. Returns its path and content, which is `None` if it does not exist.
fn read(folder: &Path, name: &str, bytes_max: u64) -> Result<(PathBuf, Option<Vec<u8>>), TokenizerError> {
    let path = folder.join(name);
    let wrong = |source| TokenizerError::File { path: path.clone(), source };
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((path, None)),
        Err(error) => Err(wrong(error)),
        Ok(metadata) if !metadata.is_file() => Err(wrong(io::Error::other("not a regular file"))),
        Ok(metadata) if metadata.len() > bytes_max => {
            Err(wrong(io::Error::other(format!("longer than {bytes_max} bytes"))))
        }
        Ok(_) => {
            let bytes = std::fs::read(&path).map_err(wrong)?;
            Ok((path, Some(bytes)))
        }
    }
}

/// Reads a JSON file of a folder; null if it does not exist.
fn json(folder: &Path, name: &str) -> Result<Value, TokenizerError> {
    let (path, bytes) = read(folder, name, BYTES_MAX)?;
    let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
    bytes.map_or(Ok(Value::Null), parse).map_err(|source| TokenizerError::FileJson { path, source })
}

/// Returns a token that is written as a string, or as an object with one.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// Returns one id or several.
fn ids(value: &Value) -> Option<Vec<u32>> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(values) => values.iter().map(id).collect(),
        other => id(other).map(|id| vec![id]),
    }
}

/// Returns the template, or the default one of several.
fn template(value: &Value) -> Option<String> {
    let several = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let default = several.iter().find(|entry| entry["name"] == "default");
    default.map_or(value, |entry| &entry["template"]).as_str().map(str::to_owned)
}
