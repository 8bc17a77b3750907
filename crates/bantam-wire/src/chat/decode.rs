//! From a body's bytes to a valid request, or to an error that names the parameter.

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{ChatRequest, Message, Param, Role, message};
use crate::Endpoint;
use crate::error::ApiError;
use crate::json::{self, TextSink};

/// How large a request may be inside.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// How deep objects and arrays may nest.
    pub json_depth_max: usize,
    /// How many messages a conversation may have.
    pub messages_max: usize,
}

impl DecodeLimits {
    /// The most messages that any configuration allows.
    pub const MESSAGES_MAX: usize = 16_384;
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { json_depth_max: 64, messages_max: Self::MESSAGES_MAX }
    }
}

/// A body that is no valid request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeChatError {
    /// No JSON object, or one that is refused as a whole.
    #[error("the body is not a JSON object that can be read: {0}")]
    Json(String),
    /// A parameter that requests to the endpoint do not have.
    #[error("unknown parameter `{name}`{}", nearest(*.endpoint, .name))]
    UnknownParam {
        /// Where the request came to.
        endpoint: Endpoint,
        /// Its name, shortened.
        name: String,
    },
    /// A parameter that must be there is not.
    #[error("missing parameter `{0}`")]
    Missing(&'static str),
    /// A parameter with a value it cannot have.
    #[error("invalid value for `{param}`: {complaint}")]
    Invalid {
        /// Path of the value.
        param: String,
        /// What was expected.
        complaint: String,
    },
}

impl From<DecodeChatError> for ApiError {
    fn from(error: DecodeChatError) -> Self {
        let message = error.to_string();
        match error {
            DecodeChatError::Json(_) => Self { param: None, ..Self::invalid("", "invalid_json", message) },
            DecodeChatError::UnknownParam { name, .. } => Self::invalid(name, "unknown_parameter", message),
            DecodeChatError::Missing(param) => Self::invalid(param, "missing_required_parameter", message),
            DecodeChatError::Invalid { param, .. } => Self::invalid(param, "invalid_value", message),
        }
    }
}

fn nearest(endpoint: Endpoint, name: &str) -> String {
    let best = Param::ALL
        .iter()
        .filter(|param| param.belongs_to(endpoint))
        .map(|param| (edit_distance(name, param.as_str()), param.as_str()))
        .min()
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 4));
    best.map_or_else(String::new, |(_, candidate)| format!(": did you mean `{candidate}`?"))
}

/// Returns the Levenshtein distance; names are short, so one row of the table is enough work.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, from) in left.chars().take(64).enumerate() {
        let mut diagonal = line;
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
        for (column, to) in right.iter().enumerate() {
            let above = row.get(column + 1).copied().unwrap_or_default();
            let before = row.get(column).copied().unwrap_or_default();
            let best = (above + 1).min(before + 1).min(diagonal + usize::from(from != *to));
            diagonal = above;
            if let Some(cell) = row.get_mut(column + 1) {
                *cell = best;
            }
        }
    }
    row.last().copied().unwrap_or_default()
}

