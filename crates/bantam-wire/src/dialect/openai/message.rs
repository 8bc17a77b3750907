//! One message of a conversation, as OpenAI writes it.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::inner;
use crate::call::{
    Audio, CacheMark, File, Image, Message, MessageDetails, Part, Role, SharedText, ToolCall, shared,
};

/// What is wrong with a message, and where in it.
#[derive(Debug)]
pub(super) struct MessageFault {
    pub(super) path: String,
    pub(super) message: String,
}

#[derive(Deserialize)]
struct MessageShape<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function_call: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    audio: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_call_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    thinking_blocks: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cache_control: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PartShape<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    image_url: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input_audio: Option<&'a RawValue>,
    #[serde(borrow, default)]
    file: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cache_control: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prompt_cache_breakpoint: Option<&'a RawValue>,
}

/// Decodes one message of `body`.
pub(super) fn decode(raw: &RawValue, body: &Bytes) -> Result<Message, MessageFault> {
    if !raw.get().starts_with('{') {
        return Err(fault("", "expected an object with `role` and `content`"));
    }
    let shape: MessageShape<'_> = serde_json::from_str(raw.get()).map_err(|error| {
        let path =
            if error.to_string().contains("role") || !raw.get().contains("\"role\"") { ".role" } else { "" };
        fault(path, format!("expected an object with `role` and `content` ({error})"))
    })?;
    let role = match &*shape.role {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" | "function" => Role::Tool,
        other => {
            let other: String = other.chars().take(40).collect();
            return Err(fault(
                ".role",
                format!("unknown role `{other}`: use system, developer, user, assistant or tool"),
            ));
        }
    };
    let mut has_marks = shape.cache_control.is_some();
    let message = match shape.content.map(RawValue::get) {
        None => {
            let calls = shape.tool_calls.or(shape.function_call).or(shape.refusal).or(shape.audio);
            if role != Role::Assistant || calls.is_none() {
                return Err(fault(".content", "expected a string or an array of parts"));
            }
            Message::of_parts(role, spoken(&shape))
        }
        Some(json) if json.starts_with('"') => {
            let text: String =
                serde_json::from_str(json).map_err(|error| fault(".content", error.to_string()))?;
            match shape.audio {
                None => Message::new(role, text),
                Some(_) => Message::of_parts(role, [spoken(&shape), vec![Part::Text(text)]].concat()),
            }
        }
        Some(json) if json.starts_with('[') => {
            let mut parts = spoken(&shape);
            has_marks |= decode_parts(json, body, &mut parts)?;
            Message::of_parts(role, parts)
        }
        Some(_) => return Err(fault(".content", "expected a string or an array of parts")),
    };
    let has_details = shape.name.or(shape.tool_calls).or(shape.function_call).or(shape.tool_call_id);
    let has_thoughts = shape.reasoning_content.or(shape.reasoning).or(shape.thinking_blocks);
    match has_details.or(shape.refusal).or(has_thoughts) {
        None if !has_marks => Ok(message),
        _ => Ok(message.with_details(shared(body, raw.get()), read_details)),
    }
}

/// Returns the part that stands for an answer that the model spoke, which nothing here can read.
fn spoken(shape: &MessageShape<'_>) -> Vec<Part> {
    shape.audio.map(|_| Part::Other("audio".to_owned())).into_iter().collect()
}

/// Appends the parts of a message; returns whether any of them ends a prefix to keep.
fn decode_parts(json: &str, body: &Bytes, parts: &mut Vec<Part>) -> Result<bool, MessageFault> {
    let mut has_marks = false;
    let raws: Vec<&RawValue> =
        serde_json::from_str(json).map_err(|error| fault(".content", error.to_string()))?;
    if raws.is_empty() {
        return Err(fault(".content", "expected at least one part"));
    }
    for (position, raw) in raws.into_iter().enumerate() {
        let path = || format!(".content[{position}]");
        let part: PartShape<'_> = serde_json::from_str(raw.get()).map_err(|_| {
            fault(&path(), "expected an object with a string `type` and, for text, a string `text`")
        })?;
        has_marks |= part.cache_control.or(part.prompt_cache_breakpoint).is_some();
        let other = || Part::Other(part.kind.to_string());
        let decoded = match &*part.kind {
            "text" => match part.text {
                Some(text) => Part::Text(text.into_owned()),
                None => return Err(fault(&format!("{}.text", path()), "expected a string")),
            },
            "refusal" => part.refusal.map_or_else(other, |text| Part::Refusal(text.into_owned())),
            "image_url" => part.image_url.and_then(|json| image(json, body)).unwrap_or_else(other),
            "input_audio" => part.input_audio.and_then(|json| audio(json, body)).unwrap_or_else(other),
            "file" => part.file.and_then(|json| file(json, body)).unwrap_or_else(other),
            kind => {
                let kind: String = kind.chars().take(40).collect();
                return Err(fault(
                    &format!("{}.type", path()),
                    format!(
                        "unknown content part `{kind}`: use text, image_url, input_audio, file or refusal"
                    ),
                ));
            }
        };
        parts.push(decoded);
    }
    Ok(has_marks)
}

