//! What callers ask for inside of messages and tools: one table of the members that are known there.
//!
//! An upstream of the caller's own dialect gets every member as it was written. For all others nothing may be dropped in
//! silence: what has a meaning of its own asks for a [`Feature`], which a backend honours or refuses by name, and a member
//! that the table does not have is [`Feature::OtherMembers`].

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::decode::TopLevel;
use crate::call::{CacheMark, InnerMember, Source, Thought};
use crate::feature::Feature;

/// An object within a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    AnyMessage,
    Assistant,
    ToolResult,
    FunctionResult,
    AnyPart,
    Text,
    Refusal,
    Image,
    Audio,
    File,
    ImageUrl,
    InputAudio,
    FileFile,
    Call,
    CalledFunction,
    Tool,
    Function,
}

/// Every member that is known, by where it stands: those without a feature are read with the rest, or say again what
/// others say. (A place is looked up before the one that stands for all of its kind.)
const MEMBERS: &[(Place, &str, Option<Feature>)] = &[
    (Place::AnyMessage, "role", None),
    (Place::AnyMessage, "content", None),
    (Place::AnyMessage, "name", Some(Feature::SpeakerName)),
    (Place::AnyMessage, "cache_control", Some(Feature::CacheMarks)),
    (Place::Assistant, "refusal", None),
    (Place::Assistant, "tool_calls", None),
    // An answer that was spoken is a part that nothing here can read.
    (Place::Assistant, "audio", None),
    (Place::Assistant, "function_call", Some(Feature::OlderToolCalls)),
    (Place::Assistant, "annotations", Some(Feature::Annotations)),
    (Place::Assistant, "reasoning_content", Some(Feature::Reasoning)),
    (Place::Assistant, "reasoning", Some(Feature::Reasoning)),
    (Place::Assistant, "thinking_blocks", Some(Feature::ThinkingBlocks)),
    (Place::ToolResult, "tool_call_id", None),
    // The id of the call tells which function it was.
    (Place::ToolResult, "name", None),
    (Place::FunctionResult, "name", None),
    (Place::AnyPart, "type", None),
    (Place::AnyPart, "cache_control", Some(Feature::CacheMarks)),
    (Place::AnyPart, "prompt_cache_breakpoint", Some(Feature::CacheMarks)),
    (Place::Text, "text", None),
    (Place::Refusal, "refusal", None),
    (Place::Image, "image_url", None),
    (Place::Audio, "input_audio", None),
    (Place::File, "file", None),
    (Place::ImageUrl, "url", None),
    (Place::ImageUrl, "detail", Some(Feature::ImageDetail)),
    (Place::InputAudio, "data", None),
    (Place::InputAudio, "format", None),
    (Place::FileFile, "file_data", None),
    (Place::FileFile, "file_id", None),
    (Place::FileFile, "filename", None),
    (Place::Call, "id", None),
    (Place::Call, "type", None),
    (Place::Call, "function", None),
    // Streams number the calls of an answer, and callers put the pieces back together with that.
    (Place::Call, "index", None),
    (Place::CalledFunction, "name", None),
    (Place::CalledFunction, "arguments", None),
    (Place::Tool, "type", None),
    (Place::Tool, "function", None),
    (Place::Tool, "cache_control", Some(Feature::CacheMarks)),
    (Place::Function, "name", None),
    (Place::Function, "description", None),
    (Place::Function, "parameters", None),
    (Place::Function, "strict", Some(Feature::StrictTools)),
    (Place::Function, "cache_control", Some(Feature::CacheMarks)),
];

/// Returns what the messages and tools of a body ask for, each feature with the place where it stands first.
pub(super) fn find(source: &Source) -> Vec<InnerMember> {
    let mut found = Found(Vec::new());
    for (position, message) in list(source.member("messages")).into_iter().enumerate() {
        found.message(message, position);
    }
    for (position, tool) in list(source.member("tools")).into_iter().enumerate() {
        found.tool(tool, position);
    }
    found.0
}

