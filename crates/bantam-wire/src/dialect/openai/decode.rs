//! From a body's bytes to a valid call, or to an error that names the parameter.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::message;
use super::params::Param;
use crate::call::{CallKind, DecodeLimits, DecodedCall, Input, Member, Message};
use crate::error::DecodeError;
use crate::feature::{Feature, FeatureSet};

/// The most texts of one request, as OpenAI has it.
const TEXTS_MAX: usize = 2048;

/// An object as name and raw value, in order.
pub(super) struct TopLevel<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

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
struct CowKey<'a>(#[serde(borrow)] Cow<'a, str>);

pub(super) fn decode(
    kind: CallKind,
    body: &Bytes,
    limits: &DecodeLimits,
) -> Result<DecodedCall, DecodeError> {
    let TopLevel(entries) =
        serde_json::from_slice(body).map_err(|error| DecodeError::Json(error.to_string()))?;
    let mut reading = Reading::new(kind, entries.len());
    for (name, raw) in &entries {
        let known = Param::named(name).filter(|param| param.belongs_to(kind));
        let Some(param) = known else {
            if let Some(vendor) = limits.vendor_fields.get(&**name)
                && Param::named(name).is_none()
            {
                reading.add_vendor(vendor, range_within(body, raw.get()));
                continue;
            }
            let params = Param::ALL.iter().filter(|param| param.belongs_to(kind));
            return Err(DecodeError::unknown(name, params.map(|param| param.as_str())));
        };
        let json = raw.get();
        if let Some(expected) = param.complaint(kind, json) {
            return Err(DecodeError::invalid(param.as_str(), format!("expected {expected}")));
        }
        reading.read(param, json, body, limits)?;
        if json != "null" {
            param.asks(json).into_iter().for_each(|feature| reading.call.features.insert(feature));
        }
        let range = range_within(body, json);
        reading.call.members.push(Member { name: param.as_str().into(), range, is_vendor: false });
    }
    reading.finish()
}

/// A call whose parameters are being read.
struct Reading {
    call: DecodedCall,
    kind: CallKind,
    best_of: Option<u32>,
}

impl Reading {
    fn new(kind: CallKind, members: usize) -> Self {
        let input = match kind {
            CallKind::Chat => Input::Conversation(Vec::new()),
            CallKind::Text => Input::Prompts(Vec::new()),
            CallKind::Embeddings => Input::Texts(Vec::new()),
        };
        let call = DecodedCall {
            model: String::new(),
            input,
            stream: false,
            include_usage: false,
            answers: 1,
            output_tokens_max: None,
            features: FeatureSet::default(),
            other_prompt_bytes: 0,
            members: Vec::with_capacity(members),
        };
        Self { call, kind, best_of: None }
    }

    fn add_vendor(&mut self, name: &str, range: Range<usize>) {
        self.call.features.insert(Feature::VendorFields);
        self.call.members.push(Member { name: name.to_owned().into(), range, is_vendor: true });
    }

