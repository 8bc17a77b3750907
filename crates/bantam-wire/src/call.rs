//! What is asked, in no dialect's words.
//!
//! A [`Call`] is what planning, students, the engine and translations read. Beside it stands the caller's own body (see
//! [`Source`]), so that an upstream of the caller's own dialect gets the very bytes that were scanned. What planning
//! needs is read at once; everything else is read from the body when somebody asks for it ([`Call::settings`]), so that
//! a request that is only passed on costs no more than its text.

mod message;
mod settings;
mod source;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use bytes::Bytes;

pub(crate) use message::shared;
pub use message::{Audio, File, Image, Message, MessageDetails, Part, Role, SharedText, Thought, ToolCall};
pub use settings::{
    AnswerForm, CacheMark, Caller, InnerMember, JsonSchema, ProviderHints, Sampling, Settings, Tool,
    ToolChoice, VectorEncoding, Vectors,
};
pub use source::{Member, Source};

use crate::dialect::Endpoint;
use crate::error::DecodeError;
use crate::feature::{Feature, FeatureSet};
use crate::json::{self, TextSink};

/// How large a request may be inside, and what it may hold beside its dialect.
#[derive(Clone, Debug)]
pub struct DecodeLimits {
    /// How deep objects and arrays may nest.
    pub json_depth_max: usize,
    /// How many messages a conversation may have.
    pub messages_max: usize,
    /// Parameters that are no part of the dialect and that some upstream takes.
    pub vendor_fields: BTreeSet<String>,
}

impl DecodeLimits {
    /// The most messages that any configuration allows.
    pub const MESSAGES_MAX: usize = 16_384;
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { json_depth_max: 64, messages_max: Self::MESSAGES_MAX, vendor_fields: BTreeSet::new() }
    }
}

/// What kind of answer a call wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// The next message of a conversation.
    Chat,
    /// The continuation of a text, or its missing middle.
    Text,
    /// Vectors of texts.
    Embeddings,
}

impl CallKind {
    /// Returns the feature that stands for the kind: a backend that does not serve the kind refuses it.
    pub const fn feature(self) -> Feature {
        match self {
            Self::Chat => Feature::Chat,
            Self::Text => Feature::Text,
            Self::Embeddings => Feature::Embeddings,
        }
    }
}

/// What a call is about.
#[derive(Clone, Debug)]
pub enum Input {
    /// A conversation to continue.
    Conversation(Vec<Message>),
    /// Texts to continue, each on its own.
    Prompts(Vec<String>),
    /// Texts to turn into vectors.
    Texts(Vec<String>),
}

/// What a dialect reads from a body. [`Call::decode`] makes a call of it.
#[derive(Clone, Debug)]
pub struct DecodedCall {
    /// See [`Call::model`].
    pub model: String,
    /// See [`Call::input`].
    pub input: Input,
    /// See [`Call::stream`].
    pub stream: bool,
    /// See [`Call::include_usage`].
    pub include_usage: bool,
    /// See [`Call::answers`].
    pub answers: u32,
    /// See [`Call::output_tokens_max`].
    pub output_tokens_max: Option<u32>,
    /// What the parameters ask for. The kind of the call and the parts of its messages are added by [`Call::decode`].
    pub features: FeatureSet,
    /// Bytes of the prompt that are not text of the input: tools, a suffix.
    pub other_prompt_bytes: usize,
    /// Where the body's members are.
    pub members: Vec<Member>,
}

/// A valid request, and the body it came as.
#[derive(Clone, Debug)]
pub struct Call {
    /// Where and in which dialect it was asked.
    pub endpoint: &'static dyn Endpoint,
    /// What the caller asked for: a model, `task/NAME` or `auto`.
    pub model: String,
    /// What it is about.
    pub input: Input,
    /// Whether the caller wants a stream.
    pub stream: bool,
    /// Whether the caller wants a stream to tell its token counts.
    pub include_usage: bool,
    /// How many answers the caller wants, of each prompt.
    pub answers: u32,
    /// The most tokens the caller wants back.
    pub output_tokens_max: Option<u32>,
    features: FeatureSet,
    other_prompt_bytes: usize,
    source: Source,
    settings: OnceLock<Box<Settings>>,
}

