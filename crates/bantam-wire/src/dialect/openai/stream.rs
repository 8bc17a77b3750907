//! Streams: chunks as server-sent events, the note in the last chunk, `[DONE]` at the end.

use bantam_types::CountState;

use super::log_probabilities;
use super::usage::push_usage;
use super::whole::{finish_word, push_call, push_id, push_thoughts, with_note};
use super::write::{push_integer, push_string};
use super::{DONE_DATA, error_body};
use crate::call::CallKind;
use crate::dialect::{AnswerContext, StreamEncoder};
use crate::error::{ApiError, ReadAnswerError};
use crate::format::Format;
use crate::note::RoutingNote;
use crate::outcome::{AnswerHead, Delta, StreamItem, TokenLogProbability};

/// Writes one stream of chunks.
///
/// From the chunk that ends an answer on, the newest chunk is kept back: it may be the last one, which carries the
/// note. Everything before leaves at once.
pub(super) struct ChunkWriter {
    kind: CallKind,
    request_id: u128,
    created_unix_s: i64,
    model: String,
    include_usage: bool,
    /// What all chunks of our own begin with, up to their choices.
    prefix: Vec<u8>,
    /// Choices whose role was told, a bit each.
    begun: u128,
    /// Thoughts told so far.
    thoughts: usize,
    kept: Option<KeptChunk>,
}

struct KeptChunk {
    json: Vec<u8>,
    has_note: bool,
}

impl ChunkWriter {
    pub(super) fn new(kind: CallKind, context: AnswerContext<'_>) -> Self {
        let AnswerContext { call, request_id, created_unix_s, model } = context;
        let mut writer = Self {
            kind,
            request_id,
            created_unix_s,
            model: model.to_owned(),
            include_usage: call.include_usage,
            prefix: Vec::new(),
            begun: 0,
            thoughts: 0,
            kept: None,
        };
        writer.set_head(&AnswerHead::default());
        writer
    }

    /// Takes over what the backend calls the answer, without writing anything.
    pub(super) fn set_head(&mut self, head: &AnswerHead) {
        let object = if self.kind == CallKind::Text { "text_completion" } else { "chat.completion.chunk" };
        let out = &mut self.prefix;
        out.clear();
        out.extend_from_slice(b"{\"id\":");
        push_id(out, self.kind, head.id.as_deref(), self.request_id);
        out.extend_from_slice(b",\"object\":\"");
        out.extend_from_slice(object.as_bytes());
        out.extend_from_slice(b"\",\"created\":");
        push_integer(out, self.created_unix_s);
        out.extend_from_slice(b",\"model\":");
        push_string(out, head.model.as_deref().unwrap_or(&self.model));
        out.extend_from_slice(b",\"system_fingerprint\":null,\"choices\":[");
    }

    /// Sends a chunk, or keeps it back and sends the one that was.
    fn emit(&mut self, json: Vec<u8>, has_note: bool, finishes: bool, out: &mut Vec<u8>) {
        if !finishes && self.kept.is_none() {
            return push_event(out, &json);
        }
        if let Some(before) = self.kept.replace(KeptChunk { json, has_note }) {
            push_event(out, &before.json);
        }
    }

