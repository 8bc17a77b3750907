//! The crate from outside: files as others write them, files as attackers write them, and tokens.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]
#![expect(clippy::print_stdout, reason = "a test that skips says so")]

mod exercise;
mod foreign;
mod gguf;
mod hostile;
mod numbers;
mod safetensors;
mod sharded;
mod support;
mod tokenizer;
mod tokenizer_use;
mod wordpiece;
mod written;
