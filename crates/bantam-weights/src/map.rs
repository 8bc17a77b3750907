//! A file's bytes, mapped: the only `unsafe` of this crate.
#![allow(unsafe_code, reason = "mapping a file is unsafe in every API; its invariants stand beside the call")]

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use memmap2::Mmap;

/// A file's bytes, mapped, or bytes that were in memory anyway.
#[derive(Debug)]
pub(crate) enum Map {
    /// Pages of a file, read when touched, and when it was last changed.
    Mapped(Mmap, Option<SystemTime>),
    /// Bytes of our own.
    Owned(Vec<u8>),
}

impl Map {
    /// Maps a whole regular file; an empty one becomes no bytes.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if metadata.len() == 0 {
            return Ok(Self::Owned(Vec::new()));
        }
        let modified = metadata.modified().ok();
        // SAFETY: the mapping is read-only, its length is the file's at this moment, and it is
        // unmapped only when `self` is dropped, which every borrow of its bytes prevents. What a mapping cannot
        // rule out is another process that changes the file in place. Weight files are never written in place
        // here: writers rename a finished file over the path, which leaves a mapped one as it was. Bytes of a
        // mapping are only ever read as `u8`, for which every bit pattern is valid, and sizes are checked
        // against the mapping's length, which cannot change. A foreign process that shortens the file makes the
        // system end this one (SIGBUS); it cannot make it read foreign memory.
        unsafe { Mmap::map(file) }.map(|map| Self::Mapped(map, modified))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map, _) => map,
            Self::Owned(bytes) => bytes,
        }
    }

    /// When the file was last changed, where the system says it.
    pub(crate) fn modified(&self) -> Option<SystemTime> {
        match self {
            Self::Mapped(_, modified) => *modified,
            Self::Owned(_) => None,
        }
    }
}

/// A whole file, mapped for reading: a cache of what was derived from weights, for instance. It must not be
/// changed in place while it is open; replacing it by a rename is fine.
#[derive(Debug)]
pub struct MappedFile(Map);

impl MappedFile {
    /// Maps a regular file.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        // Asked before opening, because opening a pipe waits for its other end.
        if !path.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no regular file"));
        }
        Map::of(&File::open(path)?).map(Self)
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}
