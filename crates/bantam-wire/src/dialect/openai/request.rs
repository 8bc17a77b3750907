//! Bodies for OpenAI-compatible upstreams.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::decode::TopLevel;
use super::params::Param;
use super::write::push_string;
use crate::call::{
    AnswerForm, Call, CallKind, Image, Input, Message, Part, Role, Settings, SharedText, Tool, ToolCall,
    ToolChoice, VectorEncoding,
};
use crate::dialect::{Edits, OutputLimit};
use crate::feature::Feature;
use crate::format::Format;
use crate::support::{Support, Unsupported, refusal_of_typed};

/// Returns what an upstream of this dialect does about a feature that was asked for in the same dialect: the caller's
/// words are passed on, and what the upstream cannot do it refuses itself.
pub const fn support(feature: Feature) -> Support {
    match feature {
        Feature::VendorFields => Support::LISTED_FIELDS,
        _ => Support::Honoured(""),
    }
}

/// Returns what becomes of a feature that was asked for in another dialect.
pub fn support_of_translated(feature: Feature) -> Support {
    match feature {
        Feature::OtherParts
        | Feature::OtherToolCalls
        | Feature::OlderToolCalls
        | Feature::Annotations
        | Feature::ThinkingBlocks
        | Feature::OtherMembers
        | Feature::OtherToolMembers
        | Feature::Moderation
        | Feature::Functions
        | Feature::FunctionChoice
        | Feature::Modalities
        | Feature::AudioOutput
        | Feature::Prediction
        | Feature::WebSearch
        | Feature::Store => Support::Refused("it is not translated between dialects"),
        Feature::CacheMarks | Feature::CacheOptions => Support::CHOOSES_CACHE,
        Feature::VendorFields => Support::LISTED_FIELDS,
        _ => Support::Honoured(""),
    }
}

/// Returns the first feature of `call` that cannot be said to an upstream of this dialect.
pub fn refusal(call: &Call) -> Option<Unsupported> {
    if is_same_dialect(call) { None } else { refusal_of_typed(call, support_of_translated) }
}

/// Returns the body for an OpenAI-compatible upstream. A caller of the same endpoint has every byte passed on as it
/// was written, but for `edits`; what came in another dialect is written from its neutral form.
///
/// # Errors
/// What cannot be said in this dialect.
pub fn body(call: &Call, edits: Edits<'_>) -> Result<Vec<u8>, Unsupported> {
    match refusal(call) {
        Some(unsupported) => Err(unsupported),
        None if is_same_dialect(call) => Ok(body_from_source(call, edits)),
        None => Ok(body_from_typed(call, edits)),
    }
}

fn is_same_dialect(call: &Call) -> bool {
    call.endpoint.format() == Some(Format::openai(call.kind()))
}

/// Returns the path of the same upstream for calls of `kind`, given its path for chat; `None` where that does not end
/// in `chat/completions`, before its query.
pub fn path_beside(kind: CallKind, chat_path: &str) -> Option<String> {
    let (path, query) = chat_path.split_at(chat_path.find('?').unwrap_or(chat_path.len()));
    let folder = path.strip_suffix("chat/completions")?;
    let own = match kind {
        CallKind::Chat => "chat/completions",
        CallKind::Text => "completions",
        CallKind::Embeddings => "embeddings",
    };
    Some(format!("{folder}{own}{query}"))
}

fn body_from_source(call: &Call, edits: Edits<'_>) -> Vec<u8> {
    let capacity = call.source().raw().len() + 128 + edits.system.map_or(0, str::len);
    let mut body = Vec::with_capacity(capacity);
    body.extend_from_slice(b"{\"model\":");
    push_string(&mut body, edits.model);
    let renamed = edits.phrasing.output_limit.filter(|_| call.kind() == CallKind::Chat);
    for (name, json) in call.source().members() {
        match name {
            "model" | "stream" | "stream_options" => {}
            "max_tokens" | "max_completion_tokens" if renamed.is_some() => {}
            "messages" if edits.system.is_some() || !edits.phrasing.developer_role => {
                push_key(&mut body, name);
                push_messages(&mut body, json, edits);
            }
            _ => {
                push_key(&mut body, name);
                body.extend_from_slice(json);
            }
        }
    }
    if let Some((name, tokens)) = renamed.zip(call.output_tokens_max) {
        push_key(&mut body, name.as_str());
        body.extend_from_slice(tokens.to_string().as_bytes());
    }
    if edits.stream && edits.phrasing.stream {
        body.extend_from_slice(b",\"stream\":true");
        // Usage is asked for whatever the caller wants: a stream without it could not be priced.
        if edits.phrasing.stream_usage {
            body.extend_from_slice(b",\"stream_options\":{\"include_usage\":true}");
        }
    }
    body.push(b'}');
    body
}

fn push_key(body: &mut Vec<u8>, name: &str) {
    body.extend_from_slice(b",\"");
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(b"\":");
}

