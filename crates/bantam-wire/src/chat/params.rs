//! The parameters of a chat request: which there are and what each may hold.

/// Declares the closed list of parameters with the check that each one's value must pass.
macro_rules! params {
    ($($(#[$doc:meta])* $variant:ident = $name:literal : $check:expr;)*) => {
        /// A parameter of OpenAI's chat endpoint that Bantam knows.
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
}

impl Param {
    /// Returns what the value should have been, or `None` when it is fine.
    pub(super) fn complaint(self, json: &str) -> Option<String> {
        if json == "null" {
            return None;
        }
        let first = json.bytes().next().unwrap_or_default();
        let (good, expected) = match self.shape() {
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
