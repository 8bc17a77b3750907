//! Tests of the public interface: train, predict, save, load, and invalid files.
#![expect(clippy::unwrap_used, reason = "tests stop at the first failure")]
#![expect(clippy::print_stdout, reason = "a test that skips reports it")]

mod backend;
mod classify;
mod context;
mod damaged;
mod embeddings;
mod encoder;
mod linear_tagger;
mod rows;
mod shared_data;
mod tiny_base;