impl Call {
    /// Decodes `body`, which came to `endpoint`, and hands every string, key and number in it to `sink` on the way.
    ///
    /// The walk comes first and is made here, over the very bytes that are kept: no dialect can read, or forward, what
    /// was not walked.
    ///
    /// # Errors
    /// See [`DecodeError`]; each names the parameter at fault.
    pub fn decode(
        endpoint: &'static dyn Endpoint,
        body: Bytes,
        limits: &DecodeLimits,
        sink: &mut dyn TextSink,
    ) -> Result<Self, DecodeError> {
        json::walk(&body, limits.json_depth_max, sink)
            .map_err(|error| DecodeError::Json(error.to_string()))?;
        let decoded = endpoint.decode(&body, limits)?;
        let mut features = decoded.features;
        features.insert(endpoint.kind().feature());
        if let Input::Conversation(messages) = &decoded.input {
            messages.iter().flat_map(Message::features).for_each(|feature| features.insert(feature));
        }
        Ok(Self {
            endpoint,
            model: decoded.model,
            input: decoded.input,
            stream: decoded.stream,
            include_usage: decoded.include_usage,
            answers: decoded.answers,
            output_tokens_max: decoded.output_tokens_max,
            features,
            other_prompt_bytes: decoded.other_prompt_bytes,
            source: Source::new(body, decoded.members),
            settings: OnceLock::new(),
        })
    }

    /// Returns what kind of answer it wants.
    pub fn kind(&self) -> CallKind {
        match self.input {
            Input::Conversation(_) => CallKind::Chat,
            Input::Prompts(_) => CallKind::Text,
            Input::Texts(_) => CallKind::Embeddings,
        }
    }

    /// Returns what it asks for. A parameter whose value is the default asks for nothing.
    pub const fn features(&self) -> FeatureSet {
        self.features
    }

    /// Returns whether it asks for `feature`.
    pub const fn asks(&self, feature: Feature) -> bool {
        self.features.contains(feature)
    }

    /// Returns everything that is not needed for planning: read when first asked for, and kept.
    pub fn settings(&self) -> &Settings {
        self.settings.get_or_init(|| Box::new(self.endpoint.settings(&self.source)))
    }

    /// Returns the caller's own body.
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// Returns the messages of a conversation; none for other kinds of calls.
    pub fn messages(&self) -> &[Message] {
        match &self.input {
            Input::Conversation(messages) => messages,
            Input::Prompts(_) | Input::Texts(_) => &[],
        }
    }

    /// Returns the prompts of a text call, or the texts to turn into vectors; none for a conversation.
    pub fn texts(&self) -> &[String] {
        match &self.input {
            Input::Conversation(_) => &[],
            Input::Prompts(texts) | Input::Texts(texts) => texts,
        }
    }

    /// Returns the text of the last user message.
    pub fn last_user_text(&self) -> Option<&str> {
        self.messages().iter().rev().find(|message| message.role == Role::User).map(Message::text)
    }

    /// Returns what was said before the last user message: the text of the nearest assistant message before it that
    /// has any. Tool results, calls without text and further user messages in between are skipped. A refusal counts
    /// where it is part of the content. Parts that are not text are not mentioned; see [`Self::has_unread_parts`].
    pub fn said_before(&self) -> Option<&str> {
        let messages = self.messages();
        let last = messages.iter().rposition(|message| message.role == Role::User)?;
        let before = messages.get(..last)?.iter().rev();
        let mut said = before.filter(|message| message.role == Role::Assistant).map(Message::text);
        said.find(|text| !text.trim().is_empty())
    }

    /// Returns whether the caller brought instructions of their own.
    pub fn has_system(&self) -> bool {
        self.messages().iter().any(|message| message.role == Role::System)
    }

    /// Returns the kind of the first part that is not text and so cannot be scanned.
    pub fn unread_part(&self) -> Option<&str> {
        self.messages().iter().find_map(Message::unread_part)
    }

    /// Returns whether an earlier tool call is of a kind other than a function's. It reads every message's calls, so it is
    /// not one of [`Self::features`].
    pub fn has_other_tool_calls(&self) -> bool {
        self.messages().iter().filter_map(Message::details).any(|details| details.has_other_calls)
    }

    /// Returns whether any message holds something other than text.
    pub fn has_unread_parts(&self) -> bool {
        self.unread_part().is_some()
    }

    /// Estimates the prompt's tokens from its bytes: one for every four, and four a message.
    ///
    /// Upstreams tokenise each in their own way, so this is an estimate for planning and is called one wherever it
    /// shows. Costs always come from what the upstream counted.
    pub fn estimated_prompt_tokens(&self) -> u64 {
        let messages: usize = self.messages().iter().map(|message| message.text_bytes() / 4 + 4).sum();
        let texts: usize = self.texts().iter().map(|text| text.len() / 4 + 4).sum();
        (messages + texts + self.other_prompt_bytes / 4) as u64
    }
}
