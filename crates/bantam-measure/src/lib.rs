//! How fast a model runs on the machine at hand, and how near that is to what the machine can do.
//!
//! [`measure`] times the cases that a gateway has: prompts read, tokens written alone and in batches, labels scored
//! behind a cached beginning, answers under a schema, mixed load over many adapters; of an encoder, texts turned into
//! vectors. [`MachineLimits`] are measured beside them, so that a figure can be read as a share of what was possible.
//! Nothing here prints: the report is data, and whoever shows it words it.

mod case;
mod decoder;
mod encoder;
mod limits;
mod memory;
mod report;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_engine::{ForwardError, LoadAdapterError, LoadDecoderError, LoadEncoderError};
use bantam_kernels::Pool;
use bantam_types::Cancel;
use bantam_weights::WriteWeightsError;
use serde_json::Value;

pub use limits::MachineLimits;
pub use report::{CaseLengths, CaseReport, MixedLoadReport, SchemaRatio, ShareOfMachine, SpeedReport};

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeedRequest {
    /// A GGUF file, or a folder with `config.json` and `model.safetensors`.
    pub model: PathBuf,
    /// Threads.
    pub threads: usize,
    /// Numbers of adapters that a decoder's mixed load is measured with; none leaves it out.
    pub adapters: Vec<usize>,
    /// How often each case is timed; a recommended number where nothing is said.
    pub times: Option<usize>,
}

/// What happens while a model is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpeedEvent {
    /// The weights are laid out for this machine, once, into this file.
    LayingOut {
        /// The file.
        path: PathBuf,
    },
    /// Mixed load begins.
    MixedLoad {
        /// Numbers of adapters.
        adapters: Vec<usize>,
    },
}

/// Why a model was not measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// A decoder that cannot be opened.
    #[error("cannot measure the model")]
    Decoder(#[from] Box<LoadDecoderError>),
    /// An encoder that cannot be opened.
    #[error("cannot measure the model")]
    Encoder(#[from] LoadEncoderError),
    /// A model that takes too few tokens for any case.
    #[error("the model takes {context} tokens, and cases need {least}")]
    ShortContext {
        /// Tokens that it takes.
        context: usize,
        /// Tokens that cases need.
        least: usize,
    },
    /// The model failed.
    #[error("the model failed")]
    Forward(#[from] ForwardError),
    /// The model failed behind its scheduler.
    #[error("the model failed: {0}")]
    Failed(String),
    /// The scheduler could not be started or refused a request.
    #[error("the scheduler refused: {0}")]
    Scheduler(String),
    /// Adapters to measure with could not be made.
    #[error("cannot make adapters to measure with")]
    AdapterFolder(#[source] std::io::Error),
    /// Adapters to measure with could not be written.
    #[error("cannot make adapters to measure with")]
    WriteAdapter(#[from] WriteWeightsError),
    /// Adapters to measure with could not be opened.
    #[error("cannot make adapters to measure with")]
    OpenAdapter(#[from] Box<LoadAdapterError>),
    /// A question to measure with could not be asked.
    #[error("cannot ask the model: {0}")]
    Question(String),
    /// A runtime that could not be started.
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
    /// The caller asked to stop.
    #[error("the measurement was stopped")]
    Cancelled,
}

impl MeasureError {
    /// Returns what to do about it.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::ShortContext { .. } => Some("measure one with a longer context"),
            _ => None,
        }
    }
}

/// Measures a model.
///
/// # Errors
/// [`MeasureError`], when the model cannot be opened, is too short for the cases, or fails.
pub fn measure(
    request: &SpeedRequest,
    on_event: &mut dyn FnMut(SpeedEvent),
    cancel: &Cancel,
) -> Result<SpeedReport, MeasureError> {
    let pool = Arc::new(Pool::new(request.threads.max(1)));
    let limits = MachineLimits::measure(&pool);
    let measured = match is_encoder(&request.model) {
        true => encoder::measure(request, &pool, cancel)?,
        false => decoder::measure(request, (&pool, &limits), on_event, cancel)?,
    };
    Ok(SpeedReport::new(request, &pool, &limits, measured))
}

/// Returns whether a folder's configuration is that of an encoder.
fn is_encoder(model: &Path) -> bool {
    let config = std::fs::read(model.join("config.json")).unwrap_or_default();
    let config: Value = serde_json::from_slice(&config).unwrap_or_default();
    matches!(config["model_type"].as_str(), Some("bert" | "modernbert"))
}

fn check(cancel: &Cancel) -> Result<(), MeasureError> {
    if cancel.is_cancelled() { Err(MeasureError::Cancelled) } else { Ok(()) }
}
