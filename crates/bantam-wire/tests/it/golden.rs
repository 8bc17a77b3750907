//! Golden files: what goes in stands in `golden/`, what comes out in `snapshots/`, whole.
//!
//! A file is named `CASE.WHAT.json`, where WHAT is the endpoint that is asked, or the format of an upstream's answer.

use std::path::{Path, PathBuf};

use bantam_types::{EscalationReason, Tier, Usd};
use bantam_wire::{AnswerContext, Call, DecodeLimits, Endpoint, Format, RoutingNote, openai};

/// A golden input.
pub(crate) struct Golden {
    pub(crate) case: String,
    /// What stands between the case and the extension.
    pub(crate) what: String,
    pub(crate) text: String,
}

impl Golden {
    /// Returns what a snapshot of this input is called.
    pub(crate) fn name(&self, group: &str, to: &str) -> String {
        format!("{group}.{}.{}.{to}", self.what, self.case)
    }

    /// Returns the endpoint that is asked.
    pub(crate) fn endpoint(&self) -> &'static dyn Endpoint {
        endpoint(&self.what)
    }

    /// Returns the format of an upstream's answer, and the endpoint whose callers it is translated for.
    pub(crate) fn format(&self) -> (Format, &'static dyn Endpoint) {
        match &*self.what {
            "openai-chat" => (Format::OpenAiChat, openai::CHAT),
            "openai-text" => (Format::OpenAiText, openai::TEXT),
            "openai-embeddings" => (Format::OpenAiEmbeddings, openai::EMBEDDINGS),
            "anthropic" => (Format::AnthropicMessages, openai::CHAT),
            other => panic!("no format is called {other}"),
        }
    }
}

pub(crate) fn endpoint(word: &str) -> &'static dyn Endpoint {
    match word {
        "chat" => openai::CHAT,
        "text" => openai::TEXT,
        "embeddings" => openai::EMBEDDINGS,
        other => panic!("no endpoint is called {other}"),
    }
}

/// Returns the inputs of a folder, in order.
pub(crate) fn all(folder: &str, extension: &str) -> Vec<Golden> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    let read = |path: &PathBuf| {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let (case, what) = stem.split_once('.').unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        Golden { case: case.to_owned(), what: what.to_owned(), text }
    };
    let all: Vec<Golden> = paths.iter().map(read).collect();
    assert!(!all.is_empty(), "{folder} holds no golden files");
    all
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden")
}

pub(crate) fn decode(endpoint: &'static dyn Endpoint, body: &str) -> Call {
    Call::decode(endpoint, body.to_owned().into(), &DecodeLimits::default(), &mut ()).unwrap()
}

/// Returns a call that came to `endpoint` and says nothing of its answer but whether usage is streamed.
pub(crate) fn asked(endpoint: &'static dyn Endpoint, include_usage: bool) -> Call {
    let options = format!(r#""stream":true,"stream_options":{{"include_usage":{include_usage}}}"#);
    decode(
        endpoint,
        &match endpoint.path() {
            "/v1/chat/completions" => {
                format!(r#"{{"model":"asked","messages":[{{"role":"user","content":"hi"}}],{options}}}"#)
            }
            "/v1/completions" => format!(r#"{{"model":"asked","prompt":"hi",{options}}}"#),
            _ => r#"{"model":"asked","input":"hi"}"#.to_owned(),
        },
    )
}

pub(crate) fn context(call: &Call) -> AnswerContext<'_> {
    AnswerContext { call, request_id: 0x2a, created_unix_s: 9, model: "configured" }
}

pub(crate) fn note() -> RoutingNote {
    RoutingNote {
        request_id: 0x2a,
        task: Some("intent".parse().unwrap()),
        tier: Tier::Frontier,
        model: "configured".into(),
        confidence: None,
        escalated: vec![EscalationReason::Timeout],
        cost: Some(Usd::from_picodollars(1_250_000)),
    }
}

pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}
