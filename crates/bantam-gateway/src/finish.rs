//! The last stages: keep what can be learnt from, settle, encode.

use std::sync::Arc;

use bantam_books::ExampleRecord;
use bantam_privacy::Scanned;
use bantam_types::{Label, RequestOutcome};
use bantam_wire::{AnswerBody, AnswerContext, ApiError, ErrorCode, Outcome};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::answer::Accepted;
use crate::case::{Arrival, Case};
use crate::deployment::{Rung, Task};
use crate::identify::Identified;
use crate::relay::relay;
use crate::reply::{Reply, ReplyBody};

/// Settles an accepted answer and writes it as the caller asked for it.
pub(crate) async fn finish(
    mut case: Box<Case>,
    arrival: Arrival,
    scanned: &Scanned,
    identified: &Identified,
    rung: &Arc<Rung>,
    accepted: Accepted,
) -> Result<Reply, ApiError> {
    let call = scanned.request();
    let (request_id, endpoint) = (arrival.request_id, call.endpoint);
    let task = case.task.clone();
    let kept = |answer: &str| example(scanned, identified, task.as_deref(), rung, answer, arrival);
    let answer = match accepted {
        Accepted::Stream(stream) => {
            let body = relay(case, arrival, Arc::clone(rung), stream, call);
            // What the note at the end will say is not known yet; the headers say what is.
            let note = Some(body.early_note);
            return Ok(Reply { request_id, endpoint, note, body: ReplyBody::Stream(body.items) });
        }
        Accepted::Whole(whole) => {
            case.example = whole.body.text().and_then(kept);
            whole.body
        }
        Accepted::Label { label, usage } => {
            case.example = kept(&label);
            AnswerBody::Typed(Outcome::of_text(written(task.as_deref(), &label), usage))
        }
        Accepted::Text { text, usage } => AnswerBody::Typed(Outcome::of_text(&*text, usage)),
    };
    let note = case.note(request_id, rung);
    let context =
        AnswerContext { call, request_id, created_unix_s: arrival.unix_ms / 1000, model: &rung.name };
    let body = if call.stream {
        endpoint.whole_as_stream(&answer, context, &note)
    } else {
        endpoint.whole(&answer, context, &note)
    };
    let Ok(body) = body else {
        return Err(case.refuse(RequestOutcome::Failed, unreadable(rung)).await);
    };
    case.settle(RequestOutcome::Answered, 200).await?;
    let body = Bytes::from(body);
    let body = if call.stream {
        ReplyBody::Stream(futures_util::stream::once(async move { body }).boxed())
    } else {
        ReplyBody::Whole(body)
    };
    Ok(Reply { request_id, endpoint, note: Some(note), body })
}

/// Returns the error for an answer whose facts could be read and whose rest could not.
fn unreadable(rung: &Rung) -> ApiError {
    let message = format!("the answer of `{}` cannot be translated for this endpoint", rung.name);
    ApiError::new(ErrorCode::UpstreamFailed, "upstream_failed", message).should_retry(false)
}

/// Returns a label as the task writes answers.
fn written(task: Option<&Task>, label: &str) -> String {
    match task.and_then(|task| task.answer_key.as_deref()) {
        Some(key) => {
            let mut object = serde_json::Map::new();
            object.insert(key.to_owned(), label.into());
            serde_json::Value::Object(object).to_string()
        }
        None => label.to_owned(),
    }
}

/// Returns what to keep of a model's answer, a label or a whole text: only where the task asks for it, and never of a
/// sensitive text. Streams are not kept.
fn example(
    scanned: &Scanned,
    identified: &Identified,
    task: Option<&Task>,
    rung: &Rung,
    answer: &str,
    arrival: Arrival,
) -> Option<ExampleRecord> {
    let task =
        task.filter(|task| task.record && rung.gate.is_none() && scanned.label() <= Label::Internal)?;
    let text = scanned.request().last_user_text()?.get(identified.payload_start..)?;
    Some(ExampleRecord {
        request_id: arrival.request_id,
        task: task.name.clone(),
        text: text.to_owned(),
        answer: answer.to_owned(),
        model: rung.model.to_string(),
        recorded_ms: arrival.unix_ms,
    })
}
