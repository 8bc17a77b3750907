//! Memory-mapped files: the only `unsafe` of this crate.
#![allow(
    unsafe_code,
    reason = "mapping a file is unsafe in every API; the safety argument is beside the call"
)]

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use memmap2::Mmap;

/// The bytes of a file: mapped, or owned.
#[derive(Debug)]
pub(crate) enum FileBytes {
    /// A mapped file, read on access, and its modification time.
    Mapped(Mmap, Option<SystemTime>),
    /// Bytes in memory.
    Owned(Vec<u8>),
}

impl FileBytes {
    /// Maps a regular file. An empty file gives no bytes.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if metadata.len() == 0 {
            return Ok(Self::Owned(Vec::new()));
        }
        let modified = metadata.modified().ok();
        // SAFETY: the mapping is read-only, its length is the file's current length, and it is unmapped only when
        // `self` is dropped, which borrows of its bytes prevent. A mapping cannot rule out that another process
        // changes the file in place. This program never writes weight files in place: it renames a finished file over
        // the path, which leaves a mapped file unchanged. Bytes of a mapping are only read as `u8`, for which every
        // bit pattern is valid, and sizes are checked against the mapping's length, which cannot change. If another
        // process truncates the file, the system kills this process (SIGBUS); it cannot make it read other memory.
        unsafe { Mmap::map(file) }.map(|map| Self::Mapped(map, modified))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map, _) => map,
            Self::Owned(bytes) => bytes,
        }
    }

    /// Returns when the file was last modified, if the system says so.
    pub(crate) fn modified(&self) -> Option<SystemTime> {
        match self {
            Self::Mapped(_, modified) => *modified,
            Self::Owned(_) => None,
        }
    }
}

/// A file mapped for reading, such as a cache derived from weights. It must not be changed in place while it is open;
/// replacing it with a rename is fine.
#[derive(Debug)]
pub struct MappedFile(FileBytes);

impl MappedFile {
    /// Maps a regular file.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        // Checked before opening, because opening a pipe blocks until its other end is opened.
        if !path.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        FileBytes::of(&File::open(path)?).map(Self)
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}
