//! A call as Anthropic's `POST /v1/messages`, and what that API cannot do.

use serde_json::{Map, Value, json};

use super::conversation::{Conversation, conversation, is_name, mark_json};
use super::{media, thinking};
use crate::call::{AnswerForm, Call, JsonSchema, Settings, Tool, ToolChoice};
use crate::dialect::Edits;
use crate::feature::Feature;
use crate::support::{Support, Unsupported, refusal_of_typed};

/// The API version that this translation was written against.
pub const ANTHROPIC_VERSION: &str = "2023-06-01";

/// The most marks of prefixes to keep that the API takes.
const CACHE_MARKS_MAX: usize = 4;

/// What differs between the models behind the API, as the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelTraits {
    /// Output tokens when the caller sets no limit: the API requires one.
    pub output_tokens: u32,
    /// How the model is told to think.
    pub thinking: Thinking,
}

/// How a model is told to think before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// Not at all: the model does not think.
    None,
    /// By a number of tokens, as models up to Claude Opus 4.5 are.
    Budget,
    /// By a word for the effort, as newer models are.
    Adaptive,
}

impl Default for ModelTraits {
    fn default() -> Self {
        Self { output_tokens: 4096, thinking: Thinking::Budget }
    }
}

/// Returns what Anthropic's API does about a feature.
pub fn support(feature: Feature) -> Support {
    use Support::{Honoured, NoEffect, Only, Refused};

    match feature {
        Feature::Chat
        | Feature::Stream
        | Feature::StreamUsage
        | Feature::TopP
        | Feature::Tools
        | Feature::ToolChoice => Honoured(""),
        Feature::OutputLimit => Honoured("without it, `output_tokens` of the model"),
        Feature::Stop => Only("only strings that are not blank, sent as `stop_sequences`", |call| {
            call.settings().stops.iter().all(|stop| !stop.trim().is_empty())
        }),
        Feature::SingleToolCall => Honoured("sent as `disable_parallel_tool_use`"),
        Feature::StrictTools => Honoured("sent as `strict`"),
        Feature::Temperature => Only("only up to 1", |call| {
            call.settings().sampling.temperature.is_none_or(|temperature| temperature <= 1.0)
        }),
        Feature::Images => Only("only JPEG, PNG, GIF and WebP in base64, and addresses", media::takes_images),
        Feature::ImageDetail => {
            Only("only `auto`, `high` and `original`: it looks closely at every image", media::takes_details)
        }
        Feature::Files => Only("only PDF and plain text as `file_data` in base64", media::takes_files),
        Feature::OlderToolCalls => Honoured("sent as `tool_use` and `tool_result`"),
        Feature::ThinkingBlocks => Honoured("sent as `thinking` and `redacted_thinking`"),
        Feature::Reasoning => Only("only beside the same as `thinking_blocks`, which are signed", |call| {
            let mut details = call.messages().iter().filter_map(|message| message.details());
            details.all(|own| own.reasoning.is_none() || !own.thoughts.is_empty())
        }),
        Feature::CacheMarks => Honoured("sent as `cache_control`: the last four, for an hour at most"),
        Feature::AnswerForm => Only("only `json_schema`, sent as `output_config.format`", |call| {
            matches!(call.settings().form, AnswerForm::JsonSchema(_))
        }),
        Feature::ReasoningEffort => {
            Only("only the words that OpenAI has; sent as `thinking` says for the model", |call| {
                call.settings().reasoning_effort.as_deref().is_none_or(thinking::is_known)
            })
        }
        Feature::User => Honoured("sent as `metadata.user_id`, unless there is a `safety_identifier`"),
        Feature::SafetyIdentifier => Honoured("sent as `metadata.user_id`"),
        Feature::Metadata => Support::TAGS_STORED_ANSWER,
        Feature::Store => Support::STORES_ANSWER,
        Feature::CacheKey | Feature::CacheRetention | Feature::CacheOptions => Support::CHOOSES_CACHE,
        Feature::Seed => NoEffect("it is a wish, and no answer is promised to be the same"),
        Feature::Text => Refused("the API continues conversations only"),
        Feature::Embeddings => Refused("the API has no embeddings"),
        Feature::AudioInput => Refused("the API hears no audio"),
        Feature::OtherParts => Refused("content of that kind is not translated for this API"),
        Feature::OtherToolCalls => Refused("only calls of functions are translated for this API"),
        Feature::SpeakerName => Refused("the API has no names of speakers: write it into the text"),
        Feature::Annotations => Refused("sources of earlier answers are not translated for this API"),
        Feature::OtherMembers | Feature::OtherToolMembers => Refused("it is not known here"),
        Feature::Answers => Refused("the API gives one answer"),
        Feature::PresencePenalty | Feature::FrequencyPenalty => Refused("the API has no penalties"),
        Feature::LogitBias => Refused("the API has no bias of tokens"),
        Feature::LogProbabilities | Feature::Alternatives => Refused("the API tells no log-probabilities"),
        Feature::Functions | Feature::FunctionChoice => {
            Refused("use `tools`: the older form is not translated")
        }
        Feature::Verbosity => Refused("the API has no such setting"),
        Feature::Modalities | Feature::AudioOutput => Refused("the API answers with text"),
        Feature::Prediction => Refused("the API takes no prediction"),
        Feature::WebSearch => Refused("web search is not translated for this API"),
        Feature::Moderation => Refused("the API has no such check"),
        Feature::Suffix | Feature::Echo | Feature::BestOf => Refused("the API continues conversations only"),
        Feature::EncodingFormat | Feature::Dimensions => Refused("the API has no embeddings"),
        Feature::ServiceTier => Refused("its queues are not those of this API"),
        Feature::VendorFields => Support::LISTED_FIELDS,
    }
}

