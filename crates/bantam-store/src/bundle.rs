//! Bundles: several models in one file, for machines without a network.
//!
//! A bundle is a tar archive (POSIX ustar), so any `tar` can list it: first the index `bantam-bundle.json`, then the
//! blobs in exactly the index's order. The reader accepts only what the writer produces and never uses a path from
//! the archive.

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

const INDEX: &str = "bantam-bundle.json";
const VERSION: u32 = 1;
const BLOCK: usize = 512;
/// Largest index accepted, in bytes.
const INDEX_BYTES_MAX: u64 = 16 << 20;

/// Why a bundle could not be written or read. Models before the one named stay in the store; nothing else changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The bundle cannot be written.
    #[error("write the bundle")]
    Write(#[source] StoreErrorKind),
    /// The bundle cannot be read.
    #[error("read the bundle")]
    Read(#[source] io::Error),
    /// The file is not a bundle, or is damaged.
    #[error("the bundle is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// A file in the bundle does not match its checksum.
    #[error("the bundle is damaged: {file} has SHA-256 {found}, expected {expected}")]
    Hash {
        /// The file.
        file: String,
        /// The digest in the bundle's index.
        expected: Digest,
        /// The digest of the bundle's content.
        found: Digest,
    },
    /// A model of the bundle did not enter the store.
    #[error("import {name}")]
    Import {
        /// The model.
        name: String,
        /// The cause.
        #[source]
        source: ImportError,
    },
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleIndex {
    version: u32,
    models: Vec<IndexedModel>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IndexedModel {
    name: String,
    manifest: Manifest,
}

impl BundleIndex {
    /// Returns every blob once, in the order of the archive.
    fn blobs(&self) -> Vec<&StoredFile> {
        let mut seen = std::collections::BTreeSet::new();
        let files = self.models.iter().flat_map(|model| &model.manifest.files);
        files.filter(|file| seen.insert(file.digest)).collect()
    }
}

/// Returns whether a file starts like a bundle.
pub fn is_bundle(path: &Path) -> bool {
    let mut begin = [0; INDEX.len() + 1];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    read.is_ok() && begin.strip_prefix(INDEX.as_bytes()) == Some(&[0])
}

impl Store {
    /// Writes models to one file, atomically. Calls `advance` with the number of bytes of each write.
    pub fn export(
        &self,
        entries: &[Entry],
        target: &Path,
        advance: &mut dyn FnMut(u64),
    ) -> Result<(), BundleError> {
        let indexed =
            |entry: &Entry| IndexedModel { name: entry.name.to_string(), manifest: entry.manifest.clone() };
        let index = BundleIndex { version: VERSION, models: entries.iter().map(indexed).collect() };
        let json = serde_json::to_vec_pretty(&index)
            .map_err(|error| BundleError::Write(io::Error::from(error).into()))?;
        let written = bantam_weights::write_file(target, |sink| {
            write_member(sink, INDEX, json.len() as u64, &mut &*json, &mut |_| ())?;
            for blob in index.blobs() {
                let mut file = File::open(self.blob(&blob.digest))?;
                let name = format!("blobs/sha256-{}", blob.digest);
                write_member(sink, &name, blob.bytes, &mut file, advance)?;
            }
            sink.write_all(&[0; 2 * BLOCK])
        });
        written.map_err(|error| BundleError::Write(error.into()))
    }

    /// Imports all models of a bundle, with the checks of any other import. Calls `advance` with the number of bytes
    /// of each read.
    pub fn import_bundle(
        &self,
        path: &Path,
        replaces: bool,
        advance: &mut dyn FnMut(u64),
    ) -> Result<Vec<Added>, BundleError> {
        let mut file = BufReader::new(File::open(path).map_err(BundleError::Read)?);
        let index = read_index(&mut file)?;
        let import = |name: &str| {
            let name = name.to_owned();
            move |source: ImportError| BundleError::Import { name, source }
        };
        let blobs = index.blobs();
        let bytes = blobs.iter().map(|blob| blob.bytes).sum();
        self.check_room(bytes).map_err(import("the bundle"))?;
        let staging = self.staging()?;
        let mut extracted = BTreeMap::new();
        for (number, blob) in blobs.iter().enumerate() {
            let target = staging.folder().join(format!("blob-{number}"));
            extract_blob(&mut file, blob, &target, advance)?;
            extracted.insert(blob.digest, target);
        }
        let mut added = Vec::new();
        for model in &index.models {
            let staging = self.staging()?;
            for file in &model.manifest.files {
                let (Some(blob), target) = (extracted.get(&file.digest), staging.model().join(&file.path))
                else {
                    continue;
                };
                files::link(blob, &target, self.root()).map_err(StoreError::at("link", &target))?;
            }
            let name: ModelName =
                model.name.parse().map_err(|error| import(&model.name)(ImportError::Name(error)))?;
            let (files, origin) = (model.manifest.files.clone(), model.manifest.origin.clone());
            added.push(
                self.check_and_publish(&staging, files, &name, origin, replaces)
                    .map_err(import(&model.name))?,
            );
        }
        Ok(added)
    }
}

fn damaged(what: impl Into<String>) -> BundleError {
    BundleError::Damaged { what: what.into() }
}

fn read_index(file: &mut dyn Read) -> Result<BundleIndex, BundleError> {
    let bytes = read_header(file, INDEX)?;
    if bytes > INDEX_BYTES_MAX {
        return Err(damaged("its index is too long"));
    }
    let mut json = vec![0; bytes as usize];
    file.read_exact(&mut json).map_err(BundleError::Read)?;
    skip_padding(file, bytes)?;
    let index: BundleIndex = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
    let is_sound = |model: &IndexedModel| {
        let json = model.manifest.to_json().unwrap_or_default();
        Manifest::from_json(&json).is_ok()
    };
    match index.version == VERSION && index.models.iter().all(is_sound) {
        true => Ok(index),
        false => Err(damaged("its index has an unknown version or a path outside the model's folder")),
    }
}

/// Extracts the archive's next file, which must be `blob`.
fn extract_blob(
    file: &mut dyn Read,
    blob: &StoredFile,
    target: &Path,
    advance: &mut dyn FnMut(u64),
) -> Result<(), BundleError> {
    let bytes = read_header(file, &format!("blobs/sha256-{}", blob.digest))?;
    if bytes != blob.bytes {
        return Err(damaged(format!("the length of {} differs from the index", blob.path)));
    }
    let copied = files::copy_hashed(&mut file.take(bytes), target, advance);
    let (found, copied) = copied.map_err(StoreError::at("write", target))?;
    if copied != bytes {
        return Err(damaged(format!("it ends in the middle of {}", blob.path)));
    }
    if found != blob.digest {
        return Err(BundleError::Hash { file: blob.path.clone(), expected: blob.digest, found });
    }
    skip_padding(file, bytes)
}

/// Reads the tar header of the next file, which must have the expected name, and returns its length.
fn read_header(file: &mut dyn Read, expected: &str) -> Result<u64, BundleError> {
    let mut block = [0; BLOCK];
    file.read_exact(&mut block).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it is truncated"),
        _ => BundleError::Read(error),
    })?;
    let name = block[..100].split(|byte| *byte == 0).next().unwrap_or_default();
    if name != expected.as_bytes() {
        return Err(damaged(format!("expected {expected} next")));
    }
    let size = &block[124..136];
    let number = match size[0] & 0x80 {
        0 => {
            let text = std::str::from_utf8(size).unwrap_or_default().trim_matches(['\0', ' ']);
            u64::from_str_radix(text, 8).ok()
        }
        // Lengths of 8 GiB and more are stored in binary.
        _ => size[4..].first_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
    };
    number.ok_or_else(|| damaged("a tar header has an invalid length"))
}

fn skip_padding(file: &mut dyn Read, bytes: u64) -> Result<(), BundleError> {
    let mut padding = vec![0; padding(bytes)];
    file.read_exact(&mut padding).map_err(BundleError::Read)
}

fn padding(bytes: u64) -> usize {
    (bytes.next_multiple_of(BLOCK as u64) - bytes) as usize
}

/// Writes one file with its tar header.
fn write_member(
    sink: &mut dyn Write,
    name: &str,
    bytes: u64,
    source: &mut dyn Read,
    advance: &mut dyn FnMut(u64),
) -> io::Result<()> {
    sink.write_all(&tar_header(name, bytes))?;
    let mut chunk = vec![0; crate::digest::CHUNK_BYTES];
    let mut left = bytes;
    while left > 0 {
        let most = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = source.read(&mut chunk[..most])?;
        if count == 0 {
            return Err(io::Error::other(format!("{name} is shorter than expected")));
        }
        sink.write_all(&chunk[..count])?;
        left -= count as u64;
        advance(count as u64);
    }
    sink.write_all(&vec![0; padding(bytes)])
}

fn tar_header(name: &str, bytes: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut set = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    set(0, name.as_bytes());
    set(100, b"0000644\0");
    set(108, b"0000000\0");
    set(116, b"0000000\0");
    if bytes < 1 << 33 {
        set(124, format!("{bytes:011o}\0").as_bytes());
    } else {
        set(124, &[0x80, 0, 0, 0]);
        set(128, &bytes.to_be_bytes());
    }
    set(136, b"00000000000\0");
    set(148, b"        ");
    set(156, b"0");
    set(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
