//! A model of the store to a smaller one beside it, and what that costs over a text.

use std::sync::Arc;

use bantam_engine::{Decoder, DecoderOptions, DecoderPrecision, LoadDecoderError};
use bantam_kernels::Pool;
use bantam_store::{CreateError, Entry, ImportError, ModelKind, ModelName, Origin, ParseNameError, Store};
use bantam_types::Cancel;
use bantam_weights::{EncodeOptions, Tokenizer, TokenizerError};
use serde::Serialize;

use crate::compare::{CompareError, Comparison, compare};
use crate::mix::Quantisation;
use crate::write::{QuantiseModelError, Quantised, quantise};

/// What a model of the store becomes.
#[derive(Clone, Debug)]
pub struct QuantiseRequest {
    /// What its numbers become.
    pub to: Quantisation,
    /// What the result is called; the model's own name with the quantisation as tag where nothing is said.
    pub name: Option<ModelName>,
    /// A text to compare both over, and how many of its tokens at most.
    pub text: Option<(String, usize)>,
    /// Threads.
    pub threads: usize,
}

/// What happens while a model is quantised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuantiseEvent {
    /// More numbers are done.
    Numbers {
        /// How many, since the event before.
        done: u64,
    },
    /// All numbers are done.
    Written,
    /// A window of the text was compared.
    Compared {
        /// Windows compared.
        done: usize,
        /// Windows in all.
        windows: usize,
    },
}

/// What came of it.
///
/// The names of the fields are a wire contract: they do not change, and new ones may come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuantiseReport {
    /// What the result is called.
    pub name: String,
    /// What it was made from.
    pub from: String,
    /// Bytes of the original's tensors.
    pub bytes_before: u64,
    /// Bytes of the result's.
    pub bytes: u64,
    /// Tensors of each type, most bytes first.
    pub types: Vec<TypeReport>,
    /// How far the result is from the original, where there was a text to compare over.
    pub comparison: Option<ComparisonReport>,
}

/// The tensors of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TypeReport {
    /// The type, as GGUF names it.
    #[serde(rename = "type")]
    pub dtype: String,
    /// How many.
    pub tensors: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// How far a smaller model is from its original.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ComparisonReport {
    /// Positions that were predicted.
    pub positions: usize,
    /// Mean Kullback-Leibler divergence, in nats.
    pub mean_kl: f64,
    /// What 99.9 % of positions are not above.
    pub kl_99_9: f64,
    /// The share of positions at which both have the same likeliest token.
    pub top_1_agreement: f64,
    /// The original's perplexity.
    pub perplexity_original: f64,
    /// The smaller model's.
    pub perplexity: f64,
}

impl ComparisonReport {
    /// Returns in words what was measured.
    pub fn summary(&self) -> [String; 3] {
        let Self { positions, mean_kl, kl_99_9, perplexity, perplexity_original, .. } = self;
        [
            format!("KL divergence  {mean_kl:.5} mean, {kl_99_9:.5} at 99.9 % (nats)"),
            format!("same top token {:.2} % of {positions} positions", self.top_1_agreement * 100.0),
            format!("perplexity     {perplexity:.4}, original {perplexity_original:.4}"),
        ]
    }
}

