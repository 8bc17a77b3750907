//! A request: decoded strictly, kept as the caller wrote it, forwarded faithfully.

mod decode;
mod message;
mod params;

use std::ops::Range;

use bytes::Bytes;

pub use decode::{DecodeChatError, DecodeLimits};
pub use message::{Message, Role};
pub use params::Param;

use crate::Endpoint;

/// A valid request and the bytes it came as. A completion's prompts and an embedding's inputs are its user messages.
///
/// The parts that Bantam plans with are decoded; everything else stays a range of the caller's bytes
/// and is forwarded unchanged. Every byte that can be forwarded has been walked once (see
/// [`crate::json::walk`]), so what a scanner saw is what leaves.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    raw: Bytes,
    params: Vec<(Param, Range<usize>)>,
    /// Where the caller asked.
    pub endpoint: Endpoint,
    /// What the caller asked for: a model, `task/NAME` or `auto`.
    pub model: String,
    /// The conversation, in order.
    pub messages: Vec<Message>,
    /// Whether the caller wants a stream.
    pub stream: bool,
    /// Whether the caller wants a usage chunk at a stream's end.
    pub include_usage: bool,
    /// How many answers the caller wants.
    pub answers: u32,
    /// The most tokens the caller wants back.
    pub output_tokens_max: Option<u32>,
}

/// What is changed on the way to an upstream.
#[derive(Clone, Copy, Debug)]
pub struct Edits<'a> {
    /// The model's name as the upstream knows it.
    pub model: &'a str,
    /// A system message to put before the caller's messages.
    pub system: Option<&'a str>,
    /// Whether to ask the upstream for a stream.
    pub stream: bool,
}

impl ChatRequest {
    /// Decodes `body`, which came to `endpoint`, handing every string in it to `sink` on the way.
    ///
    /// # Errors
    /// See [`DecodeChatError`]; each names the parameter at fault.
    pub fn decode(
        endpoint: Endpoint,
        body: Bytes,
        limits: &DecodeLimits,
        sink: &mut dyn crate::json::TextSink,
    ) -> Result<Self, DecodeChatError> {
        decode::decode(endpoint, body, limits, sink)
    }

    /// Returns the parameter's JSON as the caller wrote it.
    pub fn param(&self, wanted: Param) -> Option<&str> {
        let (_, range) = self.params.iter().find(|(param, _)| *param == wanted)?;
        std::str::from_utf8(self.raw.get(range.clone())?).ok()
    }

    /// Returns every parameter that the caller sent with a value other than `null`.
    pub fn params(&self) -> impl Iterator<Item = (Param, &str)> {
        self.params.iter().filter_map(|(param, range)| {
            let json = std::str::from_utf8(self.raw.get(range.clone())?).ok()?;
            (json != "null").then_some((*param, json))
        })
    }

    /// Returns the text of the last user message.
    pub fn last_user_text(&self) -> Option<&str> {
        self.messages.iter().rev().find(|message| message.role == Role::User).map(|message| &*message.text)
    }

    /// Returns what was said before the last user message: the text of the nearest assistant message before it that has
    /// any. Whatever stands between is passed over: tools' results, calls without a text, further messages of the user's.
    /// A refusal counts where it is a part of the content, which is the message's text. Of parts that are no text nothing
    /// is said here; see [`Self::has_unread_parts`].
    pub fn said_before(&self) -> Option<&str> {
        let last = self.messages.iter().rposition(|message| message.role == Role::User)?;
        let before = self.messages.get(..last)?.iter().rev();
        let mut said = before.filter(|message| message.role == Role::Assistant).map(|message| &*message.text);
        said.find(|text| !text.trim().is_empty())
    }

    /// Returns whether the caller brought instructions of their own.
    pub fn has_system(&self) -> bool {
        self.messages.iter().any(|message| message.role == Role::System)
    }

    /// Returns whether any message holds something other than text.
    pub fn has_unread_parts(&self) -> bool {
        self.messages.iter().any(|message| message.unread_part.is_some())
    }

    /// Estimates the prompt's tokens from its bytes: one for every four, and four a message.
    ///
    /// Upstreams tokenise each in their own way, so this is an estimate for planning and is called one
    /// wherever it shows. Costs always come from what the upstream counted.
    pub fn estimated_prompt_tokens(&self) -> u64 {
        let text: usize = self.messages.iter().map(|message| message.text.len() / 4 + 4).sum();
        let beside = [Param::Tools, Param::Suffix].into_iter().filter_map(|param| self.param(param));
        let beside: usize = beside.map(|json| json.len() / 4).sum();
        (text + beside) as u64
    }

