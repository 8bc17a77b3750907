//! The files of a sharded model, each held against the list.

use std::fs::{self, File};
use std::path::Path;

use crate::map::Map;
use crate::metadata::Entries;
use crate::safetensors::{self, IndexError, Shards};
use crate::sniff::{self, Content};
use crate::tensor::Entry;

/// What the shards hold together.
pub(super) struct Loaded {
    pub(super) parts: Vec<Map>,
    pub(super) tensors: Vec<Entry>,
    pub(super) metadata: Entries,
}

/// Opens the shards of a folder. Their tensors are numbered from part 1, since the list is part 0.
pub(super) fn load(folder: &Path, shards: &Shards) -> Result<Loaded, IndexError> {
    let mut loaded = Loaded { parts: Vec::new(), tensors: Vec::new(), metadata: Vec::new() };
    for (place, shard) in shards.names.iter().enumerate() {
        let map = open(folder, shard)?;
        if sniff::content(map.bytes()) != Ok(Content::Safetensors) {
            return Err(IndexError::ShardContent { shard: shard.clone() });
        }
        let header = safetensors::read(map.bytes())
            .map_err(|source| IndexError::Shard { shard: shard.clone(), source })?;
        for mut tensor in header.tensors {
            let listed = shards.tensors.binary_search_by(|(name, _)| (**name).cmp(&tensor.name));
            if listed.ok().and_then(|at| shards.tensors.get(at)).map(|(_, shard)| *shard) != Some(place) {
                return Err(IndexError::Disagrees { shard: shard.clone(), tensor: tensor.name });
            }
            tensor.part = place + 1;
            loaded.tensors.push(tensor);
        }
        if place == 0 {
            loaded.metadata = header.metadata;
        }
        loaded.parts.push(map);
    }
    // Every tensor found is listed; what is listed must be found, too.
    let mut found: Vec<&str> = loaded.tensors.iter().map(|tensor| &*tensor.name).collect();
    found.sort_unstable();
    match shards.tensors.iter().find(|(name, _)| found.binary_search(&name.as_str()).is_err()) {
        Some((tensor, shard)) => {
            let shard = shards.names.get(*shard).cloned().unwrap_or_default();
            Err(IndexError::Disagrees { shard, tensor: tensor.as_str().into() })
        }
        None => Ok(loaded),
    }
}

/// Maps a shard, which must be a regular file whose true place is the folder itself.
fn open(folder: &Path, shard: &str) -> Result<Map, IndexError> {
    let failed = |source| IndexError::ShardRead { shard: shard.to_owned(), source };
    let outside = || IndexError::ShardOutside { shard: shard.to_owned() };
    let folder = fs::canonicalize(folder).map_err(failed)?;
    let path = fs::canonicalize(folder.join(shard)).map_err(failed)?;
    let before = fs::symlink_metadata(&path).map_err(failed)?;
    if path.parent() != Some(folder.as_path()) || !before.is_file() {
        return Err(outside());
    }
    let file = File::open(&path).map_err(failed)?;
    // Had a link taken the file's place between the two, what was opened would be another file.
    let opened = file.metadata().map_err(failed)?;
    let now = fs::symlink_metadata(&path).map_err(failed)?;
    if !is_same(&before, &opened) || !is_same(&now, &opened) {
        return Err(outside());
    }
    Map::of(&file).map_err(failed)
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
