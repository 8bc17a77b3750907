//! How much memory a model will take, told before it is loaded, and what would help where that is too much.

use std::fmt;
use std::path::Path;

use bantam_engine::{Adapter, Decoder, DecoderConfig, DecoderPrecision, DecoderSurvey};
use bantam_kernels::{KvShape, PAGE_TOKENS};
use bantam_weights::Tokenizer;

use crate::model::LocalModel;
use crate::open::{OpenModelError, OpenModelErrorKind};
use crate::prompt::Prompter;

/// Bytes for each token of a vocabulary: its texts and ids in the tokenizer and in the tables of grammars, and 64 rows
/// of logits.
const BYTES_A_TOKEN: usize = 512;
/// Tokens of the largest step, whose states are held at a time.
const STEP_TOKENS: usize = 512;

/// Returns the bytes of memory that a model takes.
pub(crate) fn memory_bytes(
    config: &DecoderConfig,
    kv_shape: KvShape,
    weight_bytes: usize,
    kv_tokens: usize,
    adapter_bytes: usize,
) -> u64 {
    let pages = kv_tokens.div_ceil(PAGE_TOKENS).max(1);
    let numbers =
        4 * config.hidden + 2 * (config.query_width() + config.kv_width()) + 3 * config.intermediate;
    let parts = [
        weight_bytes,
        pages.saturating_mul(kv_shape.page_bytes()),
        config.vocabulary.saturating_mul(BYTES_A_TOKEN),
        numbers.saturating_mul(STEP_TOKENS * size_of::<f32>()),
        adapter_bytes,
    ];
    parts.into_iter().fold(0_u64, |sum, part| sum.saturating_add(part as u64))
}

/// What a model's headers say.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSurvey {
    decoder: DecoderSurvey,
}

impl LocalModel<Adapter> {
    /// Checks a model's headers, its tokenizer and its chat template without reading weights, in a fraction of a
    /// second however large it is. What passes can be opened, unless its weights are damaged.
    pub fn survey(path: impl AsRef<Path>) -> Result<ModelSurvey, OpenModelError> {
        let path = path.as_ref();
        survey(path).map_err(|kind| OpenModelError { path: path.to_owned(), kind })
    }
}

fn survey(path: &Path) -> Result<ModelSurvey, OpenModelErrorKind> {
    if !path.exists() {
        return Err(OpenModelErrorKind::Missing);
    }
    let decoder = Decoder::survey(path, DecoderPrecision::Quantised).map_err(Box::new)?;
    let tokenizer = Tokenizer::open(path)?;
    let (tokens, weights) = (tokenizer.vocabulary(), decoder.config.vocabulary);
    if tokens > weights {
        return Err(OpenModelErrorKind::Vocabulary { tokenizer: tokens, weights });
    }
    Prompter::new(&tokenizer, tokenizer.chat_template()).map_err(crate::model::BuildModelError::Template)?;
    Ok(ModelSurvey { decoder })
}

impl ModelSurvey {
    /// Returns what the model is made of, for surveys of its adapters.
    pub fn config(&self) -> &DecoderConfig {
        &self.decoder.config
    }

    /// Returns the most tokens of a request that the model itself takes, prompt and answer together.
    pub fn context_tokens(&self) -> usize {
        self.decoder.config.positions
    }

    /// Returns the bytes of memory that it will take with the keys and values of `kv_tokens` tokens and adapters of
    /// `adapter_bytes`.
    pub fn bytes(&self, kv_tokens: usize, adapter_bytes: usize) -> u64 {
        let DecoderSurvey { config, kv_shape, weight_bytes, .. } = &self.decoder;
        memory_bytes(config, *kv_shape, *weight_bytes, kv_tokens, adapter_bytes)
    }

    /// Returns for how many tokens' keys and values there is room in a budget, beside everything else that the model takes.
    pub fn kv_tokens_within(&self, budget: u64, adapter_bytes: usize) -> usize {
        let page = self.decoder.kv_shape.page_bytes().max(1) as u64;
        let others = self.bytes(PAGE_TOKENS, adapter_bytes) - page;
        let pages = budget.saturating_sub(others) / page;
        usize::try_from(pages).unwrap_or(usize::MAX).saturating_mul(PAGE_TOKENS)
    }

