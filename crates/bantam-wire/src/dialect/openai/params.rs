//! The parameters of OpenAI's endpoints: which there are, where they belong, what each may hold and asks for.

use crate::call::CallKind;
use crate::feature::Feature;

/// Declares the closed list of parameters with the check that each one's value must pass.
macro_rules! params {
    ($($(#[$doc:meta])* $variant:ident = $name:literal : $check:expr;)*) => {
        /// A parameter of OpenAI's endpoints that Bantam knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(super) enum Param {
            $($(#[$doc])* $variant,)*
        }

        impl Param {
            /// All parameters.
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the parameter's name on the wire.
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the parameter called `name`.
            pub(super) fn named(name: &str) -> Option<Self> {
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
    /// How the provider keeps its cache.
    PromptCacheOptions = "prompt_cache_options": Shape::Object;
    /// A check by another model.
    Moderation = "moderation": Shape::Object;
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
    /// Returns whether calls of `kind` have this parameter.
    pub(super) const fn belongs_to(self, kind: CallKind) -> bool {
        match self {
            Self::Model | Self::User => true,
            Self::Prompt | Self::Suffix | Self::Echo | Self::BestOf => {
                matches!(kind, CallKind::Text)
            }
            Self::Input | Self::EncodingFormat | Self::Dimensions => matches!(kind, CallKind::Embeddings),
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
            | Self::Seed => !matches!(kind, CallKind::Embeddings),
            _ => matches!(kind, CallKind::Chat),
        }
    }

    /// Returns what the parameter asks for by a value other than `null`; nothing where the value is the default. The
    /// decoder itself sees to what it reads.
    pub(super) fn asks(self, json: &str) -> Option<Feature> {
        let is_zero = || json.parse::<f64>().is_ok_and(|number| number == 0.0);
        let is_empty =
            || json.get(1..json.len().saturating_sub(1)).is_some_and(|inner| inner.trim().is_empty());
        let (feature, is_default) = match self {
            Self::Model
            | Self::Messages
            | Self::Prompt
            | Self::Input
            | Self::StreamOptions
            | Self::BestOf => {
                return None;
            }
            Self::Stream => (Feature::Stream, json == "false"),
            Self::N => (Feature::Answers, json == "1"),
            Self::MaxTokens | Self::MaxCompletionTokens => (Feature::OutputLimit, false),
            Self::Temperature => (Feature::Temperature, false),
            Self::TopP => (Feature::TopP, false),
            Self::Stop => (Feature::Stop, json.starts_with('[') && is_empty()),
            Self::PresencePenalty => (Feature::PresencePenalty, is_zero()),
            Self::FrequencyPenalty => (Feature::FrequencyPenalty, is_zero()),
            Self::LogitBias => (Feature::LogitBias, is_empty()),
            Self::Logprobs => (Feature::LogProbabilities, json == "false"),
            Self::TopLogprobs => (Feature::Alternatives, json == "0"),
            Self::ResponseFormat => (Feature::AnswerForm, is_text_form(json)),
            Self::Seed => (Feature::Seed, false),
            Self::Tools => (Feature::Tools, is_empty()),
            Self::ToolChoice => (Feature::ToolChoice, json == "\"auto\""),
            Self::ParallelToolCalls => (Feature::SingleToolCall, json == "true"),
            Self::Functions => (Feature::Functions, is_empty()),
            Self::FunctionCall => (Feature::FunctionChoice, json == "\"auto\""),
            Self::User => (Feature::User, false),
            Self::Metadata => (Feature::Metadata, is_empty()),
            Self::Store => (Feature::Store, json == "false"),
            Self::ServiceTier => (Feature::ServiceTier, matches!(json, "\"auto\"" | "\"default\"")),
            Self::ReasoningEffort => (Feature::ReasoningEffort, false),
            Self::Verbosity => (Feature::Verbosity, json == "\"medium\""),
            Self::Modalities => (Feature::Modalities, json.replace(char::is_whitespace, "") == "[\"text\"]"),
            Self::Audio => (Feature::AudioOutput, false),
            Self::Prediction => (Feature::Prediction, false),
            Self::WebSearchOptions => (Feature::WebSearch, false),
            Self::PromptCacheKey => (Feature::CacheKey, false),
            Self::PromptCacheRetention => (Feature::CacheRetention, false),
            Self::PromptCacheOptions => (Feature::CacheOptions, is_empty()),
            Self::Moderation => (Feature::Moderation, false),
            Self::SafetyIdentifier => (Feature::SafetyIdentifier, false),
            Self::Suffix => (Feature::Suffix, false),
            Self::Echo => (Feature::Echo, json == "false"),
            Self::EncodingFormat => (Feature::EncodingFormat, false),
            Self::Dimensions => (Feature::Dimensions, false),
        };
        (!is_default).then_some(feature)
    }

    const fn shape_at(self, kind: CallKind) -> Shape {
        match (self, kind) {
            (Self::Logprobs, CallKind::Text) => Shape::Integer(0, 5),
            _ => self.shape(),
        }
    }

    /// Returns what the value should have been, or `None` when it is fine.
    pub(super) fn complaint(self, kind: CallKind, json: &str) -> Option<String> {
        if json == "null" {
            return None;
        }
        let first = json.bytes().next().unwrap_or_default();
        let (good, expected) = match self.shape_at(kind) {
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

/// Returns whether a `response_format` asks for text. Nothing else than the type stands beside that, so a long value
/// is not looked into.
fn is_text_form(json: &str) -> bool {
    const BYTES_MAX: usize = 64;
    json.len() <= BYTES_MAX && json.replace(char::is_whitespace, "") == "{\"type\":\"text\"}"
}

/// Returns what OpenAI's callers call the parameter behind `feature`.
pub(super) const fn param_of(feature: Feature) -> &'static str {
    match feature {
        Feature::Images
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
        | Feature::OtherMembers => Param::Messages.as_str(),
        Feature::StrictTools | Feature::OtherToolMembers => Param::Tools.as_str(),
        _ => feature.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_asks_for_nothing() {
        let check = |param: Param, default: &str, other: &str| {
            assert_eq!(param.asks(default), None, "{default}");
            let feature = param.asks(other).unwrap_or_else(|| panic!("{other} asks for nothing"));
            assert_eq!(param_of(feature), param.as_str());
        };
        check(Param::Stream, "false", "true");
        check(Param::N, "1", "2");
        check(Param::Stop, "[ ]", "\"\"");
        check(Param::PresencePenalty, "0.0", "0.1");
        check(Param::LogitBias, "{ }", "{\"1\":0}");
        check(Param::Logprobs, "false", "0");
        check(Param::TopLogprobs, "0", "1");
        check(Param::ResponseFormat, "{ \"type\": \"text\" }", "{\"type\":\"json_object\"}");
        check(Param::Tools, "[]", "[1]");
        check(Param::ToolChoice, "\"auto\"", "\"none\"");
        check(Param::ParallelToolCalls, "true", "false");
        check(Param::Store, "false", "true");
        check(Param::ServiceTier, "\"default\"", "\"flex\"");
        check(Param::Verbosity, "\"medium\"", "\"low\"");
        check(Param::Modalities, "[ \"text\" ]", "[\"text\",\"audio\"]");
        check(Param::Echo, "false", "true");
    }

    #[test]
    fn every_feature_has_a_parameter_that_belongs_somewhere() {
        // What is no part of the API has a name that the caller chose.
        for feature in Feature::ALL.iter().filter(|feature| **feature != Feature::VendorFields) {
            let param = Param::named(param_of(*feature)).unwrap_or_else(|| panic!("{feature:?}"));
            let kinds = [CallKind::Chat, CallKind::Text, CallKind::Embeddings];
            assert!(kinds.iter().any(|kind| param.belongs_to(*kind)), "{feature:?}");
        }
    }
}
