//! Decodes a text as a program would: resolves escapes, decodes tokens, replaces spelled-out separators.

mod escape;
mod spelled;
mod token;

pub(crate) use escape::unescaped;
pub(crate) use spelled::despelled;
pub(crate) use token::{Decoded, next_decoded};
