//! Answers that stay the bytes that an upstream sent, and what is read of them.

use std::borrow::Cow;

use bantam_types::AnswerUsage;
use bytes::Bytes;

use super::{Delta, Outcome};
use crate::error::ReadAnswerError;
use crate::format::Format;

/// A whole answer: typed, or as an upstream wrote it.
#[derive(Clone, Debug)]
pub enum AnswerBody {
    /// In neutral terms, to be written in the caller's dialect.
    Typed(Outcome),
    /// In the caller's dialect already.
    Raw(RawAnswer),
}

/// An upstream's whole answer, checked to be one.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    /// What it is written in.
    pub format: Format,
    /// The body as it came.
    pub bytes: Bytes,
    /// What was read of it.
    pub facts: AnswerFacts,
}

/// What judging and accounting need to know of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerFacts {
    /// Tokens as the upstream counted them, if it said.
    pub usage: Option<AnswerUsage>,
    /// The text of the only answer; `None` when there are several, or calls instead of text.
    pub text: Option<String>,
    /// Whether the body already carries a `bantam` object, from a Bantam behind this one.
    pub has_note: bool,
}

impl AnswerBody {
    /// Returns the tokens that were counted.
    pub const fn usage(&self) -> Option<AnswerUsage> {
        match self {
            Self::Typed(outcome) => outcome.usage,
            Self::Raw(raw) => raw.facts.usage,
        }
    }

    /// Returns the text of the only answer.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Typed(outcome) => outcome.text(),
            Self::Raw(raw) => raw.facts.text.as_deref(),
        }
    }

    /// Returns the answer in neutral terms.
    ///
    /// # Errors
    /// When an upstream's answer has parts that cannot be read, although the facts could.
    pub fn outcome(&self) -> Result<Cow<'_, Outcome>, ReadAnswerError> {
        match self {
            Self::Typed(outcome) => Ok(Cow::Borrowed(outcome)),
            Self::Raw(raw) => raw.format.read_outcome(&raw.bytes).map(Cow::Owned),
        }
    }
}

/// One item of a stream: typed, or as an upstream wrote it.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamItem {
    /// In neutral terms, to be written in the caller's dialect.
    Typed(Delta),
    /// In the caller's dialect already.
    Raw(RawChunk),
}

/// One event of an upstream's stream, checked to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawChunk {
    /// What it is written in.
    pub format: Format,
    /// The event's data.
    pub data: String,
    /// What was read of it.
    pub facts: ChunkFacts,
}

/// What relaying needs to know of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkFacts {
    /// Tokens, on the chunk that carries them.
    pub usage: Option<AnswerUsage>,
    /// Whether it says anything of an answer; a chunk that only tells the usage does not.
    pub has_choices: bool,
    /// Whether an answer ends with it.
    pub finishes: bool,
    /// Whether it already carries a `bantam` object.
    pub has_note: bool,
}

impl StreamItem {
    /// Returns the token counts, on the item that tells them.
    pub const fn usage(&self) -> Option<AnswerUsage> {
        match self {
            Self::Typed(delta) => delta.usage(),
            Self::Raw(chunk) => chunk.facts.usage,
        }
    }

    /// Returns whether an answer ends with it.
    pub const fn finishes(&self) -> bool {
        match self {
            Self::Typed(delta) => matches!(delta, Delta::Finish { .. }),
            Self::Raw(chunk) => chunk.facts.finishes,
        }
    }

    /// Returns whether it holds more of the answer: something that takes tokens.
    pub fn has_content(&self) -> bool {
        match self {
            Self::Typed(delta) => !matches!(delta, Delta::Finish { .. }) && delta.says_something(),
            Self::Raw(chunk) => chunk.facts.has_choices && !chunk.facts.finishes,
        }
    }
}

/// What a stream has told of its usage up to some item.
#[derive(Clone, Copy, Debug, Default)]
pub struct UsageSoFar {
    usage: Option<AnswerUsage>,
    /// More of the answer came after the usage was told.
    is_behind: bool,
}

impl UsageSoFar {
    /// Notes the next item; returns whether that changes what is known.
    pub fn note(&mut self, item: &StreamItem) -> bool {
        if let Some(told) = item.usage() {
            self.usage = Some(self.usage.map_or(told, |before| before.followed_by(told)));
            self.is_behind = false;
            return true;
        }
        let falls_behind = !self.is_behind && self.usage.is_some() && item.has_content();
        self.is_behind |= falls_behind;
        falls_behind
    }

    /// Returns what was counted where the stream breaks off here: not all, where more came after it was told.
    pub const fn usage(&self) -> Option<AnswerUsage> {
        match self.usage {
            Some(usage) if self.is_behind => Some(usage.partial()),
            usage => usage,
        }
    }

    /// Returns what was counted where the stream ends well.
    pub const fn of_whole(&self) -> Option<AnswerUsage> {
        self.usage
    }
}