/// The top level as name and raw value, in order.
struct TopLevel<'a>(Vec<(std::borrow::Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for TopLevel<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = TopLevel<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::with_capacity(8);
                while let Some(entry) = map.next_entry::<CowKey<'de>, &'de RawValue>()? {
                    entries.push((entry.0.0, entry.1));
                }
                Ok(TopLevel(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct CowKey<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

pub(super) fn decode(
    endpoint: Endpoint,
    body: Bytes,
    limits: &DecodeLimits,
    sink: &mut dyn TextSink,
) -> Result<ChatRequest, DecodeChatError> {
    json::walk(&body, limits.json_depth_max, sink)
        .map_err(|error| DecodeChatError::Json(error.to_string()))?;
    let TopLevel(entries) =
        serde_json::from_slice(&body).map_err(|error| DecodeChatError::Json(error.to_string()))?;
    let mut request = ChatRequest {
        raw: Bytes::new(),
        params: Vec::with_capacity(entries.len()),
        endpoint,
        model: String::new(),
        messages: Vec::new(),
        stream: false,
        include_usage: false,
        answers: 1,
        output_tokens_max: None,
    };
    for (name, raw) in &entries {
        let known = Param::named(name).filter(|param| param.belongs_to(endpoint));
        let Some(param) = known else {
            return Err(DecodeChatError::UnknownParam { endpoint, name: name.chars().take(64).collect() });
        };
        if let Some(expected) = param.complaint(endpoint, raw.get()) {
            return Err(invalid(param.as_str(), format!("expected {expected}")));
        }
        read_param(&mut request, param, raw, limits)?;
        request.params.push((param, range_within(&body, raw.get())));
    }
    if request.model.is_empty() {
        return Err(DecodeChatError::Missing("model"));
    }
    if request.messages.is_empty() {
        return Err(DecodeChatError::Missing(endpoint.subject()));
    }
    drop(entries);
    request.raw = body;
    Ok(request)
}

fn read_param(
    request: &mut ChatRequest,
    param: Param,
    raw: &RawValue,
    limits: &DecodeLimits,
) -> Result<(), DecodeChatError> {
    let json = raw.get();
    match param {
        Param::Model => {
            request.model = read(param, json, "a non-empty string")?;
            if request.model.is_empty() || request.model.len() > 256 {
                return Err(invalid("model", "expected a non-empty string of at most 256 bytes"));
            }
        }
        Param::Messages => request.messages = read_messages(json, limits)?,
        Param::Prompt | Param::Input => request.messages = read_texts(param, json)?,
        Param::Stream => request.stream = read::<Option<bool>>(param, json, "a boolean")?.unwrap_or(false),
        Param::StreamOptions => request.include_usage = read_stream_options(json)?,
        Param::N => {
            request.answers = read::<Option<u32>>(param, json, "an integer from 1 to 128")?.unwrap_or(1);
            if !(1..=128).contains(&request.answers) {
                return Err(invalid("n", "expected an integer from 1 to 128"));
            }
        }
        Param::MaxTokens | Param::MaxCompletionTokens => {
            let tokens = read::<Option<u32>>(param, json, "a positive integer")?;
            if tokens == Some(0) {
                return Err(invalid(param.as_str(), "expected a positive integer"));
            }
            request.output_tokens_max = tokens.or(request.output_tokens_max);
        }
        _ => {}
    }
    Ok(())
}

fn read_stream_options(json: &str) -> Result<bool, DecodeChatError> {
    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields)]
    struct StreamOptions {
        #[serde(default)]
        include_usage: Option<bool>,
        #[serde(default)]
        include_obfuscation: Option<bool>,
    }
    let options: Option<StreamOptions> = serde_json::from_str(json)
        .map_err(|_| invalid("stream_options", "expected an object with a boolean `include_usage`"))?;
    let options = options.unwrap_or_default();
    // Obfuscation pads chunks against traffic analysis by an upstream's neighbours; on loopback there is
    // nothing to pad, so either value is honoured by doing nothing.
    let _ = options.include_obfuscation;
    Ok(options.include_usage.unwrap_or(false))
}

fn read_messages(json: &str, limits: &DecodeLimits) -> Result<Vec<Message>, DecodeChatError> {
    if !json.starts_with('[') {
        return Err(invalid("messages", "expected an array of messages"));
    }
    let raws: Vec<&RawValue> =
        serde_json::from_str(json).map_err(|error| invalid("messages", error.to_string()))?;
    if raws.is_empty() {
        return Err(invalid("messages", "expected at least one message"));
    }
    if raws.len() > limits.messages_max {
        return Err(invalid("messages", format!("expected at most {} messages", limits.messages_max)));
    }
    raws.into_iter()
        .enumerate()
        .map(|(position, raw)| {
            message::decode(raw)
                .map_err(|fault| invalid(format!("messages[{position}]{}", fault.path), fault.message))
        })
        .collect()
}

/// The most texts of one request, as OpenAI has it.
const TEXTS_MAX: usize = 2048;

