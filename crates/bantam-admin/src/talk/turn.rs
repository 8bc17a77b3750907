//! One question and its answer.

use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use bantam_backend::{Answer, AnswerStream, Ask, Backend as _, BackendFault};
use bantam_privacy::{Cleared, PrivacyPolicy, Scanned, Scanner, ScannerConfig};
use bantam_types::{Label, Tier, TokenUsage, Usd};
use bantam_wire::{DecodeLimits, Delta, StreamItem, openai};
use futures_util::StreamExt as _;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Conversation, TalkError};

/// An answer, and what it took.
///
/// The names of the fields are a wire contract: they do not change, and new ones may come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TalkTurn {
    /// The model.
    pub model: String,
    /// The answer; until it was interrupted, if it was.
    pub text: String,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// Tokens, as the model counts them.
    pub usage: TalkTokens,
    /// Milliseconds until the first token.
    pub first_token_ms: f64,
    /// Milliseconds until the end.
    pub total_ms: f64,
    /// How fast tokens came after the first.
    pub tokens_per_s: f64,
    /// What it cost: nothing, since it ran here.
    pub cost_usd: &'static str,
    /// What it would have cost from the baseline of the configuration, where that has a price.
    pub baseline: Option<TurnBaseline>,
}

impl TalkTurn {
    /// Returns in words what the answer took.
    pub fn figures(&self) -> String {
        let told = match self.interrupted {
            true => "stopped".to_owned(),
            false => format!("{} tokens · {:.1} tokens/s", self.usage.output, self.tokens_per_s),
        };
        let (first, total) = (self.first_token_ms / 1e3, self.total_ms / 1e3);
        format!("{told} · first after {first:.2} s · {total:.2} s · $0")
    }
}

/// Tokens of a question and its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TalkTokens {
    /// Tokens of the conversation so far.
    pub input: u64,
    /// Of these, tokens that were in memory already.
    pub cached_input: u64,
    /// Tokens of the answer.
    pub output: u64,
}

/// What an answer would have cost elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TurnBaseline {
    /// The model elsewhere.
    pub model: String,
    /// The cost, in dollars.
    #[serde(rename = "cost_usd", serialize_with = "dollars")]
    pub cost: Usd,
}

fn dollars<S: serde::Serializer>(cost: &Usd, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(cost)
}

/// An answer while it comes.
struct Coming {
    text: String,
    usage: TokenUsage,
    begun: Instant,
    /// Until the first token was there.
    first: Option<Duration>,
    interrupted: bool,
}

impl Coming {
    fn end(self, conversation: &Conversation) -> TalkTurn {
        let Self { text, usage, begun, first, interrupted } = self;
        let total = begun.elapsed();
        let first = first.unwrap_or(total);
        let after = total.saturating_sub(first).as_secs_f64().max(1e-9);
        let baseline = conversation.baseline.as_ref();
        TalkTurn {
            model: conversation.name.clone(),
            text,
            interrupted,
            usage: TalkTokens { input: usage.input, cached_input: usage.cached_input, output: usage.output },
            first_token_ms: first.as_secs_f64() * 1e3,
            total_ms: total.as_secs_f64() * 1e3,
            tokens_per_s: usage.output.saturating_sub(1) as f64 / after,
            cost_usd: "0",
            baseline: baseline.and_then(|(model, price)| {
                let cost = price.cost(usage).ok()?;
                Some(TurnBaseline { model: model.clone(), cost })
            }),
        }
    }
}

/// Asks the model for the answer to a conversation's last question.
pub(super) async fn answer(
    conversation: &Conversation,
    on_text: &mut dyn FnMut(&str),
    stop: impl Future<Output = ()>,
) -> Result<TalkTurn, TalkError> {
    let cleared = cleared(&body(conversation))?;
    let mut stop = pin!(stop);
    let mut coming = Coming {
        text: String::new(),
        usage: TokenUsage::default(),
        begun: Instant::now(),
        first: None,
        interrupted: false,
    };
    let ask = Ask { stream: true, ..Ask::default() };
    let answered = tokio::select! {
        answered = conversation.backend.answer(cleared, ask) => Some(answered),
        () = &mut stop => None,
    };
    match answered {
        Some(Ok(Answer::Stream(stream))) => read(stream, &mut coming, on_text, stop).await?,
        // It was asked for a stream, and answers otherwise.
        Some(Ok(_)) => return Err(BackendFault::Garbage.into()),
        Some(Err(error)) => return Err(error.fault.into()),
        None => coming.interrupted = true,
    }
    Ok(coming.end(conversation))
}

/// Returns the request for the answer to a conversation's last question.
fn body(conversation: &Conversation) -> Value {
    let Conversation { name, settings, messages, .. } = conversation;
    let system = settings.system.iter().map(|text| json!({ "role": "system", "content": text }));
    let messages: Vec<Value> = system.chain(messages.iter().cloned()).collect();
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(name));
    body.insert("messages".to_owned(), json!(messages));
    body.insert("stream".to_owned(), json!(true));
    let options = [
        ("max_tokens", json!(settings.max_tokens)),
        ("temperature", json!(settings.temperature)),
        ("seed", json!(settings.seed)),
    ];
    let given = options.into_iter().filter(|(_, value)| !value.is_null());
    body.extend(given.map(|(key, value)| (key.to_owned(), value)));
    Value::from(body)
}

/// Returns a request as the privacy policy lets it pass to the local tier, which every label may see.
fn cleared(body: &Value) -> Result<Cleared, TalkError> {
    let scanner = Scanner::new(&ScannerConfig { dictionary: Vec::new() })?;
    let scanned = Scanned::decode(openai::CHAT, body.to_string().into(), &DecodeLimits::default(), &scanner)?;
    let policy = PrivacyPolicy { mid_max: Label::Public, frontier_max: Label::Public };
    Ok(policy.clear(&scanned, Tier::Local).ok_or(BackendFault::NotCleared)?)
}

async fn read(
    mut stream: AnswerStream,
    coming: &mut Coming,
    on_text: &mut dyn FnMut(&str),
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), TalkError> {
    loop {
        let item = tokio::select! {
            item = stream.items.next() => item,
            () = &mut stop => {
                coming.interrupted = true;
                return Ok(());
            }
        };
        let Some(item) = item else { return Ok(()) };
        let item = item.map_err(|error| error.fault)?;
        if let Some(usage) = item.usage() {
            coming.usage = usage.tokens;
        }
        let StreamItem::Typed(Delta::Text { text, .. }) = item else { continue };
        if text.is_empty() {
            continue;
        }
        coming.first.get_or_insert_with(|| coming.begun.elapsed());
        coming.text.push_str(&text);
        on_text(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_json_that_stays_as_it_is() {
        let turn = TalkTurn {
            model: "tiny:f32".to_owned(),
            text: "hello".to_owned(),
            interrupted: false,
            usage: TalkTokens { input: 12, cached_input: 3, output: 7 },
            first_token_ms: 12.5,
            total_ms: 50.0,
            tokens_per_s: 160.0,
            cost_usd: "0",
            baseline: Some(TurnBaseline {
                model: "large".to_owned(),
                cost: Usd::from_picodollars(1_250_000_000),
            }),
        };
        assert_eq!(turn.figures(), "7 tokens · 160.0 tokens/s · first after 0.01 s · 0.05 s · $0");
        insta::assert_json_snapshot!(turn);
    }
}