/// Returns the mark that a `cache_control` or a `prompt_cache_breakpoint` sets, where it is one that is known.
pub(super) fn cache_mark(json: &RawValue) -> Option<CacheMark> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape<'a> {
        #[serde(borrow, rename = "type", default)]
        kind: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        mode: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        ttl: Option<Cow<'a, str>>,
    }
    let Shape { kind, mode, ttl } = serde_json::from_str(json.get()).ok()?;
    match (kind.as_deref(), mode.as_deref(), ttl.as_deref()) {
        (Some("ephemeral"), None, None | Some("5m")) => Some(CacheMark::Minutes),
        (Some("ephemeral"), None, Some("1h")) | (None, Some("explicit"), None | Some("30m" | "12h")) => {
            Some(CacheMark::Hour)
        }
        _ => None,
    }
}

/// Returns signed thoughts, which streams number, where all of them have a form that is known.
pub(super) fn thoughts(json: &RawValue) -> Option<Vec<Thought>> {
    #[derive(Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
    enum Shape {
        Thinking {
            thinking: String,
            signature: String,
            #[serde(default, rename = "index")]
            _index: serde::de::IgnoredAny,
        },
        RedactedThinking {
            data: String,
            #[serde(default, rename = "index")]
            _index: serde::de::IgnoredAny,
        },
    }
    let shapes: Vec<Shape> = serde_json::from_str(json.get()).ok()?;
    let thought = |shape| match shape {
        Shape::Thinking { thinking, signature, .. } => Thought::Open { text: thinking, signature },
        Shape::RedactedThinking { data, .. } => Thought::Sealed(data),
    };
    Some(shapes.into_iter().map(thought).collect())
}

struct Found(Vec<InnerMember>);

type Members<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

impl Found {
    fn note(&mut self, feature: Feature, path: impl FnOnce() -> String) {
        if self.0.iter().all(|member| member.feature != feature) {
            self.0.push(InnerMember { feature, path: path() });
        }
    }

    /// Notes what the members of an object ask for; `other` is what one that is not known asks for.
    fn object(
        &mut self,
        members: &Members<'_>,
        places: [Place; 2],
        other: Feature,
        path: &dyn Fn() -> String,
    ) {
        for (name, json) in members {
            let known = |place: &Place| MEMBERS.iter().find(|(at, known, _)| at == place && known == name);
            let feature = match places.iter().find_map(known) {
                Some((_, _, None)) => continue,
                Some((_, _, Some(feature))) if is_readable(*feature, json) => *feature,
                _ => other,
            };
            if !asks_nothing(feature, json.get()) {
                self.note(feature, || format!("{}.{}", path(), name.chars().take(40).collect::<String>()));
            }
        }
    }

