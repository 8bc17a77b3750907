//! One message of a conversation.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The application: `system` or `developer`.
    System,
    /// The application's user.
    User,
    /// The model.
    Assistant,
    /// A tool's result: `tool` or the older `function`.
    Tool,
}

/// A message, its text parts joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text parts, joined by newlines.
    pub text: String,
    /// The type of the first part that is no text (an image, a file, audio), which nothing here can read.
    pub unread_part: Option<String>,
}

/// What is wrong with a message, and where in it.
#[derive(Debug)]
pub(super) struct MessageFault {
    pub(super) path: String,
    pub(super) message: String,
}

#[derive(Deserialize)]
struct MessageShape<'a> {
    #[serde(borrow)]
    role: std::borrow::Cow<'a, str>,
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
}

#[derive(Deserialize)]
struct PartShape<'a> {
    #[serde(borrow, rename = "type")]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    text: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    refusal: Option<std::borrow::Cow<'a, str>>,
}

/// Decodes one message.
pub(super) fn decode(raw: &RawValue) -> Result<Message, MessageFault> {
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
    let mut message =
        Message { role, text: String::new(), unread_part: shape.audio.map(|_| "audio".to_owned()) };
    match shape.content.map(RawValue::get) {
        None => {
            let calls = shape.tool_calls.or(shape.function_call).or(shape.refusal).or(shape.audio);
            if role != Role::Assistant || calls.is_none() {
                return Err(fault(".content", "expected a string or an array of parts"));
            }
        }
        Some(json) if json.starts_with('"') => {
            message.text =
                serde_json::from_str(json).map_err(|error| fault(".content", error.to_string()))?;
        }
        Some(json) if json.starts_with('[') => decode_parts(json, &mut message)?,
        Some(_) => return Err(fault(".content", "expected a string or an array of parts")),
    }
    Ok(message)
}

fn decode_parts(json: &str, message: &mut Message) -> Result<(), MessageFault> {
    let parts: Vec<&RawValue> =
        serde_json::from_str(json).map_err(|error| fault(".content", error.to_string()))?;
    if parts.is_empty() {
        return Err(fault(".content", "expected at least one part"));
    }
    for (position, raw) in parts.into_iter().enumerate() {
        let path = format!(".content[{position}]");
        let part: PartShape<'_> = serde_json::from_str(raw.get()).map_err(|_| {
            fault(&path, "expected an object with a string `type` and, for text, a string `text`")
        })?;
        let text = match &*part.kind {
            "text" => Some(part.text.ok_or_else(|| fault(&format!("{path}.text"), "expected a string"))?),
            "refusal" => part.refusal,
            "image_url" | "input_audio" | "file" => None,
            other => {
                let other: String = other.chars().take(40).collect();
                return Err(fault(
                    &format!("{path}.type"),
                    format!(
                        "unknown content part `{other}`: use text, image_url, input_audio, file or refusal"
                    ),
                ));
            }
        };
        match text {
            Some(text) => {
                if !message.text.is_empty() {
                    message.text.push('\n');
                }
                message.text.push_str(&text);
            }
            None => {
                message.unread_part.get_or_insert_with(|| part.kind.into_owned());
            }
        }
    }
    Ok(())
}

fn fault(path: &str, message: impl Into<String>) -> MessageFault {
    MessageFault { path: path.to_owned(), message: message.into() }
}