    /// Returns by how much a budget is too small for the model alone, and what would help.
    pub fn misfit(&self, kv_tokens: usize, adapter_bytes: usize, budget: u64) -> Option<Misfit> {
        let needed = self.bytes(kv_tokens, adapter_bytes);
        if needed <= budget {
            return None;
        }
        let page = self.decoder.kv_shape.page_bytes().max(1) as u64;
        let pages = kv_tokens.div_ceil(PAGE_TOKENS).max(1) as u64;
        let fitting = pages.saturating_sub((needed - budget).div_ceil(page));
        let int4 = needed - (self.decoder.weight_bytes - self.decoder.int4_bytes) as u64;
        Some(Misfit {
            needed,
            budget,
            weights: self.decoder.weight_bytes as u64,
            kv: pages * page,
            kv_tokens,
            // A model that cannot hold a short conversation is useless.
            kv_tokens_that_fit: Some(fitting as usize * PAGE_TOKENS).filter(|tokens| *tokens >= 256),
            int4: Some(int4).filter(|bytes| *bytes < needed && *bytes <= budget),
        })
    }
}

/// A model that does not fit a budget: by how much, and what would fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Bytes that it needs.
    pub needed: u64,
    /// Bytes that all models may take.
    pub budget: u64,
    /// Bytes of its weights.
    pub weights: u64,
    /// Bytes of keys and values.
    pub kv: u64,
    /// Tokens that these are for.
    pub kv_tokens: usize,
    /// Tokens whose keys and values would fit beside the weights.
    pub kv_tokens_that_fit: Option<usize>,
    /// Bytes that it would need with all weights in 4 bits, if that fits.
    pub int4: Option<u64>,
}

impl fmt::Display for Misfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, budget, weights, kv, kv_tokens, .. } = *self;
        write!(
            formatter,
            "it needs {} ({} of weights, {} for the keys and values of {kv_tokens} tokens), {} more than the budget of {}",
            Bytes(needed),
            Bytes(weights),
            Bytes(kv),
            Bytes(needed - budget),
            Bytes(budget)
        )
    }
}

impl Misfit {
    /// Returns what would fit, as next steps for the person who configures it.
    pub fn hint(&self) -> String {
        let mut steps = Vec::new();
        if let Some(tokens) = self.kv_tokens_that_fit {
            steps.push(format!("set kv_tokens = {tokens}"));
        }
        if let Some(bytes) = self.int4 {
            steps.push(format!("quantise the file to Q4_0, which needs {}", Bytes(bytes)));
        }
        steps.push(format!("set local.memory = \"{}\" or more", Bytes(self.needed)));
        steps.join(", or ")
    }
}

/// Bytes for people.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        // Rounded up, so that an amount that is said to be enough is enough.
        let tenths = |unit: f64| (bytes / unit * 10.0).ceil() / 10.0;
        match self.0 {
            0..1_024 => write!(formatter, "{} B", self.0),
            1_024..1_048_576 => write!(formatter, "{} KiB", self.0.div_ceil(1_024)),
            1_048_576..1_073_741_824 => write!(formatter, "{:.1} MiB", tenths(1_048_576.0)),
            _ => write!(formatter, "{:.1} GiB", tenths(1_073_741_824.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_rounded_up() {
        let shown = [5, 1_025, 1 << 20, (1 << 30) + 1].map(|bytes| Bytes(bytes).to_string());
        assert_eq!(shown, ["5 B", "2 KiB", "1.0 MiB", "1.1 GiB"]);
    }

    #[test]
    fn what_does_not_fit_says_by_how_much_and_what_would() {
        let gib = |count: f64| (count * f64::from(1 << 30)) as u64;
        let misfit = Misfit {
            needed: gib(10.0),
            budget: gib(8.0),
            weights: gib(6.0),
            kv: gib(3.5),
            kv_tokens: 32_768,
            kv_tokens_that_fit: Some(14_000),
            int4: Some(gib(7.0)),
        };
        insta::assert_snapshot!(format!("{misfit}\n{}", misfit.hint()), @r#"
        it needs 10.0 GiB (6.0 GiB of weights, 3.5 GiB for the keys and values of 32768 tokens), 2.0 GiB more than the budget of 8.0 GiB
        set kv_tokens = 14000, or quantise the file to Q4_0, which needs 7.0 GiB, or set local.memory = "10.0 GiB" or more
        "#);
    }
}
