//! OpenAI's dialect: `/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`.

mod answer;
mod chunk;
mod decode;
mod error;
mod inner;
mod log_probabilities;
mod message;
mod params;
mod request;
mod settings;
mod stream;
mod usage;
mod whole;
mod write;

use bytes::Bytes;

pub(crate) use answer::{read_facts, read_outcome};
pub(crate) use chunk::{
    ChunkReader, ReadChunk, has_choices, read_facts as read_chunk_facts, says_something, with_choices,
};
pub use error::{error_body, error_type};
pub use request::{
    body, body_from_typed, message_json, path_beside, refusal, support, support_of_translated, tool_json,
};
pub(in crate::dialect) use usage::read_value as read_usage;

use crate::call::{CallKind, DecodeLimits, DecodedCall, Settings, Source};
use crate::dialect::{AnswerContext, Endpoint, StreamEncoder};
use crate::error::{ApiError, DecodeError, ReadAnswerError};
use crate::feature::Feature;
use crate::format::Format;
use crate::note::RoutingNote;
use crate::outcome::{AnswerBody, Delta};

/// `POST /v1/chat/completions`.
pub const CHAT: &dyn Endpoint = &OpenAi { kind: CallKind::Chat };
/// `POST /v1/completions`.
pub const TEXT: &dyn Endpoint = &OpenAi { kind: CallKind::Text };
/// `POST /v1/embeddings`.
pub const EMBEDDINGS: &dyn Endpoint = &OpenAi { kind: CallKind::Embeddings };

/// The data of the event that ends every stream.
pub(crate) const DONE_DATA: &str = "[DONE]";

/// One of OpenAI's endpoints.
#[derive(Clone, Copy, Debug)]
struct OpenAi {
    kind: CallKind,
}

impl Endpoint for OpenAi {
    fn dialect(&self) -> &'static str {
        "openai"
    }

    fn path(&self) -> &'static str {
        match self.kind {
            CallKind::Chat => "/v1/chat/completions",
            CallKind::Text => "/v1/completions",
            CallKind::Embeddings => "/v1/embeddings",
        }
    }

    fn about(&self) -> &'static str {
        match self.kind {
            CallKind::Chat => "Answers a conversation, plain or streamed, as OpenAI's chat completions do.",
            CallKind::Text => "Continues a text; with `suffix` it fills in the middle.",
            CallKind::Embeddings => "Returns the vectors of texts, as floats or base64.",
        }
    }

    fn kind(&self) -> CallKind {
        self.kind
    }

    fn format(&self) -> Option<Format> {
        Some(Format::openai(self.kind))
    }

    fn decode(&self, body: &Bytes, limits: &DecodeLimits) -> Result<DecodedCall, DecodeError> {
        decode::decode(self.kind, body, limits)
    }

    fn settings(&self, source: &Source) -> Settings {
        settings::read(self.kind, source)
    }

    fn param(&self, feature: Feature) -> &'static str {
        params::param_of(feature)
    }

    fn media_type(&self, is_stream: bool) -> &'static str {
        if is_stream { "text/event-stream" } else { "application/json" }
    }

    fn whole(
        &self,
        answer: &AnswerBody,
        context: AnswerContext<'_>,
        note: &RoutingNote,
    ) -> Result<Vec<u8>, ReadAnswerError> {
        whole::write(self.kind, answer, context, note)
    }

    fn stream(&self, context: AnswerContext<'_>) -> Box<dyn StreamEncoder> {
        Box::new(stream::ChunkWriter::new(self.kind, context))
    }

    fn whole_as_stream(
        &self,
        answer: &AnswerBody,
        context: AnswerContext<'_>,
        note: &RoutingNote,
    ) -> Result<Vec<u8>, ReadAnswerError> {
        let mut out = Vec::with_capacity(1024);
        match answer {
            // A completion of text has the same shape whole and as the only chunk of a stream.
            AnswerBody::Raw(raw) if self.kind != CallKind::Chat && self.format() == Some(raw.format) => {
                stream::push_event(&mut out, &whole::with_note(&raw.bytes, raw.facts.has_note, note));
                stream::push_event(&mut out, DONE_DATA.as_bytes());
            }
            _ => {
                let mut encoder = stream::ChunkWriter::new(self.kind, context);
                for delta in answer.outcome()?.deltas() {
                    match &delta {
                        // All of the answer is there: the role comes with it, not in a chunk before.
                        Delta::Begin(head) => encoder.set_head(head),
                        _ => encoder.push_delta(&delta, &mut out),
                    }
                }
                encoder.finish(note, &mut out);
            }
        }
        Ok(out)
    }

    fn error(&self, error: &ApiError) -> Vec<u8> {
        error_body(error)
    }
}