    fn message(&mut self, message: &RawValue, position: usize) {
        let members = members(Some(message));
        let path = || format!("messages[{position}]");
        let text = |key| {
            member(&members, key).and_then(|json| serde_json::from_str::<Cow<'_, str>>(json.get()).ok())
        };
        let place = match text("role").as_deref() {
            Some("assistant") => Place::Assistant,
            Some("tool") => Place::ToolResult,
            Some("function") => Place::FunctionResult,
            _ => Place::AnyMessage,
        };
        self.object(&members, [place, Place::AnyMessage], Feature::OtherMembers, &path);
        for (index, part) in list(member(&members, "content").map(RawValue::get)).into_iter().enumerate() {
            self.part(part, &|| format!("{}.content[{index}]", path()));
        }
        for (index, call) in list(member(&members, "tool_calls").map(RawValue::get)).into_iter().enumerate() {
            self.call(call, &|| format!("{}.tool_calls[{index}]", path()));
        }
        let called = self::members(member(&members, "function_call"));
        let path = || format!("{}.function_call", path());
        self.object(&called, [Place::CalledFunction; 2], Feature::OtherMembers, &path);
    }

    fn part(&mut self, part: &RawValue, path: &dyn Fn() -> String) {
        let members = members(Some(part));
        let kind = member(&members, "type").map_or("", RawValue::get);
        let (place, inner) = match kind {
            "\"image_url\"" => (Place::Image, Some(("image_url", Place::ImageUrl))),
            "\"input_audio\"" => (Place::Audio, Some(("input_audio", Place::InputAudio))),
            "\"file\"" => (Place::File, Some(("file", Place::FileFile))),
            "\"refusal\"" => (Place::Refusal, None),
            _ => (Place::Text, None),
        };
        self.object(&members, [place, Place::AnyPart], Feature::OtherMembers, path);
        if let Some((key, place)) = inner {
            let within = self::members(member(&members, key));
            self.object(&within, [place; 2], Feature::OtherMembers, &|| format!("{}.{key}", path()));
        }
    }

    fn call(&mut self, call: &RawValue, path: &dyn Fn() -> String) {
        let members = members(Some(call));
        // A call of another kind is refused as a whole.
        let Some(function) = member(&members, "function") else { return };
        self.object(&members, [Place::Call; 2], Feature::OtherMembers, path);
        let function = self::members(Some(function));
        let path = || format!("{}.function", path());
        self.object(&function, [Place::CalledFunction; 2], Feature::OtherMembers, &path);
    }

    fn tool(&mut self, tool: &RawValue, position: usize) {
        let members = members(Some(tool));
        // A tool of another kind is refused as a whole.
        let Some(function) = member(&members, "function") else { return };
        let path = || format!("tools[{position}]");
        self.object(&members, [Place::Tool; 2], Feature::OtherToolMembers, &path);
        let function = self::members(Some(function));
        let path = || format!("tools[{position}].function");
        self.object(&function, [Place::Function; 2], Feature::OtherToolMembers, &path);
    }
}

/// Returns whether a member that asks for `feature` has a value of a form that is known.
fn is_readable(feature: Feature, json: &RawValue) -> bool {
    let is_nothing = asks_nothing(feature, json.get());
    match feature {
        Feature::CacheMarks => is_nothing || cache_mark(json).is_some(),
        Feature::ThinkingBlocks => is_nothing || thoughts(json).is_some(),
        _ => true,
    }
}

/// Returns whether a value is the same as none.
fn asks_nothing(feature: Feature, json: &str) -> bool {
    let is_empty = match json.as_bytes() {
        [b'[', inner @ .., b']'] | [b'{', inner @ .., b'}'] | [b'"', inner @ .., b'"'] => {
            inner.iter().all(u8::is_ascii_whitespace)
        }
        text => text == b"null",
    };
    is_empty
        || match feature {
            Feature::StrictTools => json == "false",
            Feature::ImageDetail => json == "\"auto\"",
            _ => false,
        }
}

fn list(json: Option<&str>) -> Vec<&RawValue> {
    json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

fn members(json: Option<&RawValue>) -> Members<'_> {
    let object = json.and_then(|json| serde_json::from_str::<TopLevel<'_>>(json.get()).ok());
    object.map(|object| object.0).unwrap_or_default()
}

fn member<'a>(members: &Members<'a>, key: &str) -> Option<&'a RawValue> {
    members.iter().find(|(name, _)| name == key).map(|(_, json)| *json)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::call::{Call, DecodeLimits};
    use crate::dialect::openai::CHAT;

    fn found(more: &Value) -> Vec<(Feature, String)> {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let call = Call::decode(CHAT, body.to_string().into(), &DecodeLimits::default(), &mut ()).unwrap();
        call.settings().inner.iter().map(|member| (member.feature, member.path.clone())).collect()
    }

