//! The list of shards of a model in several files.

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::json::Pairs;

/// Bytes of a list at most: what half a million tensors need.
const INDEX_BYTES_MAX: usize = 64 << 20;
const SHARDS_MAX: usize = 1024;

/// What is wrong with a list of shards.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// Longer than any list.
    #[error("the file has {found} bytes of JSON; at most {INDEX_BYTES_MAX} are read")]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// JSON, but no such list.
    #[error("the file is JSON, and no list of shards")]
    Json(#[source] serde_json::Error),
    /// More files than any model has.
    #[error("it names {found} shards; at most {SHARDS_MAX} are read")]
    TooManyShards {
        /// How many.
        found: usize,
    },
    /// A name that could lead anywhere.
    #[error("the shard {shard:?} is no plain file name")]
    ShardName {
        /// Which.
        shard: String,
    },
    /// A link that leads out of the folder, or something that is no file.
    #[error("the shard {shard:?} is no file of the folder")]
    ShardOutside {
        /// Which.
        shard: String,
    },
    /// A shard that cannot be opened.
    #[error("cannot read the shard {shard:?}")]
    ShardRead {
        /// Which.
        shard: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A shard of another format.
    #[error("the shard {shard:?} is no safetensors file")]
    ShardContent {
        /// Which.
        shard: String,
    },
    /// A shard that is wrong in itself.
    #[error("the shard {shard:?}")]
    Shard {
        /// Which.
        shard: String,
        /// What is wrong.
        #[source]
        source: super::SafetensorsError,
    },
    /// A list that promises what is not there, or the other way round.
    #[error("the list and the shard {shard:?} disagree about the tensor {tensor:?}")]
    Disagrees {
        /// Which shard.
        shard: String,
        /// The tensor.
        tensor: Box<str>,
    },
    /// Given as bytes, a list has no folder for its shards.
    #[error("a list of shards needs the folder they are in")]
    NoFolder,
}

impl IndexError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::TooLong { .. } | Self::NoFolder => {
                "give a GGUF or safetensors file, or the folder of a sharded model"
            }
            Self::ShardRead { .. } | Self::Disagrees { .. } | Self::Shard { .. } => {
                "shards are missing or damaged: download the model again"
            }
            Self::ShardOutside { .. } => "put the shards themselves, not links to them, beside the list",
            Self::TooManyShards { .. } | Self::ShardName { .. } | Self::ShardContent { .. } => {
                "the list was not written by a correct program: get the model from its original source"
            }
        }
    }
}

/// The shards' names, sorted, and which tensor is in which.
#[derive(Debug)]
pub(crate) struct Shards {
    pub(crate) names: Vec<String>,
    /// Tensor and shard, sorted.
    pub(crate) tensors: Vec<(String, usize)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    #[serde(rename = "metadata")]
    _metadata: Option<IgnoredAny>,
    weight_map: Pairs<String>,
}

/// Reads and checks a list; the files that it names are not touched.
pub(crate) fn read_index(bytes: &[u8]) -> Result<Shards, IndexError> {
    if bytes.len() > INDEX_BYTES_MAX {
        return Err(IndexError::TooLong { found: bytes.len() });
    }
    let index: Index = serde_json::from_slice(bytes).map_err(IndexError::Json)?;
    let mut names: Vec<String> = index.weight_map.0.iter().map(|(_, shard)| shard.clone()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > SHARDS_MAX {
        return Err(IndexError::TooManyShards { found: names.len() });
    }
    if let Some(shard) = names.iter().find(|name| !is_plain_file_name(name)) {
        return Err(IndexError::ShardName { shard: shard.chars().take(256).collect() });
    }
    let place = |shard: &String| names.binary_search(shard).unwrap_or_default();
    let mut tensors: Vec<(String, usize)> =
        index.weight_map.0.into_iter().map(|(tensor, shard)| (tensor, place(&shard))).collect();
    tensors.sort_unstable();
    Ok(Shards { names, tensors })
}

/// Whether a name stays in its folder on any system: one component, no separator, no drive, no NUL.
fn is_plain_file_name(name: &str) -> bool {
    let is_plain = |character: char| !matches!(character, '/' | '\\' | ':' | '\0');
    let path = Path::new(name);
    name.len() <= 255 && name.chars().all(is_plain) && path.file_name() == Some(path.as_os_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_stay_in_the_folder() {
        for name in ["model-00001-of-00002.safetensors", "a", "..a", "日本"] {
            assert!(is_plain_file_name(name), "{name}");
        }
        for name in ["", ".", "..", "../a", "/a", "a/b", "a/", "./a", "a\\b", "C:a", "a\0b", &"a".repeat(300)]
        {
            assert!(!is_plain_file_name(name), "{name}");
        }
    }
}
