//! What a schema costs: the same question answered freely and under one, in turns.
//!
//! The schema asks for a text and leaves it free, so that both sides write as many tokens and everything that differs
//! is the constraint. Time is taken from an answer's second piece of text, as a caller gets it, to the last, and divided
//! by the pieces between; the first does not count, because what a schema forces comes before the model is asked.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bantam_backend::{Answer, Ask, Backend, BackendError};
use bantam_engine::Adapter;
use bantam_kernels::Pool;
use bantam_local::{LocalBackend, LocalModel, LocalModelOptions};
use bantam_privacy::{Cleared, PrivacyPolicy, Scanned, Scanner, ScannerConfig};
use bantam_types::{Cancel, Label, Tier};
use bantam_wire::{DecodeLimits, Delta, StreamItem, openai};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::case::Case;
use crate::report::SchemaRatio;
use crate::{MeasureError, check};

/// Tokens of an answer, where the model's context has room for them.
const ANSWER: usize = 64;
/// The fewest pieces of text of an answer that says something.
const PIECES_MIN: usize = 16;
/// Temperatures that are measured, with the names of the cases without a schema and with it.
const KINDS: [(f32, &str, &str); 2] =
    [(0.0, "free-greedy", "schema-greedy"), (1.0, "free-sampled", "schema-sampled")];

/// The measured cases, or why nothing could be measured.
pub(super) type Outcome = Result<(Vec<Case>, Vec<SchemaRatio>), String>;

/// Answers with and without a schema, in turns.
pub(super) fn measure(
    (model, pool): (&Path, &Arc<Pool>),
    times: usize,
    context: usize,
    cancel: &Cancel,
) -> Result<Outcome, MeasureError> {
    let options = LocalModelOptions {
        name: "bench".into(),
        kv_tokens: context.min(2_048),
        kv_tokens_max: 0,
        keeps_layout: true,
        template: None,
        adapter_bytes_max: 0,
        pool: Arc::clone(pool),
        clock: Arc::new(Instant::now),
    };
    let backend = match LocalModel::open(model, &options) {
        Ok(opened) => LocalBackend::new(Arc::new(opened)),
        Err(error) => return Ok(Err(error.kind.to_string())),
    };
    let (mut cases, mut ratios) = (Vec::new(), Vec::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(MeasureError::Runtime)?;
    for (temperature, free, schema) in KINDS {
        let ask = |has_schema, seed| {
            let body = body(context, temperature, has_schema, seed);
            let cleared = cleared(&body)?;
            Ok::<_, MeasureError>(runtime.block_on(piece(&backend, cleared)))
        };
        let mut all = [Vec::new(), Vec::new()];
        // The first round computes the prompt for all others, and counts for nothing.
        for round in 0..=times.div_ceil(2) {
            check(cancel)?;
            for has_schema in [round % 2 == 0, round % 2 != 0] {
                match ask(has_schema, round)? {
                    Ok(piece) if round > 0 => all[usize::from(has_schema)].extend(piece),
                    Ok(_) => {}
                    Err(error) => return Ok(Err(error.fault.to_string())),
                }
            }
        }
        if all.iter().any(Vec::is_empty) {
            return Ok(Err("the model's answers are too short".to_owned()));
        }
        let about = [
            "a piece of an answer's text, of one answer each",
            "the same under a schema that leaves it free",
        ];
        for ((name, about), milliseconds) in [free, schema].into_iter().zip(about).zip(all) {
            cases.push(Case { name: name.to_owned(), about, milliseconds, tokens: 1, share: None });
        }
        let [.., one, other] = &cases[..] else { continue };
        ratios.push(SchemaRatio { schema, free, ratio: other.percentile(0.5) / one.percentile(0.5) });
    }
    Ok(Ok((cases, ratios)))
}

fn body(context: usize, temperature: f32, has_schema: bool, seed: usize) -> Value {
    let tokens = ANSWER.min(context / 4);
    let mut body = json!({
        "model": "bench", "stream": true, "temperature": temperature, "seed": seed,
        "max_tokens": tokens, "messages": [{ "role": "user", "content": "A long story, please." }],
    });
    if has_schema {
        // No short answer is whole, and one is in time even if every token were a single byte.
        let schema = json!({ "type": "string", "minLength": tokens / 2, "maxLength": 8_000 });
        body["response_format"] =
            json!({ "type": "json_schema", "json_schema": { "name": "story", "schema": schema } });
    }
    body
}

/// Returns the milliseconds of a piece of an answer's text, from the second on; nothing if there are few.
async fn piece(backend: &LocalBackend<Adapter>, cleared: Cleared) -> Result<Option<f64>, BackendError> {
    let ask = Ask { stream: true, ..Ask::default() };
    let Answer::Stream(mut stream) = backend.answer(cleared, ask).await? else { return Ok(None) };
    let mut at = Vec::new();
    while let Some(item) = stream.items.next().await {
        if let StreamItem::Typed(Delta::Text { text, .. }) = item?
            && !text.is_empty()
        {
            at.push(Instant::now());
        }
    }
    let [_, second, .., last] = at[..] else { return Ok(None) };
    let milliseconds = last.duration_since(second).as_secs_f64() * 1e3;
    Ok((at.len() >= PIECES_MIN).then(|| milliseconds / (at.len() - 2) as f64))
}

/// Returns a question as the privacy policy lets it pass to the local tier, which every label may see.
fn cleared(body: &Value) -> Result<Cleared, MeasureError> {
    let failed = |error: &dyn std::error::Error| MeasureError::Question(error.to_string());
    let scanner = Scanner::new(&ScannerConfig { dictionary: Vec::new() }).map_err(|error| failed(&error))?;
    let limits = DecodeLimits::default();
    let scanned = Scanned::decode(openai::CHAT, body.to_string().into(), &limits, &scanner);
    let scanned = scanned.map_err(|error| failed(&error))?;
    let policy = PrivacyPolicy { mid_max: Label::Public, frontier_max: Label::Public };
    let refused = || MeasureError::Question("the local tier did not take it".to_owned());
    policy.clear(&scanned, Tier::Local).ok_or_else(refused)
}
