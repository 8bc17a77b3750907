//! The header of a safetensors file and the shard index, checked completely before use.
//!
//! A file consists of 8 bytes of header length, the header in JSON (name → type, shape, range in the data), and the
//! data, which the ranges cover without gaps.

mod header;
mod index;
pub(crate) mod json;

pub(crate) use header::read;
pub(crate) use index::{ShardIndex, read_index};

pub use header::SafetensorsError;
pub use index::ShardIndexError;

/// Largest header in bytes; the reference has the same limit.
pub(crate) const HEADER_BYTES_MAX: u64 = 100_000_000;
