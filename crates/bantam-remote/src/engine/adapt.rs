//! A request as an engine wants it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Engine;

/// Returns the body with every parameter under the name that the engine has for it, and all values as they were.
pub(crate) fn adapt(engine: Engine, body: Bytes) -> Bytes {
    if engine == Engine::Vllm {
        return body;
    }
    let Ok(mut members) = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(&body) else {
        return body;
    };
    let mut has_changed = false;
    // Some of these servers, or of their versions, know the older name only.
    if let Some(tokens) = members.remove("max_completion_tokens") {
        members.insert("max_tokens".to_owned(), tokens);
        has_changed = true;
    }
    if engine == Engine::LlamaCppPython
        && let Some(format) = members.get("response_format").and_then(|format| schema_of(format))
    {
        members.insert("response_format".to_owned(), format);
        has_changed = true;
    }
    if !has_changed {
        return body;
    }
    serde_json::to_vec(&members).map_or(body, Bytes::from)
}

/// Returns a `json_schema` as llama-cpp-python wants it, where it is one.
fn schema_of(format: &RawValue) -> Option<Box<RawValue>> {
    let format: Value = serde_json::from_str(format.get()).ok()?;
    if format["type"] != "json_schema" {
        return None;
    }
    let schema = format.pointer("/json_schema/schema")?;
    serde_json::value::to_raw_value(&json!({ "type": "json_object", "schema": schema })).ok()
}
