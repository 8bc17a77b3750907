//! Models in one file, for machines without a network.
//!
//! A bundle is a tar archive (POSIX ustar), so that any `tar` lists it: first `bantam-bundle.json`, which says what
//! comes, then the blobs in just that order. It is read as strictly as it is written; no path in it is ever used.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::change::Added;
use crate::digest::Digest;
use crate::error::{StoreError, StoreErrorKind};
use crate::files;
use crate::import::ImportError;
use crate::manifest::{Manifest, StoredFile};
use crate::name::ModelName;
use crate::store::{Entry, Store};

const LIST: &str = "bantam-bundle.json";
const VERSION: u32 = 1;
const BLOCK: usize = 512;
/// Bytes of the list at most.
const LIST_BYTES_MAX: u64 = 16 << 20;

/// Why a bundle could not be written or read. The store is as it was before the model that is named last.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A bundle that cannot be written.
    #[error("write the bundle")]
    Write(#[source] StoreErrorKind),
    /// A bundle that cannot be read.
    #[error("read the bundle")]
    Read(#[source] io::Error),
    /// A file that is no bundle, or a damaged one.
    #[error("the bundle is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// A file in it is not what its hash says.
    #[error("the bundle is damaged: {file} has the hash {found} and should have {expected}")]
    Hash {
        /// The file.
        file: String,
        /// What the bundle's list says.
        expected: Digest,
        /// What the bundle holds.
        found: Digest,
    },
    /// A model in it did not enter the store.
    #[error("take in {name}")]
    Import {
        /// The model.
        name: String,
        /// Why not.
        #[source]
        source: ImportError,
    },
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    version: u32,
    models: Vec<Listed>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    manifest: Manifest,
}

impl List {
    /// Returns every blob once, in the order in which they lie in the bundle.
    fn blobs(&self) -> Vec<&StoredFile> {
        let mut seen = std::collections::BTreeSet::new();
        let files = self.models.iter().flat_map(|model| &model.manifest.files);
        files.filter(|file| seen.insert(file.digest)).collect()
    }
}

/// Returns whether a file begins as a bundle does.
pub fn is_bundle(path: &Path) -> bool {
    let mut begin = [0; LIST.len() + 1];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    read.is_ok() && begin.strip_prefix(LIST.as_bytes()) == Some(&[0])
}

impl Store {
    /// Writes models to one file, which is whole or not there. `advance` is told of bytes as they are written.
    pub fn export(
        &self,
        entries: &[Entry],
        target: &Path,
        advance: &mut dyn FnMut(u64),
    ) -> Result<(), BundleError> {
        let listed =
            |entry: &Entry| Listed { name: entry.name.to_string(), manifest: entry.manifest.clone() };
        let list = List { version: VERSION, models: entries.iter().map(listed).collect() };
        let json = serde_json::to_vec_pretty(&list)
            .map_err(|error| BundleError::Write(io::Error::from(error).into()))?;
        let written = bantam_weights::write_file(target, |sink| {
            put(sink, LIST, json.len() as u64, &mut &*json, &mut |_| ())?;
            for blob in list.blobs() {
                let mut file = File::open(self.blob(&blob.digest))?;
                let name = format!("blobs/sha256-{}", blob.digest);
                put(sink, &name, blob.bytes, &mut file, advance)?;
            }
            sink.write_all(&[0; 2 * BLOCK])
        });
        written.map_err(|error| BundleError::Write(error.into()))
    }

    /// Takes in all models of a bundle, each checked as any other is. `advance` is told of bytes as they are read.
    pub fn import_bundle(
        &self,
        path: &Path,
        replaces: bool,
        advance: &mut dyn FnMut(u64),
    ) -> Result<Vec<Added>, BundleError> {
        let mut file = BufReader::new(File::open(path).map_err(BundleError::Read)?);
        let list = read_list(&mut file)?;
        let import = |name: &str| {
            let name = name.to_owned();
            move |source: ImportError| BundleError::Import { name, source }
        };
        let blobs = list.blobs();
        let bytes = blobs.iter().map(|blob| blob.bytes).sum();
        self.check_room(bytes).map_err(import("the bundle"))?;
        let stage = self.stage()?;
        let mut taken = BTreeMap::new();
        for (number, blob) in blobs.iter().enumerate() {
            let target = stage.folder().join(format!("blob-{number}"));
            take(&mut file, blob, &target, advance)?;
            taken.insert(blob.digest, target);
        }
        let mut added = Vec::new();
        for model in &list.models {
            let stage = self.stage()?;
            for file in &model.manifest.files {
                let (Some(blob), target) = (taken.get(&file.digest), stage.model().join(&file.path)) else {
                    continue;
                };
                files::link(blob, &target, self.root()).map_err(StoreError::at("link", &target))?;
            }
            let name: ModelName =
                model.name.parse().map_err(|error| import(&model.name)(ImportError::Name(error)))?;
            let (files, origin) = (model.manifest.files.clone(), model.manifest.origin.clone());
            added.push(self.admit(&stage, files, &name, origin, replaces).map_err(import(&model.name))?);
        }
        Ok(added)
    }
}

fn damaged(what: impl Into<String>) -> BundleError {
    BundleError::Damaged { what: what.into() }
}

fn read_list(file: &mut dyn Read) -> Result<List, BundleError> {
    let bytes = head(file, LIST)?;
    if bytes > LIST_BYTES_MAX {
        return Err(damaged("its list is longer than any"));
    }
    let mut json = vec![0; bytes as usize];
    file.read_exact(&mut json).map_err(BundleError::Read)?;
    skip_padding(file, bytes)?;
    let list: List = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
    let is_sound = |model: &Listed| {
        let json = model.manifest.to_json().unwrap_or_default();
        Manifest::from_json(&json).is_ok()
    };
    match list.version == VERSION && list.models.iter().all(is_sound) {
        true => Ok(list),
        false => Err(damaged("its list is of another version, or has a path that leaves its folder")),
    }
}

/// Takes the next file of a bundle, which has to be this one.
fn take(
    file: &mut dyn Read,
    blob: &StoredFile,
    target: &Path,
    advance: &mut dyn FnMut(u64),
) -> Result<(), BundleError> {
    let bytes = head(file, &format!("blobs/sha256-{}", blob.digest))?;
    if bytes != blob.bytes {
        return Err(damaged(format!("{} has another length than its list says", blob.path)));
    }
    let copied = files::copy_hashed(&mut file.take(bytes), target, advance);
    let (found, copied) = copied.map_err(StoreError::at("write", target))?;
    if copied != bytes {
        return Err(damaged(format!("it ends within {}", blob.path)));
    }
    if found != blob.digest {
        return Err(BundleError::Hash { file: blob.path.clone(), expected: blob.digest, found });
    }
    skip_padding(file, bytes)
}

/// Reads the head of the file that is expected next, and returns its length.
fn head(file: &mut dyn Read, expected: &str) -> Result<u64, BundleError> {
    let mut block = [0; BLOCK];
    file.read_exact(&mut block).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it ends too early"),
        _ => BundleError::Read(error),
    })?;
    let name = block[..100].split(|byte| *byte == 0).next().unwrap_or_default();
    if name != expected.as_bytes() {
        return Err(damaged(format!("{expected} should come next")));
    }
    let size = &block[124..136];
    let number = match size[0] & 0x80 {
        0 => {
            let text = std::str::from_utf8(size).unwrap_or_default().trim_matches(['\0', ' ']);
            u64::from_str_radix(text, 8).ok()
        }
        // Lengths beyond eight gigabytes are written as they are.
        _ => size[4..].first_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
    };
    number.ok_or_else(|| damaged("a length cannot be read"))
}