    fn check_message(message: Value, expected: &[(Feature, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(feature, path)| (*feature, (*path).to_owned())).collect();
        assert_eq!(found(&json!({ "messages": [message] })), expected, "{message}");
    }

    #[test]
    fn what_has_a_meaning_inside_of_a_message_is_found_with_its_place() {
        let said = |key: &str, value: Value| {
            let mut message = json!({ "role": "assistant", "content": "x" });
            message[key] = value;
            message
        };
        let thinking = json!([{ "type": "thinking", "thinking": "hm", "signature": "s" }]);
        for (message, feature, path) in [
            (said("name", json!("ada")), Feature::SpeakerName, "messages[0].name"),
            (
                said("annotations", json!([{ "type": "url_citation" }])),
                Feature::Annotations,
                "messages[0].annotations",
            ),
            (said("reasoning_content", json!("hm")), Feature::Reasoning, "messages[0].reasoning_content"),
            (said("reasoning", json!("hm")), Feature::Reasoning, "messages[0].reasoning"),
            (said("thinking_blocks", thinking), Feature::ThinkingBlocks, "messages[0].thinking_blocks"),
            (
                said("thinking_blocks", json!([{ "type": "new" }])),
                Feature::OtherMembers,
                "messages[0].thinking_blocks",
            ),
            (
                said("function_call", json!({ "name": "f" })),
                Feature::OlderToolCalls,
                "messages[0].function_call",
            ),
            (said("reasoning_details", json!([1])), Feature::OtherMembers, "messages[0].reasoning_details"),
            (said("tool_call_id", json!("c")), Feature::OtherMembers, "messages[0].tool_call_id"),
        ] {
            check_message(message, &[(feature, path)]);
        }
    }

    #[test]
    fn so_is_what_has_a_meaning_inside_of_parts_and_calls() {
        let part = |key: &str, value: Value| {
            let mut part = json!({ "type": "text", "text": "x" });
            part[key] = value;
            json!({ "role": "user", "content": [part] })
        };
        for (message, feature, path) in [
            (
                part("cache_control", json!({ "type": "ephemeral" })),
                Feature::CacheMarks,
                "messages[0].content[0].cache_control",
            ),
            (
                part("cache_control", json!({ "type": "new" })),
                Feature::OtherMembers,
                "messages[0].content[0].cache_control",
            ),
            (
                part("prompt_cache_breakpoint", json!({ "mode": "explicit", "ttl": "30m" })),
                Feature::CacheMarks,
                "messages[0].content[0].prompt_cache_breakpoint",
            ),
            (
                part("image_url", json!({ "url": "x" })),
                Feature::OtherMembers,
                "messages[0].content[0].image_url",
            ),
            (
                json!({ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "x", "detail": "low" } }] }),
                Feature::ImageDetail,
                "messages[0].content[0].image_url.detail",
            ),
            (
                json!({ "role": "user", "content": [{ "type": "file", "file": { "file_id": "x", "format": "p" } }] }),
                Feature::OtherMembers,
                "messages[0].content[0].file.format",
            ),
            (
                json!({ "role": "assistant", "tool_calls": [
                    { "id": "c", "type": "function", "index": 0, "function": { "name": "f", "arguments": "{}" },
                      "extra_content": { "google": 1 } }] }),
                Feature::OtherMembers,
                "messages[0].tool_calls[0].extra_content",
            ),
            (
                json!({ "role": "user", "content": "x", "tool_calls": [{ "id": "c" }] }),
                Feature::OtherMembers,
                "messages[0].tool_calls",
            ),
        ] {
            check_message(message, &[(feature, path)]);
        }
    }

    #[test]
    fn what_an_sdk_leaves_in_an_answer_that_is_sent_back_asks_for_nothing() {
        check_message(
            json!({ "role": "assistant", "content": "x", "refusal": null, "annotations": [], "audio": null,
                "function_call": null, "tool_calls": null, "name": null, "reasoning_content": "", "unheard_of": null }),
            &[],
        );
        check_message(json!({ "role": "tool", "tool_call_id": "c", "name": "f", "content": "ok" }), &[]);
        check_message(json!({ "role": "function", "name": "f", "content": "ok" }), &[]);
    }

    #[test]
    fn tools_tell_what_they_ask_for_as_well() {
        let tools = json!([
            { "type": "function", "function": { "name": "f", "strict": false } },
            { "type": "function", "cache_control": { "type": "ephemeral", "ttl": "1h" },
              "function": { "name": "g", "strict": true, "input_examples": [1] } },
            { "type": "custom", "custom": { "name": "h" } },
        ]);
        let expected = [
            (Feature::CacheMarks, "tools[1].cache_control".to_owned()),
            (Feature::StrictTools, "tools[1].function.strict".to_owned()),
            (Feature::OtherToolMembers, "tools[1].function.input_examples".to_owned()),
        ];
        assert_eq!(found(&json!({ "tools": tools })), expected);
    }

    #[test]
    fn the_table_names_a_member_once_a_place() {
        for (index, (place, name, _)) in MEMBERS.iter().enumerate() {
            let before = &MEMBERS[..index];
            assert!(before.iter().all(|(at, known, _)| (at, known) != (place, name)), "{place:?} {name}");
        }
    }
}
