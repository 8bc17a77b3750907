//! Packed weights kept in a file, so that a model that was opened once opens in milliseconds.
//!
//! | Bytes | Content |
//! |---|---|
//! | 8 | `BANTAMPW` |
//! | 4 | version of the format and of the weights' layout |
//! | 32 | fingerprint of the model's files |
//! | 8 | how many layers |
//! | … | layers: length of the name (2), name, packing (1), outputs (8), inputs (8) |
//! | … | the layers' bytes in their order, each padded to start at a multiple of 64 |
//!
//! All before the layers' bytes follows from the model, so a reader makes it anew and compares: a file with
//! other bytes there, or of another length, is as good as none. The model is known by a fingerprint (length, time
//! of the last change and first MiB of each of its files), since hashing all of it would take longer than packing
//! saves; a file changed in place with its length, time and first MiB kept would not be noticed. Neither would
//! damage to the layers' bytes, which can make answers wrong but no memory unsafe.

use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_kernels::{PackedBytes, Packing};
use bantam_weights::{MappedFile, WeightFile, write_file};

const MAGIC: &[u8; 8] = b"BANTAMPW";
/// Counts up with every change of this format or of how weights are packed.
const VERSION: u32 = 1;
const ALIGNMENT: usize = 64;

/// A layer whose packed weights are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'e> {
    pub(super) name: &'e str,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) packing: Packing,
}

/// The place where one model's packed weights are kept.
#[derive(Debug)]
pub(super) struct WeightCache {
    path: PathBuf,
    /// What the file starts with.
    header: Vec<u8>,
    /// Where each layer's bytes are.
    ranges: Vec<Range<usize>>,
}

impl WeightCache {
    /// Returns where `file`'s layers are kept.
    pub(super) fn new(path: &Path, file: &WeightFile, entries: &[Entry<'_>]) -> Self {
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

    /// Returns the layers' bytes, mapped, or nothing where there is no such file, or one of another model, another
    /// version, or damaged.
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

    /// Writes the layers' bytes and returns them mapped, or nothing where they cannot be kept: a folder that may
    /// not be written, or a full disk, is no reason not to run.
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
