//! The last stages: keep what can be learnt from, settle, encode.

use std::sync::Arc;

use bantam_backend::Completion;
use bantam_ledger::ExampleRecord;
use bantam_privacy::Scanned;
use bantam_types::{Label, RequestOutcome};
use bantam_wire::chunk::{DONE, event, own_stream};
use bantam_wire::completion::{OwnAnswer, own_completion, with_note};
use bantam_wire::{ApiError, Endpoint};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::answer::Accepted;
use crate::case::{Arrival, Case};
use crate::deployment::{Rung, Task};
use crate::identify::Identified;
use crate::relay::relay;
use crate::reply::{Reply, ReplyBody};

/// Settles an accepted answer and encodes it as the caller asked for it.
pub(crate) async fn finish(
    mut case: Case,
    arrival: Arrival,
    scanned: &Scanned,
    identified: &Identified,
    rung: &Arc<Rung>,
    accepted: Accepted,
) -> Result<Reply, ApiError> {
    let request = scanned.request();
    let request_id = arrival.request_id;
    let created_unix_s = arrival.unix_ms / 1000;
    let (stream_wanted, include_usage) = (request.stream, request.include_usage);
    if let Accepted::Whole(Completion { text: Some(text), .. }) = &accepted {
        let task = case.task.clone();
        case.example = example(scanned, identified, task.as_deref(), rung, text, arrival);
    }
    let (text, usage) = match accepted {
        Accepted::Stream(stream) => {
            let body = relay(case, request_id, Arc::clone(rung), stream, include_usage);
            // What the stream's note will say is not known yet; the headers say what is.
            return Ok(Reply {
                request_id,
                note: Some(body.early_note),
                body: ReplyBody::Stream(body.items),
            });
        }
        Accepted::Whole(completion) if !stream_wanted => {
            let note = case.note(request_id, rung);
            case.settle(RequestOutcome::Answered, 200).await?;
            let body = with_note(&completion.body, completion.has_note, &note);
            return Ok(Reply { request_id, note: Some(note), body: ReplyBody::Whole(body.into()) });
        }
        Accepted::Whole(completion) if request.endpoint != Endpoint::Chat => {
            // A completion of text has the same shape whole and as the only chunk of a stream.
            let note = case.note(request_id, rung);
            case.settle(RequestOutcome::Answered, 200).await?;
            let whole = with_note(&completion.body, completion.has_note, &note);
            let mut only = event(&String::from_utf8_lossy(&whole));
            only.extend_from_slice(DONE);
            let items = futures_util::stream::once(async move { Bytes::from(only) }).boxed();
            return Ok(Reply { request_id, note: Some(note), body: ReplyBody::Stream(items) });
        }
        Accepted::Whole(completion) => {
            (completion.text.unwrap_or_default(), completion.usage.unwrap_or_default())
        }
        Accepted::Label { label, usage } => {
            let task = case.task.clone();
            case.example = example(scanned, identified, task.as_deref(), rung, &label, arrival);
            (written(task.as_deref(), &label), usage)
        }
        Accepted::Text { text, usage } => (text.to_string(), usage),
    };
    let note = case.note(request_id, rung);
    case.settle(RequestOutcome::Answered, 200).await?;
    let answer = OwnAnswer { text: &text, created_unix_s, usage };
    let body = if stream_wanted {
        let whole = Bytes::from(own_stream(answer, include_usage, &note));
        ReplyBody::Stream(futures_util::stream::once(async move { whole }).boxed())
    } else {
        ReplyBody::Whole(own_completion(answer, &note).into())
    };
    Ok(Reply { request_id, note: Some(note), body })
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
