//! One message of a conversation.

use std::borrow::Cow;
use std::sync::OnceLock;

use bytes::Bytes;

use super::settings::CacheMark;
use crate::feature::Feature;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The application.
    System,
    /// The application's user.
    User,
    /// The model.
    Assistant,
    /// A tool, with its result.
    Tool,
}

/// A message: who speaks, and what.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    content: Content,
    details: Details,
}

#[derive(Clone, Debug)]
enum Content {
    None,
    /// What most messages have; its text is never copied.
    One(Part),
    Many {
        parts: Vec<Part>,
        /// Their texts, joined when they are first asked for.
        joined: OnceLock<String>,
    },
}

/// What few messages have, read when it is first asked for: a conversation with tools may hold hundreds of calls, and
/// planning needs none of them.
#[derive(Clone, Debug)]
enum Details {
    None,
    Unread {
        /// The message's own JSON.
        json: Bytes,
        /// How its dialect reads that.
        read_with: fn(&[u8]) -> MessageDetails,
        read: OnceLock<Box<MessageDetails>>,
    },
}

/// One part of a message's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text.
    Text(String),
    /// Text with which a model declined to answer.
    Refusal(String),
    /// A picture.
    Image(Box<Image>),
    /// A recording.
    Audio(Box<Audio>),
    /// A document.
    File(Box<File>),
    /// Something else, by the name that its dialect has for it.
    Other(String),
}

/// Text that is a slice of the caller's body where that is possible, so that megabytes are not copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedText(Bytes);

/// A picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its address, which may be a `data:` URL with the picture itself.
    pub url: SharedText,
    /// How closely to look at it, in OpenAI's words.
    pub detail: Option<String>,
}

/// A recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// The sound, in base64.
    pub data: SharedText,
    /// Its format, such as `wav`.
    pub format: String,
}

/// A document: itself, or its id at the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Its content, as a `data:` URL.
    pub data: Option<SharedText>,
    /// Its id at the provider.
    pub id: Option<String>,
    /// What it is called.
    pub name: Option<String>,
}

/// What few messages have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageDetails {
    /// The name of the speaker, among several of the same role.
    pub name: Option<String>,
    /// Calls that the model made.
    pub tool_calls: Vec<ToolCall>,
    /// Whether the model also made calls that are not of functions, which have no neutral form.
    pub has_other_calls: bool,
    /// Of a tool's result: the call that it answers.
    pub tool_call_id: Option<String>,
    /// Text beside the content with which the model declined to answer.
    pub refusal: Option<String>,
    /// What the model thought before it spoke.
    pub reasoning: Option<String>,
    /// The same as its provider signed it, block by block.
    pub thoughts: Vec<Thought>,
    /// A call in OpenAI's older form, which has no id.
    pub older_call: Option<ToolCall>,
    /// Prefixes to keep: each ends with the part of that number, from 0, or with the message.
    pub cache_marks: Vec<(Option<usize>, CacheMark)>,
}

/// What a model thought, as its provider signed it: only that provider can use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thought {
    /// Thoughts that can be read.
    Open {
        /// What was thought.
        text: String,
        /// By which the provider knows it again.
        signature: String,
    },
    /// Thoughts that only the provider can read.
    Sealed(String),
}

/// A call of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// Its id, by which a result refers to it.
    pub id: String,
    /// The function.
    pub name: String,
    /// The arguments, as the JSON that the model wrote.
    pub arguments: String,
}

