//! What is explained is what happens.

use std::sync::Arc;

use bantam_gateway::Hints;
use bantam_route::Gate;
use bantam_types::Tier;

use crate::support::{Act, Desk, body, deployment, open_task, rung, scripted, student_rung, task, told};

const CERTIFIED: Gate = Gate::Certified { threshold: 0.8 };

/// Asks and explains the same request, and checks that both say the same of the student's answer.
async fn check(is_open: bool, gate: Gate, student: fn() -> Act, expected: &str) {
    let student = scripted(Tier::Local, move |_, _| student());
    let ladder = vec![
        Arc::new(student_rung(Arc::new(student), gate)),
        Arc::new(rung("mid", Arc::new(scripted(Tier::Mid, |_, _| Act::Text("rate", None))))),
    ];
    let task = if is_open { open_task("work", ladder) } else { task("work", ladder) };
    let desk = Desk::new(deployment(vec![task], vec![]));
    let explained = desk.gateway.explain(body("task/work", "hi").into(), Hints::default()).await.unwrap();
    let line = explained.lines.iter().find(|line| line.starts_with("rung 1")).unwrap();
    desk.ask("task/work", "hi").await;
    let happened = told(&desk.only());
    if expected == "accept" {
        assert!(line.ends_with(": accept"), "{line}");
        assert_eq!(happened, "answered 200: student accepted");
    } else {
        assert!(line.ends_with(&format!(": escalate, {expected}")), "{line}");
        assert_eq!(happened, format!("answered 200: student discarded {expected}, mid accepted"));
    }
}

#[tokio::test]
async fn a_label_is_explained_as_it_is_judged() {
    check(false, CERTIFIED, || Act::Say("card", 0.9), "accept").await;
    check(false, CERTIFIED, || Act::Say("card", 0.7), "low_confidence").await;
    check(false, CERTIFIED, || Act::Say("card", f32::NAN), "low_confidence").await;
    check(false, CERTIFIED, || Act::Foreign("card"), "out_of_scope").await;
    check(false, Gate::Closed, || Act::Say("card", 1.0), "uncertified").await;
    check(false, Gate::Uncertified { threshold: 0.5 }, || Act::Say("card", 0.6), "accept").await;
}

#[tokio::test]
async fn a_label_that_is_not_the_task_s_is_never_explained_as_accepted() {
    check(false, CERTIFIED, || Act::Say("poem", 1.0), "invalid_output").await;
    check(false, Gate::Uncertified { threshold: 0.0 }, || Act::Say("Card", 1.0), "invalid_output").await;
}

#[tokio::test]
async fn a_free_answer_is_explained_as_it_is_judged() {
    check(true, CERTIFIED, || Act::Draft("{}", 0.9, true), "accept").await;
    check(true, CERTIFIED, || Act::Draft("{\"ci", 0.9, false), "invalid_output").await;
    check(true, CERTIFIED, || Act::Draft("{}", 0.7, true), "low_confidence").await;
}

#[tokio::test]
async fn a_student_that_fails_is_explained_by_its_fault() {
    let student = scripted(Tier::Local, |_, _| Act::Fail(bantam_backend::BackendFault::Busy));
    let ladder = vec![Arc::new(student_rung(Arc::new(student), CERTIFIED))];
    let desk = Desk::new(deployment(vec![task("work", ladder)], vec![]));
    let explained = desk.gateway.explain(body("task/work", "hi").into(), Hints::default()).await.unwrap();
    let line = explained.lines.iter().find(|line| line.starts_with("rung 1")).unwrap();
    assert!(line.ends_with("gives no answer: too many calls are in progress"), "{line}");
}

#[tokio::test]
async fn answers_that_are_checked_above_are_said_to_be() {
    let student = scripted(Tier::Local, |_, _| Act::Say("card", 1.0));
    let ladder = vec![Arc::new(student_rung(Arc::new(student), CERTIFIED))];
    let mut task = task("work", ladder);
    task.audit_share = 0.05;
    let desk = Desk::new(deployment(vec![task], vec![]));
    let explained = desk.gateway.explain(body("task/work", "hi").into(), Hints::default()).await.unwrap();
    let line = explained.lines.iter().find(|line| line.starts_with("rung 1")).unwrap();
    assert!(line.ends_with(": accept, 5 % of such answers checked against a higher rung"), "{line}");
}