/// Appends the messages `json`, a valid array with at least one, behind a system message where there is one.
fn push_messages(body: &mut Vec<u8>, json: &[u8], edits: Edits<'_>) {
    body.push(b'[');
    if let Some(system) = edits.system {
        body.extend_from_slice(b"{\"role\":\"system\",\"content\":");
        push_string(body, system);
        body.extend_from_slice(b"},");
    }
    let renamed = if edits.phrasing.developer_role { None } else { developers_as_systems(json) };
    match renamed {
        Some(messages) => body.extend_from_slice(&messages),
        None => body.extend_from_slice(json.get(1..).unwrap_or_default()),
    }
}

/// Returns messages with their closing bracket, in which each `developer` is a `system`, and nothing else is changed.
fn developers_as_systems(json: &[u8]) -> Option<Vec<u8>> {
    let messages: Vec<&RawValue> = serde_json::from_slice(json).ok()?;
    let mut out = Vec::with_capacity(json.len());
    for (position, message) in messages.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        let TopLevel(members) = serde_json::from_str(message.get()).ok()?;
        let is_developer = |name: &str, value: &RawValue| name == "role" && is_string(value, "developer");
        if !members.iter().any(|(name, value)| is_developer(name, value)) {
            out.extend_from_slice(message.get().as_bytes());
            continue;
        }
        for (index, (name, value)) in members.iter().enumerate() {
            out.push(if index == 0 { b'{' } else { b',' });
            push_string(&mut out, name);
            out.push(b':');
            let value = if is_developer(name, value) { "\"system\"" } else { value.get() };
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'}');
    }
    out.push(b']');
    Some(out)
}

fn is_string(value: &RawValue, expected: &str) -> bool {
    serde_json::from_str::<std::borrow::Cow<'_, str>>(value.get()).is_ok_and(|text| text == expected)
}

/// Returns the body of a call as its neutral form has it, whatever dialect it came in.
pub fn body_from_typed(call: &Call, edits: Edits<'_>) -> Vec<u8> {
    let mut body = Map::new();
    let mut set = |name: Param, value: Value| drop(body.insert(name.as_str().to_owned(), value));
    set(Param::Model, edits.model.into());
    match &call.input {
        Input::Conversation(messages) => {
            let system = edits.system.map(|text| json!({ "role": "system", "content": text }));
            set(Param::Messages, system.into_iter().chain(messages.iter().map(message_json)).collect());
        }
        Input::Prompts(texts) => set(Param::Prompt, text_or_texts(texts)),
        Input::Texts(texts) => set(Param::Input, text_or_texts(texts)),
    }
    if call.answers > 1 {
        set(Param::N, call.answers.into());
    }
    if let Some(tokens) = call.output_tokens_max {
        let older =
            call.kind() != CallKind::Chat || edits.phrasing.output_limit == Some(OutputLimit::MaxTokens);
        set(if older { Param::MaxTokens } else { Param::MaxCompletionTokens }, tokens.into());
    }
    add_settings(call.kind(), call.settings(), &mut set);
    if edits.stream && edits.phrasing.stream {
        set(Param::Stream, true.into());
        if edits.phrasing.stream_usage {
            set(Param::StreamOptions, json!({ "include_usage": true }));
        }
    }
    for (name, json) in call.source().vendor_members() {
        body.entry(name).or_insert_with(|| serde_json::from_slice(json).unwrap_or_default());
    }
    Value::Object(body).to_string().into_bytes()
}

fn text_or_texts(texts: &[String]) -> Value {
    match texts {
        [only] => only.as_str().into(),
        several => several.into(),
    }
}

/// Returns a message as OpenAI's object. Chat templates are written for the same objects.
pub fn message_json(message: &Message) -> Value {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let content = match message.parts() {
        [] => Value::Null,
        [Part::Text(text)] => text.as_str().into(),
        parts => parts.iter().map(part).collect(),
    };
    let mut out = json!({ "role": role, "content": content });
    let Some(details) = message.details() else { return out };
    let texts = [
        ("name", &details.name),
        ("tool_call_id", &details.tool_call_id),
        ("refusal", &details.refusal),
        ("reasoning_content", &details.reasoning),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            out[key] = text.as_str().into();
        }
    }
    if !details.tool_calls.is_empty() {
        let call = |call: &ToolCall| {
            json!({ "id": call.id, "type": "function",
                "function": { "name": call.name, "arguments": call.arguments } })
        };
        out["tool_calls"] = details.tool_calls.iter().map(call).collect();
    }
    out
}

fn part(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!({ "type": "text", "text": text }),
        Part::Refusal(text) => json!({ "type": "refusal", "refusal": text }),
        Part::Image(image) => {
            let Image { url, detail } = &**image;
            let mut out = json!({ "url": url.as_str() });
            insert(&mut out, "detail", detail.as_deref());
            json!({ "type": "image_url", "image_url": out })
        }
        Part::Audio(audio) => {
            json!({ "type": "input_audio", "input_audio": { "data": audio.data.as_str(), "format": audio.format } })
        }
        Part::File(file) => {
            let mut out = json!({});
            insert(&mut out, "file_data", file.data.as_ref().map(SharedText::as_str));
            insert(&mut out, "file_id", file.id.as_deref());
            insert(&mut out, "filename", file.name.as_deref());
            json!({ "type": "file", "file": out })
        }
        // A backend that would get this refuses the call: see `Feature::OtherParts`.
        Part::Other(name) => json!({ "type": name }),
    }
}