    fn read(
        &mut self,
        param: Param,
        json: &str,
        body: &Bytes,
        limits: &DecodeLimits,
    ) -> Result<(), DecodeError> {
        let call = &mut self.call;
        match param {
            Param::Model => {
                call.model = read(param, json, "a non-empty string")?;
                if call.model.is_empty() || call.model.len() > 256 {
                    let complaint = "expected a non-empty string of at most 256 bytes";
                    return Err(DecodeError::invalid("model", complaint));
                }
            }
            Param::Messages => call.input = Input::Conversation(read_messages(json, body, limits)?),
            Param::Prompt => call.input = Input::Prompts(read_texts(param, json)?),
            Param::Input => call.input = Input::Texts(read_texts(param, json)?),
            Param::Stream => call.stream = read::<Option<bool>>(param, json, "a boolean")?.unwrap_or(false),
            Param::StreamOptions => call.include_usage = read_stream_options(json)?,
            Param::N => {
                call.answers = read::<Option<u32>>(param, json, "an integer from 1 to 128")?.unwrap_or(1);
                if !(1..=128).contains(&call.answers) {
                    return Err(DecodeError::invalid("n", "expected an integer from 1 to 128"));
                }
            }
            Param::MaxTokens | Param::MaxCompletionTokens => {
                let tokens = read::<Option<u32>>(param, json, "a positive integer")?;
                if tokens == Some(0) {
                    return Err(DecodeError::invalid(param.as_str(), "expected a positive integer"));
                }
                call.output_tokens_max = tokens.or(call.output_tokens_max);
            }
            Param::BestOf => self.best_of = json.parse().ok(),
            Param::Tools | Param::Suffix => call.other_prompt_bytes += json.len(),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<DecodedCall, DecodeError> {
        let Self { mut call, kind, best_of } = self;
        if call.model.is_empty() {
            return Err(DecodeError::Missing("model"));
        }
        let is_missing = match &call.input {
            Input::Conversation(messages) => messages.is_empty(),
            Input::Prompts(texts) | Input::Texts(texts) => texts.is_empty(),
        };
        if is_missing {
            return Err(DecodeError::Missing(kind.feature().name()));
        }
        if call.include_usage {
            call.features.insert(Feature::StreamUsage);
        }
        // The best of as many as are returned are all of them.
        if best_of.is_some_and(|best_of| best_of != call.answers) {
            call.features.insert(Feature::BestOf);
        }
        Ok(call)
    }
}

fn read_stream_options(json: &str) -> Result<bool, DecodeError> {
    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields)]
    struct StreamOptions {
        #[serde(default)]
        include_usage: Option<bool>,
        #[serde(default)]
        include_obfuscation: Option<bool>,
    }
    let options: Option<StreamOptions> = serde_json::from_str(json).map_err(|_| {
        DecodeError::invalid("stream_options", "expected an object with a boolean `include_usage`")
    })?;
    let options = options.unwrap_or_default();
    // Obfuscation pads chunks against traffic analysis by an upstream's neighbours; on loopback there is nothing to
    // pad, so either value is honoured by doing nothing.
    let _ = options.include_obfuscation;
    Ok(options.include_usage.unwrap_or(false))
}

fn read_messages(json: &str, body: &Bytes, limits: &DecodeLimits) -> Result<Vec<Message>, DecodeError> {
    if !json.starts_with('[') {
        return Err(DecodeError::invalid("messages", "expected an array of messages"));
    }
    let raws: Vec<&RawValue> =
        serde_json::from_str(json).map_err(|error| DecodeError::invalid("messages", error.to_string()))?;
    if raws.is_empty() {
        return Err(DecodeError::invalid("messages", "expected at least one message"));
    }
    if raws.len() > limits.messages_max {
        let complaint = format!("expected at most {} messages", limits.messages_max);
        return Err(DecodeError::invalid("messages", complaint));
    }
    raws.into_iter()
        .enumerate()
        .map(|(position, raw)| {
            message::decode(raw, body).map_err(|fault| {
                DecodeError::invalid(format!("messages[{position}]{}", fault.path), fault.message)
            })
        })
        .collect()
}

/// Reads one text, or several.
fn read_texts(param: Param, json: &str) -> Result<Vec<String>, DecodeError> {
    let texts: Vec<String> = if json.starts_with('"') {
        vec![read(param, json, "a string or an array of strings")?]
    } else if json
        .trim_start_matches(['[', ' ', '\n', '\t', '\r'])
        .starts_with(|first: char| first.is_ascii_digit())
    {
        let complaint = "token ids cannot be scanned and mean nothing to another model: send text \
                         (in LangChain, check_embedding_ctx_length=False)";
        return Err(DecodeError::invalid(param.as_str(), complaint));
    } else {
        read(param, json, "a string or an array of strings")?
    };
    if texts.is_empty() || texts.len() > TEXTS_MAX {
        return Err(DecodeError::invalid(param.as_str(), format!("expected 1 to {TEXTS_MAX} strings")));
    }
    if param == Param::Input
        && let Some(empty) = texts.iter().position(String::is_empty)
    {
        return Err(DecodeError::invalid(param.as_str(), format!("string {empty} (from 0) is empty")));
    }
    Ok(texts)
}

fn read<'a, T: Deserialize<'a>>(param: Param, json: &'a str, expected: &str) -> Result<T, DecodeError> {
    serde_json::from_str(json)
        .map_err(|_| DecodeError::invalid(param.as_str(), format!("expected {expected}")))
}

