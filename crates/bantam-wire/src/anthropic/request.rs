//! OpenAI's chat request as Anthropic's `POST /v1/messages`.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, Edits, Param};

/// The API version that this translation was written against.
pub const ANTHROPIC_VERSION: &str = "2023-06-01";

/// Output tokens when the caller sets no limit: Anthropic requires one.
const OUTPUT_TOKENS_DEFAULT: u32 = 4096;

/// Returns the first parameter that Anthropic's API has no equal for, or `None`.
pub fn cannot_honour(request: &ChatRequest) -> Option<&'static str> {
    if request.answers > 1 {
        return Some("n");
    }
    if request.has_unread_parts() {
        return Some("messages");
    }
    request.params().find_map(|(param, json)| {
        let fine = match param {
            Param::Model
            | Param::Messages
            | Param::Stream
            | Param::StreamOptions
            | Param::N
            | Param::MaxTokens
            | Param::MaxCompletionTokens
            | Param::TopP
            | Param::Stop
            | Param::Tools
            | Param::ToolChoice
            | Param::ParallelToolCalls
            | Param::User
            | Param::SafetyIdentifier
            | Param::Metadata => true,
            Param::Temperature => json.parse::<f64>().is_ok_and(|temperature| temperature <= 1.0),
            Param::Store | Param::Logprobs => json == "false",
            Param::PresencePenalty | Param::FrequencyPenalty => {
                json.parse::<f64>().is_ok_and(|value| value == 0.0)
            }
            Param::ResponseFormat => {
                serde_json::from_str::<Value>(json).is_ok_and(|format| format["type"] == "text")
            }
            _ => false,
        };
        (!fine).then_some(param.as_str())
    })
}

/// Returns the body for Anthropic, with `edits` applied.
///
/// # Errors
/// The name of the parameter that cannot be honoured.
pub fn request_body(request: &ChatRequest, edits: Edits<'_>) -> Result<Vec<u8>, &'static str> {
    if let Some(param) = cannot_honour(request) {
        return Err(param);
    }
    let value = |param| request.param(param).and_then(|json| serde_json::from_str::<Value>(json).ok());
    let mut body = Map::new();
    body.insert("model".into(), edits.model.into());
    body.insert("max_tokens".into(), request.output_tokens_max.unwrap_or(OUTPUT_TOKENS_DEFAULT).into());
    let (system, messages) = conversation(&value(Param::Messages).unwrap_or_default(), edits.system)?;
    if !system.is_empty() {
        body.insert("system".into(), system.into());
    }
    body.insert("messages".into(), messages);
    for (param, name) in [(Param::Temperature, "temperature"), (Param::TopP, "top_p")] {
        if let Some(number) = value(param).filter(|value| !value.is_null()) {
            body.insert(name.into(), number);
        }
    }
    match value(Param::Stop) {
        Some(Value::String(stop)) => drop(body.insert("stop_sequences".into(), json!([stop]))),
        Some(Value::Array(stops)) => drop(body.insert("stop_sequences".into(), stops.into())),
        _ => {}
    }
    if let Some(user) = value(Param::User).filter(Value::is_string) {
        body.insert("metadata".into(), json!({"user_id": user}));
    }
    add_tools(&mut body, value(Param::Tools), value(Param::ToolChoice), value(Param::ParallelToolCalls))?;
    if edits.stream {
        body.insert("stream".into(), true.into());
    }
    serde_json::to_vec(&body).map_err(|_| "messages")
}

fn add_tools(
    body: &mut Map<String, Value>,
    tools: Option<Value>,
    choice: Option<Value>,
    parallel: Option<Value>,
) -> Result<(), &'static str> {
    let Some(Value::Array(tools)) = tools else {
        return Ok(());
    };
    let translated: Option<Vec<Value>> = tools
        .iter()
        .map(|tool| {
            let function = tool.get("function")?;
            let mut out = json!({
                "name": function.get("name")?,
                "input_schema": function.get("parameters").cloned().unwrap_or_else(|| json!({"type": "object"})),
            });
            if let Some(description) = function.get("description") {
                out["description"] = description.clone();
            }
            Some(out)
        })
        .collect();
    body.insert("tools".into(), translated.ok_or("tools")?.into());
    let mut choice = match choice {
        Some(Value::String(word)) => match &*word {
            "auto" => json!({"type": "auto"}),
            "none" => json!({"type": "none"}),
            "required" => json!({"type": "any"}),
            _ => return Err("tool_choice"),
        },
        Some(Value::Object(object)) => {
            let name =
                object.get("function").and_then(|function| function.get("name")).ok_or("tool_choice")?;
            json!({"type": "tool", "name": name})
        }
        _ => json!({"type": "auto"}),
    };
    if parallel == Some(Value::Bool(false)) && choice["type"] != "none" {
        choice["disable_parallel_tool_use"] = true.into();
    }
    body.insert("tool_choice".into(), choice);
    Ok(())
}

