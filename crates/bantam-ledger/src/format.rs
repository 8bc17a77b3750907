//! The journal's bytes. The only module that knows them: the writer and the reader share it.
//!
//! A segment is a 16-byte header and records one after the other:
//!
//! ```text
//! segment  "bantam-j"  u32 framing version  u32 crc32 of the 12 bytes before
//! record   u32 body length  u32 crc32 of the body  u32 crc32 of the 8 bytes before  body
//! body     u8 kind  u8 version of the kind  payload
//! ```
//!
//! Fixed numbers are little-endian; payload numbers are LEB128 varints, signed ones zigzag.
//!
//! The record header has a checksum of its own because a flipped bit in the length would otherwise
//! look like a record that runs past the end of the file, which is what a torn write looks like, and
//! a torn write is dropped. So with it, "shorter than it says" can only mean that the write never
//! finished, and everything else that does not check out is damage and gets a name.
//!
//! Compatibility: a reader knows every version up to its own. A new field is a new version of its
//! kind; an unknown version is refused, because skipping it would lose an acknowledged record.

pub(crate) mod codes;
mod decode;
mod encode;
mod extra;
mod frame;
mod known;
pub(crate) mod numbers;
mod price;

pub(crate) use decode::decode;
pub(crate) use encode::{encode_settlement, encode_template};
pub(crate) use extra::Extra;
pub use frame::DecodeError;
pub(crate) use frame::{Frame, SEGMENT_HEADER_BYTES, check_segment_header, segment_header, split};
pub(crate) use known::Known;

/// A settlement and the example that may go with it.
const KIND_SETTLEMENT: u8 = 1;
/// A discovered template.
const KIND_TEMPLATE: u8 = 2;
/// The version of settlements that is written now. Version 1 had no caller, endpoint and
/// dialect, and no fault and status of its attempts. Versions 1 and 2 had three kinds of token and their rates, and no
/// reason for a missing cost, no request id and no rate limits of upstreams.
const SETTLEMENT_VERSION: u8 = 3;
/// The version of templates that is written now.
const TEMPLATE_VERSION: u8 = 1;

#[cfg(test)]
pub(crate) mod tests;
