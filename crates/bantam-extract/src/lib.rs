//! Turns values found in a text into the JSON object that a schema asks for.
//!
//! A [`Shape`] describes an object: each property takes the values of the slot with its name, written in the form that
//! its type and format require ([`normalise`]). If a value cannot be written that way, or the schema does not allow the
//! object, there is no answer: [`Shape::write`] says which value failed and why, and never guesses. Everything here is
//! pure.
//!
//! # Example
//!
//! ```
//! use bantam_extract::{SlotValue, Shape};
//! use serde_json::json;
//!
//! let schema = json!({
//!     "type": "object",
//!     "properties": {"people": {"type": "integer"}, "day": {"type": "string", "format": "date"}},
//!     "required": ["people"]
//! });
//! let shape = Shape::new(&schema, &["people".to_owned(), "day".to_owned()])?;
//!
//! let people = SlotValue { name: "people", value: "twelve", confidence: 0.9 };
//! let day = SlotValue { name: "day", value: "5 May 2026", confidence: 0.9 };
//! assert_eq!(shape.write(&[people, day])?, json!({"people": 12, "day": "2026-05-05"}));
//!
//! // A date that could be two dates is not guessed.
//! let unclear = SlotValue { value: "05/11/2026", ..day };
//! assert!(shape.write(&[people, unclear]).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod normalise;
mod shape;

pub use normalise::NORMALISERS;
pub use shape::{Shape, ShapeError, SlotValue, WriteError};
