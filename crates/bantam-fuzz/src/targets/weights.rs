//! Weights and tokenizers.

#[path = "../../../bantam-weights/tests/it/exercise.rs"]
#[expect(clippy::expect_used, reason = "what the readers promise is checked as tests check it")]
mod exercise;

/// Reads the bytes as a GGUF file.
pub(super) fn gguf(bytes: &[u8]) {
    exercise::gguf(bytes);
}

/// Reads the bytes as a safetensors file.
pub(super) fn safetensors(bytes: &[u8]) {
    exercise::safetensors(bytes);
}

/// Reads the bytes as a `tokenizer.json`.
pub(super) fn tokenizer_json(bytes: &[u8]) {
    exercise::tokenizer_json(bytes);
}