    pub(super) fn push_delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Begin(head) => {
                self.set_head(head);
                if self.kind == CallKind::Chat {
                    self.begins(0);
                    let delta = b"\"role\":\"assistant\",\"content\":\"\",\"refusal\":null";
                    let chunk = self.chat_chunk(0, delta, None, None);
                    self.emit(chunk, false, false, out);
                }
            }
            Delta::Text { choice, text, log_probabilities } => {
                let tokens = log_probabilities.as_deref();
                let chunk = if self.kind == CallKind::Text {
                    self.text_chunk(*choice, text, tokens, None)
                } else {
                    let mut delta = self.role(*choice);
                    delta.extend_from_slice(b"\"content\":");
                    push_string(&mut delta, text);
                    self.chat_chunk(*choice, &delta, tokens, None)
                };
                self.emit(chunk, false, false, out);
            }
            Delta::Refusal { choice, text } => self.emit_delta(*choice, out, |delta| {
                delta.extend_from_slice(b"\"refusal\":");
                push_string(delta, text);
            }),
            Delta::Thought { choice, thought } => {
                let number = self.thoughts;
                self.thoughts += 1;
                self.emit_delta(*choice, out, |delta| {
                    push_thoughts(delta, std::slice::from_ref(thought), Some(number));
                });
            }
            Delta::ToolCall { choice, index, call } => self.emit_delta(*choice, out, |delta| {
                delta.extend_from_slice(b"\"tool_calls\":[{\"index\":");
                push_integer(delta, *index);
                delta.push(b',');
                push_call(delta, call);
                delta.extend_from_slice(b"}]");
            }),
            Delta::Arguments { choice, index, json } => {
                let mut delta = Vec::with_capacity(json.len() + 64);
                delta.extend_from_slice(b"\"tool_calls\":[{\"index\":");
                push_integer(&mut delta, *index);
                delta.extend_from_slice(b",\"function\":{\"arguments\":");
                push_string(&mut delta, json);
                delta.extend_from_slice(b"}}]");
                let chunk = self.chat_chunk(*choice, &delta, None, None);
                self.emit(chunk, false, false, out);
            }
            Delta::Finish { choice, reason } => {
                let word = Some(finish_word(*reason));
                let chunk = if self.kind == CallKind::Text {
                    self.text_chunk(*choice, "", None, word)
                } else {
                    self.chat_chunk(*choice, b"", None, word)
                };
                self.emit(chunk, false, true, out);
            }
            Delta::Usage(usage) => {
                // Counts that are not all are for the books alone.
                if self.include_usage && usage.counts != CountState::Partial {
                    let mut chunk = self.prefix.clone();
                    chunk.extend_from_slice(b"],\"usage\":");
                    push_usage(&mut chunk, self.kind, *usage);
                    chunk.push(b'}');
                    self.emit(chunk, false, false, out);
                }
            }
        }
    }

    /// Sends what `write` says of a choice, the first time with its role.
    fn emit_delta(&mut self, choice: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let mut delta = self.role(choice);
        write(&mut delta);
        let chunk = self.chat_chunk(choice, &delta, None, None);
        self.emit(chunk, false, false, out);
    }

    /// Notes that a choice has begun; returns whether it had not before.
    fn begins(&mut self, choice: u32) -> bool {
        let bit = 1_u128.checked_shl(choice).unwrap_or(0);
        let is_new = self.begun & bit == 0;
        self.begun |= bit;
        is_new
    }

    /// Returns the members that a choice's next delta begins with: its role, the first time.
    fn role(&mut self, choice: u32) -> Vec<u8> {
        if self.begins(choice) { b"\"role\":\"assistant\",".to_vec() } else { Vec::new() }
    }

    fn chat_chunk(
        &self,
        choice: u32,
        delta: &[u8],
        tokens: Option<&[TokenLogProbability]>,
        finish: Option<&str>,
    ) -> Vec<u8> {
        let mut chunk = Vec::with_capacity(self.prefix.len() + delta.len() + 128);
        chunk.extend_from_slice(&self.prefix);
        chunk.extend_from_slice(b"{\"index\":");
        push_integer(&mut chunk, choice);
        chunk.extend_from_slice(b",\"delta\":{");
        chunk.extend_from_slice(delta);
        chunk.extend_from_slice(b"},\"logprobs\":");
        log_probabilities::push_chat(&mut chunk, tokens);
        self.close(&mut chunk, finish);
        chunk
    }

    fn text_chunk(
        &self,
        choice: u32,
        text: &str,
        tokens: Option<&[TokenLogProbability]>,
        finish: Option<&str>,
    ) -> Vec<u8> {
        let mut chunk = Vec::with_capacity(self.prefix.len() + text.len() + 128);
        chunk.extend_from_slice(&self.prefix);
        chunk.extend_from_slice(b"{\"text\":");
        push_string(&mut chunk, text);
        chunk.extend_from_slice(b",\"index\":");
        push_integer(&mut chunk, choice);
        chunk.extend_from_slice(b",\"logprobs\":");
        log_probabilities::push_text(&mut chunk, tokens);
        self.close(&mut chunk, finish);
        chunk
    }

    fn close(&self, chunk: &mut Vec<u8>, finish: Option<&str>) {
        match finish {
            Some(word) => {
                chunk.extend_from_slice(b",\"finish_reason\":\"");
                chunk.extend_from_slice(word.as_bytes());
                chunk.extend_from_slice(b"\"}]");
            }
            None => chunk.extend_from_slice(b",\"finish_reason\":null}]"),
        }
        // Every chunk before the one with the counts says that it has none, as OpenAI's do.
        if self.include_usage {
            chunk.extend_from_slice(b",\"usage\":null");
        }
        chunk.push(b'}');
    }
}

impl StreamEncoder for ChunkWriter {
    fn push(&mut self, item: StreamItem, out: &mut Vec<u8>) -> Result<(), ReadAnswerError> {
        match item {
            StreamItem::Typed(delta) => self.push_delta(&delta, out),
            StreamItem::Raw(chunk) if chunk.format == Format::openai(self.kind) => {
                // Usage was asked for whatever the caller wants.
                let only_usage = !chunk.facts.has_choices && chunk.facts.usage.is_some();
                if !only_usage || self.include_usage {
                    self.emit(chunk.data.into_bytes(), chunk.facts.has_note, chunk.facts.finishes, out);
                }
            }
            StreamItem::Raw(_) => return Err(ReadAnswerError::NotAnAnswer),
        }
        Ok(())
    }

    fn finish(&mut self, note: &RoutingNote, out: &mut Vec<u8>) {
        if let Some(last) = self.kept.take() {
            push_event(out, &with_note(&last.json, last.has_note, note));
        }
        push_event(out, DONE_DATA.as_bytes());
    }

    fn fail(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        push_event(out, &error_body(error));
    }
}

/// Appends `data` as one event.
pub(super) fn push_event(out: &mut Vec<u8>, data: &[u8]) {
    out.reserve(data.len() + 16);
    if !data.contains(&b'\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(data);
        out.extend_from_slice(b"\n\n");
        return;
    }
    // A chunk may have come over several `data:` lines; JSON allows the newline between them anywhere.
    for line in data.split(|byte| *byte == b'\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
}
