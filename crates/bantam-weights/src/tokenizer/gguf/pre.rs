//! The names that GGUF has for ways to cut words.

use super::super::TokenizerError;
use super::super::split::{Run, Step};
use super::super::vocabulary::unsupported;
use super::super::words::WordRules;

/// What a GGUF file's name for its way of cutting words means.
pub(super) struct Pre {
    pub(super) steps: Vec<Step>,
    /// Tokens are taken whole where a word is one.
    pub(super) takes_wholes: bool,
    pub(super) adds_bos: bool,
    /// Whether the model's own tokenizer normalises to NFC, which the file does not say.
    pub(super) composes: bool,
}

impl Pre {
    pub(super) fn of(name: &str) -> Result<Self, TokenizerError> {
        let words = |rules| vec![Step::Words(rules)];
        let numbers_apart = || vec![Step::Runs(Run::EachNumber), Step::Words(WordRules::GPT2)];
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
                Step::Runs(Run::Punctuation),
                Step::Words(WordRules::GPT2),
                Step::Runs(Run::Numbers),
                Step::Runs(Run::DigitTriples),
            ],
            other => return Err(unsupported("pre-tokenizer", other)),
        };
        let takes_wholes =
            matches!(name, "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "tekken" | "lfm2");
        let composes = matches!(name, "qwen2" | "qwen35" | "deepseek-r1-qwen" | "megrez");
        let adds_bos = matches!(name, "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "tekken" | "lfm2");
        Ok(Self { steps, takes_wholes, adds_bos, composes })
    }
}
