//! How long a model thinks before it answers.

use serde_json::{Value, json};

use super::conversation::Conversation;
use super::request::{ModelTraits, Thinking};
use crate::call::{Call, ToolChoice};
use crate::feature::Feature;
use crate::support::Unsupported;

/// The fewest tokens that the API takes for thinking.
const BUDGET_MIN: u32 = 1_024;

/// OpenAI's words for how much to reason, with the tokens that a model may think for and the API's own words. The
/// largest budget leaves room for an answer within the 32,000 tokens that the smaller of the models have.
const EFFORTS: [(&str, u32, &str); 6] = [
    ("minimal", BUDGET_MIN, "low"),
    ("low", 2_048, "low"),
    ("medium", 8_192, "medium"),
    ("high", 16_384, "high"),
    ("xhigh", 24_576, "xhigh"),
    ("max", 27_648, "max"),
];

/// What is said about thinking, and the tokens that are left for all of the answer.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) output_tokens: u32,
    pub(super) thinking: Option<Value>,
    pub(super) effort: Option<&'static str>,
}

/// Returns whether `effort` is a word that OpenAI has.
pub(super) fn is_known(effort: &str) -> bool {
    effort == "none" || EFFORTS.iter().any(|(word, ..)| *word == effort)
}

/// Returns what of `call` does not go together with thinking, where it asks for that.
pub(super) fn refusal(call: &Call, traits: ModelTraits) -> Option<Unsupported> {
    wanted(call)?;
    let settings = call.settings();
    let refuse = |feature, reason| Some(Unsupported::new(feature, reason));
    if traits.thinking == Thinking::None {
        return refuse(
            Feature::ReasoningEffort,
            "the model does not think (`thinking` in its configuration)",
        );
    }
    if settings.sampling.temperature.is_some_and(|temperature| temperature != 1.0) {
        return refuse(Feature::Temperature, "only 1 while the model thinks (`reasoning_effort`)");
    }
    if settings.sampling.top_p.is_some_and(|top_p| top_p < 0.95) {
        return refuse(Feature::TopP, "only from 0.95 on while the model thinks (`reasoning_effort`)");
    }
    if matches!(settings.tool_choice, ToolChoice::Required | ToolChoice::Named(_)) {
        let reason = "no call can be required while the model thinks (`reasoning_effort`)";
        return refuse(Feature::ToolChoice, reason);
    }
    if traits.thinking == Thinking::Budget
        && call.output_tokens_max.is_some_and(|tokens| tokens <= BUDGET_MIN)
    {
        let reason = "the model thinks for at least 1024 tokens, which are part of the answer's limit";
        return refuse(Feature::OutputLimit, reason);
    }
    None
}

/// Returns what is said about thinking.
///
/// # Errors
/// When the conversation is one that a thinking model does not go on with.
pub(super) fn plan(
    call: &Call,
    traits: ModelTraits,
    conversation: &Conversation,
) -> Result<Plan, Unsupported> {
    let limit = call.output_tokens_max;
    let output_tokens = limit.unwrap_or(traits.output_tokens);
    let quiet = |thinking| Plan { output_tokens, thinking, effort: None };
    let Some((_, budget, effort)) = wanted(call) else {
        let is_told = call.settings().reasoning_effort.as_deref() == Some("none");
        let is_off = is_told && traits.thinking != Thinking::None;
        return Ok(quiet(is_off.then(|| json!({"type": "disabled"}))));
    };
    let refuse = |reason| Err(Unsupported::new(Feature::ReasoningEffort, reason));
    if conversation.is_begun() {
        return refuse("the model does not think when it goes on with its own words");
    }
    if traits.thinking == Thinking::Adaptive {
        let thinking = Some(json!({"type": "adaptive"}));
        return Ok(Plan { output_tokens, thinking, effort: Some(effort) });
    }
    if conversation.lacks_thoughts() {
        return refuse("the model's thoughts before its tool calls are not there (`thinking_blocks`)");
    }
    let (budget, output_tokens) = match limit {
        Some(limit) => (budget.min(limit / 2).max(BUDGET_MIN), limit),
        None => (budget, traits.output_tokens.saturating_add(budget)),
    };
    let thinking = Some(json!({"type": "enabled", "budget_tokens": budget}));
    Ok(Plan { output_tokens, thinking, effort: None })
}

/// Returns how much a call wants the model to think, where it wants that.
fn wanted(call: &Call) -> Option<(&'static str, u32, &'static str)> {
    let effort = call.settings().reasoning_effort.as_deref()?;
    EFFORTS.into_iter().find(|(word, ..)| *word == effort)
}
