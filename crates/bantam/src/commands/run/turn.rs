//! One question and its answer.

use std::time::{Duration, Instant};

use bantam_backend::{Answer, AnswerStream, Ask, Backend, BackendFault};
use bantam_types::TokenUsage;
use bantam_wire::{Delta, StreamItem};
use futures_util::StreamExt;
use serde_json::{Map, Value, json};

use super::Session;
use crate::cli::models::RunArgs;
use crate::commands::asked;
use crate::commands::usage::dollars;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Whole,
    Interrupted,
}

/// An answer, and what it took.
pub(super) struct Told {
    pub(super) text: String,
    pub(super) usage: TokenUsage,
    /// Until the first token was there.
    pub(super) first: Duration,
    pub(super) total: Duration,
    pub(super) ended: Ended,
}

impl Told {
    /// Returns how fast tokens came after the first.
    pub(super) fn tokens_per_s(&self) -> f64 {
        let after = self.total.saturating_sub(self.first).as_secs_f64().max(1e-9);
        self.usage.output.saturating_sub(1) as f64 / after
    }
}

/// Asks the model, and shows the answer as it comes.
pub(super) async fn answer(
    session: &Session,
    messages: &[Value],
    args: &RunArgs,
    globals: &Globals,
) -> Result<Told, Failure> {
    let mut body = Map::new();
    body.insert("model".into(), json!(session.name));
    body.insert("messages".into(), json!(messages));
    body.insert("stream".into(), json!(true));
    let options = [
        ("max_tokens", json!(args.max_tokens)),
        ("temperature", json!(args.temperature)),
        ("seed", json!(args.seed)),
    ];
    body.extend(
        options.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.to_owned(), value)),
    );
    let cleared = asked::cleared(&Value::from(body))?;
    let begin = Instant::now();
    let ask = Ask { system: None, stream: true, payload_start: 0, deadline: None };
    let answered = tokio::select! {
        answered = session.backend.answer(cleared, ask) => answered,
        _ = tokio::signal::ctrl_c() => return Ok(stopped(begin)),
    };
    match answered {
        Ok(Answer::Stream(stream)) => read(stream, begin, globals).await,
        Ok(_) => Err(Failure::new(Outcome::Failed, "the model did not stream its answer")),
        Err(error) => Err(refused(&error.fault)),
    }
}

/// An answer that was stopped before its first token.
fn stopped(begin: Instant) -> Told {
    let total = begin.elapsed();
    Told { text: String::new(), usage: TokenUsage::default(), first: total, total, ended: Ended::Interrupted }
}

async fn read(mut stream: AnswerStream, begin: Instant, globals: &Globals) -> Result<Told, Failure> {
    let mut told = stopped(begin);
    let mut first = None;
    told.ended = loop {
        let item = tokio::select! {
            item = stream.items.next() => item,
            _ = tokio::signal::ctrl_c() => break Ended::Interrupted,
        };
        let Some(item) = item else { break Ended::Whole };
        let item = item.map_err(|error| refused(&error.fault))?;
        if let Some(usage) = item.usage() {
            told.usage = usage;
        }
        let StreamItem::Typed(Delta::Text { text, .. }) = item else { continue };
        if text.is_empty() {
            continue;
        }
        first.get_or_insert_with(|| begin.elapsed());
        told.text.push_str(&text);
        if !globals.json {
            output::text(&text);
        }
    };
    told.total = begin.elapsed();
    told.first = first.unwrap_or(told.total);
    Ok(told)
}

fn refused(fault: &BackendFault) -> Failure {
    let failure = Failure::from_error("the model gave no answer", fault);
    match fault {
        BackendFault::TooLarge => {
            failure.hint("the conversation is longer than the model's context: /clear it")
        }
        BackendFault::CannotHonour(_) => failure.outcome(Outcome::Usage),
        _ => failure,
    }
}

/// Says what an answer took: for people below it, for machines in its place.
pub(super) fn report(session: &Session, told: &Told, globals: &Globals) {
    let cost = session.baseline.as_ref().map(|(name, price)| (name, price.cost(told.usage)));
    if globals.json {
        let body = json!({
            "model": session.name, "text": told.text, "interrupted": told.ended == Ended::Interrupted,
            "usage": { "input": told.usage.input, "cached_input": told.usage.cached_input, "output": told.usage.output },
            "first_token_ms": told.first.as_secs_f64() * 1e3, "total_ms": told.total.as_secs_f64() * 1e3,
            "tokens_per_s": told.tokens_per_s(), "cost_usd": "0",
            "baseline": cost.as_ref().map(|(name, cost)| json!({ "model": name, "cost_usd": cost.to_string() })),
        });
        return output::line(body.to_string());
    }
    output::line("");
    if globals.quiet {
        return;
    }
    let (first, total) = (told.first.as_secs_f64(), told.total.as_secs_f64());
    let mut parts = Vec::new();
    match told.ended {
        Ended::Interrupted => parts.push("stopped".to_owned()),
        Ended::Whole => {
            parts.push(format!("{} tokens", told.usage.output));
            parts.push(format!("{:.1} tokens/s", told.tokens_per_s()));
        }
    }
    parts.push(format!("first after {first:.2} s"));
    parts.push(format!("{total:.2} s"));
    parts.push("$0".to_owned());
    parts.extend(cost.map(|(name, cost)| format!("{name} would have cost {}", dollars(cost))));
    output::note(format!("— {}", parts.join(" · ")));
}
