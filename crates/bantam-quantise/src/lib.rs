//! Models to smaller ones, and what that costs.
//!
//! [`quantise`] writes a GGUF file from one of whole numbers (F32, F16, BF16), or from a folder of safetensors, with
//! the mixes of types that llama.cpp has; [`compare`] runs both over a text and says how far the smaller one's
//! probabilities are from the original's. [`quantise_stored`] does both for a model of the store, with events and a
//! typed report.
//!
//! **Invariant:** what is written is read back and checked before it has its name, and a tokenizer that was converted
//! gives the ids of the original on every probe, or nothing is written.

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
