//! Matrix kernels for the instruction sets of the machine, and the thread pool that runs them.
//!
//! One binary contains every kernel several times; [`Isa`] says at run time which version may be used, and [`Pool`]
//! combines that choice with its threads. Kernels are written once over SIMD vectors and compiled for AVX-512 VNNI,
//! AVX-VNNI, AVX2 and for machines with none of these. They cover the forward pass of transformers over short
//! sequences: for encoders [`Int8Linear`] and [`F32Linear`], [`quantise_rows`], [`LayerNorm`], [`attention`] and
//! [`geglu`]; for decoders [`GroupedLinear`] on [`GroupedRows`], [`RmsNorm`], [`Rope`], [`gated`], [`attend`] over a
//! [`KvStore`], and [`add_low_rank`]. Training adds [`multiply`], a product of any two f32 matrices, and [`Loops`],
//! which the compiler vectorises.
//!
//! **Invariant:** every public function is safe: shapes are asserted before anything is read or written.
//!
//! **Invariant:** integer products are exact with every instruction set; only f32 sums differ, in their order.
//!
//! # Example
//!
//! ```
//! use bantam_kernels::{Matrix, MatrixMut, Write, multiply};
//!
//! let (left, right) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
//! let mut product = [0.0; 4];
//! let into = MatrixMut::new(&mut product, 2, 2);
//! multiply(Matrix::new(&left, 2, 2), Matrix::new(&right, 2, 2).transposed(), 1.0, into, Write::Set);
//! assert_eq!(product, [17.0, 23.0, 39.0, 53.0]);
//! ```
#![expect(unsafe_code, reason = "SIMD instructions and slices shared between threads; each use says why")]

mod attend;
mod attention;
mod dense;
mod gated;
mod geglu;
mod grid;
mod grouped;
mod int8;
mod isa;
mod kv;
mod limits;
mod low_rank;
mod math;
mod matrix;
mod norm;
mod pool;
mod product;
mod quantise;
mod rms;
mod rope;
mod rotation;
mod shared;
mod simd;

pub use attend::{AttendOptions, AttendScratch, AttendSpan, attend};
pub use attention::{AttentionScope, AttentionScratch, Heads, attention};
pub use dense::F32Linear;
pub use gated::{Gate, gated, gated_quantise};
pub use geglu::geglu;
pub use grouped::{AlignedBytes, GroupedLinear, GroupedRows, PackedBytes, PackedError, Packing, Weights};
pub use int8::{INPUTS_MAX, Int8Linear};
pub use isa::{Isa, Loops};
pub use kv::{Columns, KvPrecision, KvShape, KvStore, PAGE_TOKENS};
pub use limits::{peak_int8, peak_read};
pub use low_rank::{LowRank, add_low_rank};
pub use matrix::{Matrix, MatrixMut, Write, multiply};
pub use norm::{Addend, LayerNorm};
pub use pool::{Pool, THREADS_MAX};
pub use product::Activation;
pub use quantise::{QuantisedRows, quantise_rows};
pub use rms::RmsNorm;
pub use rope::{Rope, RopeAngles, RopeStyle};
pub use rotation::RotationTable;
