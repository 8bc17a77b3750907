//! Turns a value as people write it into the form that a type or format requires, or `None` if that would be a guess.

mod amount;
mod choice;
mod date;

pub use amount::{amount, whole};
pub use choice::{boolean, choice};
pub use date::date;

/// The version of all rules that decide how values are written. What was proved about answers holds for one version
/// only.
pub const NORMALISERS: u32 = 2;
