//! What a program would read out of a text: escapes resolved, encoded tokens decoded, separators spelled out.

mod escape;
mod spelled;
mod token;

pub(crate) use escape::unescaped;
pub(crate) use spelled::despelled;
pub(crate) use token::{Decoded, next_decoded};