/// Returns the first feature of `call` that the API, or a model with these traits, cannot honour. What is wrong with a
/// conversation is known only when it is written, see [`body`].
pub fn refusal(call: &Call, traits: ModelTraits) -> Option<Unsupported> {
    refusal_of_typed(call, support).or_else(|| thinking::refusal(call, traits))
}

/// Returns the body for Anthropic, with `edits` applied.
///
/// # Errors
/// What the API cannot do, or what of the conversation has no form in it.
pub fn body(call: &Call, edits: Edits<'_>, traits: ModelTraits) -> Result<Vec<u8>, Unsupported> {
    if let Some(unsupported) = refusal(call, traits) {
        return Err(unsupported);
    }
    let settings = call.settings();
    let mut conversation = conversation(call, edits.system)?;
    let (mut tools, choice) = tools(settings, &conversation)?;
    keep_last_marks(&mut tools, &mut conversation);
    let plan = thinking::plan(call, traits, &conversation)?;
    let mut body = Map::new();
    body.insert("model".into(), edits.model.into());
    body.insert("max_tokens".into(), plan.output_tokens.into());
    if !conversation.system.is_empty() {
        body.insert("system".into(), system(conversation.system));
    }
    let turn = |(role, content)| json!({"role": role, "content": content});
    let is_begun = matches!(conversation.turns.last(), Some(("assistant", _)));
    body.insert("messages".into(), conversation.turns.into_iter().map(turn).collect());
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
    if !tools.is_empty() {
        body.insert("tools".into(), tools.into());
        body.insert("tool_choice".into(), choice);
    }
    let mut output = Map::new();
    if let AnswerForm::JsonSchema(form) = &settings.form {
        if is_begun {
            let reason = "the API does not go on with an answer that must be of a schema";
            return Err(Unsupported::new(Feature::AnswerForm, reason));
        }
        output.insert("format".into(), json!({"type": "json_schema", "schema": schema(form)}));
    }
    if let Some(effort) = plan.effort {
        output.insert("effort".into(), effort.into());
    }
    if let Some(thinking) = plan.thinking {
        body.insert("thinking".into(), thinking);
    }
    if !output.is_empty() {
        body.insert("output_config".into(), output.into());
    }
    if edits.stream {
        body.insert("stream".into(), true.into());
    }
    add_vendor_fields(call, &mut body)?;
    Ok(Value::Object(body).to_string().into_bytes())
}

/// Adds the caller's parameters that no dialect here knows, as they are.
fn add_vendor_fields(call: &Call, body: &mut Map<String, Value>) -> Result<(), Unsupported> {
    for (name, json) in call.source().vendor_members() {
        if body.contains_key(name) {
            let reason = format!("`{name}` is written from other parameters already: send one of the two");
            return Err(Unsupported::new(Feature::VendorFields, reason));
        }
        body.insert(name.to_owned(), serde_json::from_slice(json).unwrap_or_default());
    }
    Ok(())
}

/// Returns the system text, as blocks only where a block has more than its text.
fn system(blocks: Vec<Value>) -> Value {
    let texts: Option<Vec<&str>> = blocks
        .iter()
        .map(|block| block["text"].as_str().filter(|_| block.get("cache_control").is_none()))
        .collect();
    match texts {
        Some(texts) => texts.join("\n\n").into(),
        None => blocks.into(),
    }
}

/// Returns a schema of answers; what the answer is for stands within it.
fn schema(form: &JsonSchema) -> Value {
    let mut schema = form.schema.clone();
    if let (Some(description), Some(object)) = (&form.description, schema.as_object_mut()) {
        object.entry("description").or_insert_with(|| description.as_str().into());
    }
    schema
}

