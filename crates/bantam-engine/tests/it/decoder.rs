//! Decoders against the reference implementation, against themselves in other batches, and against what is not one.

mod adapters;
mod cache;
mod forward;
mod gguf;
mod hostile;
mod loading;
mod parity;
pub(crate) mod stories;
pub(crate) mod support;
