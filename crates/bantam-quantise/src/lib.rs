//! Quantises models, and measures what that costs in quality.
//!
//! [`quantise`] writes a GGUF file from an unquantised one (F32, F16, BF16) or from a folder of safetensors, with
//! llama.cpp's mixes of types; [`compare`] runs both models on a text and reports how far the quantised one's
//! probabilities are from the original's. [`quantise_stored`] does both for a model of the
//! store, with events and a typed report.
//!
//! **Invariant:** the output is read back and checked before it gets its name. A converted tokenizer gives the
//! original's ids on every probe, or nothing is written.

mod compare;
mod mix;
mod original;
mod stored;
mod write;

pub use compare::{CompareError, Comparison, compare};
pub use mix::Quantisation;
pub use stored::{
    ComparisonReport, QuantiseEvent, QuantiseReport, QuantiseRequest, QuantiseStoredError, TypeReport,
    quantise_stored,
};
pub use write::{QuantiseModelError, Quantised, quantise};
