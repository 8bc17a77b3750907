//! Matrix kernels for the instructions that the machine at hand has, and the threads that run them.
//!
//! One binary holds every kernel several times; [`Isa`] says at run time which may be used, and [`Pool`] carries
//! that choice together with its threads. Kernels are written once, over vectors of the machine, and compiled for
//! AVX-512 VNNI, AVX-VNNI, AVX2 and for machines with none of these. What they offer is what a transformer's
//! forward pass over short sequences needs: [`Int8Linear`] and [`F32Linear`], [`quantise_rows`], [`LayerNorm`]
//! and [`attention`].
//!
//! **Invariant:** every public function is safe: shapes are asserted before anything is read or written.
//!
//! **Invariant:** integer products are exact with every set of instructions; only f32 sums differ, in their order.
#![expect(unsafe_code, reason = "vector instructions and slices shared between threads; each use says why")]

mod attention;
mod dense;
mod grid;
mod int8;
mod isa;
mod math;
mod norm;
mod pool;
mod product;
mod quantise;
mod shared;
mod simd;

pub use attention::{AttentionScratch, Heads, attention};
pub use dense::F32Linear;
pub use int8::{INPUTS_MAX, Int8Linear};
pub use isa::Isa;
pub use norm::{Addend, LayerNorm};
pub use pool::{Pool, THREADS_MAX};
pub use product::Activation;
pub use quantise::{QuantisedRows, quantise_rows};
