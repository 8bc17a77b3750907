//! From a model's file to a model that answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_engine::{
    Adapter, AdapterLimits, AdapterRegistry, Clock, Decoder, DecoderModel, DecoderOptions, DecoderPrecision,
    LoadDecoderError, Scheduler, SchedulerOptions,
};
use bantam_kernels::{PAGE_TOKENS, Pool};
use bantam_weights::{Tokenizer, TokenizerError};

use crate::model::{BuildModelError, LocalModel};
use crate::survey;

/// How a model is opened.
#[derive(Clone)]
pub struct LocalModelOptions {
    /// The name that answers carry.
    pub name: Arc<str>,
    /// Tokens whose keys and values are kept from the start, for requests in progress and for prompts that come again.
    pub kv_tokens: usize,
    /// Tokens whose keys and values are kept at most: more than `kv_tokens` once requests need them and the room of models
    /// has the memory. A request has no more tokens than this, nor than the model's own context.
    pub kv_tokens_max: usize,
    /// Keeps the weights, laid out for this machine, in a file beside the model.
    pub keeps_layout: bool,
    /// A chat template to use in place of the model's own.
    pub template: Option<String>,
    /// Bytes that all adapters together may take; the one unused for longest is unloaded first.
    pub adapter_bytes_max: usize,
    /// The threads that the model runs on; models share them.
    pub pool: Arc<Pool>,
    /// Tells the time.
    pub clock: Clock,
}

impl std::fmt::Debug for LocalModelOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("LocalModelOptions")
            .field("name", &self.name)
            .field("kv_tokens", &self.kv_tokens)
            .field("kv_tokens_max", &self.kv_tokens_max)
            .field("keeps_layout", &self.keeps_layout)
            .field("template", &self.template)
            .field("adapter_bytes_max", &self.adapter_bytes_max)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

/// Why a model cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("open the model {}", .path.display())]
pub struct OpenModelError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub kind: OpenModelErrorKind,
}

/// What keeps a model from being opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenModelErrorKind {
    /// There is no file or folder of that name.
    #[error("there is no such file or folder")]
    Missing,
    /// Its weights cannot be used.
    #[error(transparent)]
    Weights(#[from] Box<LoadDecoderError>),
    /// Its tokenizer cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The tokenizer knows more tokens than the weights.
    #[error("the tokenizer has {tokenizer} tokens and the weights {weights}: they are of different models")]
    Vocabulary {
        /// Tokens of the tokenizer.
        tokenizer: usize,
        /// Tokens of the weights.
        weights: usize,
    },
    /// Its template or vocabulary cannot be used.
    #[error(transparent)]
    Build(#[from] BuildModelError),
    /// The system could not start a thread.
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
}

impl LocalModel<Adapter> {
    /// Opens a GGUF file, or a folder with `config.json`, safetensors and `tokenizer.json`. Takes seconds the first
    /// time for a large model, and far less once its layout is kept.
    pub fn open(path: impl AsRef<Path>, options: &LocalModelOptions) -> Result<Self, OpenModelError> {
        let path = path.as_ref();
        open(path, options).map_err(|kind| OpenModelError { path: path.to_owned(), kind })
    }
}

fn open(path: &Path, options: &LocalModelOptions) -> Result<LocalModel<Adapter>, OpenModelErrorKind> {
    if !path.exists() {
        return Err(OpenModelErrorKind::Missing);
    }
    let cache = options.keeps_layout.then(|| Decoder::cache_path(path));
    let settings = DecoderOptions { precision: DecoderPrecision::Quantised, cache };
    let decoder = Decoder::open(path, &settings, &options.pool).map_err(Box::new)?;
    let tokenizer = Tokenizer::open(path)?;
    let (tokens, weights) = (tokenizer.vocabulary(), decoder.config().vocabulary);
    if tokens > weights {
        return Err(OpenModelErrorKind::Vocabulary { tokenizer: tokens, weights });
    }
    let first_pages = options.kv_tokens.div_ceil(PAGE_TOKENS).max(1);
    let pages = first_pages.max(options.kv_tokens_max / PAGE_TOKENS);
    let page_bytes = decoder.kv_shape().page_bytes() as u64;
    let bytes = survey::memory_bytes(
        decoder.config(),
        decoder.kv_shape(),
        decoder.weight_bytes(),
        options.kv_tokens,
        options.adapter_bytes_max,
    );
    let decoder = Arc::new(decoder);
    let model = DecoderModel::new(Arc::clone(&decoder), Arc::clone(&options.pool), pages);
    let settings = SchedulerOptions { first_pages, ..SchedulerOptions::new(Arc::clone(&options.clock)) };
    let scheduler = Scheduler::start(model, settings)?;
    let model =
        LocalModel::new(Arc::clone(&options.name), tokenizer, options.template.as_deref(), scheduler)?;
    let model = model.with_bytes(bytes, page_bytes);
    Ok(model.with_adapters(adapters(decoder, options.adapter_bytes_max)))
}

/// Returns the adapters of a decoder, none of them loaded. Each is named by [`adapter_key`].
fn adapters(decoder: Arc<Decoder>, bytes_max: usize) -> AdapterRegistry<Adapter> {
    let limits = AdapterLimits { adapters_max: usize::MAX, bytes_max };
    AdapterRegistry::new(limits, move |key| {
        let path = key.split_once(' ').map_or(key, |(_, path)| path);
        let adapter = Adapter::open(path, &decoder)?;
        let bytes = adapter.bytes();
        Ok((adapter, bytes))
    })
}

/// Returns the key of an adapter in memory: its path, and a stamp that changes with the file.
pub(crate) fn adapter_key(path: &Path, stamp: &str) -> String {
    format!("{} {}", stamp.replace(' ', "_"), path.display())
}
