//! A conversation as Anthropic's system text and turns.
//!
//! The API is stricter than what callers may say: no text without a visible character, ids of its own kind that no other
//! call has, a result for every call in the turn behind it and for nothing else. What says the same in its terms is
//! written so; the rest is refused by its place, before anything is sent.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::media;
use crate::call::{CacheMark, Call, Message, MessageDetails, Part, Role, Thought, ToolCall};
use crate::feature::Feature;
use crate::support::Unsupported;

/// A conversation in the API's terms.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// Blocks of text that are said before everything else.
    pub(super) system: Vec<Value>,
    /// Who speaks, and their blocks; no two neighbours are the same.
    pub(super) turns: Vec<(&'static str, Vec<Value>)>,
    /// The functions that were called, each once.
    pub(super) called: Vec<String>,
}

/// Returns the conversation of `call`, with `own_system` before what the caller says.
///
/// # Errors
/// What of it has no form that the API takes.
pub(super) fn conversation(call: &Call, own_system: Option<&str>) -> Result<Conversation, Unsupported> {
    let mut reading = Reading::default();
    reading.all.system.extend(own_system.filter(|text| !is_blank(text)).map(text_block));
    let own = reading.all.system.len();
    for (position, message) in call.messages().iter().enumerate() {
        reading.message(message, position)?;
    }
    reading.answered_before(call.messages().len())?;
    let mut all = reading.all;
    if let Some(position) = reading.unsaid {
        return Err(refuse(position, "says nothing, and the API answers only to something"));
    }
    if all.turns.is_empty() {
        // Instructions alone: the last of them is what the model is to answer.
        let last = if all.system.len() > own { all.system.pop() } else { None };
        let last = last.ok_or_else(|| Unsupported::new(Feature::Chat, "no message says anything"))?;
        all.turns.push(("user", vec![last]));
    }
    if let Some(("assistant", blocks)) = all.turns.last_mut() {
        trim_end(blocks);
    }
    Ok(all)
}

impl Conversation {
    /// Returns whether the model is to go on with what it said itself.
    pub(super) fn is_begun(&self) -> bool {
        matches!(self.turns.last(), Some(("assistant", _)))
    }

    /// Returns whether the model called tools in its last turn, and what it thought before that is not there.
    pub(super) fn lacks_thoughts(&self) -> bool {
        let [.., (_, calls), (_, results)] = &*self.turns else { return false };
        let answers_calls = results.first().is_some_and(|block| block["type"] == "tool_result");
        let first = calls.first().and_then(|block| block["type"].as_str());
        answers_calls && !matches!(first, Some("thinking" | "redacted_thinking"))
    }
}

/// A call whose result has not come yet.
struct OpenCall {
    /// Its id as the caller has it; an older call has none.
    id: Option<String>,
    name: String,
    /// Its id as the API gets it.
    sent_id: String,
}

#[derive(Default)]
struct Reading {
    all: Conversation,
    open: Vec<OpenCall>,
    sent_ids: HashSet<String>,
    /// The message that ends the conversation and says nothing.
    unsaid: Option<usize>,
}

impl Reading {
    fn message(&mut self, message: &Message, position: usize) -> Result<(), Unsupported> {
        let nothing = MessageDetails::default();
        let details = message.details().unwrap_or(&nothing);
        let (role, blocks) = match message.role {
            Role::System => {
                let blocks = blocks_of(message, details, position)?;
                self.all.system.extend(blocks);
                return Ok(());
            }
            Role::User => {
                self.answered_before(position)?;
                ("user", blocks_of(message, details, position)?)
            }
            Role::Assistant => {
                self.answered_before(position)?;
                ("assistant", self.said(message, details, position)?)
            }
            Role::Tool => ("user", vec![self.result(message, details, position)?]),
        };
        self.unsaid = (blocks.is_empty() && role == "user").then_some(position);
        if blocks.is_empty() {
            return Ok(());
        }
        match self.all.turns.last_mut() {
            Some((last, existing)) if *last == role => existing.extend(blocks),
            _ => self.all.turns.push((role, blocks)),
        }
        Ok(())
    }

    /// Checks that every call has its result before the message at `position`.
    fn answered_before(&self, position: usize) -> Result<(), Unsupported> {
        match self.open.first() {
            None => Ok(()),
            Some(_) => {
                let place = position.saturating_sub(1);
                Err(refuse(place, "is followed by no result of a tool call that was made"))
            }
        }
    }

    fn said(
        &mut self,
        message: &Message,
        details: &MessageDetails,
        position: usize,
    ) -> Result<Vec<Value>, Unsupported> {
        let mut blocks: Vec<Value> = details.thoughts.iter().map(thought).collect();
        let thoughts = blocks.len();
        blocks.extend(texts_of(message, details, position)?);
        let older = details.older_call.iter().map(|call| (None, call));
        for (id, call) in details.tool_calls.iter().map(|call| (Some(call.id.clone()), call)).chain(older) {
            blocks.push(self.called(id, call, position)?);
        }
        if thoughts > 0 && blocks.len() == thoughts {
            return Err(refuse(position, "has thoughts and says nothing"));
        }
        mark_last(blocks.get_mut(thoughts..).unwrap_or_default(), details);
        Ok(blocks)
    }

    fn called(&mut self, id: Option<String>, call: &ToolCall, position: usize) -> Result<Value, Unsupported> {
        if !is_name(&call.name) {
            return Err(refuse(position, "calls a tool by a name that the API does not take"));
        }
        let input = arguments(&call.arguments)
            .ok_or_else(|| refuse(position, "calls a tool with arguments that are not a JSON object"))?;
        let sent_id = self.fresh_id(id.as_deref().unwrap_or_default());
        let block = json!({"type": "tool_use", "id": sent_id, "name": call.name, "input": input});
        if !self.all.called.contains(&call.name) {
            self.all.called.push(call.name.clone());
        }
        self.open.push(OpenCall { id, name: call.name.clone(), sent_id });
        Ok(block)
    }

