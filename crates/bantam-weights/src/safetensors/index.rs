//! The shard index of a model in several files.

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::json::UniquePairs;

/// Largest index in bytes, enough for half a million tensors.
const INDEX_BYTES_MAX: usize = 64 << 20;
const SHARDS_MAX: usize = 1024;

/// Why a shard index is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardIndexError {
    /// The file is too long for an index.
    #[error("the JSON file is {found} bytes long; the limit is {INDEX_BYTES_MAX}")]
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// The file is JSON but not an index.
    #[error("the file is JSON but not a shard index")]
    Json(#[source] serde_json::Error),
    /// There are too many shards.
    #[error("it names {found} shards; the limit is {SHARDS_MAX}")]
    TooManyShards {
        /// Number of shards.
        found: usize,
    },
    /// A shard's name is a path.
    #[error("shard {shard:?} is not a plain file name")]
    ShardName {
        /// The shard.
        shard: String,
    },
    /// A shard is a link out of the folder, or not a file.
    #[error("shard {shard:?} is not a file in the folder")]
    ShardOutside {
        /// The shard.
        shard: String,
    },
    /// A shard cannot be opened.
    #[error("cannot read shard {shard:?}")]
    ShardRead {
        /// The shard.
        shard: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A shard has another format.
    #[error("shard {shard:?} is not a safetensors file")]
    ShardContent {
        /// The shard.
        shard: String,
    },
    /// A shard is invalid.
    #[error("shard {shard:?}")]
    Shard {
        /// The shard.
        shard: String,
        /// The cause.
        #[source]
        source: super::SafetensorsError,
    },
    /// A tensor is in the index but not in the shard, or the other way round.
    #[error("the index and shard {shard:?} disagree about tensor {tensor:?}")]
    Disagrees {
        /// The shard.
        shard: String,
        /// The tensor.
        tensor: Box<str>,
    },
    /// The index was given as bytes, so the folder of its shards is unknown.
    #[error("a shard index needs the folder of its shards")]
    NoFolder,
}

impl ShardIndexError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::TooLong { .. } | Self::NoFolder => {
                "use a GGUF or safetensors file, or the folder of a sharded model"
            }
            Self::ShardRead { .. } | Self::Disagrees { .. } | Self::Shard { .. } => {
                "shards are missing or damaged: download the model again"
            }
            Self::ShardOutside { .. } => "put the shards next to the index instead of links to them",
            Self::TooManyShards { .. } | Self::ShardName { .. } | Self::ShardContent { .. } => {
                "the index is malformed: get the model from its original source"
            }
        }
    }
}

/// The shards' names, sorted, and the shard of each tensor.
#[derive(Debug)]
pub(crate) struct ShardIndex {
    pub(crate) names: Vec<String>,
    /// Tensors and indices of their shards, sorted.
    pub(crate) tensors: Vec<(String, usize)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IndexJson {
    #[serde(rename = "metadata")]
    _metadata: Option<IgnoredAny>,
    weight_map: UniquePairs<String>,
}

/// Reads and checks an index without opening its shards.
pub(crate) fn read_index(bytes: &[u8]) -> Result<ShardIndex, ShardIndexError> {
    if bytes.len() > INDEX_BYTES_MAX {
        return Err(ShardIndexError::TooLong { found: bytes.len() });
    }
    let index: IndexJson = serde_json::from_slice(bytes).map_err(ShardIndexError::Json)?;
    let mut names: Vec<String> = index.weight_map.0.iter().map(|(_, shard)| shard.clone()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > SHARDS_MAX {
        return Err(ShardIndexError::TooManyShards { found: names.len() });
    }
    if let Some(shard) = names.iter().find(|name| !is_plain_file_name(name)) {
        return Err(ShardIndexError::ShardName { shard: shard.chars().take(256).collect() });
    }
    let position = |shard: &String| names.binary_search(shard).unwrap_or_default();
    let mut tensors: Vec<(String, usize)> =
        index.weight_map.0.into_iter().map(|(tensor, shard)| (tensor, position(&shard))).collect();
    tensors.sort_unstable();
    Ok(ShardIndex { names, tensors })
}

/// Returns whether a name stays in its folder on any system: one component, no separator, no drive, no NUL.
fn is_plain_file_name(name: &str) -> bool {
    let is_plain = |character: char| !matches!(character, '/' | '\\' | ':' | '\0');
    let path = Path::new(name);
    name.len() <= 255 && name.chars().all(is_plain) && path.file_name() == Some(path.as_os_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_file_names_are_accepted() {
        for name in ["model-00001-of-00002.safetensors", "a", "..a", "日本"] {
            assert!(is_plain_file_name(name), "{name}");
        }
        for name in ["", ".", "..", "../a", "/a", "a/b", "a/", "./a", "a\\b", "C:a", "a\0b", &"a".repeat(300)]
        {
            assert!(!is_plain_file_name(name), "{name}");
        }
    }
}