/// Reads one text, or several, as messages of the user's.
fn read_texts(param: Param, json: &str) -> Result<Vec<Message>, DecodeChatError> {
    let texts: Vec<String> = if json.starts_with('"') {
        vec![read(param, json, "a string or an array of strings")?]
    } else if json
        .trim_start_matches(['[', ' ', '\n', '\t', '\r'])
        .starts_with(|first: char| first.is_ascii_digit())
    {
        let complaint = "token ids cannot be scanned and mean nothing to another model: send text \
                         (in LangChain, check_embedding_ctx_length=False)";
        return Err(invalid(param.as_str(), complaint));
    } else {
        read(param, json, "a string or an array of strings")?
    };
    if texts.is_empty() || texts.len() > TEXTS_MAX {
        return Err(invalid(param.as_str(), format!("expected 1 to {TEXTS_MAX} strings")));
    }
    if param == Param::Input
        && let Some(empty) = texts.iter().position(String::is_empty)
    {
        return Err(invalid(param.as_str(), format!("string {empty} (from 0) is empty")));
    }
    let message = |text| Message { role: Role::User, text, unread_part: None };
    Ok(texts.into_iter().map(message).collect())
}

fn read<'a, T: Deserialize<'a>>(param: Param, json: &'a str, expected: &str) -> Result<T, DecodeChatError> {
    serde_json::from_str(json).map_err(|_| invalid(param.as_str(), format!("expected {expected}")))
}

fn invalid(param: impl Into<String>, complaint: impl Into<String>) -> DecodeChatError {
    DecodeChatError::Invalid { param: param.into(), complaint: complaint.into() }
}

