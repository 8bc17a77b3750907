//! Turns values found in a text into the JSON object that a schema asks for.
//!
//! A [`Shape`] describes an object: each property takes the values of the slot with its name, written in the form that
//! its type and format require ([`normalise`]). If a value cannot be written that way, or the schema does not allow the
//! object, there is no answer: [`Shape::write`] says which value failed and why, and never guesses. Everything here is
//! pure.

pub mod normalise;
mod shape;

pub use normalise::NORMALISERS;
pub use shape::{Found, Shape, ShapeError, WriteError};
