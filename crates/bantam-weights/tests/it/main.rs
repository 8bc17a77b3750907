//! The crate from outside: real files, hostile files, and tokenizers.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first failure")]
#![expect(clippy::print_stdout, reason = "a test that skips prints why")]

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