/// Returns where in `body` the slice `part` of it lies.
fn range_within(body: &Bytes, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Call;
    use crate::dialect::Endpoint;
    use crate::dialect::openai::{CHAT, EMBEDDINGS, TEXT};
    use crate::error::ApiError;

    fn check(body: &str, expected: &str) {
        check_at(CHAT, body, expected);
    }

    fn check_at(endpoint: &'static dyn Endpoint, body: &str, expected: &str) {
        let body_bytes = Bytes::copy_from_slice(body.as_bytes());
        let got = match Call::decode(endpoint, body_bytes, &DecodeLimits::default(), &mut ()) {
            Ok(call) => {
                let messages = call.messages().iter().map(Message::text);
                let texts: Vec<&str> = messages.chain(call.texts().iter().map(String::as_str)).collect();
                format!(
                    "{} {texts:?} stream={} usage={} n={} max={:?}",
                    call.model, call.stream, call.include_usage, call.answers, call.output_tokens_max
                )
            }
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
    fn prompts_and_inputs_are_read_as_texts() {
        check_at(TEXT, r#"{"model":"m","prompt":"a"}"#, r#"m ["a"] stream=false usage=false n=1 max=None"#);
        check_at(
            TEXT,
            r#"{"model":"m","prompt":["a",""],"suffix":"b","logprobs":3,"stream":true,"max_tokens":4}"#,
            r#"m ["a", ""] stream=true usage=false n=1 max=Some(4)"#,
        );
        check_at(
            EMBEDDINGS,
            r#"{"model":"m","input":["a","b"],"encoding_format":"base64","dimensions":8,"user":"u"}"#,
            r#"m ["a", "b"] stream=false usage=false n=1 max=None"#,
        );
    }

    #[test]
    fn each_endpoint_has_its_own_parameters_and_texts_are_never_token_ids() {
        for (endpoint, body, at_fault) in [
            (CHAT, r#"{"model":"m","prompt":"a"}"#, "prompt"),
            (TEXT, r#"{"model":"m","messages":[]}"#, "messages"),
            (TEXT, r#"{"model":"m"}"#, "prompt"),
            (TEXT, r#"{"model":"m","prompt":[1,2]}"#, "prompt"),
            (TEXT, r#"{"model":"m","prompt":[]}"#, "prompt"),
            (TEXT, r#"{"model":"m","prompt":"a","logprobs":true}"#, "logprobs"),
            (EMBEDDINGS, r#"{"model":"m","input":[ [1],[2]]}"#, "input"),
            (EMBEDDINGS, r#"{"model":"m","input":["a",""]}"#, "input"),
            (EMBEDDINGS, r#"{"model":"m","input":"a","stream":true}"#, "stream"),
            (EMBEDDINGS, r#"{"model":"m","input":"a","dimensions":0}"#, "dimensions"),
        ] {
            check_at(endpoint, body, at_fault);
        }
        let error = read_texts(Param::Input, "[[1]]").unwrap_err().to_string();
        assert!(error.contains("send text"), "{error}");
    }

    #[test]
    fn refuses_bodies_that_are_not_a_single_object() {
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

    #[test]
    fn a_call_that_is_not_of_a_function_is_noticed() {
        let check = |calls: &str, expected: bool| {
            let body = format!(r#"{{"model":"m","messages":[{{"role":"assistant",{calls}}}]}}"#);
            let call = Call::decode(CHAT, body.into(), &DecodeLimits::default(), &mut ()).unwrap();
            assert_eq!(call.has_other_tool_calls(), expected, "{calls}");
        };
        check(r#""tool_calls":[]"#, false);
        check(
            r#""tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]"#,
            false,
        );
        check(r#""tool_calls":[{"id":"a","type":"custom","custom":{"name":"f","input":"x"}}]"#, true);
        check(r#""function_call":{"name":"f","arguments":"{}"}"#, false);
        check(r#""function_call":{"arguments":"{}"}"#, true);
    }

    #[test]
    fn a_call_asks_for_its_kind_its_parts_and_what_its_parameters_set() {
        let check = |endpoint, body: &str, expected: &[Feature]| {
            let body = Bytes::copy_from_slice(body.as_bytes());
            let call = Call::decode(endpoint, body, &DecodeLimits::default(), &mut ()).unwrap();
            assert_eq!(call.features().iter().collect::<Vec<_>>(), expected);
        };
        check(CHAT, &format!(r#"{{"model":"m","n":1,"seed":null,{HI}}}"#), &[Feature::Chat]);
        check(
            CHAT,
            r#"{"model":"m","seed":1,"messages":[{"role":"user","content":[{"type":"file","file":{}}]}]}"#,
            &[Feature::Chat, Feature::Files, Feature::Seed],
        );
        check(TEXT, r#"{"model":"m","prompt":"a","n":2,"best_of":2}"#, &[Feature::Text, Feature::Answers]);
        check(TEXT, r#"{"model":"m","prompt":"a","best_of":2}"#, &[Feature::Text, Feature::BestOf]);
        check(EMBEDDINGS, r#"{"model":"m","input":"a"}"#, &[Feature::Embeddings]);
    }
}
