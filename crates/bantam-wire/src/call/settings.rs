//! What a call wants beyond its text, in neutral terms.

use serde_json::{Map, Value};

use crate::feature::{Feature, FeatureSet};

/// Everything that a call may set. Whether it *asks* for something is told by [`super::Call::features`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Strings that end the answer and are not part of it.
    pub stops: Vec<String>,
    /// Whether log-probabilities are told, and of how many alternatives a token.
    pub log_probabilities: Option<u32>,
    /// What the answer looks like.
    pub form: AnswerForm,
    /// Functions that the model may call.
    pub tools: Vec<Tool>,
    /// Whether it must call one.
    pub tool_choice: ToolChoice,
    /// Whether it may make one call at most.
    pub single_tool_call: bool,
    /// The text behind the gap that is to be filled.
    pub suffix: Option<String>,
    /// Whether a continuation begins with its prompt.
    pub echo: bool,
    /// Of how many answers the best are returned.
    pub best_of: Option<u32>,
    /// What vectors look like.
    pub vectors: Vectors,
    /// How much to reason, in OpenAI's words.
    pub reasoning_effort: Option<String>,
    /// How wordy to be, in OpenAI's words.
    pub verbosity: Option<String>,
    /// Who asks.
    pub caller: Caller,
    /// What only a provider can use.
    pub provider: ProviderHints,
    /// Features that are asked for by a value that has no neutral form. Only an upstream of the caller's own dialect,
    /// which gets the caller's bytes, can honour them.
    pub unread: FeatureSet,
    /// What is asked for inside of messages and tools, beyond what every backend reads of them; each feature once.
    pub inner: Vec<InnerMember>,
}

/// Something that is asked for inside of a message or a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerMember {
    /// What.
    pub feature: Feature,
    /// Where it stands first, as in `messages[2].name`.
    pub path: String,
}

/// Where a prefix ends that the provider shall keep, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMark {
    /// As long as the provider does unless it is told otherwise, which is minutes.
    Minutes,
    /// An hour, or as near to that as the provider has it.
    Hour,
}

/// How tokens are chosen. What is not set is left to the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// Temperature; 0 is greedy.
    pub temperature: Option<f64>,
    /// The nucleus.
    pub top_p: Option<f64>,
    /// A penalty on tokens that are already there.
    pub presence_penalty: Option<f64>,
    /// A penalty on frequent tokens.
    pub frequency_penalty: Option<f64>,
    /// A bias by token id, as written; -100 bans the token.
    pub logit_bias: Vec<(String, f64)>,
    /// The seed.
    pub seed: Option<i64>,
}

/// What an answer looks like.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum AnswerForm {
    /// Text.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON of a schema.
    JsonSchema(JsonSchema),
}

/// A schema of answers.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonSchema {
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whether the answer must keep to it exactly.
    pub strict: Option<bool>,
    /// The schema itself.
    pub schema: Value,
}

/// A function that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// What it is called.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// The JSON schema of its arguments.
    pub parameters: Option<Value>,
    /// Whether arguments must keep to the schema exactly.
    pub strict: Option<bool>,
    /// Whether the tools up to this one are a prefix to keep.
    pub cache_mark: Option<CacheMark>,
}

/// Whether the model calls a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// If it likes.
    #[default]
    Auto,
    /// Never.
    None,
    /// It must call one.
    Required,
    /// It must call this one.
    Named(String),
}

/// What vectors look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vectors {
    /// How many numbers they have.
    pub dimensions: Option<u32>,
    /// How they are written.
    pub encoding: VectorEncoding,
}

/// How a vector is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VectorEncoding {
    /// As numbers.
    #[default]
    Floats,
    /// As base64 of little-endian 32-bit floats.
    Base64,
}

/// Who asks, as the application says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Caller {
    /// The application's user.
    pub user: Option<String>,
    /// The application's user, hashed, for the detection of abuse.
    pub safety_identifier: Option<String>,
    /// Tags of a stored answer.
    pub metadata: Map<String, Value>,
}

/// What only a provider can use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderHints {
    /// Its queue.
    pub service_tier: Option<String>,
    /// Which of its caches.
    pub cache_key: Option<String>,
    /// How long it keeps a cache.
    pub cache_retention: Option<String>,
}
