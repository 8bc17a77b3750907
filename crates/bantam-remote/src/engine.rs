//! Engines that people run beside Bantam, and how each differs from the OpenAI API that it speaks: what it would ignore
//! is refused by name, and what it names differently is written its way.
//!
//! The tables are from the engines' own sources and documentation as of 2026-11: Ollama 0.40, llama.cpp's server b11400,
//! vLLM 0.2x, llama-cpp-python 0.3.36.

mod adapt;
mod find;
#[cfg(test)]
mod tests;

use bantam_wire::call::ToolChoice;
use bantam_wire::support::refusal;
use bantam_wire::{Call, Feature, Support, Unsupported};

pub(crate) use adapt::adapt;
pub(crate) use find::find;
pub use find::{FoundEngine, find_engine, usual_addresses};

/// An engine whose differences are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Ollama.
    Ollama,
    /// The server of llama.cpp.
    LlamaServer,
    /// The server of the Python package `llama-cpp-python`.
    LlamaCppPython,
    /// vLLM.
    Vllm,
}

/// Something that people choose an engine by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineFeature {
    /// What it is called.
    pub name: &'static str,
    /// Whether requests through Bantam can use it.
    pub is_there: bool,
    /// Under which condition, or in which other way.
    pub note: &'static str,
}

/// What people choose an engine by, as it is called, and the feature that stands for it.
const SHOWN: [(&str, Feature); 8] = [
    ("json_schema", Feature::AnswerForm),
    ("logprobs", Feature::LogProbabilities),
    ("n", Feature::Answers),
    ("seed", Feature::Seed),
    ("tools", Feature::Tools),
    ("embeddings", Feature::Embeddings),
    ("suffix", Feature::Suffix),
    ("logit_bias", Feature::LogitBias),
];

/// From which version on Ollama tells log-probabilities.
const OLLAMA_LOGPROBS: [u64; 3] = [0, 12, 11];

const IGNORED: Support = Support::Refused("the engine ignores it");

impl Engine {
    /// All engines.
    pub const ALL: [Self; 4] = [Self::Ollama, Self::LlamaServer, Self::LlamaCppPython, Self::Vllm];

