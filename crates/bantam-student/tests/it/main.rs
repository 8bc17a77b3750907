//! The crate from outside: train, predict, save, load, and files that are not what they should be.
#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
#![expect(clippy::print_stdout, reason = "a test that skips says so")]

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