fn insert(object: &mut Value, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        object[key] = text.into();
    }
}

fn add_settings(kind: CallKind, settings: &Settings, set: &mut impl FnMut(Param, Value)) {
    let sampling = &settings.sampling;
    let mut number = |param, value: Option<f64>| {
        if let Some(value) = value {
            set(param, value.into());
        }
    };
    number(Param::Temperature, sampling.temperature);
    number(Param::TopP, sampling.top_p);
    number(Param::PresencePenalty, sampling.presence_penalty);
    number(Param::FrequencyPenalty, sampling.frequency_penalty);
    if !sampling.logit_bias.is_empty() {
        let biases: Map<String, Value> =
            sampling.logit_bias.iter().map(|(token, bias)| (token.clone(), (*bias).into())).collect();
        set(Param::LogitBias, biases.into());
    }
    if let Some(seed) = sampling.seed {
        set(Param::Seed, seed.into());
    }
    if !settings.stops.is_empty() {
        set(Param::Stop, settings.stops.clone().into());
    }
    match (kind, settings.log_probabilities) {
        (_, None) | (CallKind::Embeddings, _) => {}
        (CallKind::Text, Some(alternatives)) => set(Param::Logprobs, alternatives.into()),
        (CallKind::Chat, Some(alternatives)) => {
            set(Param::Logprobs, true.into());
            set(Param::TopLogprobs, alternatives.into());
        }
    }
    add_form_and_tools(settings, set);
    let numbers = [(Param::BestOf, settings.best_of), (Param::Dimensions, settings.vectors.dimensions)];
    for (param, value) in numbers {
        if let Some(value) = value {
            set(param, value.into());
        }
    }
    if settings.echo {
        set(Param::Echo, true.into());
    }
    if settings.vectors.encoding == VectorEncoding::Base64 {
        set(Param::EncodingFormat, "base64".into());
    }
    let texts = [
        (Param::Suffix, &settings.suffix),
        (Param::ReasoningEffort, &settings.reasoning_effort),
        (Param::Verbosity, &settings.verbosity),
        (Param::User, &settings.caller.user),
        (Param::SafetyIdentifier, &settings.caller.safety_identifier),
        (Param::ServiceTier, &settings.provider.service_tier),
        (Param::PromptCacheKey, &settings.provider.cache_key),
        (Param::PromptCacheRetention, &settings.provider.cache_retention),
    ];
    for (param, text) in texts {
        if let Some(text) = text {
            set(param, text.as_str().into());
        }
    }
    if !settings.caller.metadata.is_empty() {
        set(Param::Metadata, settings.caller.metadata.clone().into());
    }
}

/// Returns a tool as OpenAI's object. Chat templates are written for the same objects.
pub fn tool_json(tool: &Tool) -> Value {
    let mut function = json!({ "name": tool.name });
    insert(&mut function, "description", tool.description.as_deref());
    if let Some(parameters) = &tool.parameters {
        function["parameters"] = parameters.clone();
    }
    if let Some(strict) = tool.strict {
        function["strict"] = strict.into();
    }
    json!({ "type": "function", "function": function })
}

fn add_form_and_tools(settings: &Settings, set: &mut impl FnMut(Param, Value)) {
    match &settings.form {
        AnswerForm::Text => {}
        AnswerForm::JsonObject => set(Param::ResponseFormat, json!({ "type": "json_object" })),
        AnswerForm::JsonSchema(form) => {
            let mut schema = json!({ "name": form.name });
            insert(&mut schema, "description", form.description.as_deref());
            if let Some(strict) = form.strict {
                schema["strict"] = strict.into();
            }
            schema["schema"] = form.schema.clone();
            set(Param::ResponseFormat, json!({ "type": "json_schema", "json_schema": schema }));
        }
    }
    if settings.tools.is_empty() {
        return;
    }
    set(Param::Tools, settings.tools.iter().map(tool_json).collect());
    let choice = match &settings.tool_choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some("none".into()),
        ToolChoice::Required => Some("required".into()),
        ToolChoice::Named(name) => Some(json!({ "type": "function", "function": { "name": name } })),
    };
    choice.into_iter().for_each(|choice| set(Param::ToolChoice, choice));
    if settings.single_tool_call {
        set(Param::ParallelToolCalls, false.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstreams_other_paths_stand_beside_its_path_for_chat() {
        let beside = |path: &str| path_beside(CallKind::Embeddings, path);
        assert_eq!(beside("/chat/completions").as_deref(), Some("/embeddings"));
        let azure = "/openai/deployments/{model}/chat/completions?api-version=1";
        assert_eq!(beside(azure).as_deref(), Some("/openai/deployments/{model}/embeddings?api-version=1"));
        assert_eq!(beside("/generate"), None);
        assert_eq!(path_beside(CallKind::Text, "/v1/chat/completions").as_deref(), Some("/v1/completions"));
    }
}
