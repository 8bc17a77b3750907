//! Decoders compared with the reference implementation and with themselves in other batches, and invalid files.

mod adapters;
mod cache;
mod forward;
mod gguf;
mod hostile;
mod loading;
mod parity;
pub(crate) mod stories;
pub(crate) mod support;
