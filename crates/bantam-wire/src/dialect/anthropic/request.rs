//! A call as Anthropic's `POST /v1/messages`, and what that API cannot do.

use serde_json::{Map, Value, json};

use crate::call::{Call, Message, Part, Role, Settings, Tool, ToolChoice};
use crate::dialect::Edits;
use crate::feature::Feature;
use crate::support::{Support, Unsupported, refusal_of_typed};

/// The API version that this translation was written against.
pub const ANTHROPIC_VERSION: &str = "2023-06-01";

/// Output tokens when the caller sets no limit: Anthropic requires one.
const OUTPUT_TOKENS_DEFAULT: u32 = 4096;

/// Returns what Anthropic's API does about a feature.
pub fn support(feature: Feature) -> Support {
    use Support::{Honoured, Only, Refused};

    match feature {
        Feature::Chat
        | Feature::Stream
        | Feature::StreamUsage
        | Feature::OutputLimit
        | Feature::TopP
        | Feature::Tools
        | Feature::ToolChoice => Honoured(""),
        Feature::Stop => Honoured("sent as `stop_sequences`"),
        Feature::SingleToolCall => Honoured("sent as `disable_parallel_tool_use`"),
        Feature::Temperature => Only("only up to 1", |call| {
            call.settings().sampling.temperature.is_none_or(|temperature| temperature <= 1.0)
        }),
        Feature::User => Honoured("sent as `metadata.user_id`, unless there is a `safety_identifier`"),
        Feature::SafetyIdentifier => Honoured("sent as `metadata.user_id`"),
        Feature::Metadata => Support::TAGS_STORED_ANSWER,
        Feature::CacheKey | Feature::CacheRetention => Support::CHOOSES_CACHE,
        Feature::Text => Refused("the API continues conversations only"),
        Feature::Embeddings => Refused("the API has no embeddings"),
        Feature::Images | Feature::AudioInput | Feature::Files | Feature::OtherParts => {
            Refused("only text is translated for this API")
        }
        Feature::OtherToolCalls => Refused("only calls of functions are translated for this API"),
        Feature::Answers => Refused("the API gives one answer"),
        Feature::PresencePenalty | Feature::FrequencyPenalty => Refused("the API has no penalties"),
        Feature::LogitBias => Refused("the API has no bias of tokens"),
        Feature::Seed => Refused("the API has no seed"),
        Feature::LogProbabilities | Feature::Alternatives => Refused("the API tells no log-probabilities"),
        Feature::AnswerForm => Refused("forms of the answer are not translated for this API"),
        Feature::Functions | Feature::FunctionChoice => {
            Refused("use `tools`: the older form is not translated")
        }
        Feature::ReasoningEffort => Refused("the API measures thinking by tokens"),
        Feature::Verbosity => Refused("the API has no such setting"),
        Feature::Modalities | Feature::AudioOutput => Refused("the API answers with text"),
        Feature::Prediction => Refused("the API takes no prediction"),
        Feature::WebSearch => Refused("web search is not translated for this API"),
        Feature::Suffix | Feature::Echo | Feature::BestOf => Refused("the API continues conversations only"),
        Feature::EncodingFormat | Feature::Dimensions => Refused("the API has no embeddings"),
        Feature::Store => Refused("the API stores no answers"),
        Feature::ServiceTier => Refused("its queues are not those of this API"),
    }
}

/// Returns the body for Anthropic, with `edits` applied.
///
/// # Errors
/// What the API cannot do, or what of the conversation has no form in it.
pub fn body(call: &Call, edits: Edits<'_>) -> Result<Vec<u8>, Unsupported> {
    if let Some(unsupported) = refusal_of_typed(call, support) {
        return Err(unsupported);
    }
    let settings = call.settings();
    let mut body = Map::new();
    body.insert("model".into(), edits.model.into());
    body.insert("max_tokens".into(), call.output_tokens_max.unwrap_or(OUTPUT_TOKENS_DEFAULT).into());
    let (system, messages) = conversation(call.messages(), edits.system)?;
    if !system.is_empty() {
        body.insert("system".into(), system.into());
    }
    body.insert("messages".into(), messages);
    let sampling = &settings.sampling;
    for (name, number) in [("temperature", sampling.temperature), ("top_p", sampling.top_p)] {
        if let Some(number) = number {
            body.insert(name.into(), number.into());
        }
    }
    if !settings.stops.is_empty() {
        body.insert("stop_sequences".into(), settings.stops.clone().into());
    }
    let caller = &settings.caller;
    if let Some(user) = caller.safety_identifier.as_deref().or(caller.user.as_deref()) {
        body.insert("metadata".into(), json!({"user_id": user}));
    }
    if !settings.tools.is_empty() {
        body.insert("tools".into(), settings.tools.iter().map(tool).collect());
        body.insert("tool_choice".into(), tool_choice(settings));
    }
    if edits.stream {
        body.insert("stream".into(), true.into());
    }
    Ok(Value::Object(body).to_string().into_bytes())
}

