//! What upstreams write, and reading it: as the caller's own dialect or in neutral terms.

use std::collections::{BTreeSet, VecDeque};

use bantam_types::{AnswerUsage, CountState, ServiceTier};
use bytes::Bytes;

use crate::call::CallKind;
use crate::dialect::anthropic::Step;
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

/// Which answers of a stream have begun, and which have ended.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    begun: BTreeSet<u32>,
    ended: BTreeSet<u32>,
    /// The service tier that was told last.
    service_tier: Option<ServiceTier>,
}

impl Progress {
    /// Notes something of an answer, which may be its end.
    pub(crate) fn saw(&mut self, answer: u32, ends: bool) {
        self.begun.insert(answer);
        if ends {
            self.ended.insert(answer);
        }
    }

    /// Notes the service tier, where a piece of a stream tells it; returns the one that is known.
    pub(crate) fn service_tier(&mut self, told: Option<ServiceTier>) -> Option<ServiceTier> {
        self.service_tier = told.or(self.service_tier);
        self.service_tier
    }

    /// Returns whether every answer has ended that has begun, and at least `expected`.
    fn is_whole(&self, expected: usize) -> bool {
        self.ended.len() == self.begun.len() && self.ended.len() >= expected.max(1)
    }
}

/// Reads the events of one upstream's stream for a caller of one endpoint.
#[derive(Debug)]
pub struct EventReader {
    format: Format,
    /// Whether the caller reads the format itself.
    is_callers_own: bool,
    dialect: DialectReader,
    progress: Progress,
    answers: usize,
    is_done: bool,
    has_said: bool,
}

#[derive(Debug)]
enum DialectReader {
    OpenAi(openai::ChunkReader),
    Anthropic(Box<anthropic::EventTranslator>),
}

impl EventReader {
    /// Returns a reader of a stream in `format` for a caller of `endpoint`.
    pub fn new(format: Format, endpoint: &dyn Endpoint) -> Self {
        Self { is_callers_own: endpoint.format() == Some(format), ..Self::of_steps(format) }
    }

    /// Returns a reader of a stream in `format` that reads all of it in neutral terms.
    pub fn of_steps(format: Format) -> Self {
        let dialect = match format {
            Format::OpenAiChat | Format::OpenAiText | Format::OpenAiEmbeddings => {
                DialectReader::OpenAi(openai::ChunkReader::new(format.kind()))
            }
            Format::AnthropicMessages => DialectReader::Anthropic(Box::default()),
        };
        Self {
            format,
            is_callers_own: false,
            dialect,
            progress: Progress::default(),
            answers: 1,
            is_done: false,
            has_said: false,
        }
    }

    /// Returns the reader, which knows that this many answers were asked for.
    #[must_use]
    pub fn expecting(self, answers: usize) -> Self {
        Self { answers, ..self }
    }

    /// Returns whether the stream has said that it is over.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Returns whether the answers are whole: each has said why it ended. A stream that is over before was cut.
    pub fn is_whole(&self) -> bool {
        // An upstream may give fewer answers than were asked for, but then it has to say that it is done.
        self.progress.is_whole(if self.is_done { 1 } else { self.answers })
    }

    /// Returns whether anything was read that a caller would miss: more than that an answer begins.
    pub const fn has_said(&self) -> bool {
        self.has_said
    }

    /// Reads one event and appends what it becomes to `items`; nothing for pings, and for events that this dialect does
    /// not know. Once the answers are whole, an event that cannot be read is worth nothing either.
    ///
    /// # Errors
    /// When it should be an event of the format and is none, or when it is an error.
    pub fn read(&mut self, event: SseEvent, items: &mut VecDeque<StreamItem>) -> Result<(), ReadAnswerError> {
        if event.data.trim().is_empty() {
            return Ok(());
        }
        let read = match self.format {
            Format::AnthropicMessages => self.read_anthropic(event, items),
            Format::OpenAiChat | Format::OpenAiText | Format::OpenAiEmbeddings => {
                self.read_openai(event, items)
            }
        };
        match read {
            Err(ReadAnswerError::NotAnAnswer) if self.is_whole() => Ok(()),
            read => read,
        }
    }

