//! Engines that people run beside Bantam, and how each differs from the OpenAI API it speaks: what it would ignore is
//! refused by name, and what it calls otherwise is written its way.
//!
//! The table is from the engines' own sources and documentation as of 2026-11: Ollama 0.40, llama.cpp's server b11400,
//! vLLM 0.2x, llama-cpp-python 0.3.36.

mod adapt;
mod find;
#[cfg(test)]
mod tests;

use bantam_wire::ChatRequest;
use bantam_wire::chat::Param;

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

/// Something that an engine may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// What it is called, as parameters are.
    pub name: &'static str,
    /// Whether requests through Bantam can use it.
    pub is_there: bool,
    /// Under which condition, or in which other way.
    pub note: &'static str,
}

const fn yes(name: &'static str, note: &'static str) -> Feature {
    Feature { name, is_there: true, note }
}

const fn no(name: &'static str, note: &'static str) -> Feature {
    Feature { name, is_there: false, note }
}

const OLLAMA: &[Feature] = &[
    yes("json_schema", ""),
    no("grammar", "it has none"),
    yes("logprobs", "from version 0.12.11 on"),
    no("n", "it answers once"),
    yes("seed", ""),
    yes("tools", "it chooses itself: tool_choice is ignored there and refused here"),
    yes("embeddings", "with an embedding model"),
    yes("suffix", "with a model that fills in the middle"),
    no("logit_bias", "ignored there"),
];
const LLAMA_SERVER: &[Feature] = &[
    yes("json_schema", ""),
    no("grammar", "in a field of its own, which is no parameter of OpenAI's"),
    yes("logprobs", ""),
    no("n", "ignored by many versions"),
    yes("seed", ""),
    yes("tools", "with --jinja; one tool by name is ignored there and refused here"),
    yes("embeddings", "started with --embeddings"),
    no("suffix", "on an endpoint of its own, /infill"),
    yes("logit_bias", ""),
];
const LLAMA_CPP_PYTHON: &[Feature] = &[
    yes("json_schema", "sent as its `schema` of a json_object"),
    no("grammar", "in a field of its own, which is no parameter of OpenAI's"),
    yes("logprobs", "started with --logits_all true"),
    no("n", "ignored there"),
    yes("seed", ""),
    no("tools", "calls are text there unless one tool is chosen by name, which works"),
    yes("embeddings", "started with --embedding true"),
    yes("suffix", "with a model that fills in the middle"),
    yes("logit_bias", ""),
];
const VLLM: &[Feature] = &[
    yes("json_schema", ""),
    no("grammar", "in a field of its own, which is no parameter of OpenAI's"),
    yes("logprobs", ""),
    yes("n", ""),
    yes("seed", ""),
    yes("tools", "started with --enable-auto-tool-choice"),
    yes("embeddings", "with an embedding model"),
    no("suffix", "it refuses it"),
    yes("logit_bias", ""),
];

/// Parameters that all engines honour, or that change nothing about an answer.
const COMMON: &[&str] = &[
    "model",
    "messages",
    "prompt",
    "input",
    "encoding_format",
    "stream",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "response_format",
    "user",
    "metadata",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "verbosity",
];

/// From which version on Ollama tells log-probabilities.
const OLLAMA_LOGPROBS: [u64; 3] = [0, 12, 11];

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

    /// Returns what it has and has not, always the same features in the same order.
    pub const fn features(self) -> &'static [Feature] {
        match self {
            Self::Ollama => OLLAMA,
            Self::LlamaServer => LLAMA_SERVER,
            Self::LlamaCppPython => LLAMA_CPP_PYTHON,
            Self::Vllm => VLLM,
        }
    }

    /// Returns the first parameter of a request that it would ignore, or honour in another way than is asked.
    /// `version` is what it says of itself; nothing, where it was not asked yet: then what newer versions honour passes.
    pub(crate) fn refuses(self, version: Version<'_>, request: &ChatRequest) -> Option<&'static str> {
        if self == Self::LlamaCppPython && !calls_a_named_tool(request) {
            return Some(Param::Tools.as_str());
        }
        let refused = request.params().find(|(param, json)| {
            let (name, json) = (param.as_str(), json.trim());
            let is_default = json == "null" || (name == "n" && json == "1") || json == "[]";
            !is_default && !COMMON.contains(&name) && !self.honours(version, name, json)
        });
        refused.map(|(param, _)| param.as_str())
    }

    fn honours(self, version: Version<'_>, name: &str, json: &str) -> bool {
        let (is_python, is_vllm) = (self == Self::LlamaCppPython, self == Self::Vllm);
        let is_named = json.starts_with('{');
        match name {
            "store" => json == "false",
            "modalities" => json.replace(char::is_whitespace, "") == "[\"text\"]",
            "stream_options" => !is_python || !json.contains("true"),
            "n" => is_vllm,
            "logprobs" if json == "false" => true,
            "logprobs" | "top_logprobs" => self != Self::Ollama || version.is_at_least(OLLAMA_LOGPROBS),
            "logit_bias" => self != Self::Ollama || json == "{}",
            "tools" => true,
            "tool_choice" if json == "\"auto\"" => true,
            "tool_choice" => match self {
                Self::Ollama => false,
                Self::LlamaServer => !is_named,
                Self::LlamaCppPython => is_named || json == "\"none\"",
                Self::Vllm => true,
            },
            "parallel_tool_calls" => json == "true" || matches!(self, Self::LlamaServer | Self::Vllm),
            "reasoning_effort" => !is_python,
            "suffix" => matches!(self, Self::Ollama | Self::LlamaCppPython),
            "dimensions" => matches!(self, Self::Ollama | Self::Vllm),
            "echo" | "best_of" => is_vllm,
            _ => false,
        }
    }
}

/// Returns whether a request has no tools, or says which one is to be called (or none).
fn calls_a_named_tool(request: &ChatRequest) -> bool {
    let tools = request.param(Param::Tools).unwrap_or("[]").trim();
    let choice = request.param(Param::ToolChoice).unwrap_or_default().trim();
    matches!(tools, "[]" | "null") || choice.starts_with('{') || choice == "\"none\""
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
