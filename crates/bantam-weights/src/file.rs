//! An open weight file of any format that is read here.

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
use crate::map::Map;
use crate::metadata::{Entries, Metadata};
use crate::safetensors::{self, IndexError};
use crate::sniff::{self, Content};
use crate::tensor::{self, Entry, TensorView};

/// The names under which a folder holds a model, in the order in which they are looked for.
const FOLDER_NAMES: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];

/// Bytes at the start of each part that a fingerprint covers.
const FINGERPRINT_BYTES: usize = 1 << 20;

/// What kind of file was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// GGUF of a version.
    Gguf {
        /// 2 or 3.
        version: u32,
    },
    /// One safetensors file.
    Safetensors,
    /// Safetensors in several files.
    ShardedSafetensors {
        /// How many.
        shards: usize,
    },
}

/// A model's tensors and metadata, checked and mapped.
///
/// Opening reads the header alone; a tensor's pages are read from the disk when they are first touched. The file
/// must not be changed in place while it is open (replacing it by a rename is fine).
#[derive(Debug)]
pub struct WeightFile {
    format: Format,
    /// The file, or the list of shards and then the shards.
    parts: Vec<Map>,
    tensors: Vec<Entry>,
    /// Places in `tensors`, by name.
    by_name: Vec<usize>,
    metadata: Entries,
    hash: OnceLock<WeightsHash>,
    /// When the parts were last changed, where it is known.
    modified: Vec<Option<SystemTime>>,
}

impl WeightFile {
    /// Opens a GGUF or safetensors file, a list of shards (`model.safetensors.index.json`), or a folder that has
    /// `model.safetensors` or such a list. Decides by content; anything else is refused by what it is.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenWeightsError> {
        let path = path.as_ref();
        Self::open_path(path).map_err(|kind| OpenWeightsError { path: path.to_owned(), kind })
    }

    /// Reads a file that is in memory already, as [`Self::open`] would.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, OpenWeightsErrorKind> {
        Self::of(Map::Owned(bytes), None)
    }

    fn open_path(path: &Path) -> Result<Self, OpenWeightsErrorKind> {
        let path = match path.metadata()?.is_dir() {
            true => in_folder(path)?,
            false => path.to_owned(),
        };
        // Asked before opening, because opening a pipe waits for its other end.
        if !path.metadata()?.is_file() {
            return Err(OpenWeightsErrorKind::NotFile);
        }
        let map = Map::of(&File::open(&path)?)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Self::of(map, Some(folder.unwrap_or(Path::new("."))))
    }

    fn of(map: Map, folder: Option<&Path>) -> Result<Self, OpenWeightsErrorKind> {
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
                let folder = folder.ok_or(IndexError::NoFolder)?;
                let loaded = shards::load(folder, &index)?;
                let format = Format::ShardedSafetensors { shards: index.names.len() };
                let parts = std::iter::once(map).chain(loaded.parts).collect();
                // The list has every name once, and the shards were held against it.
                Self::new(format, parts, loaded.tensors, loaded.metadata)
                    .map_err(|error| OpenWeightsErrorKind::Safetensors(error.into()))
            }
        }
    }

    fn new(
        format: Format,
        parts: Vec<Map>,
        tensors: Vec<Entry>,
        metadata: Entries,
    ) -> Result<Self, tensor::TensorError> {
        let by_name = tensor::index_by_name(&tensors)?;
        let modified = parts.iter().map(Map::modified).collect();
        Ok(Self { format, parts, tensors, by_name, metadata, hash: OnceLock::new(), modified })
    }

    /// What kind of file this is.
    pub fn format(&self) -> Format {
        self.format
    }

    /// All tensors with their names, in the order in which the file describes them.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&str, TensorView<'_>)> {
        self.tensors.iter().map(|entry| (&*entry.name, self.view(entry)))
    }

    /// The tensor of a name.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        let place = self.by_name.binary_search_by(|&place| (*self.tensors[place].name).cmp(name)).ok()?;
        Some(self.view(&self.tensors[self.by_name[place]]))
    }

    /// The tensor of a name, which must have the shape that the architecture asks for.
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

    /// What the file says about its model.
    pub fn metadata(&self) -> Metadata<'_> {
        let bytes = self.parts.first().map(Map::bytes).unwrap_or_default();
        Metadata { entries: &self.metadata, bytes }
    }

    /// SHA-256 of the file. Of a sharded model: of the hashes, as bytes, of the list and then of each shard in the
    /// order of their names. Computed when first asked for, which reads the whole file.
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

    /// A hash that tells this file from other versions of it at the same place, without reading all of it: of the
    /// length, the time of the last change and the first MiB of each part. It is no proof of content, as
    /// [`Self::sha256`] is.
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

    fn view<'a>(&'a self, entry: &'a Entry) -> TensorView<'a> {
        entry.view(self.parts.get(entry.part).map(Map::bytes).unwrap_or_default())
    }
}

/// The model's file in a folder.
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