    /// Returns the body for an OpenAI-compatible upstream: the caller's bytes with `edits` applied.
    pub fn forward_body(&self, edits: Edits<'_>) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.raw.len() + 128 + edits.system.map_or(0, str::len));
        body.extend_from_slice(b"{\"model\":");
        push_json_string(&mut body, edits.model);
        for (param, range) in &self.params {
            let raw = self.raw.get(range.clone()).unwrap_or_default();
            match param {
                Param::Model | Param::Stream | Param::StreamOptions => continue,
                Param::Messages if edits.system.is_some() => {
                    push_key(&mut body, *param);
                    push_messages(&mut body, raw, edits.system.unwrap_or_default());
                }
                _ => {
                    push_key(&mut body, *param);
                    body.extend_from_slice(raw);
                }
            }
        }
        if edits.stream {
            // Usage is asked for whatever the caller wants: a stream without it could not be priced.
            body.extend_from_slice(b",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
        }
        body.push(b'}');
        body
    }
}

fn push_key(body: &mut Vec<u8>, param: Param) {
    body.extend_from_slice(b",\"");
    body.extend_from_slice(param.as_str().as_bytes());
    body.extend_from_slice(b"\":");
}

fn push_messages(body: &mut Vec<u8>, raw: &[u8], system: &str) {
    body.extend_from_slice(b"[{\"role\":\"system\",\"content\":");
    push_json_string(body, system);
    body.extend_from_slice(b"},");
    // `raw` is a valid non-empty JSON array: its first byte is the bracket.
    body.extend_from_slice(raw.get(1..).unwrap_or_default());
}

/// Appends `text` as a JSON string.
pub(crate) fn push_json_string(body: &mut Vec<u8>, text: &str) {
    // Writing to a vector cannot fail, and every str is representable.
    let _ = serde_json::to_writer(body, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &str) -> ChatRequest {
        let body = Bytes::copy_from_slice(body.as_bytes());
        ChatRequest::decode(Endpoint::Chat, body, &DecodeLimits::default(), &mut ()).unwrap()
    }

    fn check(body: &str, edits: Edits<'_>, expected: &str) {
        let forwarded = decode(body).forward_body(edits);
        assert_eq!(String::from_utf8(forwarded).unwrap(), expected);
    }

    #[test]
    fn what_was_said_before_is_the_nearest_assistant_text_before_the_last_user_message() {
        let check = |messages: &str, expected: Option<&str>| {
            let request = decode(&format!(r#"{{"model":"a","messages":[{messages}]}}"#));
            assert_eq!(request.said_before(), expected, "{messages}");
        };
        let user = r#"{"role":"user","content":"6"}"#;
        let asked = r#"{"role":"assistant","content":"how many?"}"#;
        let call = r#"{"role":"assistant","content":null,"tool_calls":[]}"#;
        let tool = r#"{"role":"tool","tool_call_id":"1","content":"ok"}"#;
        check(user, None);
        check(&format!(r#"{{"role":"system","content":"s"}},{user}"#), None);
        check(&format!("{user},{asked}"), None);
        check(asked, None);
        check(&format!("{user},{asked},{user}"), Some("how many?"));
        check(&format!("{asked},{user}"), Some("how many?"));
        check(
            &format!(r#"{asked},{user},{{"role":"assistant","content":"when?"}},{user},{asked}"#),
            Some("when?"),
        );
        check(&format!("{asked},{call},{tool},{user}"), Some("how many?"));
        check(&format!("{call},{tool},{user}"), None);
        check(&format!(r#"{asked},{{"role":"assistant","content":" \n"}},{user},{user}"#), Some("how many?"));
        let parts = r#"{"role":"assistant","content":[{"type":"text","text":"no."},{"type":"refusal","refusal":"never"}]}"#;
        check(&format!("{asked},{parts},{user}"), Some("no.\nnever"));
        let aside = r#"{"role":"assistant","content":null,"refusal":"never"}"#;
        check(&format!("{asked},{aside},{user}"), Some("how many?"));
    }

    #[test]
    fn prompts_have_nothing_said_before_them() {
        for (endpoint, body) in [
            (Endpoint::Completions, r#"{"model":"a","prompt":["b","c"]}"#),
            (Endpoint::Embeddings, r#"{"model":"a","input":["b","c"]}"#),
        ] {
            let request =
                ChatRequest::decode(endpoint, body.into(), &DecodeLimits::default(), &mut ()).unwrap();
            assert_eq!(request.said_before(), None);
        }
    }

    #[test]
    fn a_pass_through_changes_the_model_and_nothing_else() {
        check(
            r#" { "temperature": 0.10 ,"model":"a", "messages" : [ {"role":"user","content":"h\u0069"} ] } "#,
            Edits { model: "b\"", system: None, stream: false },
            r#"{"model":"b\"","temperature":0.10,"messages":[ {"role":"user","content":"h\u0069"} ]}"#,
        );
    }

    #[test]
    fn a_forwarded_stream_always_asks_for_usage() {
        check(
            r#"{"model":"a","stream":true,"stream_options":{"include_usage":false},"messages":[{"role":"user","content":"x"}]}"#,
            Edits { model: "b", system: None, stream: true },
            r#"{"model":"b","messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":true}}"#,
        );
    }

    #[test]
    fn a_task_s_instructions_come_before_the_caller_s_messages() {
        check(
            r#"{"model":"task/t","messages":[{"role":"user","content":"x"}]}"#,
            Edits { model: "b", system: Some("say \"a\""), stream: false },
            r#"{"model":"b","messages":[{"role":"system","content":"say \"a\""},{"role":"user","content":"x"}]}"#,
        );
    }
}