    /// Returns the id where the API takes it, or one that nobody has.
    fn fresh_id(&mut self, id: &str) -> String {
        let is_taken = !is_id(id) || self.sent_ids.contains(id);
        let id = match is_taken {
            false => id.to_owned(),
            true => {
                let mut number = self.sent_ids.len();
                loop {
                    let id = format!("call_{number}");
                    if !self.sent_ids.contains(&id) {
                        break id;
                    }
                    number += 1;
                }
            }
        };
        self.sent_ids.insert(id.clone());
        id
    }

    fn result(
        &mut self,
        message: &Message,
        details: &MessageDetails,
        position: usize,
    ) -> Result<Value, Unsupported> {
        let call = match (&details.tool_call_id, &details.name) {
            (Some(id), _) => self.open.iter().position(|call| call.id.as_ref() == Some(id)),
            (None, Some(name)) => self.open.iter().position(|call| call.id.is_none() && call.name == *name),
            (None, None) => {
                return Err(refuse(
                    position,
                    "is a tool's result and does not say of which call (`tool_call_id`)",
                ));
            }
        };
        let call = call.map(|index| self.open.remove(index)).ok_or_else(|| {
            refuse(position, "is the result of a tool call that is not in the message before it")
        })?;
        let mut blocks = blocks_of(message, details, position)?;
        let mut result = json!({"type": "tool_result", "tool_use_id": call.sent_id});
        let mark = blocks.last_mut().and_then(|last| last.as_object_mut()?.shift_remove("cache_control"));
        match &*blocks {
            [] => {}
            [only] if only["type"] == "text" => result["content"] = only["text"].clone(),
            _ => result["content"] = blocks.into(),
        }
        if let Some(mark) = mark {
            result["cache_control"] = mark;
        }
        Ok(result)
    }
}

/// Returns a message's blocks, the last with the mark of the whole message.
fn blocks_of(
    message: &Message,
    details: &MessageDetails,
    position: usize,
) -> Result<Vec<Value>, Unsupported> {
    let mut blocks = texts_of(message, details, position)?;
    mark_last(&mut blocks, details);
    Ok(blocks)
}

/// Returns the blocks of a message's content and its refusal. Text that shows nothing is no block.
fn texts_of(message: &Message, details: &MessageDetails, position: usize) -> Result<Vec<Value>, Unsupported> {
    let mut blocks = Vec::new();
    for (index, part) in message.parts().iter().enumerate() {
        let block = match part {
            Part::Text(text) | Part::Refusal(text) if is_blank(text) => continue,
            Part::Text(text) | Part::Refusal(text) => Some(text_block(text)),
            Part::Image(image) if hears(message.role) => media::image(image),
            Part::File(file) if hears(message.role) => media::document(file),
            _ => None,
        };
        let mut block = block.ok_or_else(|| {
            refuse(position, "has content that the API does not take in a message of that role")
        })?;
        let mark = details.cache_marks.iter().find(|(at, _)| *at == Some(index));
        if let Some((_, mark)) = mark {
            block["cache_control"] = mark_json(*mark);
        }
        blocks.push(block);
    }
    blocks.extend(details.refusal.as_deref().filter(|text| !is_blank(text)).map(text_block));
    Ok(blocks)
}

/// Returns whether the model hears what that role says, and so may see pictures and documents in it.
const fn hears(role: Role) -> bool {
    matches!(role, Role::User | Role::Tool)
}

fn mark_last(blocks: &mut [Value], details: &MessageDetails) {
    let mark = details.cache_marks.iter().find(|(at, _)| at.is_none());
    if let (Some((_, mark)), Some(last)) = (mark, blocks.last_mut()) {
        last["cache_control"] = mark_json(*mark);
    }
}

pub(super) fn mark_json(mark: CacheMark) -> Value {
    match mark {
        CacheMark::Minutes => json!({"type": "ephemeral"}),
        CacheMark::Hour => json!({"type": "ephemeral", "ttl": "1h"}),
    }
}

fn thought(thought: &Thought) -> Value {
    match thought {
        Thought::Open { text, signature } => {
            json!({"type": "thinking", "thinking": text, "signature": signature})
        }
        Thought::Sealed(data) => json!({"type": "redacted_thinking", "data": data}),
    }
}

/// Returns the arguments of a call as an object; none are an empty one.
fn arguments(json: &str) -> Option<Value> {
    if is_blank(json) {
        return Some(json!({}));
    }
    match serde_json::from_str(json) {
        Ok(Value::Null) => Some(json!({})),
        Ok(object @ Value::Object(_)) => Some(object),
        _ => None,
    }
}

/// The API refuses a last turn of the model that ends with white space.
fn trim_end(blocks: &mut [Value]) {
    if let Some(text) = blocks.last_mut().and_then(|last| last.get_mut("text"))
        && let Some(trimmed) = text.as_str().map(|text| text.trim_end().to_owned())
    {
        *text = trimmed.into();
    }
}

fn text_block(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Returns whether a tool may be called that.
pub(super) fn is_name(name: &str) -> bool {
    is_id(name) && name.len() <= 128
}

/// Returns whether a call may have that id.
fn is_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !id.is_empty() && id.bytes().all(is_allowed)
}

fn refuse(position: usize, why: &str) -> Unsupported {
    Unsupported::new(Feature::Chat, format!("`messages[{position}]` {why}"))
}