fn tool(tool: &Tool) -> Value {
    let schema = tool.parameters.clone().unwrap_or_else(|| json!({"type": "object"}));
    let mut out = json!({"name": tool.name, "input_schema": schema});
    if let Some(description) = &tool.description {
        out["description"] = description.as_str().into();
    }
    out
}

fn tool_choice(settings: &Settings) -> Value {
    let mut choice = match &settings.tool_choice {
        ToolChoice::None => return json!({"type": "none"}),
        ToolChoice::Auto => json!({"type": "auto"}),
        ToolChoice::Required => json!({"type": "any"}),
        ToolChoice::Named(name) => json!({"type": "tool", "name": name}),
    };
    if settings.single_tool_call {
        choice["disable_parallel_tool_use"] = true.into();
    }
    choice
}

/// Splits the conversation into Anthropic's system text and its alternating messages.
fn conversation(messages: &[Message], own_system: Option<&str>) -> Result<(String, Value), Unsupported> {
    let mut system: Vec<&str> = own_system.into_iter().collect();
    let mut turns: Vec<(&'static str, Vec<Value>)> = Vec::new();
    for message in messages {
        let (role, blocks) = match message.role {
            Role::System => {
                system.push(message.text());
                continue;
            }
            Role::User => ("user", texts(message).map(text_block).collect()),
            Role::Assistant => ("assistant", assistant_blocks(message)?),
            Role::Tool => ("user", vec![tool_result(message)?]),
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

fn tool_result(message: &Message) -> Result<Value, Unsupported> {
    let id = message.details().and_then(|details| details.tool_call_id.as_deref());
    let id = id.ok_or(Unsupported {
        feature: Feature::Chat,
        reason: "a tool's result does not say which call it answers (`tool_call_id`)",
    })?;
    Ok(json!({"type": "tool_result", "tool_use_id": id, "content": message.text()}))
}

fn assistant_blocks(message: &Message) -> Result<Vec<Value>, Unsupported> {
    let refusal = message.details().and_then(|details| details.refusal.as_deref());
    let texts = texts(message).chain(refusal).filter(|text| !text.is_empty());
    let mut blocks: Vec<Value> = texts.map(text_block).collect();
    for call in message.tool_calls() {
        let input: Value = serde_json::from_str(&call.arguments).map_err(|_| Unsupported {
            feature: Feature::Chat,
            reason: "the arguments of an earlier tool call are not JSON",
        })?;
        blocks.push(json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input}));
    }
    Ok(blocks)
}

fn texts(message: &Message) -> impl Iterator<Item = &str> {
    message.parts().iter().filter_map(Part::text)
}

fn text_block(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::DecodeLimits;
    use crate::dialect::openai::CHAT;

    fn decode(body: &Value) -> Call {
        Call::decode(CHAT, body.to_string().into(), &DecodeLimits::default(), &mut ()).unwrap()
    }

    fn check(sent: &Value, expected: Result<Value, Feature>) {
        let edits = Edits { model: "claude", system: None, stream: false };
        let got = body(&decode(sent), edits);
        let got = got.map(|body| serde_json::from_slice::<Value>(&body).unwrap());
        assert_eq!(got.map_err(|unsupported| unsupported.feature), expected);
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
        for (param, value, feature) in [
            ("n", json!(2), Feature::Answers),
            ("logprobs", json!(true), Feature::LogProbabilities),
            ("seed", json!(1), Feature::Seed),
            ("temperature", json!(1.5), Feature::Temperature),
            ("logit_bias", json!({"1": 2}), Feature::LogitBias),
            ("response_format", json!({"type": "json_object"}), Feature::AnswerForm),
            ("tools", json!([{"type": "browser"}]), Feature::Tools),
            ("tool_choice", json!("perhaps"), Feature::ToolChoice),
        ] {
            check(&json!({"model": "m", "messages": user, param: value}), Err(feature));
        }
        let call = decode(&json!({"model": "m", "messages": user, "seed": null}));
        assert_eq!(refusal_of_typed(&call, support), None);
    }

    #[test]
    fn a_conversation_that_cannot_be_told_is_refused() {
        for message in [
            json!({"role": "tool", "content": "rain"}),
            json!({"role": "assistant", "content": null, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "not JSON"}}]}),
        ] {
            check(&json!({"model": "m", "messages": [message]}), Err(Feature::Chat));
        }
    }

    #[test]
    fn the_user_for_detection_of_abuse_counts_before_the_user() {
        let user = json!([{"role": "user", "content": "x"}]);
        for (more, expected) in [
            (json!({"user": "u"}), json!("u")),
            (json!({"safety_identifier": "s"}), json!("s")),
            (json!({"user": "u", "safety_identifier": "s", "metadata": {"a": "b"}}), json!("s")),
            (json!({"metadata": {"a": "b"}}), Value::Null),
        ] {
            let mut sent = json!({"model": "m", "messages": user});
            sent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let edits = Edits { model: "claude", system: None, stream: false };
            let sent: Value = serde_json::from_slice(&body(&decode(&sent), edits).unwrap()).unwrap();
            assert_eq!(sent["metadata"]["user_id"], expected);
        }
    }
}
