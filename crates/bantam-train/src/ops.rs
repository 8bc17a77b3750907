//! What networks are made of, each forwards and backwards, on one thread.
//!
//! An operation writes what its way back needs into a place that its caller owns; on the way back it adds to the
//! gradients of its own parameters and gives the gradient of its input. Rows are tokens; sequences lie one after the
//! other and are never padded.

mod activation;
mod attention;
mod dropout;
mod gated;
mod linear;
mod loss;
mod norm;
mod numbers;
mod pooling;
mod rms;
mod rotate;

pub use activation::{gelu, gelu_back};
pub use attention::{Attention, AttentionScratch};
pub use dropout::{Noise, Site, dropout};
pub use gated::{gelu_gate, gelu_gate_back, silu_gate, silu_gate_back};
pub use linear::{F32Matrix, Frozen, Linear, LinearScratch, Lora, LoraPart, Weight};
pub use loss::cross_entropy;
pub use norm::{Norm, NormSaved};
pub(crate) use numbers::{add, exp, fit};
pub use pooling::{PoolKind, PooledSaved, pool, pool_back};
pub use rms::{Gain, RmsNorm, Runs};
pub use rotate::{Rotation, Turn};
