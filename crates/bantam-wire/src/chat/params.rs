//! The parameters of requests: which there are, where they belong, and what each may hold.

use crate::Endpoint;

/// Declares the closed list of parameters with the check that each one's value must pass.
macro_rules! params {
    ($($(#[$doc:meta])* $variant:ident = $name:literal : $check:expr;)*) => {
        /// A parameter of OpenAI's endpoints that Bantam knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Param {
            $($(#[$doc])* $variant,)*
        }

        impl Param {
            /// All parameters.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the parameter's name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the parameter called `name`.
            pub fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            const fn shape(self) -> Shape {
                match self { $(Self::$variant => $check,)* }
            }
        }
    };
}

/// What a value must look like; `null` always stands for "not given".
#[derive(Clone, Copy)]
enum Shape {
    /// Read by the decoder itself.
    Decoded,
    Bool,
    Number(f64, f64),
    Integer(i64, i64),
    String,
    Object,
    Array,
    StringOrArray,
    StringOrObject,
}

params! {
    /// Which model, task or `auto`.
    Model = "model": Shape::Decoded;
    /// The conversation.
    Messages = "messages": Shape::Decoded;
    /// The text to go on with.
    Prompt = "prompt": Shape::Decoded;
    /// The texts to turn into vectors.
    Input = "input": Shape::Decoded;
    /// Whether to stream.
    Stream = "stream": Shape::Decoded;
    /// How to stream.
    StreamOptions = "stream_options": Shape::Decoded;
    /// How many answers.
    N = "n": Shape::Decoded;
    /// The most tokens back, the older name.
    MaxTokens = "max_tokens": Shape::Decoded;
    /// The most tokens back.
    MaxCompletionTokens = "max_completion_tokens": Shape::Decoded;
    /// Sampling temperature.
    Temperature = "temperature": Shape::Number(0.0, 2.0);
    /// Nucleus sampling.
    TopP = "top_p": Shape::Number(0.0, 1.0);
    /// Where to stop.
    Stop = "stop": Shape::StringOrArray;
    /// Penalty on tokens already there.
    PresencePenalty = "presence_penalty": Shape::Number(-2.0, 2.0);
    /// Penalty on frequent tokens.
    FrequencyPenalty = "frequency_penalty": Shape::Number(-2.0, 2.0);
    /// Bias of single tokens.
    LogitBias = "logit_bias": Shape::Object;
    /// Whether to return log-probabilities.
    Logprobs = "logprobs": Shape::Bool;
    /// How many alternatives a token.
    TopLogprobs = "top_logprobs": Shape::Integer(0, 20);
    /// The form of the answer.
    ResponseFormat = "response_format": Shape::Object;
    /// Seed of the sampler.
    Seed = "seed": Shape::Integer(i64::MIN, i64::MAX);
    /// Tools the model may call.
    Tools = "tools": Shape::Array;
    /// Which tool it must call.
    ToolChoice = "tool_choice": Shape::StringOrObject;
    /// Whether it may call several at once.
    ParallelToolCalls = "parallel_tool_calls": Shape::Bool;
    /// Tools, the older form.
    Functions = "functions": Shape::Array;
    /// Which tool, the older form.
    FunctionCall = "function_call": Shape::StringOrObject;
    /// The caller's user.
    User = "user": Shape::String;
    /// The caller's notes.
    Metadata = "metadata": Shape::Object;
    /// Whether the provider may store the answer.
    Store = "store": Shape::Bool;
    /// The provider's queue.
    ServiceTier = "service_tier": Shape::String;
    /// How long to reason.
    ReasoningEffort = "reasoning_effort": Shape::String;
    /// How long to answer.
    Verbosity = "verbosity": Shape::String;
    /// Text, audio.
    Modalities = "modalities": Shape::Array;
    /// Voice and format.
    Audio = "audio": Shape::Object;
    /// Predicted output.
    Prediction = "prediction": Shape::Object;
    /// Web search.
    WebSearchOptions = "web_search_options": Shape::Object;
    /// Which of the provider's caches.
    PromptCacheKey = "prompt_cache_key": Shape::String;
    /// How long the provider keeps its cache.
    PromptCacheRetention = "prompt_cache_retention": Shape::String;
    /// The caller's user, hashed.
    SafetyIdentifier = "safety_identifier": Shape::String;
    /// What follows the text whose middle is wanted.
    Suffix = "suffix": Shape::String;
    /// Whether a completion begins with its prompt.
    Echo = "echo": Shape::Bool;
    /// Of how many completions the best are returned.
    BestOf = "best_of": Shape::Integer(1, 20);
    /// How vectors are written.
    EncodingFormat = "encoding_format": Shape::String;
    /// How many numbers a vector has.
    Dimensions = "dimensions": Shape::Integer(1, 1 << 20);
}

impl Param {
    /// Returns whether requests to `endpoint` have this parameter.
    pub const fn belongs_to(self, endpoint: Endpoint) -> bool {
        match self {
            Self::Model | Self::User => true,
            Self::Prompt | Self::Suffix | Self::Echo | Self::BestOf => {
                matches!(endpoint, Endpoint::Completions)
            }
            Self::Input | Self::EncodingFormat | Self::Dimensions => matches!(endpoint, Endpoint::Embeddings),
            Self::Stream
            | Self::StreamOptions
            | Self::N
            | Self::MaxTokens
            | Self::Temperature
            | Self::TopP
            | Self::Stop
            | Self::PresencePenalty
            | Self::FrequencyPenalty
            | Self::LogitBias
            | Self::Logprobs
            | Self::Seed => !matches!(endpoint, Endpoint::Embeddings),
            _ => matches!(endpoint, Endpoint::Chat),
        }
    }

    const fn shape_at(self, endpoint: Endpoint) -> Shape {
        match (self, endpoint) {
            (Self::Logprobs, Endpoint::Completions) => Shape::Integer(0, 5),
            _ => self.shape(),
        }
    }

    /// Returns what the value should have been, or `None` when it is fine.
    pub(super) fn complaint(self, endpoint: Endpoint, json: &str) -> Option<String> {
        if json == "null" {
            return None;
        }
        let first = json.bytes().next().unwrap_or_default();
        let (good, expected) = match self.shape_at(endpoint) {
            Shape::Decoded => (true, String::new()),
            Shape::Bool => (matches!(json, "true" | "false"), "a boolean".to_owned()),
            Shape::Number(low, high) => (
                json.parse::<f64>().is_ok_and(|number| (low..=high).contains(&number)),
                format!("a number from {low} to {high}"),
            ),
            Shape::Integer(low, high) => (
                json.parse::<i64>().is_ok_and(|number| (low..=high).contains(&number)),
                if low == i64::MIN {
                    "an integer".to_owned()
                } else {
                    format!("an integer from {low} to {high}")
                },
            ),
            Shape::String => (first == b'"', "a string".to_owned()),
            Shape::Object => (first == b'{', "an object".to_owned()),
            Shape::Array => (first == b'[', "an array".to_owned()),
            Shape::StringOrArray => {
                (matches!(first, b'"' | b'['), "a string or an array of strings".to_owned())
            }
            Shape::StringOrObject => (matches!(first, b'"' | b'{'), "a string or an object".to_owned()),
        };
        (!good).then_some(expected)
    }
}