impl Message {
    /// Returns a message of one text.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { role, content: Content::One(Part::Text(text.into())), details: Details::None }
    }

    /// Returns a message of `parts`; without any it has no content, as a message that only calls tools.
    pub fn of_parts(role: Role, mut parts: Vec<Part>) -> Self {
        let content = match parts.pop() {
            None => Content::None,
            Some(only) if parts.is_empty() => Content::One(only),
            Some(last) => {
                parts.push(last);
                Content::Many { parts, joined: OnceLock::new() }
            }
        };
        Self { role, content, details: Details::None }
    }

    /// Returns the same message with details that `read_with` reads from `json` when they are asked for.
    #[must_use]
    pub fn with_details(self, json: Bytes, read_with: fn(&[u8]) -> MessageDetails) -> Self {
        Self { details: Details::Unread { json, read_with, read: OnceLock::new() }, ..self }
    }

    /// Returns the parts of its content.
    pub fn parts(&self) -> &[Part] {
        match &self.content {
            Content::None => &[],
            Content::One(part) => std::slice::from_ref(part),
            Content::Many { parts, .. } => parts,
        }
    }

    /// Returns its text parts joined by newlines, refusals included.
    pub fn text(&self) -> &str {
        match &self.content {
            Content::None => "",
            Content::One(part) => part.text().unwrap_or_default(),
            Content::Many { parts, joined } => joined.get_or_init(|| join(parts)),
        }
    }

    /// Returns the length of [`Self::text`], without joining anything.
    pub fn text_bytes(&self) -> usize {
        // An empty text at the beginning leaves no newline behind it.
        let lengths = self.parts().iter().filter_map(Part::text).map(str::len);
        lengths.fold(0, |all, own| if all == 0 { own } else { all + 1 + own })
    }

    /// Returns the calls that it makes.
    pub fn tool_calls(&self) -> &[ToolCall] {
        self.details().map_or(&[], |details| &details.tool_calls)
    }

    /// Returns what else it has, where it may have anything.
    pub fn details(&self) -> Option<&MessageDetails> {
        match &self.details {
            Details::None => None,
            Details::Unread { json, read_with, read } => Some(read.get_or_init(|| Box::new(read_with(json)))),
        }
    }

    /// Returns the kind of its first part that is not text.
    pub fn unread_part(&self) -> Option<&str> {
        self.parts().iter().find_map(|part| match part {
            Part::Text(_) | Part::Refusal(_) => None,
            Part::Image(_) => Some("image"),
            Part::Audio(_) => Some("audio"),
            Part::File(_) => Some("file"),
            Part::Other(name) => Some(&**name),
        })
    }

    /// Returns what its content asks of a backend, beyond text.
    pub(super) fn features(&self) -> impl Iterator<Item = Feature> {
        self.parts().iter().filter_map(|part| match part {
            Part::Text(_) | Part::Refusal(_) => None,
            Part::Image(_) => Some(Feature::Images),
            Part::Audio(_) => Some(Feature::AudioInput),
            Part::File(_) => Some(Feature::Files),
            Part::Other(_) => Some(Feature::OtherParts),
        })
    }
}

impl Part {
    /// Returns its text, where it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Refusal(text) => Some(text),
            _ => None,
        }
    }
}

fn join(parts: &[Part]) -> String {
    let mut all = String::new();
    for text in parts.iter().filter_map(Part::text) {
        if !all.is_empty() {
            all.push('\n');
        }
        all.push_str(text);
    }
    all
}

impl SharedText {
    /// Returns `text`, which may lie in `body`, without copying it if it does.
    pub(crate) fn within(body: &Bytes, text: Cow<'_, str>) -> Self {
        Self(match text {
            Cow::Borrowed(text) => shared(body, text),
            Cow::Owned(text) => text.into(),
        })
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Returns the bytes of `text`, which may lie in `body`, without copying them if it does.
pub(crate) fn shared(body: &Bytes, text: &str) -> Bytes {
    let start = (text.as_ptr() as usize).wrapping_sub(body.as_ptr() as usize);
    let end = start.checked_add(text.len()).filter(|end| *end <= body.len());
    end.map_or_else(|| Bytes::copy_from_slice(text.as_bytes()), |end| body.slice(start..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_joined_by_newlines_and_a_single_one_is_not_copied() {
        let check = |parts: &[&str], expected: &str| {
            let parts = parts.iter().map(|text| Part::Text((*text).to_owned())).collect();
            let message = Message::of_parts(Role::User, parts);
            assert_eq!((message.text(), message.text_bytes()), (expected, expected.len()));
        };
        check(&[], "");
        check(&["a"], "a");
        check(&["a", "b"], "a\nb");
        check(&["", "a", "", "b"], "a\n\nb");
        let message = Message::new(Role::User, "a");
        assert!(std::ptr::eq(message.text(), message.parts()[0].text().unwrap()));
    }

    #[test]
    fn details_are_read_when_they_are_asked_for() {
        let read = |json: &[u8]| MessageDetails {
            name: Some(String::from_utf8(json.to_vec()).unwrap()),
            ..MessageDetails::default()
        };
        let message = Message::new(Role::User, "a").with_details(Bytes::from_static(b"ada"), read);
        assert_eq!(message.details().unwrap().name.as_deref(), Some("ada"));
        assert!(Message::new(Role::User, "a").details().is_none());
    }

    #[test]
    fn text_of_the_body_is_shared_and_other_text_is_copied() {
        let body = Bytes::from_static(b"{\"a\":\"xyz\"}");
        let within = std::str::from_utf8(&body[6..9]).unwrap();
        let shared = SharedText::within(&body, within.into());
        assert_eq!((shared.as_str(), shared.0.as_ptr()), ("xyz", body[6..].as_ptr()));
        assert_eq!(SharedText::within(&body, "elsewhere".into()).as_str(), "elsewhere");
    }
}
