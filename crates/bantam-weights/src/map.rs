//! A file's bytes, mapped: the only `unsafe` of this crate.
#![allow(unsafe_code, reason = "mapping a file is unsafe in every API; its invariants stand beside the call")]

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// A file's bytes, mapped, or bytes that were in memory anyway.
#[derive(Debug)]
pub(crate) enum Map {
    /// Pages of a file, read when touched.
    Mapped(Mmap),
    /// Bytes of our own.
    Owned(Vec<u8>),
}

impl Map {
    /// Maps a whole regular file; an empty one becomes no bytes.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        if file.metadata()?.len() == 0 {
            return Ok(Self::Owned(Vec::new()));
        }
        // SAFETY: the mapping is read-only, its length is the file's at this moment, and it is
        // unmapped only when `self` is dropped, which every borrow of its bytes prevents. What a mapping cannot
        // rule out is another process that changes the file in place. Weight files are never written in place
        // here: writers rename a finished file over the path, which leaves a mapped one as it was. Bytes of a
        // mapping are only ever read as `u8`, for which every bit pattern is valid, and sizes are checked
        // against the mapping's length, which cannot change. A foreign process that shortens the file makes the
        // system end this one (SIGBUS); it cannot make it read foreign memory.
        unsafe { Mmap::map(file) }.map(Self::Mapped)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}
