//! Judging: is this answer one that may be returned?

use std::sync::Arc;

use bantam_backend::{Answer, AnswerStream, Completion, StudentAnswer};
use bantam_route::{Gate, StudentFacts, judge_student, match_label};
use bantam_types::{AttemptOutcome, EscalationReason, TokenUsage, Verdict};

use crate::case::{Arrival, AttemptFacts, Case};
use crate::deployment::{Rung, Task};

/// An answer that may be returned.
pub(crate) enum Accepted {
    /// One of the task's labels.
    Label {
        /// Which.
        label: Arc<str>,
        /// Tokens that the rung counted, or that were estimated for a student.
        usage: TokenUsage,
    },
    /// A student's whole answer.
    Text {
        /// What it says.
        text: Arc<str>,
        /// Tokens that it counted, or that were estimated.
        usage: TokenUsage,
    },
    /// A whole completion.
    Whole(Completion),
    /// A stream whose first chunk is there.
    Stream(AnswerStream),
}

/// What becomes of an answer. A stream's attempt is still open; every other one has ended.
pub(crate) enum Judged {
    /// It is returned.
    Accepted(Accepted),
    /// It would be returned, but is checked against a higher rung; if that fails, it is returned after all.
    Held(Accepted),
    /// The next rung is tried.
    Discarded,
}

/// Judges one answer and ends its attempt.
pub(crate) fn judge(case: &mut Case, rung: &Rung, answer: Answer, arrival: Arrival) -> Judged {
    let task = case.task.clone();
    match answer {
        Answer::Student(answer) => judge_student_answer(case, rung, task.as_deref(), answer, arrival),
        Answer::Whole(completion) => match task.as_deref().filter(|task| task.is_classification()) {
            Some(task) => judge_model_label(case, task, &completion),
            None => {
                case.end(AttemptOutcome::Accepted, facts_of(&completion));
                Judged::Accepted(Accepted::Whole(completion))
            }
        },
        // Labels are never asked for as streams; what streams all the same cannot be checked before it is sent.
        Answer::Stream(stream) if task.is_some_and(|task| task.is_classification()) => {
            let facts = AttemptFacts {
                first_byte_us: Some(stream.first_byte_us),
                retries: stream.retries,
                ..AttemptFacts::default()
            };
            case.end(AttemptOutcome::Discarded(EscalationReason::InvalidOutput), facts);
            Judged::Discarded
        }
        Answer::Stream(stream) => Judged::Accepted(Accepted::Stream(stream)),
    }
}

fn judge_student_answer(
    case: &mut Case,
    rung: &Rung,
    task: Option<&Task>,
    answer: StudentAnswer,
    arrival: Arrival,
) -> Judged {
    let usage = answer.usage.unwrap_or_else(|| TokenUsage {
        input: case.estimated_prompt_tokens,
        cached_input: 0,
        output: answer.text.len() as u64 / 4 + 1,
    });
    let allowed = allowed(task, &answer, usage);
    let facts = StudentFacts {
        probability: answer.probability,
        out_of_scope: answer.out_of_scope,
        allowed: allowed.is_some(),
    };
    let attempt = AttemptFacts {
        usage: Some(usage),
        first_byte_us: None,
        confidence: Some(answer.probability),
        retries: 0,
    };
    match (judge_student(facts, rung.gate.unwrap_or(Gate::Closed)), allowed) {
        (Verdict::Accept, Some(accepted)) => {
            if task.is_some_and(|task| is_audited(task.audit_share, arrival.request_id)) {
                case.end(AttemptOutcome::Discarded(EscalationReason::Audit), attempt);
                Judged::Held(accepted)
            } else {
                case.end(AttemptOutcome::Accepted, attempt);
                Judged::Accepted(accepted)
            }
        }
        (Verdict::Accept, None) => {
            case.end(AttemptOutcome::Discarded(EscalationReason::InvalidOutput), attempt);
            Judged::Discarded
        }
        (Verdict::Escalate(reason), _) => {
            case.end(AttemptOutcome::Discarded(reason), attempt);
            Judged::Discarded
        }
    }
}

/// Returns a student's answer as one that may be returned if it is sure enough: a label of the task's or, where the task
/// has none, a text in the task's form.
fn allowed(task: Option<&Task>, answer: &StudentAnswer, usage: TokenUsage) -> Option<Accepted> {
    let task = task?;
    if !answer.is_valid {
        return None;
    }
    if !task.is_classification() {
        return Some(Accepted::Text { text: Arc::clone(&answer.text), usage });
    }
    let label = task.labels.iter().find(|label| ***label == *answer.text)?;
    Some(Accepted::Label { label: Arc::clone(label), usage })
}

/// A model's free text counts only when it is one of the task's labels.
fn judge_model_label(case: &mut Case, task: &Task, completion: &Completion) -> Judged {
    let text = completion.text.as_deref().unwrap_or_default();
    let found = match &task.answer_key {
        Some(key) => from_json(text, key).and_then(|text| match_label(&text, &task.labels)),
        None => match_label(text, &task.labels),
    };
    match found.and_then(|index| task.labels.get(index)) {
        Some(label) => {
            case.end(AttemptOutcome::Accepted, facts_of(completion));
            let usage = completion.usage.unwrap_or_default();
            Judged::Accepted(Accepted::Label { label: Arc::clone(label), usage })
        }
        None => {
            case.end(AttemptOutcome::Discarded(EscalationReason::InvalidOutput), facts_of(completion));
            Judged::Discarded
        }
    }
}

fn from_json(text: &str, key: &str) -> Option<String> {
    let fenced = text.trim().trim_start_matches("```json").trim_matches('`').trim();
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(fenced).ok()?;
    object.get(key)?.as_str().map(str::to_owned)
}

fn facts_of(completion: &Completion) -> AttemptFacts {
    AttemptFacts {
        usage: completion.usage,
        first_byte_us: Some(completion.first_byte_us),
        confidence: None,
        retries: completion.retries,
    }
}

/// Draws the audit from the request's id, so that a replay draws the same.
fn is_audited(share: f64, request_id: u128) -> bool {
    if share <= 0.0 {
        return false;
    }
    let mixed = (request_id as u64 ^ (request_id >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed >> 11) as f64 / (1_u64 << 53) as f64) < share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audits_the_share_that_was_asked_for() {
        for share in [0.0, 0.05, 0.5] {
            let audited = (0..100_000_u128).filter(|id| is_audited(share, *id << 7)).count();
            assert!((audited as f64 / 100_000.0 - share).abs() < 0.01, "{share}: {audited}");
        }
    }

    #[test]
    fn a_label_in_json_is_found_also_in_a_code_fence() {
        assert_eq!(from_json("```json\n{\"intent\": \"a\"}\n```", "intent").as_deref(), Some("a"));
        assert_eq!(from_json("{\"intent\": 5}", "intent"), None);
        assert_eq!(from_json("a", "intent"), None);
    }
}
