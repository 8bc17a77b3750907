//! The encoder student as a backend: many requests at a time, through the base's own thread.

use std::sync::Arc;

use bantam_backend::{Answer, Ask, Backend, BackendFault, StudentAnswer};
use bantam_privacy::{Cleared, PrivacyPolicy, Scanned, Scanner, ScannerConfig};
use bantam_student::encoder::train;
use bantam_student::{BasePrecision, Bases, EncoderConfig, Features, Scratch, Student, StudentBackend};
use bantam_types::{Label, Tier};
use bantam_wire::{DecodeLimits, openai};

use crate::rows::rows;
use crate::tiny_base;

fn student() -> Arc<Student> {
    let folder = tempfile::tempdir().unwrap();
    tiny_base::write(folder.path(), 7);
    let base = Bases::new(2).open(folder.path(), BasePrecision::Int8).unwrap();
    let config = EncoderConfig::recommended(Features::Joined);
    Arc::new(Student::Encoder(train(&rows(), &base, "base".into(), &config, &mut |_| {}).unwrap().0))
}

fn cleared(text: &str, tier: Tier) -> Cleared {
    cleared_messages(&serde_json::json!([{"role": "user", "content": text}]), tier)
}

/// Returns a request with these messages that is cleared for a tier.
pub(crate) fn cleared_messages(messages: &serde_json::Value, tier: Tier) -> Cleared {
    let body = serde_json::json!({"model": "task/t", "messages": messages});
    let scanner = Scanner::new(&ScannerConfig { dictionary: Vec::new() }).unwrap();
    let scanned =
        Scanned::decode(openai::CHAT, body.to_string().into(), &DecodeLimits::default(), &scanner).unwrap();
    let policy = PrivacyPolicy { mid_max: Label::Restricted, frontier_max: Label::Restricted };
    policy.clear(&scanned, tier).unwrap()
}

pub(crate) fn ask() -> Ask {
    Ask::default()
}

pub(crate) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(future)
}

pub(crate) fn label(answer: Answer) -> StudentAnswer {
    let Answer::Student(answer) = answer else { unreachable!("a student answers with a label") };
    answer
}

#[test]
fn concurrent_requests_get_the_same_answers_as_single_ones() {
    let student = student();
    let backend = Arc::new(StudentBackend::new(Arc::clone(&student), false));
    let texts: Vec<String> = rows().into_iter().map(|row| row.text).collect();
    let answers = run(async {
        let asked: Vec<_> = texts
            .iter()
            .map(|text| {
                let (backend, request) = (Arc::clone(&backend), cleared(text, Tier::Local));
                tokio::spawn(async move { backend.answer(request, ask()).await.unwrap() })
            })
            .collect();
        let mut answers = Vec::new();
        for answer in asked {
            answers.push(label(answer.await.unwrap()));
        }
        answers
    });
    let mut scratch = Scratch::default();
    for (text, answer) in texts.iter().zip(answers) {
        let alone = student.predict(text, &mut scratch);
        assert_eq!((&*answer.text, answer.probability), (alone.label, alone.probability), "{text}");
    }
}

#[test]
fn callers_who_leave_do_not_delay_others_and_too_many_at_once_are_refused_as_busy() {
    let backend = Arc::new(StudentBackend::new(student(), false));
    let served = run(async {
        for _ in 0..40 {
            let (backend, request) = (Arc::clone(&backend), cleared("please block my card", Tier::Local));
            let leaving = tokio::spawn(async move { backend.answer(request, ask()).await.map(drop) });
            tokio::task::yield_now().await;
            leaving.abort();
        }
        let asked: Vec<_> = (0..3000)
            .map(|_| {
                let (backend, request) =
                    (Arc::clone(&backend), cleared("show the exchange rate", Tier::Local));
                tokio::spawn(async move { backend.answer(request, ask()).await })
            })
            .collect();
        let mut served = 0;
        for answer in asked {
            match answer.await.unwrap() {
                Ok(answer) => {
                    assert_eq!(&*label(answer).text, "rate");
                    served += 1;
                }
                Err(error) => assert_eq!(error.fault, BackendFault::Busy),
            }
        }
        served
    });
    assert!(served >= 500, "{served}");
}

#[test]
fn refuses_a_request_that_is_cleared_for_another_tier() {
    let backend = StudentBackend::new(student(), false);
    let refused = run(backend.answer(cleared("please block my card", Tier::Frontier), ask()));
    assert_eq!(refused.err().map(|error| error.fault), Some(BackendFault::NotCleared));
}
