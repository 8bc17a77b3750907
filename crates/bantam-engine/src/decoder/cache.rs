//! A cache file for packed weights, so that a model that was opened before opens in milliseconds.
//!
//! | Bytes | Content |
//! |---|---|
//! | 8 | `BANTAMPW` |
//! | 4 | version of the format and of the packing |
//! | 32 | fingerprint of the model's files |
//! | 8 | number of layers |
//! | … | layers: length of the name (2), name, packing (1), outputs (8), inputs (8) |
//! | … | the layers' bytes in order, each aligned to 64 |
//!
//! Everything before the layers' bytes follows from the model, so a reader rebuilds and compares it: a file that
//! differs there, or has another length, is ignored. The model is identified by a fingerprint (length, modification
//! time and first MiB of each of its files), because hashing all of it would take longer than packing does. A file
//! changed in place with its length, time and first MiB kept would go unnoticed. So would damage to the layers'
//! bytes, which can make answers wrong but not memory unsafe.

use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_kernels::{PackedBytes, Packing};
use bantam_weights::{MappedFile, WeightFile, write_file};

const MAGIC: &[u8; 8] = b"BANTAMPW";
/// Incremented with every change of this format or of the packing.
const VERSION: u32 = 1;
const ALIGNMENT: usize = 64;

/// A layer whose packed weights are cached.
#[derive(Clone, Copy, Debug)]
pub(super) struct CachedLayer<'e> {
    pub(super) name: &'e str,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) packing: Packing,
}

/// The cache file of one model.
#[derive(Debug)]
pub(super) struct WeightCache {
    path: PathBuf,
    /// The expected start of the file.
    header: Vec<u8>,
    /// The byte range of each layer.
    ranges: Vec<Range<usize>>,
}

impl WeightCache {
    /// Returns the cache at `path` for the layers of `file`.
    pub(super) fn new(path: &Path, file: &WeightFile, entries: &[CachedLayer<'_>]) -> Self {
        let mut header = MAGIC.to_vec();
        header.extend(VERSION.to_le_bytes());
        header.extend(file.fingerprint().as_bytes());
        header.extend((entries.len() as u64).to_le_bytes());
        for entry in entries {
            header.extend((entry.name.len() as u16).to_le_bytes());
            header.extend(entry.name.as_bytes());
            header.push(match entry.packing {
                Packing::Int8 => 8,
                Packing::Int4 => 4,
            });
            header.extend((entry.outputs as u64).to_le_bytes());
            header.extend((entry.inputs as u64).to_le_bytes());
        }
        let mut end = header.len();
        let ranges = entries.iter().map(|entry| {
            let start = end.next_multiple_of(ALIGNMENT);
            end = start + entry.packing.packed_bytes(entry.outputs, entry.inputs).unwrap_or_default();
            start..end
        });
        let ranges = ranges.collect();
        Self { path: path.to_owned(), header, ranges }
    }

    /// Returns the layers' bytes, memory-mapped, or `None` if the file does not exist, is damaged, or belongs to
    /// another model or version.
    pub(super) fn open(&self) -> Option<Vec<PackedBytes>> {
        let file = MappedFile::open(&self.path).ok()?;
        let bytes = file.as_ref();
        let end = self.ranges.last().map_or(self.header.len(), |range| range.end);
        if bytes.len() != end || !bytes.starts_with(&self.header) {
            return None;
        }
        let owner: Arc<MappedFile> = Arc::new(file);
        self.ranges.iter().map(|range| PackedBytes::new(owner.clone(), range.clone())).collect()
    }

    /// Writes the layers' bytes and returns them memory-mapped, or `None` if they cannot be written: a read-only
    /// folder or a full disk must not keep the model from running.
    pub(super) fn write(&self, packed: &[PackedBytes]) -> Option<Vec<PackedBytes>> {
        write_file(&self.path, |sink| self.write_to(packed, sink)).ok()?;
        self.open()
    }

    fn write_to(&self, packed: &[PackedBytes], sink: &mut dyn Write) -> io::Result<()> {
        sink.write_all(&self.header)?;
        let mut at = self.header.len();
        for (range, bytes) in self.ranges.iter().zip(packed) {
            sink.write_all(&[0; ALIGNMENT][..range.start - at])?;
            sink.write_all(bytes.as_slice())?;
            at = range.end;
        }
        Ok(())
    }
}