    /// Appends what was read, but would have been told only with an end that never came.
    pub fn end(&mut self, items: &mut VecDeque<StreamItem>) {
        if let DialectReader::Anthropic(translator) = &mut self.dialect {
            let usage = translator.untold_usage().map(|usage| self.checked(usage));
            items.extend(usage.map(|usage| StreamItem::Typed(Delta::Usage(usage))));
        }
    }

    fn read_openai(
        &mut self,
        event: SseEvent,
        items: &mut VecDeque<StreamItem>,
    ) -> Result<(), ReadAnswerError> {
        let SseEvent { event: name, data } = event;
        if data.trim() == openai::DONE_DATA {
            self.is_done = true;
            return Ok(());
        }
        let is_foreign = match name.as_deref() {
            Some("error") => return Err(ReadAnswerError::ErrorObject),
            // Chunks have no name. A few upstreams give them one all the same.
            Some(name) => !matches!(name, "" | "message") && !openai::has_choices(&data),
            None => false,
        };
        let DialectReader::OpenAi(reader) = &mut self.dialect else { return Ok(()) };
        if is_foreign {
            return Ok(());
        }
        if !self.is_callers_own {
            let mut steps = reader.read(&data, &mut self.progress)?;
            self.has_said |= steps.iter().any(Delta::says_something);
            for step in &mut steps {
                if let Delta::Usage(usage) = step {
                    *usage = self.checked(*usage);
                }
            }
            items.extend(steps.into_iter().map(StreamItem::Typed));
            return Ok(());
        }
        let openai::ReadChunk { mut facts, has_list } =
            openai::read_chunk_facts(&data, self.format.kind(), &mut self.progress)?;
        self.has_said = self.has_said || openai::says_something(&data);
        facts.usage = facts.usage.map(|usage| self.checked(usage));
        let data = match (has_list, facts.usage) {
            (true, _) => data,
            (false, Some(_)) => openai::with_choices(data),
            (false, None) => return Ok(()),
        };
        items.push_back(StreamItem::Raw(RawChunk { format: self.format, data, facts }));
        Ok(())
    }

    /// Returns the counts, marked where they deny the tokens of what was said.
    fn checked(&self, usage: AnswerUsage) -> AnswerUsage {
        if self.has_said && usage.tokens.output == 0 && usage.counts == CountState::Complete {
            return usage.contradictory();
        }
        usage
    }

    fn read_anthropic(
        &mut self,
        event: SseEvent,
        items: &mut VecDeque<StreamItem>,
    ) -> Result<(), ReadAnswerError> {
        let DialectReader::Anthropic(translator) = &mut self.dialect else { return Ok(()) };
        let step = translator.read(event.event.as_deref(), &event.data)?;
        self.is_done = translator.is_finished();
        match &step {
            Step::Said(delta) => {
                self.has_said |= delta.says_something();
                self.progress.saw(0, matches!(delta, Delta::Finish { .. }));
            }
            Step::Thought => self.has_said = true,
            Step::Nothing | Step::Foreign => {}
        }
        let is_foreign = matches!(step, Step::Foreign);
        let counted = translator.untold_usage().map(|usage| self.checked(usage));
        let delta = if let Step::Said(delta) = step { Some(delta) } else { None };
        if !self.is_callers_own {
            items.extend(delta.map(StreamItem::Typed));
            items.extend(counted.map(|usage| StreamItem::Typed(Delta::Usage(usage))));
        } else if !is_foreign {
            let facts = ChunkFacts { usage: counted, ..facts_of(delta.as_ref()) };
            items.push_back(StreamItem::Raw(RawChunk { format: self.format, data: event.data, facts }));
        }
        Ok(())
    }
}

fn facts_of(delta: Option<&Delta>) -> ChunkFacts {
    ChunkFacts {
        usage: None,
        has_choices: delta.is_some(),
        finishes: matches!(delta, Some(Delta::Finish { .. })),
        has_note: false,
    }
}