fn skip_padding(file: &mut dyn Read, bytes: u64) -> Result<(), BundleError> {
    let mut padding = vec![0; padding(bytes)];
    file.read_exact(&mut padding).map_err(BundleError::Read)
}

fn padding(bytes: u64) -> usize {
    (bytes.next_multiple_of(BLOCK as u64) - bytes) as usize
}

/// Writes one file with its head.
fn put(
    sink: &mut dyn Write,
    name: &str,
    bytes: u64,
    source: &mut dyn Read,
    advance: &mut dyn FnMut(u64),
) -> io::Result<()> {
    sink.write_all(&tar_head(name, bytes))?;
    let mut chunk = vec![0; crate::digest::CHUNK_BYTES];
    let mut left = bytes;
    while left > 0 {
        let most = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = source.read(&mut chunk[..most])?;
        if count == 0 {
            return Err(io::Error::other(format!("{name} is shorter than it should be")));
        }
        sink.write_all(&chunk[..count])?;
        left -= count as u64;
        advance(count as u64);
    }
    sink.write_all(&vec![0; padding(bytes)])
}

fn tar_head(name: &str, bytes: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if bytes < 1 << 33 {
        put(124, format!("{bytes:011o}\0").as_bytes());
    } else {
        put(124, &[0x80, 0, 0, 0]);
        put(128, &bytes.to_be_bytes());
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
