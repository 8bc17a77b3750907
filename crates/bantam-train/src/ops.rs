//! The operations of networks, each with a forward and a backward pass on one thread.
//!
//! The forward pass stores what the backward pass needs in a buffer that the caller owns. The backward pass adds to the
//! gradients of the operation's parameters and computes the gradient of its input. Rows are tokens; sequences are
//! concatenated without padding.

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
pub use rotate::{Direction, Rotation};