    /// Returns the name as it stands in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::LlamaServer => "llama-server",
            Self::LlamaCppPython => "llama-cpp-python",
            Self::Vllm => "vllm",
        }
    }

    /// Returns what it has and lacks, always the same features in the same order.
    pub fn features(self) -> Vec<EngineFeature> {
        let feature = |(name, feature)| match self.support(feature) {
            Support::Honoured(note) | Support::Only(note, _) | Support::NoEffect(note) => {
                EngineFeature { name, is_there: true, note }
            }
            Support::Refused(note) => EngineFeature { name, is_there: false, note },
        };
        let mut features: Vec<EngineFeature> = SHOWN.map(feature).into();
        let note = match self {
            Self::Ollama => "it has none",
            _ => "in a field of its own, which is not one of OpenAI's parameters",
        };
        features.insert(1, EngineFeature { name: "grammar", is_there: false, note });
        features
    }

    /// Returns what its newest versions do about a feature.
    pub fn support(self, feature: Feature) -> Support {
        self.support_of(Version::Open, feature)
    }

    /// Returns the first feature of a call that it would ignore, or honour in another way than is asked. `version` is
    /// what it says of itself; [`Version::Open`] where it was not asked yet: then what newer versions honour passes.
    pub(crate) fn refuses(self, version: Version<'_>, call: &Call) -> Option<Unsupported> {
        refusal(call, |feature| self.support_of(version, feature))
    }

    fn support_of(self, version: Version<'_>, feature: Feature) -> Support {
        use Engine::{LlamaCppPython, LlamaServer, Ollama, Vllm};
        use Support::{Honoured, Refused};

        match feature {
            Feature::Chat
            | Feature::Text
            | Feature::OutputLimit
            | Feature::Stream
            | Feature::Temperature
            | Feature::TopP
            | Feature::Stop
            | Feature::PresencePenalty
            | Feature::FrequencyPenalty
            | Feature::Seed
            | Feature::EncodingFormat
            | Feature::OtherToolCalls => Honoured(""),
            Feature::Images | Feature::AudioInput | Feature::Files | Feature::OtherParts => {
                Honoured("the engine refuses what its model cannot read")
            }
            Feature::OlderToolCalls
            | Feature::SpeakerName
            | Feature::Annotations
            | Feature::Reasoning
            | Feature::ThinkingBlocks
            | Feature::ImageDetail
            | Feature::OtherMembers
            | Feature::StrictTools
            | Feature::OtherToolMembers => Honoured("the engine gets it as it was written"),
            Feature::Embeddings => self.embeddings(),
            Feature::StreamUsage if self == LlamaCppPython => Refused("its streams tell no usage"),
            Feature::StreamUsage => Honoured(""),
            Feature::AnswerForm if self == LlamaCppPython => {
                Honoured("a schema is sent as its `schema` of a `json_object`")
            }
            Feature::AnswerForm => Honoured(""),
            Feature::Answers => match self {
                Vllm => Honoured(""),
                Ollama => Refused("it answers once"),
                LlamaServer => Refused("many versions ignore it"),
                LlamaCppPython => IGNORED,
            },
            Feature::LogitBias if self == Ollama => IGNORED,
            Feature::LogitBias => Honoured(""),
            Feature::LogProbabilities | Feature::Alternatives => self.log_probabilities(version),
            Feature::Tools | Feature::ToolChoice | Feature::SingleToolCall => self.tools(feature),
            Feature::ReasoningEffort if self == LlamaCppPython => IGNORED,
            Feature::ReasoningEffort => Honoured("with a model that reasons"),
            Feature::Suffix => match self {
                Ollama | LlamaCppPython => Honoured("with a model that fills in the middle"),
                LlamaServer => Refused("it has an endpoint of its own for that, /infill"),
                Vllm => Refused("the engine refuses it"),
            },
            Feature::Dimensions if matches!(self, Ollama | Vllm) => Honoured(""),
            Feature::Echo | Feature::BestOf if self == Vllm => Honoured(""),
            Feature::Dimensions | Feature::Echo | Feature::BestOf | Feature::Verbosity => IGNORED,
            Feature::Functions | Feature::FunctionChoice => Refused("use `tools`"),
            Feature::Modalities | Feature::AudioOutput => Refused("it answers with text"),
            Feature::Prediction | Feature::WebSearch | Feature::Moderation => IGNORED,
            Feature::Store => Support::STORES_ANSWER,
            Feature::VendorFields => Support::LISTED_FIELDS,
            Feature::User | Feature::SafetyIdentifier => Support::IDENTIFIES_CALLER,
            Feature::Metadata => Support::TAGS_STORED_ANSWER,
            Feature::ServiceTier => Support::CHOOSES_QUEUE,
            Feature::CacheKey | Feature::CacheRetention | Feature::CacheOptions | Feature::CacheMarks => {
                Support::CHOOSES_CACHE
            }
        }
    }

    const fn embeddings(self) -> Support {
        Support::Honoured(match self {
            Self::Ollama | Self::Vllm => "with an embedding model",
            Self::LlamaServer => "started with --embeddings",
            Self::LlamaCppPython => "started with --embedding true",
        })
    }

    fn log_probabilities(self, version: Version<'_>) -> Support {
        match self {
            Self::Ollama if version.is_at_least(OLLAMA_LOGPROBS) => {
                Support::Honoured("from version 0.12.11 on")
            }
            Self::Ollama => Support::Refused("its version is older than 0.12.11"),
            Self::LlamaCppPython => Support::Honoured("started with --logits_all true"),
            Self::LlamaServer | Self::Vllm => Support::Honoured(""),
        }
    }

    fn tools(self, feature: Feature) -> Support {
        match (self, feature) {
            (Self::Ollama, Feature::Tools) => {
                Support::Honoured("the model chooses: tool_choice is ignored there and refused here")
            }
            (Self::LlamaServer, Feature::Tools) => {
                Support::Honoured("with --jinja; one tool by name is ignored there and refused here")
            }
            (Self::LlamaCppPython, Feature::Tools) => Support::Only(
                "only with one tool chosen by name, or none: otherwise calls are text there",
                |call| matches!(call.settings().tool_choice, ToolChoice::Named(_) | ToolChoice::None),
            ),
            (Self::Vllm, Feature::Tools) => Support::Honoured("started with --enable-auto-tool-choice"),
            (Self::LlamaServer, Feature::ToolChoice) => Support::Only("only `none` and `required`", |call| {
                !matches!(call.settings().tool_choice, ToolChoice::Named(_))
            }),
            (Self::LlamaCppPython, Feature::ToolChoice) => {
                Support::Only("only one tool by name, or `none`", |call| {
                    matches!(call.settings().tool_choice, ToolChoice::Named(_) | ToolChoice::None)
                })
            }
            (Self::Vllm, _) | (Self::LlamaServer, _) => Support::Honoured(""),
            (Self::Ollama | Self::LlamaCppPython, _) => IGNORED,
        }
    }
}

/// What an engine says its version is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version<'v> {
    /// It was not asked yet.
    Open,
    /// It was asked, and this is its answer, if it gave one.
    Told(Option<&'v str>),
}

impl Version<'_> {
    fn is_at_least(self, wanted: [u64; 3]) -> bool {
        let text = match self {
            Self::Open => return true,
            Self::Told(None) => return false,
            Self::Told(Some(text)) => text,
        };
        let mut parts = text.trim_start_matches('v').split(['.', '-', '+']);
        let mut part = || parts.next().and_then(|part| part.parse::<u64>().ok()).unwrap_or(0);
        [part(), part(), part()] >= wanted
    }
}
