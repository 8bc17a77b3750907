//! What upstreams write, and reading it: as the caller's own dialect or in neutral terms.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::call::CallKind;
use crate::dialect::{Endpoint, anthropic, openai};
use crate::error::ReadAnswerError;
use crate::outcome::{AnswerBody, AnswerFacts, ChunkFacts, Delta, Outcome, RawAnswer, RawChunk, StreamItem};
use crate::sse::SseEvent;

/// The format of an upstream's answers: its dialect and what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// OpenAI's chat completions.
    OpenAiChat,
    /// OpenAI's completions of text.
    OpenAiText,
    /// OpenAI's embeddings.
    OpenAiEmbeddings,
    /// Anthropic's messages.
    AnthropicMessages,
}

impl Format {
    /// Returns OpenAI's format for calls of `kind`.
    pub const fn openai(kind: CallKind) -> Self {
        match kind {
            CallKind::Chat => Self::OpenAiChat,
            CallKind::Text => Self::OpenAiText,
            CallKind::Embeddings => Self::OpenAiEmbeddings,
        }
    }

    /// Returns the kind of calls that are answered in it.
    pub const fn kind(self) -> CallKind {
        match self {
            Self::OpenAiChat | Self::AnthropicMessages => CallKind::Chat,
            Self::OpenAiText => CallKind::Text,
            Self::OpenAiEmbeddings => CallKind::Embeddings,
        }
    }

    /// Reads a whole answer for a caller of `endpoint`. Where the format is the caller's own, the bytes are kept and
    /// only facts are read; else the answer is read in full.
    ///
    /// # Errors
    /// When it is not an answer of this format, or an error object whatever its status.
    pub fn read_answer(self, bytes: Bytes, endpoint: &dyn Endpoint) -> Result<AnswerBody, ReadAnswerError> {
        if endpoint.format() != Some(self) {
            return self.read_outcome(&bytes).map(AnswerBody::Typed);
        }
        let facts = match self {
            Self::OpenAiChat | Self::OpenAiText | Self::OpenAiEmbeddings => {
                openai::read_facts(self.kind(), &bytes)?
            }
            Self::AnthropicMessages => {
                let outcome = anthropic::read_outcome(&bytes)?;
                let text = outcome.text().map(str::to_owned);
                AnswerFacts { usage: outcome.usage, text, has_note: false }
            }
        };
        Ok(AnswerBody::Raw(RawAnswer { format: self, bytes, facts }))
    }

    /// Reads a whole answer in neutral terms.
    ///
    /// # Errors
    /// When it is not an answer of this format, or an error object.
    pub fn read_outcome(self, bytes: &[u8]) -> Result<Outcome, ReadAnswerError> {
        match self {
            Self::OpenAiChat | Self::OpenAiText | Self::OpenAiEmbeddings => {
                openai::read_outcome(self.kind(), bytes)
            }
            Self::AnthropicMessages => anthropic::read_outcome(bytes),
        }
    }
}

/// Reads the events of one upstream's stream for a caller of one endpoint.
#[derive(Debug)]
pub struct EventReader {
    format: Format,
    /// Whether the caller reads the format itself.
    is_callers_own: bool,
    dialect: DialectReader,
    is_done: bool,
}

#[derive(Debug)]
enum DialectReader {
    OpenAi(openai::ChunkReader),
    Anthropic(anthropic::EventTranslator),
}

impl EventReader {
    /// Returns a reader of a stream in `format` for a caller of `endpoint`.
    pub fn new(format: Format, endpoint: &dyn Endpoint) -> Self {
        let dialect = match format {
            Format::OpenAiChat | Format::OpenAiText | Format::OpenAiEmbeddings => {
                DialectReader::OpenAi(openai::ChunkReader::new(format.kind()))
            }
            Format::AnthropicMessages => DialectReader::Anthropic(anthropic::EventTranslator::default()),
        };
        Self { format, is_callers_own: endpoint.format() == Some(format), dialect, is_done: false }
    }

    /// Returns whether the stream has said that it is over: one that ends before was cut.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Reads one event and appends what it becomes to `items`; nothing for pings and the like.
    ///
    /// # Errors
    /// When it is not an event of the format, or an error.
    pub fn read(&mut self, event: SseEvent, items: &mut VecDeque<StreamItem>) -> Result<(), ReadAnswerError> {
        let (format, data) = (self.format, event.data);
        let raw = |data, facts| StreamItem::Raw(RawChunk { format, data, facts });
        match &mut self.dialect {
            DialectReader::OpenAi(_) if data.trim() == openai::DONE_DATA => self.is_done = true,
            DialectReader::OpenAi(_) if self.is_callers_own => {
                let facts = openai::read_chunk_facts(&data)?;
                items.push_back(raw(data, facts));
            }
            DialectReader::OpenAi(reader) => {
                items.extend(reader.read(&data)?.into_iter().map(StreamItem::Typed));
            }
            DialectReader::Anthropic(translator) => {
                let delta = translator.read(&data)?;
                self.is_done = translator.is_finished();
                if self.is_callers_own {
                    items.push_back(raw(data, facts_of(delta.as_ref())));
                } else {
                    items.extend(delta.map(StreamItem::Typed));
                }
            }
        }
        Ok(())
    }
}

fn facts_of(delta: Option<&Delta>) -> ChunkFacts {
    let usage = delta.and_then(Delta::usage);
    ChunkFacts {
        usage,
        has_choices: delta.is_some() && usage.is_none(),
        finishes: matches!(delta, Some(Delta::Finish { .. })),
        has_note: false,
    }
}
