//! GGUF's names of pre-tokenizers.

use super::super::TokenizerError;
use super::super::split::{RunPattern, SplitStep};
use super::super::vocabulary::unsupported;
use super::super::words::WordRules;

/// The pre-tokenizer of a GGUF file.
pub(super) struct PreTokenizer {
    pub(super) steps: Vec<SplitStep>,
    /// Whether words that are tokens are used without merging.
    pub(super) uses_whole_tokens: bool,
    pub(super) adds_bos: bool,
    /// Whether the model's own tokenizer normalises to NFC, which the file does not say.
    pub(super) composes: bool,
}

impl PreTokenizer {
    pub(super) fn of(name: &str) -> Result<Self, TokenizerError> {
        let words = |rules| vec![SplitStep::Words(rules)];
        let numbers_apart =
            || vec![SplitStep::Runs(RunPattern::EachNumber), SplitStep::Words(WordRules::GPT2)];
        let steps = match name {
            "gpt-2" | "phi-2" | "olmo" | "mpt" | "jina-es" | "jina-de" | "roberta-bpe" | "gigachat"
            | "exaone4" => words(WordRules::GPT2),
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "dbrx" | "smaug-bpe" | "lfm2" => {
                words(WordRules::LLAMA3)
            }
            "qwen2" | "deepseek-r1-qwen" | "stablelm2" | "megrez" => words(WordRules::QWEN2),
            "qwen35" => words(WordRules::QWEN35),
            "gpt-4o" | "llama4" => words(WordRules::O200K),
            "tekken" => words(WordRules::TEKKEN),
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "minerva-7b" => numbers_apart(),
            "default" => vec![
                SplitStep::Runs(RunPattern::Punctuation),
                SplitStep::Words(WordRules::GPT2),
                SplitStep::Runs(RunPattern::Numbers),
                SplitStep::Runs(RunPattern::DigitTriples),
            ],
            other => return Err(unsupported("pre-tokenizer", other)),
        };
        let uses_whole_tokens =
            matches!(name, "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "tekken" | "lfm2");
        let composes = matches!(name, "qwen2" | "qwen35" | "deepseek-r1-qwen" | "megrez");
        let adds_bos = matches!(name, "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "tekken" | "lfm2");
        Ok(Self { steps, uses_whole_tokens, adds_bos, composes })
    }
}
