//! An open weight file of any supported format.

mod error;
mod shards;

pub use error::{OpenWeightsError, OpenWeightsErrorKind, RequireTensorError};

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::gguf;
use crate::hash::WeightsHash;
use crate::map::FileBytes;
use crate::metadata::{Metadata, MetadataEntries};
use crate::safetensors::{self, ShardIndexError};
use crate::sniff::{self, Content};
use crate::tensor::{self, TensorEntry, TensorView};

/// File names of a model in a folder, in the order of preference.
const FOLDER_NAMES: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];

/// Bytes at the start of each file that a fingerprint covers.
const FINGERPRINT_BYTES: usize = 1 << 20;

/// The format of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// GGUF.
    Gguf {
        /// The version: 2 or 3.
        version: u32,
    },
    /// One safetensors file.
    Safetensors,
    /// Safetensors in several files.
    ShardedSafetensors {
        /// Number of shards.
        shards: usize,
    },
}

/// A model's tensors and metadata, checked and memory-mapped.
///
/// Opening reads only the header; pages of tensors are read from disk on first access. The file must not be changed
/// in place while it is open; replacing it with a rename is fine.
#[derive(Debug)]
pub struct WeightFile {
    format: Format,
    /// The file, or the shard index followed by the shards.
    parts: Vec<FileBytes>,
    tensors: Vec<TensorEntry>,
    /// Indices into `tensors`, sorted by name.
    by_name: Vec<usize>,
    metadata: MetadataEntries,
    hash: OnceLock<WeightsHash>,
    /// Modification times of the parts, if known.
    modified: Vec<Option<SystemTime>>,
}

impl WeightFile {
    /// Opens a GGUF or safetensors file, a shard index (`model.safetensors.index.json`), or a folder with
    /// `model.safetensors` or a shard index. The content decides the format; the error for another format names it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenWeightsError> {
        let path = path.as_ref();
        Self::open_path(path).map_err(|kind| OpenWeightsError { path: path.to_owned(), kind })
    }

    /// Like [`Self::open`], but reads a file from memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, OpenWeightsErrorKind> {
        Self::of(FileBytes::Owned(bytes), None)
    }

    fn open_path(path: &Path) -> Result<Self, OpenWeightsErrorKind> {
        let path = match path.metadata()?.is_dir() {
            true => in_folder(path)?,
            false => path.to_owned(),
        };
        // Checked before opening, because opening a pipe blocks until its other end is opened.
        if !path.metadata()?.is_file() {
            return Err(OpenWeightsErrorKind::NotFile);
        }
        let map = FileBytes::of(&File::open(&path)?)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Self::of(map, Some(folder.unwrap_or(Path::new("."))))
    }

    fn of(map: FileBytes, folder: Option<&Path>) -> Result<Self, OpenWeightsErrorKind> {
        match sniff::content(map.bytes())? {
            Content::Gguf => {
                let header = gguf::read(map.bytes())?;
                let format = Format::Gguf { version: header.version };
                Self::new(format, vec![map], header.tensors, header.metadata)
                    .map_err(|error| OpenWeightsErrorKind::Gguf(error.into()))
            }
            Content::Safetensors => {
                let header = safetensors::read(map.bytes())?;
                Self::new(Format::Safetensors, vec![map], header.tensors, header.metadata)
                    .map_err(|error| OpenWeightsErrorKind::Safetensors(error.into()))
            }
            Content::Index => {
                let index = safetensors::read_index(map.bytes())?;
                let folder = folder.ok_or(ShardIndexError::NoFolder)?;
                let loaded = shards::load(folder, &index)?;
                let format = Format::ShardedSafetensors { shards: index.names.len() };
                let parts = std::iter::once(map).chain(loaded.parts).collect();
                // The index has every name once, and the shards were checked against it.
                Self::new(format, parts, loaded.tensors, loaded.metadata)
                    .map_err(|error| OpenWeightsErrorKind::Safetensors(error.into()))
            }
        }
    }

    fn new(
        format: Format,
        parts: Vec<FileBytes>,
        tensors: Vec<TensorEntry>,
        metadata: MetadataEntries,
    ) -> Result<Self, tensor::TensorError> {
        let by_name = tensor::index_by_name(&tensors)?;
        let modified = parts.iter().map(FileBytes::modified).collect();
        Ok(Self { format, parts, tensors, by_name, metadata, hash: OnceLock::new(), modified })
    }

    /// Returns the file's format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns all tensors with their names, in file order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&str, TensorView<'_>)> {
        self.tensors.iter().map(|entry| (&*entry.name, self.view(entry)))
    }

    /// Returns the tensor with a name.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        let found = self.by_name.binary_search_by(|&index| (*self.tensors[index].name).cmp(name)).ok()?;
        Some(self.view(&self.tensors[self.by_name[found]]))
    }

    /// Returns the tensor with a name, after checking that it has the shape that the architecture needs.
    pub fn require(&self, name: &str, shape: &[usize]) -> Result<TensorView<'_>, RequireTensorError> {
        let Some(view) = self.tensor(name) else {
            return Err(RequireTensorError::Missing { tensor: name.into() });
        };
        if view.shape() != shape {
            let (found, expected) = (view.shape().into(), shape.into());
            return Err(RequireTensorError::Shape { tensor: name.into(), found, expected });
        }
        Ok(view)
    }

    /// Returns the file's metadata.
    pub fn metadata(&self) -> Metadata<'_> {
        let bytes = self.parts.first().map(FileBytes::bytes).unwrap_or_default();
        Metadata { entries: &self.metadata, bytes }
    }

    /// Returns the SHA-256 of the file; for a sharded model, of the concatenated hashes of the index and then of each
    /// shard in the order of their names. The first call reads the whole file.
    pub fn sha256(&self) -> WeightsHash {
        *self.hash.get_or_init(|| {
            let hashes: Vec<WeightsHash> =
                self.parts.iter().map(|part| WeightsHash::of(part.bytes())).collect();
            match hashes.as_slice() {
                [one] => *one,
                several => WeightsHash::of_hashes(several),
            }
        })
    }

    /// Returns a hash that distinguishes versions of this file without reading all of it. It covers the length, the
    /// modification time and the first MiB of each part, so unlike [`Self::sha256`] it does not prove the content.
    pub fn fingerprint(&self) -> WeightsHash {
        let mut described = Vec::new();
        for (part, modified) in self.parts.iter().zip(&self.modified) {
            let since = modified.and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
            described.extend((part.bytes().len() as u64).to_le_bytes());
            described.extend(since.map_or(0, |since| since.as_nanos()).to_le_bytes());
            let start = &part.bytes()[..part.bytes().len().min(FINGERPRINT_BYTES)];
            described.extend(WeightsHash::of(start).as_bytes());
        }
        WeightsHash::of(&described)
    }

    fn view<'a>(&'a self, entry: &'a TensorEntry) -> TensorView<'a> {
        entry.view(self.parts.get(entry.part).map(FileBytes::bytes).unwrap_or_default())
    }
}

/// Returns the path of a folder's model file.
fn in_folder(folder: &Path) -> Result<PathBuf, OpenWeightsErrorKind> {
    for name in FOLDER_NAMES {
        let path = folder.join(name);
        match path.metadata() {
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(OpenWeightsErrorKind::EmptyFolder)
}
