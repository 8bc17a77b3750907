//! Values found in a text to the JSON object that a schema asks for.
//!
//! A [`Shape`] says what an object looks like: each property takes the values of the slot with its name, written as its
//! type and format want them ([`normalise`]). What cannot be written so, and what the schema does not allow, is no
//! answer: [`Shape::write`] says which value and why, and never guesses. Everything here is pure.

pub mod normalise;
mod shape;

pub use normalise::NORMALISERS;
pub use shape::{Found, Shape, ShapeError, WriteError};
