//! The header of a safetensors file, and the list of shards, checked before any of it is used.
//!
//! A file is 8 bytes of header length, the header in JSON (name → type, shape, range in the data), and the data,
//! which the ranges cover without holes.

mod header;
mod index;
pub(crate) mod json;

pub(crate) use header::read;
pub(crate) use index::{Shards, read_index};

pub use header::SafetensorsError;
pub use index::IndexError;

/// Bytes of a header at most, as the reference reads.
pub(crate) const HEADER_BYTES_MAX: u64 = 100_000_000;
