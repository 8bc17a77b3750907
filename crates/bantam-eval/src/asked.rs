//! Gathers evidence from any student that implements `Backend`, asking it as the gateway does.

use std::sync::Arc;

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault};
use bantam_privacy::{Cleared, PrivacyPolicy, Scanned, Scanner, ScannerConfig};
use bantam_route::{Evidence, StudentFacts};
use bantam_student::{Example, is_same_answer};
use bantam_types::{Label, TaskName, Tier};
use bantam_wire::{DecodeLimits, openai};
use futures_util::StreamExt;
use futures_util::stream::iter;
use serde_json::json;

use crate::certification::evidence_of;

/// How many rows are asked at once, so that a language model answers them in one batch.
const ROWS_IN_FLIGHT: usize = 8;

/// The student failed to answer a row.
#[derive(Debug, thiserror::Error)]
#[error("the student failed on row {row} (from 1): {error}")]
pub struct NoAnswer {
    /// The row, from 1.
    pub row: usize,
    /// The failure.
    #[source]
    pub error: BackendError,
}

/// Returns evidence for each row, with the student's answer judged as by the gateway. With `labels`, only one of them
/// counts as an answer; without, an answer is right if it equals the row's (as JSON if both are JSON).
///
/// A text that the student cannot take counts as one that it would not have answered. `on_progress` receives the number
/// of rows done.
///
/// # Errors
/// [`NoAnswer`] if the student itself fails: such evidence would say nothing about it.
pub async fn ask_for_evidence(
    student: &dyn Backend,
    task: &TaskName,
    rows: &[Example],
    labels: &[Arc<str>],
    on_progress: &mut dyn FnMut(usize),
) -> Result<Vec<Evidence>, NoAnswer> {
    // The rows do not leave this machine, so the scanner needs no dictionary; one scanner serves all rows.
    let scanner = Scanner::new(&ScannerConfig { dictionary: Vec::new() }).ok();
    let scanner = scanner.as_ref();
    let asked = rows.iter().enumerate().map(|(row, example)| async move {
        let Some(request) = cleared(task, &example.text, scanner) else { return Ok(unanswered()) };
        let ask = Ask::default();
        match student.answer(request, ask).await {
            Ok(Answer::Student(answer)) => {
                let is_label = labels.iter().any(|label| **label == *answer.text);
                let facts = StudentFacts {
                    probability: answer.probability,
                    out_of_scope: answer.out_of_scope,
                    allowed: answer.is_valid && (labels.is_empty() || is_label),
                };
                let correct = if labels.is_empty() {
                    is_same_answer(&answer.text, &example.label)
                } else {
                    *answer.text == *example.label
                };
                Ok(evidence_of(facts, correct))
            }
            Ok(_) => Err(NoAnswer { row: row + 1, error: BackendFault::Garbage.into() }),
            Err(error) if is_about_the_text(error.fault) => Ok(unanswered()),
            Err(error) => Err(NoAnswer { row: row + 1, error }),
        }
    });
    let mut evidence = Vec::with_capacity(rows.len());
    let mut answers = iter(asked).buffered(ROWS_IN_FLIGHT);
    while let Some(answer) = answers.next().await {
        evidence.push(answer?);
        on_progress(evidence.len());
    }
    Ok(evidence)
}

/// Returns the evidence of a row that is not answered at any threshold.
const fn unanswered() -> Evidence {
    Evidence { probability: None, correct: false }
}

/// Returns whether a student failed because of the text, and so would never have answered it.
pub fn is_about_the_text(fault: BackendFault) -> bool {
    matches!(
        fault,
        BackendFault::CannotHonour(_) | BackendFault::ContextLength { .. } | BackendFault::TooLarge
    )
}

/// Returns a request for `text` that is cleared for the local tier.
fn cleared(task: &TaskName, text: &str, scanner: Option<&Scanner>) -> Option<Cleared> {
    let body = json!({ "model": format!("task/{task}"), "messages": [{ "role": "user", "content": text }] });
    let limits = DecodeLimits::default();
    let scanned = Scanned::decode(openai::CHAT, body.to_string().into(), &limits, scanner?).ok()?;
    let policy = PrivacyPolicy { mid_max: Label::Public, frontier_max: Label::Public };
    policy.clear(&scanned, Tier::Local)
}

#[cfg(test)]
mod tests {
    use bantam_backend::{BoxFuture, StudentAnswer};
    use bantam_wire::{Call, CallKind, Unsupported};

    use super::*;

    /// Echoes the text, with a probability that grows with its length, and fails on certain words.
    struct Echo;

    impl Backend for Echo {
        fn tier(&self) -> Tier {
            Tier::Local
        }

        fn cannot_honour(&self, _: &Call) -> Option<Unsupported> {
            None
        }

        fn is_available(&self, _: CallKind) -> bool {
            true
        }

        fn answer(&self, request: Cleared, _: Ask) -> BoxFuture<'_, Result<Answer, BackendError>> {
            let text = request.request().last_user_text().unwrap_or_default().to_owned();
            let probability = text.len() as f32 / 100.0;
            let answer = match &*text {
                "long" => Err(BackendFault::ContextLength { tokens: 9, context: 4 }.into()),
                "broken" => Err(BackendFault::Broken.into()),
                _ => Ok(Answer::Student(StudentAnswer {
                    is_valid: text != "cut",
                    text: text.into(),
                    probability,
                    out_of_scope: false,
                    usage: None,
                })),
            };
            Box::pin(std::future::ready(answer))
        }
    }

    fn row(text: &str, answer: &str) -> Example {
        Example { text: text.to_owned(), label: answer.to_owned() }
    }

    fn ask(rows: &[Example], labels: &[&str]) -> Result<Vec<(Option<f32>, bool)>, NoAnswer> {
        let labels: Vec<Arc<str>> = labels.iter().map(|label| (*label).into()).collect();
        let task = "t".parse().unwrap();
        let mut on_progress = |_| {};
        let asked = ask_for_evidence(&Echo, &task, rows, &labels, &mut on_progress);
        let evidence = futures_util::FutureExt::now_or_never(asked).unwrap()?;
        Ok(evidence.iter().map(|row| (row.probability, row.correct)).collect())
    }

    #[test]
    fn free_answers_are_compared_as_json_or_as_text() {
        let rows =
            [row(r#"{"a":1,"b":[2]}"#, r#"{ "b": [2], "a": 1 }"#), row(" yes", "yes\n"), row("[1]", "[2]")];
        let evidence = ask(&rows, &[]).unwrap();
        assert_eq!(evidence.iter().map(|row| row.1).collect::<Vec<_>>(), [true, true, false]);
        assert!(evidence.iter().all(|row| row.0.is_some()));
    }

    #[test]
    fn answers_that_are_cut_off_not_a_label_or_too_long_are_never_accepted() {
        let rows = [row("cut", "cut"), row("long", "long"), row("card", "card")];
        assert_eq!(ask(&rows, &[]).unwrap(), [(None, true), (None, false), (Some(0.04), true)]);
        assert_eq!(ask(&rows[2..], &["rate", "fee"]).unwrap(), [(None, true)]);
        assert_eq!(ask(&rows[2..], &["rate", "card"]).unwrap(), [(Some(0.04), true)]);
    }

    #[test]
    fn a_student_that_fails_yields_an_error_instead_of_evidence() {
        let rows: Vec<Example> =
            (0..20).map(|index| row(if index == 12 { "broken" } else { "a" }, "a")).collect();
        assert_eq!(ask(&rows, &[]).unwrap_err().row, 13);
    }
}
