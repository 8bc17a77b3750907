//! Base encoders as backends of the gateway: texts to vectors.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault, BoxFuture, WholeAnswer};
use bantam_privacy::Cleared;
use bantam_types::{Tier, TokenUsage};
use bantam_wire::outcome::{AnswerHead, Content};
use bantam_wire::support::refusal_of_typed;
use bantam_wire::{AnswerBody, Call, CallKind, Feature, Outcome, Support, Unsupported};
use serde::Deserialize;

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
    name: Arc<str>,
}

/// Returns what an encoder does about a feature. How many numbers its vectors can have depends on the model.
pub fn embedding_support(feature: Feature) -> Support {
    use Support::{Honoured, Refused};

    match feature {
        Feature::Embeddings => Honoured(""),
        Feature::EncodingFormat => Honoured("`float` and `base64`"),
        Feature::Dimensions => Honoured("up to the model's own number"),
        Feature::User => Support::IDENTIFIES_CALLER,
        // No request for vectors has any of these; they are named so that one that comes to have them is decided about.
        Feature::Chat
        | Feature::Text
        | Feature::Images
        | Feature::AudioInput
        | Feature::Files
        | Feature::OtherParts
        | Feature::OtherToolCalls
        | Feature::OlderToolCalls
        | Feature::SpeakerName
        | Feature::Annotations
        | Feature::Reasoning
        | Feature::ThinkingBlocks
        | Feature::ImageDetail
        | Feature::CacheMarks
        | Feature::OtherMembers
        | Feature::StrictTools
        | Feature::OtherToolMembers
        | Feature::CacheOptions
        | Feature::Moderation
        | Feature::Answers
        | Feature::OutputLimit
        | Feature::Stream
        | Feature::StreamUsage
        | Feature::Temperature
        | Feature::TopP
        | Feature::Stop
        | Feature::PresencePenalty
        | Feature::FrequencyPenalty
        | Feature::LogitBias
        | Feature::Seed
        | Feature::LogProbabilities
        | Feature::Alternatives
        | Feature::AnswerForm
        | Feature::Tools
        | Feature::ToolChoice
        | Feature::SingleToolCall
        | Feature::Functions
        | Feature::FunctionChoice
        | Feature::ReasoningEffort
        | Feature::Verbosity
        | Feature::Modalities
        | Feature::AudioOutput
        | Feature::Prediction
        | Feature::VendorFields
        | Feature::WebSearch
        | Feature::Suffix
        | Feature::Echo
        | Feature::BestOf
        | Feature::SafetyIdentifier
        | Feature::Metadata
        | Feature::Store
        | Feature::ServiceTier
        | Feature::CacheKey
        | Feature::CacheRetention => Refused("an encoder makes vectors"),
    }
}

impl EmbeddingBackend {
    /// Returns `base` as a backend; answers say that they come from `name`.
    pub fn new(base: Arc<EncoderBase>, name: impl Into<Arc<str>>) -> Self {
        Self { base, name: name.into() }
    }

    /// Returns the maximum number of tokens in a text.
    pub fn context_tokens(&self) -> u64 {
        u64::from(self.base.identity().tokens_max)
    }

    /// Returns how many numbers the vectors of a call's answer have.
    fn dimensions(&self, call: &Call) -> Result<usize, Unsupported> {
        if let Some(unsupported) = refusal_of_typed(call, embedding_support) {
            return Err(unsupported);
        }
        let width = self.base.identity().width as usize;
        let wanted = call.settings().vectors.dimensions.map_or(width, |wanted| wanted as usize);
        let too_many = || Unsupported::new(Feature::Dimensions, "the model's vectors have fewer dimensions");
        if wanted <= width { Ok(wanted) } else { Err(too_many()) }
    }

    /// Counts the tokens of all texts. A text that does not fit is an error rather than cut off silently.
    fn count_tokens(&self, call: &Call) -> Result<u64, BackendFault> {
        let mut ids = Vec::new();
        let mut total = 0;
        for text in call.texts() {
            let (tokens, fits) = self.base.count_tokens(text, &mut ids);
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
        let call = request.request();
        let dimensions = self.dimensions(call)?;
        let input = self.count_tokens(call)?;
        let mut vectors = Vec::with_capacity(call.texts().len());
        for window in call.texts().chunks(WAITING_MAX) {
            let pending: Result<Vec<_>, _> =
                window.iter().map(|text| self.base.queue_embedding(text)).collect();
            for embedding in pending.map_err(QueueError::fault)? {
                let vector = embedding.await.ok_or(BackendFault::Broken)?;
                vectors.push(shortened(&vector, dimensions));
            }
        }
        let outcome = Outcome {
            head: AnswerHead { id: None, model: Some(Arc::clone(&self.name)) },
            content: Content::Vectors(vectors),
            usage: Some(TokenUsage::new(input, 0, 0).into()),
        };
        Ok(Answer::Whole(WholeAnswer {
            body: AnswerBody::Typed(outcome),
            first_byte_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            retries: 0,
            notes: None,
        }))
    }
}

/// Returns the first numbers of a vector, at length 1.
fn shortened(vector: &[f32], dimensions: usize) -> Vec<f32> {
    let vector = vector.get(..dimensions).unwrap_or(vector);
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
    vector.iter().map(|number| number * scale).collect()
}

impl Backend for EmbeddingBackend {
    fn tier(&self) -> Tier {
        Tier::Local
    }

    fn cannot_honour(&self, call: &Call) -> Option<Unsupported> {
        self.dimensions(call).err()
    }

    fn is_available(&self, _: CallKind) -> bool {
        self.base.is_available()
    }

    fn answer(&self, request: Cleared, _: Ask) -> BoxFuture<'_, Result<Answer, BackendError>> {
        Box::pin(self.embed(request))
    }
}
