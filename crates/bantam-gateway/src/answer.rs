//! Judging: may this answer be returned?

use std::sync::Arc;

use bantam_backend::{Answer, AnswerStream, StudentAnswer, UpstreamNotes, WholeAnswer};
use bantam_route::{Gate, StudentFacts, judge_student, match_label};
use bantam_types::{AnswerUsage, AttemptOutcome, EscalationReason, TokenUsage, Verdict};

use crate::case::{Arrival, AttemptFacts, Case};
use crate::deployment::{Rung, Task};

/// An answer that may be returned.
pub(crate) enum Accepted {
    /// One of the task's labels.
    Label {
        /// Which.
        label: Arc<str>,
        /// Tokens that the rung counted, or that were estimated for a student.
        usage: AnswerUsage,
    },
    /// A student's whole answer.
    Text {
        /// What it says.
        text: Arc<str>,
        /// Tokens that it counted, or that were estimated.
        usage: AnswerUsage,
    },
    /// A whole answer of a model.
    Whole(WholeAnswer),
    /// A stream whose first item has arrived.
    Stream(AnswerStream),
}

/// What is found about an answer.
pub(crate) enum Judgement {
    /// It may be returned.
    Accept(Accepted),
    /// The next rung is to be asked.
    Escalate(EscalationReason),
}

/// What becomes of an answer. A stream's attempt is still open; every other one has ended.
pub(crate) enum Conclusion {
    /// It is returned.
    Accepted(Accepted),
    /// It would be returned, but is checked against a higher rung; if that fails, it is returned after all.
    Held(Accepted),
    /// The next rung is tried.
    Discarded,
}

/// Judges one answer of a rung with `gate`. This is pure, and the only place where answers are judged: what
/// [`crate::Gateway::explain`] says of an answer is what becomes of it.
pub(crate) fn judge(
    task: Option<&Task>,
    gate: Option<Gate>,
    answer: Answer,
    usage: Option<AnswerUsage>,
) -> Judgement {
    let classification = task.filter(|task| task.is_classification());
    match answer {
        Answer::Student(answer) => judge_student_answer(task, gate.unwrap_or(Gate::Closed), &answer, usage),
        Answer::Whole(whole) => match classification {
            Some(task) => judge_model_label(task, whole.body.text().unwrap_or_default(), usage),
            None => Judgement::Accept(Accepted::Whole(whole)),
        },
        // Labels are never asked for as streams; what streams all the same cannot be checked before it is sent.
        Answer::Stream(_) if classification.is_some() => Judgement::Escalate(EscalationReason::InvalidOutput),
        Answer::Stream(stream) => Judgement::Accept(Accepted::Stream(stream)),
    }
}

/// Judges one answer of the attempt in progress, and ends the attempt unless a stream goes on.
pub(crate) fn conclude(case: &mut Case, rung: &Rung, answer: Answer, arrival: Arrival) -> Conclusion {
    let facts = facts_of(&answer, case.estimated_prompt_tokens);
    case.note_upstream(notes_of(&answer));
    let task = case.task.clone();
    let accepted = match judge(task.as_deref(), rung.gate, answer, facts.usage) {
        Judgement::Escalate(reason) => {
            case.end(AttemptOutcome::Discarded(reason), facts);
            return Conclusion::Discarded;
        }
        Judgement::Accept(accepted) => accepted,
    };
    if matches!(accepted, Accepted::Stream(_)) {
        return Conclusion::Accepted(accepted);
    }
    // Only students say how sure they are.
    let is_student = facts.confidence.is_some();
    if is_student && task.is_some_and(|task| is_audited(task.audit_share, arrival.request_id)) {
        case.end(AttemptOutcome::Discarded(EscalationReason::Audit), facts);
        return Conclusion::Held(accepted);
    }
    case.end(AttemptOutcome::Accepted, facts);
    Conclusion::Accepted(accepted)
}

/// Returns what an upstream said beside its answer.
const fn notes_of(answer: &Answer) -> Option<&Arc<UpstreamNotes>> {
    match answer {
        Answer::Student(_) => None,
        Answer::Whole(whole) => whole.notes.as_ref(),
        Answer::Stream(stream) => stream.notes.as_ref(),
    }
}

/// Returns what accounting needs to know of an answer. The tokens of a student that counts none are estimated.
pub(crate) fn facts_of(answer: &Answer, estimated_prompt_tokens: u64) -> AttemptFacts {
    match answer {
        Answer::Student(student) => AttemptFacts {
            usage: Some(AnswerUsage::from(student.usage.unwrap_or_else(|| {
                TokenUsage::new(estimated_prompt_tokens, 0, student.text.len() as u64 / 4 + 1)
            }))),
            first_byte_us: None,
            confidence: Some(student.probability),
            retries: 0,
            fault: None,
        },
        Answer::Whole(whole) => AttemptFacts {
            usage: whole.body.usage(),
            first_byte_us: Some(whole.first_byte_us),
            confidence: None,
            retries: whole.retries,
            fault: None,
        },
        Answer::Stream(stream) => AttemptFacts {
            first_byte_us: Some(stream.first_byte_us),
            retries: stream.retries,
            ..AttemptFacts::default()
        },
    }
}

fn judge_student_answer(
    task: Option<&Task>,
    gate: Gate,
    answer: &StudentAnswer,
    usage: Option<AnswerUsage>,
) -> Judgement {
    let allowed = allowed(task, answer, usage.unwrap_or_default());
    let facts = StudentFacts {
        probability: answer.probability,
        out_of_scope: answer.out_of_scope,
        allowed: allowed.is_some(),
    };
    match (judge_student(facts, gate), allowed) {
        (Verdict::Accept, Some(accepted)) => Judgement::Accept(accepted),
        (Verdict::Accept, None) => Judgement::Escalate(EscalationReason::InvalidOutput),
        (Verdict::Escalate(reason), _) => Judgement::Escalate(reason),
    }
}

/// Returns a student's answer as one that may be returned if it is sure enough: a label of the task's or, where the task
/// has none, a text in the task's form.
fn allowed(task: Option<&Task>, answer: &StudentAnswer, usage: AnswerUsage) -> Option<Accepted> {
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
fn judge_model_label(task: &Task, text: &str, usage: Option<AnswerUsage>) -> Judgement {
    let found = match_label(text, &task.labels, task.answer_key.as_deref());
    match found.and_then(|index| task.labels.get(index)) {
        Some(label) => {
            let label = Arc::clone(label);
            Judgement::Accept(Accepted::Label { label, usage: usage.unwrap_or_default() })
        }
        None => Judgement::Escalate(EscalationReason::InvalidOutput),
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
}