/// Splits the conversation into Anthropic's system text and its alternating messages.
fn conversation(messages: &Value, own_system: Option<&str>) -> Result<(String, Value), &'static str> {
    let mut system: Vec<String> = own_system.map(str::to_owned).into_iter().collect();
    let mut turns: Vec<(&'static str, Vec<Value>)> = Vec::new();
    for message in messages.as_array().map(Vec::as_slice).unwrap_or_default() {
        let (role, blocks) = match message["role"].as_str().unwrap_or_default() {
            "system" | "developer" => {
                system.push(texts(&message["content"]).join("\n"));
                continue;
            }
            "assistant" => ("assistant", assistant_blocks(message)?),
            "tool" => (
                "user",
                vec![json!({
                    "type": "tool_result",
                    "tool_use_id": message["tool_call_id"],
                    "content": texts(&message["content"]).join("\n"),
                })],
            ),
            "user" => ("user", texts(&message["content"]).into_iter().map(text_block).collect()),
            _ => return Err("messages"),
        };
        match turns.last_mut() {
            Some((last, existing)) if *last == role => existing.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    let turns: Vec<Value> =
        turns.into_iter().map(|(role, content)| json!({"role": role, "content": content})).collect();
    Ok((system.join("\n\n"), turns.into()))
}

fn assistant_blocks(message: &Value) -> Result<Vec<Value>, &'static str> {
    let mut blocks: Vec<Value> =
        texts(&message["content"]).into_iter().filter(|text| !text.is_empty()).map(text_block).collect();
    for call in message["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let arguments = call["function"]["arguments"].as_str().unwrap_or("{}");
        let input: Value = serde_json::from_str(arguments).map_err(|_| "messages")?;
        blocks.push(json!({
            "type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": input,
        }));
    }
    Ok(blocks)
}

fn texts(content: &Value) -> Vec<String> {
    match content {
        Value::String(text) => vec![text.clone()],
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

fn text_block(text: String) -> Value {
    json!({"type": "text", "text": text})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::DecodeLimits;

    fn decode(body: &Value) -> ChatRequest {
        ChatRequest::decode(crate::Endpoint::Chat, body.to_string().into(), &DecodeLimits::default(), &mut ())
            .unwrap()
    }

    fn check(body: &Value, expected: Result<Value, &str>) {
        let edits = Edits { model: "claude", system: None, stream: false };
        let got =
            request_body(&decode(body), edits).map(|body| serde_json::from_slice::<Value>(&body).unwrap());
        assert_eq!(got, expected);
    }

    #[test]
    fn a_conversation_with_tools_becomes_blocks() {
        check(
            &json!({"model": "m", "max_tokens": 9, "stop": "END", "parallel_tool_calls": false, "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "weather?"},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "w", "arguments": "{\"at\":\"Oslo\"}"}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "rain"},
                {"role": "user", "content": [{"type": "text", "text": "and then?"}]}],
                "tools": [{"type": "function", "function": {"name": "w", "parameters": {"type": "object"}}}]}),
            Ok(json!({"model": "claude", "max_tokens": 9, "system": "be brief", "stop_sequences": ["END"],
                "messages": [
                {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "w", "input": {"at": "Oslo"}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "rain"},
                    {"type": "text", "text": "and then?"}]}],
                "tools": [{"name": "w", "input_schema": {"type": "object"}}],
                "tool_choice": {"type": "auto", "disable_parallel_tool_use": true}})),
        );
    }

    #[test]
    fn what_has_no_equal_is_refused_by_name() {
        let user = json!([{"role": "user", "content": "x"}]);
        for (param, value) in [
            ("n", json!(2)),
            ("logprobs", json!(true)),
            ("seed", json!(1)),
            ("temperature", json!(1.5)),
            ("logit_bias", json!({"1": 2})),
            ("response_format", json!({"type": "json_object"})),
        ] {
            check(&json!({"model": "m", "messages": user, param: value}), Err(param));
        }
        assert_eq!(cannot_honour(&decode(&json!({"model": "m", "messages": user, "seed": null}))), None);
    }
}
