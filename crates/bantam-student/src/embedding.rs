//! Base encoders as backends of the gateway: texts to vectors.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault, BoxFuture, Completion};
use bantam_privacy::Cleared;
use bantam_types::{Tier, TokenUsage};
use bantam_wire::chat::Param;
use bantam_wire::{ChatRequest, Endpoint};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::encoder::{EncoderBase, QueueError};

/// The most texts of one request that are queued at a time, which leaves room for other requests.
const WAITING_MAX: usize = 64;

/// The values of `model_type` in `config.json` that mean an encoder, including unsupported ones: opening one of those
/// reports why.
const ENCODERS: [&str; 7] =
    ["bert", "modernbert", "distilbert", "roberta", "xlm-roberta", "mpnet", "nomic_bert"];

/// Returns whether the folder's configuration is that of an encoder rather than a language model.
pub fn is_encoder(folder: &Path) -> bool {
    #[derive(Deserialize)]
    struct Config {
        model_type: String,
    }
    let config = std::fs::read(folder.join("config.json")).ok();
    let config = config.and_then(|json| serde_json::from_slice::<Config>(&json).ok());
    config.is_some_and(|config| ENCODERS.contains(&&*config.model_type))
}

/// An encoder that answers embedding requests with vectors of length 1. It shares its memory and its thread with the
/// students on the same base.
pub struct EmbeddingBackend {
    base: Arc<EncoderBase>,
    name: String,
}

/// The format in which a caller asks for vectors.
struct VectorFormat {
    dimensions: usize,
    is_base64: bool,
}

impl EmbeddingBackend {
    /// Returns `base` as a backend whose answers name the model `name`.
    pub const fn new(base: Arc<EncoderBase>, name: String) -> Self {
        Self { base, name }
    }

    /// Returns the maximum number of tokens in a text.
    pub fn context_tokens(&self) -> u64 {
        u64::from(self.base.identity().tokens_max)
    }

    /// Returns the requested format, or the first parameter that cannot be honoured.
    fn format_of(&self, request: &ChatRequest) -> Result<VectorFormat, &'static str> {
        if request.endpoint != Endpoint::Embeddings {
            return Err(request.endpoint.subject());
        }
        let width = self.base.identity().width as usize;
        let mut format = VectorFormat { dimensions: width, is_base64: false };
        for (param, json) in request.params() {
            match param {
                Param::EncodingFormat if json == "\"base64\"" => format.is_base64 = true,
                Param::EncodingFormat if json != "\"float\"" => return Err(param.as_str()),
                Param::Dimensions => {
                    format.dimensions =
                        json.parse().ok().filter(|count| *count <= width).ok_or(param.as_str())?;
                }
                _ => {}
            }
        }
        Ok(format)
    }

    /// Counts the tokens of all texts. A text that does not fit is an error rather than cut off silently.
    fn count_tokens(&self, request: &ChatRequest) -> Result<u64, BackendFault> {
        let mut ids = Vec::new();
        let mut total = 0;
        for message in &request.messages {
            let (tokens, fits) = self.base.count_tokens(&message.text, &mut ids);
            let tokens = tokens as u64;
            if !fits {
                return Err(BackendFault::ContextLength { tokens, context: self.context_tokens() });
            }
            total += tokens;
        }
        Ok(total)
    }

    async fn embed(&self, request: Cleared) -> Result<Answer, BackendError> {
        let started = Instant::now();
        if request.tier() != Tier::Local {
            return Err(BackendFault::NotCleared.into());
        }
        let request = request.request();
        let format = self.format_of(request).map_err(BackendFault::CannotHonour)?;
        let input = self.count_tokens(request)?;
        let mut data = Vec::with_capacity(request.messages.len());
        for window in request.messages.chunks(WAITING_MAX) {
            let pending: Result<Vec<_>, _> =
                window.iter().map(|message| self.base.queue_embedding(&message.text)).collect();
            for embedding in pending.map_err(QueueError::fault)? {
                let vector = embedding.await.ok_or(BackendFault::Broken)?;
                data.push(json!({
                    "object": "embedding", "index": data.len(), "embedding": vector_json(&vector, &format),
                }));
            }
        }
        let usage = json!({ "prompt_tokens": input, "total_tokens": input });
        let body = json!({ "object": "list", "data": data, "model": self.name, "usage": usage });
        Ok(Answer::Whole(Completion {
            body: body.to_string().into(),
            usage: Some(TokenUsage { input, cached_input: 0, output: 0 }),
            text: None,
            has_note: false,
            first_byte_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            retries: 0,
        }))
    }
}

/// Returns the first dimensions of a vector, scaled to length 1, as numbers or as base64 of little-endian floats.
fn vector_json(vector: &[f32], format: &VectorFormat) -> Value {
    let vector = vector.get(..format.dimensions).unwrap_or(vector);
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
    if format.is_base64 {
        let bytes: Vec<u8> = vector.iter().flat_map(|number| (number * scale).to_le_bytes()).collect();
        Value::String(STANDARD.encode(bytes))
    } else {
        vector.iter().map(|number| json!(number * scale)).collect()
    }
}

impl Backend for EmbeddingBackend {
    fn tier(&self) -> Tier {
        Tier::Local
    }

    fn cannot_honour(&self, request: &ChatRequest) -> Option<&'static str> {
        self.format_of(request).err()
    }

    fn is_available(&self) -> bool {
        self.base.is_available()
    }

    fn answer(&self, request: Cleared, _: Ask) -> BoxFuture<'_, Result<Answer, BackendError>> {
        Box::pin(self.embed(request))
    }
}