/// Returns where in `body` the slice `part` of it lies.
fn range_within(body: &Bytes, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: &str) {
        check_at(Endpoint::Chat, body, expected);
    }

    fn check_at(endpoint: Endpoint, body: &str, expected: &str) {
        let got = match ChatRequest::decode(
            endpoint,
            Bytes::copy_from_slice(body.as_bytes()),
            &DecodeLimits::default(),
            &mut (),
        ) {
            Ok(request) => format!(
                "{} {:?} stream={} usage={} n={} max={:?}",
                request.model,
                request.messages.iter().map(|message| &*message.text).collect::<Vec<_>>(),
                request.stream,
                request.include_usage,
                request.answers,
                request.output_tokens_max
            ),
            Err(error) => ApiError::from(error).param.unwrap_or_default(),
        };
        assert_eq!(got, expected, "{body}");
    }

    const HI: &str = r#""messages":[{"role":"user","content":"hi"}]"#;

    #[test]
    fn reads_what_bantam_plans_with() {
        check(
            &format!(
                r#"{{"model":"m","stream":true,"stream_options":{{"include_usage":true}},"n":2,"max_tokens":9,{HI}}}"#
            ),
            r#"m ["hi"] stream=true usage=true n=2 max=Some(9)"#,
        );
        check(
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"b"}]}]}"#,
            r#"m ["a\nb"] stream=false usage=false n=1 max=None"#,
        );
        check(
            &format!(
                r#"{{"model":"m","temperature":null,"stream":null,"n":null,"stream_options":null,{HI}}}"#
            ),
            r#"m ["hi"] stream=false usage=false n=1 max=None"#,
        );
    }

    #[test]
    fn names_the_parameter_at_fault() {
        check(&format!(r#"{{"model":"m","temprature":1,{HI}}}"#), "temprature");
        check(&format!(r#"{{"model":"m","temperature":"1",{HI}}}"#), "temperature");
        check(&format!(r#"{{"model":"m","temperature":3,{HI}}}"#), "temperature");
        check(&format!(r#"{{"model":"m","max_tokens":0,{HI}}}"#), "max_tokens");
        check(&format!(r#"{{"model":"m","n":0,{HI}}}"#), "n");
        check(&format!(r#"{{"model":7,{HI}}}"#), "model");
        check(&format!(r#"{{"model":"","stream":false,{HI}}}"#), "model");
        check(&format!("{{{HI}}}"), "model");
        check(r#"{"model":"m"}"#, "messages");
        check(r#"{"model":"m","messages":[]}"#, "messages");
        check(r#"{"model":"m","messages":"hi"}"#, "messages");
        check(r#"{"model":"m","messages":[{"role":"user","content":"a"},7]}"#, "messages[1]");
        check(r#"{"model":"m","messages":[{"role":"wizard","content":"a"}]}"#, "messages[0].role");
        check(r#"{"model":"m","messages":[{"content":"a"}]}"#, "messages[0].role");
        check(r#"{"model":"m","messages":[{"role":"user"}]}"#, "messages[0].content");
        check(r#"{"model":"m","messages":[{"role":"user","content":5}]}"#, "messages[0].content");
        check(
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"hologram"}]}]}"#,
            "messages[0].content[0].type",
        );
        check(
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text"}]}]}"#,
            "messages[0].content[0].text",
        );
        check(&format!(r#"{{"model":"m","stream_options":{{"include_usge":true}},{HI}}}"#), "stream_options");
    }

    #[test]
    fn prompts_and_inputs_are_read_as_the_users_texts() {
        let completions = |body: &str, expected: &str| check_at(Endpoint::Completions, body, expected);
        completions(r#"{"model":"m","prompt":"a"}"#, r#"m ["a"] stream=false usage=false n=1 max=None"#);
        completions(
            r#"{"model":"m","prompt":["a",""],"suffix":"b","logprobs":3,"stream":true,"max_tokens":4}"#,
            r#"m ["a", ""] stream=true usage=false n=1 max=Some(4)"#,
        );
        let embeddings = |body: &str, expected: &str| check_at(Endpoint::Embeddings, body, expected);
        embeddings(
            r#"{"model":"m","input":["a","b"],"encoding_format":"base64","dimensions":8,"user":"u"}"#,
            r#"m ["a", "b"] stream=false usage=false n=1 max=None"#,
        );
    }

    #[test]
    fn each_endpoint_has_its_own_parameters_and_texts_are_never_token_ids() {
        for (endpoint, body, at_fault) in [
            (Endpoint::Chat, r#"{"model":"m","prompt":"a"}"#, "prompt"),
            (Endpoint::Completions, r#"{"model":"m","messages":[]}"#, "messages"),
            (Endpoint::Completions, r#"{"model":"m"}"#, "prompt"),
            (Endpoint::Completions, r#"{"model":"m","prompt":[1,2]}"#, "prompt"),
            (Endpoint::Completions, r#"{"model":"m","prompt":[]}"#, "prompt"),
            (Endpoint::Completions, r#"{"model":"m","prompt":"a","logprobs":true}"#, "logprobs"),
            (Endpoint::Embeddings, r#"{"model":"m","input":[ [1],[2]]}"#, "input"),
            (Endpoint::Embeddings, r#"{"model":"m","input":["a",""]}"#, "input"),
            (Endpoint::Embeddings, r#"{"model":"m","input":"a","stream":true}"#, "stream"),
            (Endpoint::Embeddings, r#"{"model":"m","input":"a","dimensions":0}"#, "dimensions"),
        ] {
            check_at(endpoint, body, at_fault);
        }
        let error = read_texts(Param::Input, "[[1]]").unwrap_err().to_string();
        assert!(error.contains("send text"), "{error}");
    }

    #[test]
    fn suggests_the_nearest_parameter() {
        let error = DecodeChatError::UnknownParam { endpoint: Endpoint::Chat, name: "temprature".to_owned() };
        assert_eq!(error.to_string(), "unknown parameter `temprature`: did you mean `temperature`?");
        let error = DecodeChatError::UnknownParam { endpoint: Endpoint::Chat, name: "zzz".to_owned() };
        assert_eq!(error.to_string(), "unknown parameter `zzz`");
    }

    #[test]
    fn refuses_bodies_that_are_no_single_object() {
        for body in ["", "[]", "null", "{", "{}{}", r#"{"model":"a","model":"b"}"#, "\u{feff}{}"] {
            check(body, if body == "{}" { "model" } else { "" });
        }
    }

    #[test]
    fn an_assistant_message_may_hold_calls_instead_of_text() {
        check(
            r#"{"model":"m","messages":[{"role":"assistant","content":null,"tool_calls":[]},{"role":"tool","tool_call_id":"1","content":"ok"}]}"#,
            r#"m ["", "ok"] stream=false usage=false n=1 max=None"#,
        );
    }
}