/// Why a model of the store was not quantised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantiseStoredError {
    /// A model that has nothing to quantise.
    #[error("{name} is an encoder")]
    Encoder {
        /// Its name.
        name: ModelName,
    },
    /// A model whose result cannot be named.
    #[error("cannot name the result")]
    Name(#[from] ParseNameError),
    /// It could not be written anew.
    #[error(transparent)]
    Quantise(QuantiseModelError),
    /// The result did not enter the store.
    #[error(transparent)]
    Store(#[from] ImportError),
    /// The two could not be compared; the result is in the store.
    #[error("cannot compare the two")]
    Compare(#[from] CompareError),
    /// One of the two could not be opened to be compared; the result is in the store.
    #[error("cannot compare the two")]
    Open(#[from] Box<LoadDecoderError>),
    /// The tokenizer could not be opened to compare the two; the result is in the store.
    #[error("cannot compare the two")]
    Tokenizer(#[from] TokenizerError),
    /// The caller asked to stop.
    #[error("quantising was stopped")]
    Cancelled,
}

impl QuantiseStoredError {
    /// Returns what to do about it, where the error below does not say it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Encoder { .. } => {
                Some("encoders run in bytes as they are; there is nothing to quantise".to_owned())
            }
            Self::Quantise(error) => Some(error.hint().to_owned()),
            Self::Store(error) => Some(error.hint()),
            _ => None,
        }
    }
}

/// Quantises the model `source` of a store into the same store, and compares both if there is a text.
///
/// # Errors
/// [`QuantiseStoredError`]; the store is as it was unless only the comparison failed.
pub fn quantise_stored(
    store: &Store,
    source: &Entry,
    request: &QuantiseRequest,
    on_event: &mut dyn FnMut(QuantiseEvent),
    cancel: &Cancel,
) -> Result<QuantiseReport, QuantiseStoredError> {
    if source.manifest.about.kind == ModelKind::Encoder {
        return Err(QuantiseStoredError::Encoder { name: source.name.clone() });
    }
    let name = match &request.name {
        Some(name) => name.clone(),
        None => source.name.with_tag(request.to.name())?,
    };
    let bare = source.name.name().rsplit('/').next().unwrap_or("model");
    let file = format!("{bare}-{}.gguf", request.to.name());
    let origin = Origin::Quantised { from: source.name.to_string() };
    let settings = (request.to, request.threads.max(1));
    let created = store.create(&name, (&file, origin), |path| {
        quantise(&source.path, path, settings, &mut |done| on_event(QuantiseEvent::Numbers { done }), cancel)
    });
    let (added, written) = created.map_err(|error| match error {
        CreateError::Make(QuantiseModelError::Cancelled) => QuantiseStoredError::Cancelled,
        CreateError::Make(error) => QuantiseStoredError::Quantise(error),
        CreateError::Import(error) => QuantiseStoredError::Store(error),
    })?;
    on_event(QuantiseEvent::Written);
    let comparison = match &request.text {
        None => None,
        Some((text, tokens_max)) => {
            let pair = (source, &added.entry);
            Some(compared(pair, (text, *tokens_max, settings.1), on_event, cancel)?.into())
        }
    };
    Ok(QuantiseReport::new((source, &added.entry), &written, comparison))
}

/// Runs both over a text: the original as it was trained, the other as it will be served.
fn compared(
    (source, made): (&Entry, &Entry),
    (text, tokens_max, threads): (&str, usize, usize),
    on_event: &mut dyn FnMut(QuantiseEvent),
    cancel: &Cancel,
) -> Result<Comparison, QuantiseStoredError> {
    let pool = Arc::new(Pool::new(threads));
    let open = |entry: &Entry, precision| {
        let options = DecoderOptions { precision, cache: None };
        Decoder::open(&entry.path, &options, &pool).map_err(Box::new)
    };
    let tokenizer = Tokenizer::open(&source.path)?;
    let mut tokens = tokenizer.encode(text, EncodeOptions { add_special: false, parse_special: false });
    tokens.truncate(tokens_max);
    let begun = tokenizer.encode("x", EncodeOptions { add_special: true, parse_special: false });
    let bos = tokenizer.bos().filter(|bos| begun.first() == Some(bos));
    let (original, small) = (open(source, DecoderPrecision::F32)?, open(made, DecoderPrecision::Quantised)?);
    let mut advance = |done, windows| on_event(QuantiseEvent::Compared { done, windows });
    let compared = compare((&original, &small), (&tokens, bos), &pool, &mut advance, cancel);
    compared.map_err(|error| match error {
        CompareError::Cancelled => QuantiseStoredError::Cancelled,
        error => error.into(),
    })
}

impl QuantiseReport {
    fn new(
        (source, made): (&Entry, &Entry),
        written: &Quantised,
        comparison: Option<ComparisonReport>,
    ) -> Self {
        let types = written.types.iter().map(|(dtype, tensors, bytes)| TypeReport {
            dtype: dtype.name().to_owned(),
            tensors: *tensors,
            bytes: *bytes,
        });
        Self {
            name: made.name.to_string(),
            from: source.name.to_string(),
            bytes_before: written.bytes_before,
            bytes: written.bytes_after,
            types: types.collect(),
            comparison,
        }
    }
}

impl From<Comparison> for ComparisonReport {
    fn from(found: Comparison) -> Self {
        Self {
            positions: found.positions,
            mean_kl: found.mean_kl,
            kl_99_9: found.quantile_kl,
            top_1_agreement: found.top_1,
            perplexity_original: found.perplexity,
            perplexity: found.other_perplexity,
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_json_snapshot;

    use super::*;

    #[test]
    fn a_report_keeps_its_fields() {
        let comparison = Comparison {
            positions: 256,
            mean_kl: 0.25,
            quantile_kl: 0.5,
            top_1: 0.75,
            perplexity: 8.0,
            other_perplexity: 9.0,
        };
        assert_eq!(
            ComparisonReport::from(comparison).summary()[1],
            "same top token 75.00 % of 256 positions"
        );
        let types = vec![TypeReport { dtype: "Q8_0".to_owned(), tensors: 14, bytes: 1024 }];
        assert_json_snapshot!(QuantiseReport {
            name: "tiny:Q8_0".to_owned(),
            from: "tiny:f32".to_owned(),
            bytes_before: 4096,
            bytes: 1024,
            types,
            comparison: Some(comparison.into()),
        });
    }
}
