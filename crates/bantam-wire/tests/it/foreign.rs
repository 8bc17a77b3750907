//! An endpoint of a dialect that is made up for tests: its callers name the features that they ask for.

use bantam_wire::call::{DecodedCall, Source};
use bantam_wire::{
    AnswerBody, AnswerContext, ApiError, CallKind, DecodeError, DecodeLimits, Endpoint, Feature, Format,
    Input, Message, ReadAnswerError, Role, RoutingNote, Settings, StreamEncoder,
};
use bytes::Bytes;

/// An endpoint that no upstream speaks: everything is translated for it.
pub(crate) const FOREIGN: &dyn Endpoint = &Foreign { format: None };
/// An endpoint whose callers read Anthropic's messages themselves.
pub(crate) const LIKE_ANTHROPIC: &dyn Endpoint = &Foreign { format: Some(Format::AnthropicMessages) };

#[derive(Debug)]
struct Foreign {
    format: Option<Format>,
}

impl Endpoint for Foreign {
    fn dialect(&self) -> &'static str {
        "foreign"
    }

    fn path(&self) -> &'static str {
        "/foreign"
    }

    fn about(&self) -> &'static str {
        "Answers in a dialect that only tests speak."
    }

    fn kind(&self) -> CallKind {
        CallKind::Chat
    }

    fn format(&self) -> Option<Format> {
        self.format
    }

    fn decode(&self, body: &Bytes, _: &DecodeLimits) -> Result<DecodedCall, DecodeError> {
        let names: Vec<String> =
            serde_json::from_slice(body).map_err(|error| DecodeError::Json(error.to_string()))?;
        let is_named = |feature: &&Feature| names.iter().any(|name| name == feature.name());
        Ok(DecodedCall {
            model: "asked".to_owned(),
            input: Input::Conversation(vec![Message::new(Role::User, "hi")]),
            stream: false,
            include_usage: false,
            answers: 1,
            output_tokens_max: None,
            features: Feature::ALL.iter().filter(is_named).copied().collect(),
            other_prompt_bytes: 0,
            members: Vec::new(),
        })
    }

    fn settings(&self, _: &Source) -> Settings {
        Settings::default()
    }

    fn param(&self, feature: Feature) -> &'static str {
        feature.name()
    }

    fn media_type(&self, _: bool) -> &'static str {
        "text/plain"
    }

    fn whole(
        &self,
        answer: &AnswerBody,
        _: AnswerContext<'_>,
        _: &RoutingNote,
    ) -> Result<Vec<u8>, ReadAnswerError> {
        Ok(format!("{:?}", answer.outcome()?).into_bytes())
    }

    fn stream(&self, _: AnswerContext<'_>) -> Box<dyn StreamEncoder> {
        unreachable!("tests look at the steps themselves")
    }

    fn error(&self, error: &ApiError) -> Vec<u8> {
        error.message.clone().into_bytes()
    }
}