fn image(json: &RawValue, body: &Bytes) -> Option<Part> {
    #[derive(Deserialize)]
    struct Shape<'a> {
        #[serde(borrow)]
        url: Cow<'a, str>,
        #[serde(default)]
        detail: Option<String>,
    }
    let Shape { url, detail } = serde_json::from_str(json.get()).ok()?;
    Some(Part::Image(Box::new(Image { url: SharedText::within(body, url), detail })))
}

fn audio(json: &RawValue, body: &Bytes) -> Option<Part> {
    #[derive(Deserialize)]
    struct Shape<'a> {
        #[serde(borrow)]
        data: Cow<'a, str>,
        format: String,
    }
    let Shape { data, format } = serde_json::from_str(json.get()).ok()?;
    Some(Part::Audio(Box::new(Audio { data: SharedText::within(body, data), format })))
}

fn file(json: &RawValue, body: &Bytes) -> Option<Part> {
    #[derive(Deserialize)]
    struct Shape<'a> {
        #[serde(borrow, default)]
        file_data: Option<Cow<'a, str>>,
        #[serde(default)]
        file_id: Option<String>,
        #[serde(default)]
        filename: Option<String>,
    }
    let Shape { file_data, file_id, filename } = serde_json::from_str(json.get()).ok()?;
    let data = file_data.map(|data| SharedText::within(body, data));
    Some(Part::File(Box::new(File { data, id: file_id, name: filename })))
}

/// Reads what few messages have from a message that was decoded.
fn read_details(json: &[u8]) -> MessageDetails {
    let Ok(shape) = serde_json::from_slice::<MessageShape<'_>>(json) else {
        return MessageDetails::default();
    };
    let text = |json: Option<&RawValue>| serde_json::from_str(json?.get()).ok();
    let (tool_calls, has_unread_calls) = shape.tool_calls.map(read_calls).unwrap_or_default();
    let older_call =
        shape.function_call.and_then(|json| serde_json::from_str::<FunctionShape>(json.get()).ok());
    MessageDetails {
        name: text(shape.name),
        tool_calls,
        has_other_calls: has_unread_calls || (shape.function_call.is_some() && older_call.is_none()),
        tool_call_id: text(shape.tool_call_id),
        refusal: text(shape.refusal),
        reasoning: text(shape.reasoning_content).or_else(|| text(shape.reasoning)),
        thoughts: shape.thinking_blocks.and_then(inner::thoughts).unwrap_or_default(),
        older_call: older_call.map(|FunctionShape { name, arguments }| ToolCall {
            id: String::new(),
            name,
            arguments: arguments.unwrap_or_default(),
        }),
        cache_marks: cache_marks(&shape),
    }
}

/// Returns where prefixes to keep end: with a part, by its position among those of the neutral form, or with the
/// message.
fn cache_marks(shape: &MessageShape<'_>) -> Vec<(Option<usize>, CacheMark)> {
    let parts: Vec<PartShape<'_>> = shape
        .content
        .filter(|json| json.get().starts_with('['))
        .and_then(|json| serde_json::from_str(json.get()).ok())
        .unwrap_or_default();
    let spoken = usize::from(shape.audio.is_some());
    let marked = parts.iter().enumerate().filter_map(|(position, part)| {
        let json = part.cache_control.or(part.prompt_cache_breakpoint)?;
        Some((Some(position + spoken), inner::cache_mark(json)?))
    });
    let whole = shape.cache_control.and_then(inner::cache_mark).map(|mark| (None, mark));
    marked.chain(whole).collect()
}

#[derive(Deserialize)]
struct CallShape {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionShape>,
}

#[derive(Deserialize)]
struct FunctionShape {
    name: String,
    #[serde(default)]
    arguments: Option<String>,
}

/// Returns the calls of functions in a list of tool calls, and whether there are any others.
pub(super) fn read_calls(json: &RawValue) -> (Vec<ToolCall>, bool) {
    let raws: Vec<&RawValue> = match serde_json::from_str(json.get()) {
        Ok(raws) => raws,
        Err(_) => return (Vec::new(), true),
    };
    let call = |raw: &&RawValue| {
        let CallShape { id, function } = serde_json::from_str(raw.get()).ok()?;
        let FunctionShape { name, arguments } = function?;
        Some(ToolCall {
            id: id.unwrap_or_default(),
            name,
            arguments: arguments.unwrap_or_else(|| "{}".to_owned()),
        })
    };
    let calls: Vec<ToolCall> = raws.iter().filter_map(call).collect();
    let has_others = calls.len() < raws.len();
    (calls, has_others)
}

fn fault(path: &str, message: impl Into<String>) -> MessageFault {
    MessageFault { path: path.to_owned(), message: message.into() }
}