/// Returns the tools and the choice among them. The API takes no history of calls without tools: where the caller sends
/// none, the functions that were called are named, and none of them may be called.
fn tools(settings: &Settings, conversation: &Conversation) -> Result<(Vec<Value>, Value), Unsupported> {
    let refuse_choice = |reason| Err(Unsupported::new(Feature::ToolChoice, reason));
    if settings.tools.is_empty() {
        if matches!(settings.tool_choice, ToolChoice::Required | ToolChoice::Named(_)) {
            return refuse_choice("there are no tools to choose from");
        }
        let called = conversation.called.iter();
        let tools = called.map(|name| json!({"name": name, "input_schema": {"type": "object"}}));
        return Ok((tools.collect(), json!({"type": "none"})));
    }
    let mut tools: Vec<Value> = Vec::with_capacity(settings.tools.len());
    for (position, own) in settings.tools.iter().enumerate() {
        let written =
            tool(own).filter(|_| !settings.tools[..position].iter().any(|other| other.name == own.name));
        let written = written.ok_or_else(|| {
            let reason = "the API takes names of letters, digits, `_` and `-`, each once, and schemas of objects \
                          that are not `oneOf`, `anyOf` or `allOf`";
            Unsupported::new(Feature::Tools, format!("`tools[{position}]`: {reason}"))
        })?;
        tools.push(written);
    }
    let mut choice = match &settings.tool_choice {
        ToolChoice::None => return Ok((tools, json!({"type": "none"}))),
        ToolChoice::Auto => json!({"type": "auto"}),
        ToolChoice::Required => json!({"type": "any"}),
        ToolChoice::Named(name) if settings.tools.iter().any(|tool| tool.name == *name) => {
            json!({"type": "tool", "name": name})
        }
        ToolChoice::Named(_) => return refuse_choice("no tool is called that"),
    };
    if settings.single_tool_call {
        choice["disable_parallel_tool_use"] = true.into();
    }
    Ok((tools, choice))
}

/// Returns a tool in the API's terms, where the API takes it.
fn tool(tool: &Tool) -> Option<Value> {
    let mut schema = match &tool.parameters {
        None => Map::new(),
        Some(Value::Object(schema)) => schema.clone(),
        Some(_) => return None,
    };
    let is_choice = ["oneOf", "anyOf", "allOf"].iter().any(|key| schema.contains_key(*key));
    schema.entry("type").or_insert_with(|| "object".into());
    if !is_name(&tool.name) || is_choice || schema.get("type")? != "object" {
        return None;
    }
    let mut out = json!({"name": tool.name});
    if let Some(description) = tool.description.as_deref().filter(|text| !text.is_empty()) {
        out["description"] = description.into();
    }
    out["input_schema"] = schema.into();
    if tool.strict == Some(true) {
        out["strict"] = true.into();
    }
    if let Some(mark) = tool.cache_mark {
        out["cache_control"] = mark_json(mark);
    }
    Some(out)
}

/// Leaves as many marks as the API takes: the last ones, which stand for the longest prefixes; and none for an hour
/// behind one for minutes, which the API refuses.
fn keep_last_marks(tools: &mut [Value], conversation: &mut Conversation) {
    let blocks = conversation.turns.iter_mut().flat_map(|(_, blocks)| blocks);
    let all = tools.iter_mut().chain(&mut conversation.system).chain(blocks);
    let mut marked: Vec<&mut Value> = all.filter(|block| block.get("cache_control").is_some()).collect();
    let too_many = marked.len().saturating_sub(CACHE_MARKS_MAX);
    for block in marked.drain(..too_many) {
        if let Some(object) = block.as_object_mut() {
            object.shift_remove("cache_control");
        }
    }
    let mut is_short = false;
    for block in marked {
        let mark = &mut block["cache_control"];
        is_short |= mark.get("ttl").is_none();
        if is_short {
            *mark = mark_json(crate::call::CacheMark::Minutes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::DecodeLimits;
    use crate::dialect::Phrasing;
    use crate::dialect::openai::CHAT;

    fn decode(body: &Value) -> Call {
        Call::decode(CHAT, body.to_string().into(), &DecodeLimits::default(), &mut ()).unwrap()
    }

    fn check(sent: &Value, expected: Result<Value, Feature>) {
        let edits = Edits { model: "claude", system: None, stream: false, phrasing: Phrasing::default() };
        let got = body(&decode(sent), edits, ModelTraits::default());
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
            let edits = Edits { model: "claude", system: None, stream: false, phrasing: Phrasing::default() };
            let sent: Value =
                serde_json::from_slice(&body(&decode(&sent), edits, ModelTraits::default()).unwrap())
                    .unwrap();
            assert_eq!(sent["metadata"]["user_id"], expected);
        }
    }
}
