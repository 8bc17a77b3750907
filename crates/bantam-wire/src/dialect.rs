//! Dialects: what callers and upstreams speak.
//!
//! A dialect for callers is one folder here that implements [`Endpoint`] for each of its endpoints, and one line in
//! [`ENDPOINTS`]. The gateway and the server know endpoints only through the trait: they decode with it, ask it what
//! the caller calls a parameter, and write every answer, stream and error with it. So a new dialect changes none of
//! their stages.
//!
//! A dialect for upstreams is a [`Format`], with its reading of answers, and a body written from a
//! [`Call`].

pub mod anthropic;
mod lenient;
pub mod openai;

use bantam_types::AnswerUsage;
use bytes::Bytes;
use serde_json::Value;

use crate::call::{Call, CallKind, DecodeLimits, DecodedCall, Settings, Source};
use crate::error::{ApiError, DecodeError, ReadAnswerError};
use crate::feature::Feature;
use crate::format::Format;
use crate::note::RoutingNote;
use crate::outcome::{AnswerBody, StreamItem};

/// Reads a `usage` object beside an error, in whatever dialect it is.
pub(crate) fn read_usage(usage: &Value) -> Option<AnswerUsage> {
    match usage.get("input_tokens") {
        Some(_) => anthropic::read_usage(usage),
        None => openai::read_usage(CallKind::Chat, usage, None),
    }
}

/// The endpoints that callers can ask, of all dialects: the server routes to each.
pub static ENDPOINTS: &[&dyn Endpoint] = &[openai::CHAT, openai::TEXT, openai::EMBEDDINGS];

/// One endpoint of one dialect: how its requests are read and its answers are written.
pub trait Endpoint: std::fmt::Debug + Send + Sync {
    /// Returns the dialect's name, such as `openai`.
    fn dialect(&self) -> &'static str;

    /// Returns the path that callers ask.
    fn path(&self) -> &'static str;

    /// Returns what the endpoint does, one sentence for the reference.
    fn about(&self) -> &'static str;

    /// Returns what kind of calls come here.
    fn kind(&self) -> CallKind;

    /// Returns the format of upstreams whose requests and answers are this endpoint's own, byte for byte.
    fn format(&self) -> Option<Format>;

    /// Reads a body. [`Call::decode`] has walked it and hands on the same bytes.
    ///
    /// # Errors
    /// See [`DecodeError`]; each names the parameter at fault.
    fn decode(&self, body: &Bytes, limits: &DecodeLimits) -> Result<DecodedCall, DecodeError>;

    /// Reads from a body that was decoded what planning does not need. What has no neutral form is listed in
    /// [`Settings::unread`].
    fn settings(&self, source: &Source) -> Settings;

    /// Returns what callers of this endpoint call the parameter behind `feature`.
    fn param(&self, feature: Feature) -> &'static str;

    /// Returns the media type of bodies, or of streams.
    fn media_type(&self, is_stream: bool) -> &'static str;

    /// Writes a whole answer, with the note.
    ///
    /// # Errors
    /// When the answer is an upstream's and cannot be read.
    fn whole(
        &self,
        answer: &AnswerBody,
        context: AnswerContext<'_>,
        note: &RoutingNote,
    ) -> Result<Vec<u8>, ReadAnswerError>;

    /// Returns what writes a stream.
    fn stream(&self, context: AnswerContext<'_>) -> Box<dyn StreamEncoder>;

    /// Writes a whole answer as a stream, with the note: for callers who want a stream of what is there already.
    ///
    /// # Errors
    /// When the answer is an upstream's and cannot be read.
    fn whole_as_stream(
        &self,
        answer: &AnswerBody,
        context: AnswerContext<'_>,
        note: &RoutingNote,
    ) -> Result<Vec<u8>, ReadAnswerError> {
        let mut encoder = self.stream(context);
        let mut out = Vec::with_capacity(1024);
        for delta in answer.outcome()?.deltas() {
            encoder.push(StreamItem::Typed(delta), &mut out)?;
        }
        encoder.finish(note, &mut out);
        Ok(out)
    }

    /// Writes an error in place of an answer.
    fn error(&self, error: &ApiError) -> Vec<u8>;

    /// Returns what can be sent in a stream to show that it lives, and means nothing: of server-sent events, a comment.
    fn comment(&self) -> &'static [u8] {
        b": keep-alive\n\n"
    }

    /// Writes an error in place of an answer into a stream that has begun.
    fn error_in_stream(&self, error: &ApiError) -> Vec<u8> {
        let mut event = b"data: ".to_vec();
        event.append(&mut self.error(error));
        event.extend_from_slice(b"\n\n");
        event
    }
}

/// What writing an answer needs beside it.
#[derive(Clone, Copy, Debug)]
pub struct AnswerContext<'a> {
    /// What was asked.
    pub call: &'a Call,
    /// The request's id, for answers that have none of their own.
    pub request_id: u128,
    /// Seconds since the Unix epoch.
    pub created_unix_s: i64,
    /// The model's name in the configuration, for answers that name none.
    pub model: &'a str,
}

/// Writes one stream, item by item. It may keep items back, since the note belongs into the stream's end.
pub trait StreamEncoder: Send {
    /// Appends what is to be sent for `item` to `out`; that may be nothing, or more than the item.
    ///
    /// # Errors
    /// When the item is an upstream's in a format that is not this endpoint's own.
    fn push(&mut self, item: StreamItem, out: &mut Vec<u8>) -> Result<(), ReadAnswerError>;

    /// Appends the good end, with the note.
    fn finish(&mut self, note: &RoutingNote, out: &mut Vec<u8>);

    /// Appends the end of a stream that broke off.
    fn fail(&mut self, error: &ApiError, out: &mut Vec<u8>);
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
    /// How this upstream is told what not all upstreams are told the same way.
    pub phrasing: Phrasing,
}

/// How an upstream is told what servers of OpenAI's dialect take differently: by their age, or for some models only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phrasing {
    /// Whether a stream is asked for where one is wanted; else the whole answer is.
    pub stream: bool,
    /// Whether a stream is asked to end with its usage, in `stream_options`.
    pub stream_usage: bool,
    /// What the limit of a chat's output tokens is called; nothing leaves it as the caller wrote it.
    pub output_limit: Option<OutputLimit>,
    /// Whether the role `developer` is left; else it becomes `system`, which means the same.
    pub developer_role: bool,
}

impl Default for Phrasing {
    /// Everything as OpenAI has it.
    fn default() -> Self {
        Self { stream: true, stream_usage: true, output_limit: None, developer_role: true }
    }
}

/// What the limit of a chat's output tokens is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputLimit {
    /// `max_tokens`, the only name that older servers know.
    MaxTokens,
    /// `max_completion_tokens`, the only name that OpenAI's models that reason take.
    MaxCompletionTokens,
}

impl OutputLimit {
    /// Returns the name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}
