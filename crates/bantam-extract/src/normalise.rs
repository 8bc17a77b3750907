//! From a value as people write it to the value that a type or a format asks for; `None` where that would be a guess.

mod amount;
mod choice;
mod date;

pub use amount::{amount, whole};
pub use choice::{boolean, choice};
pub use date::date;

/// The version of everything that decides how values are written: what was proved of answers holds for one.
pub const NORMALISERS: u32 = 2;
