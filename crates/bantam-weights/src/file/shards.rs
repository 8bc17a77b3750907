//! Opens the files of a sharded model and checks each against the index.

use std::fs::{self, File};
use std::path::Path;

use crate::map::FileBytes;
use crate::metadata::MetadataEntries;
use crate::safetensors::{self, ShardIndex, ShardIndexError};
use crate::sniff::{self, Content};
use crate::tensor::TensorEntry;

/// The contents of all shards.
pub(super) struct LoadedShards {
    pub(super) parts: Vec<FileBytes>,
    pub(super) tensors: Vec<TensorEntry>,
    pub(super) metadata: MetadataEntries,
}

/// Opens the shards in a folder. Their part numbers start at 1, because the index is part 0.
pub(super) fn load(folder: &Path, shards: &ShardIndex) -> Result<LoadedShards, ShardIndexError> {
    let mut loaded = LoadedShards { parts: Vec::new(), tensors: Vec::new(), metadata: Vec::new() };
    for (index, shard) in shards.names.iter().enumerate() {
        let map = open(folder, shard)?;
        if sniff::content(map.bytes()) != Ok(Content::Safetensors) {
            return Err(ShardIndexError::ShardContent { shard: shard.clone() });
        }
        let header = safetensors::read(map.bytes())
            .map_err(|source| ShardIndexError::Shard { shard: shard.clone(), source })?;
        for mut tensor in header.tensors {
            let listed = shards.tensors.binary_search_by(|(name, _)| (**name).cmp(&tensor.name));
            if listed.ok().and_then(|at| shards.tensors.get(at)).map(|(_, shard)| *shard) != Some(index) {
                return Err(ShardIndexError::Disagrees { shard: shard.clone(), tensor: tensor.name });
            }
            tensor.part = index + 1;
            loaded.tensors.push(tensor);
        }
        if index == 0 {
            loaded.metadata = header.metadata;
        }
        loaded.parts.push(map);
    }
    // Every tensor found is in the index; every tensor in the index must also be found.
    let mut found: Vec<&str> = loaded.tensors.iter().map(|tensor| &*tensor.name).collect();
    found.sort_unstable();
    match shards.tensors.iter().find(|(name, _)| found.binary_search(&name.as_str()).is_err()) {
        Some((tensor, shard)) => {
            let shard = shards.names.get(*shard).cloned().unwrap_or_default();
            Err(ShardIndexError::Disagrees { shard, tensor: tensor.as_str().into() })
        }
        None => Ok(loaded),
    }
}

/// Maps a shard. After resolving links it must be a regular file directly in the folder.
fn open(folder: &Path, shard: &str) -> Result<FileBytes, ShardIndexError> {
    let failed = |source| ShardIndexError::ShardRead { shard: shard.to_owned(), source };
    let outside = || ShardIndexError::ShardOutside { shard: shard.to_owned() };
    let folder = fs::canonicalize(folder).map_err(failed)?;
    let path = fs::canonicalize(folder.join(shard)).map_err(failed)?;
    let before = fs::symlink_metadata(&path).map_err(failed)?;
    if path.parent() != Some(folder.as_path()) || !before.is_file() {
        return Err(outside());
    }
    let file = File::open(&path).map_err(failed)?;
    // If a link replaced the file in the meantime, the opened file is another one.
    let opened = file.metadata().map_err(failed)?;
    let now = fs::symlink_metadata(&path).map_err(failed)?;
    if !is_same(&before, &opened) || !is_same(&now, &opened) {
        return Err(outside());
    }
    FileBytes::of(&file).map_err(failed)
}

#[cfg(unix)]
fn is_same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn is_same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    a.is_file() && b.is_file() && a.len() == b.len()
}
