//! Which rung's answer is returned, and why the others' are not.

use std::sync::Arc;

use bantam_backend::BackendFault;
use bantam_gateway::Task;
use bantam_route::Gate;
use bantam_simulate::completion_events;
use bantam_types::Tier;

use crate::support::{
    Act, Desk, Got, deployment, open_task, rung, scripted, student_rung, task, tokens, told, trained,
};

const CERTIFIED: Gate = Gate::Certified { threshold: 0.9 };

type Script = fn() -> Act;

/// A ladder of a student and two models, each with its script.
async fn ask(gate: Gate, scripts: [Script; 3], change: impl Fn(&mut Task), stream: bool) -> (Got, String) {
    let [student, mid, frontier] = scripts;
    let ladder = vec![
        Arc::new(student_rung(Arc::new(scripted(Tier::Local, move |_, _| student())), gate)),
        Arc::new(rung("mid", Arc::new(scripted(Tier::Mid, move |_, _| mid())))),
        Arc::new(rung("frontier", Arc::new(scripted(Tier::Frontier, move |_, _| frontier())))),
    ];
    let mut task = task("intent", ladder);
    change(&mut task);
    let desk = Desk::new(deployment(vec![task], vec![]));
    let got =
        if stream { desk.ask_stream("task/intent", "hi").await } else { desk.ask("task/intent", "hi").await };
    let told = told(&desk.only());
    (got, told)
}

async fn check(gate: Gate, scripts: [Script; 3], text: &str, expected: &str) {
    for stream in [false, true] {
        let (got, told) = ask(gate, scripts, |_| (), stream).await;
        assert_eq!((&*got.text, &*told), (text, expected), "stream {stream}: {got:?}");
    }
}

fn card() -> Act {
    Act::Say("card", 0.95)
}
fn rate() -> Act {
    Act::Text("rate", None)
}
fn transfer() -> Act {
    Act::Text("transfer", None)
}
fn prose() -> Act {
    Act::Text("I would say that this is about a card.", None)
}
fn broken() -> Act {
    Act::Fail(BackendFault::Garbage)
}
fn late() -> Act {
    Act::Fail(BackendFault::FirstByteTimeout)
}

#[tokio::test]
async fn a_certified_student_that_is_sure_answers() {
    check(CERTIFIED, [card, rate, transfer], "card", "answered 200: student accepted").await;
    check(
        Gate::Certified { threshold: 0.95 },
        [card, rate, transfer],
        "card",
        "answered 200: student accepted",
    )
    .await;
}

#[tokio::test]
async fn a_student_that_may_not_answer_escalates_and_says_why() {
    let unsure: Script = || Act::Say("card", 0.89);
    let no_number: Script = || Act::Say("card", f32::NAN);
    let foreign: Script = || Act::Foreign("card");
    let other: Script = || Act::Say("poem", 1.0);
    for (gate, student, reason) in [
        (CERTIFIED, unsure, "low_confidence"),
        (CERTIFIED, no_number, "low_confidence"),
        (CERTIFIED, foreign, "out_of_scope"),
        (CERTIFIED, other, "invalid_output"),
        (Gate::Closed, card as Script, "uncertified"),
    ] {
        let expected = format!("answered 200: student discarded {reason}, mid accepted");
        check(gate, [student, rate, transfer], "rate", &expected).await;
    }
}

#[tokio::test]
async fn an_uncertified_student_answers_only_where_the_configuration_says_so() {
    let half: Script = || Act::Say("card", 0.5);
    check(
        Gate::Uncertified { threshold: 0.5 },
        [half, rate, transfer],
        "card",
        "answered 200: student accepted",
    )
    .await;
    check(
        Gate::Uncertified { threshold: 0.6 },
        [half, rate, transfer],
        "rate",
        "answered 200: student discarded low_confidence, mid accepted",
    )
    .await;
}

#[tokio::test]
async fn an_answer_that_is_no_label_is_never_returned() {
    let unsure: Script = || Act::Say("card", 0.1);
    check(
        CERTIFIED,
        [unsure, prose, transfer],
        "transfer",
        "answered 200: student discarded low_confidence, mid discarded invalid_output, frontier accepted",
    )
    .await;
    for stream in [false, true] {
        let (got, told) = ask(CERTIFIED, [unsure, prose, prose], |_| (), stream).await;
        assert_eq!((got.status, got.slug, &*got.text), (502, "upstream_failed", ""));
        assert!(!got.message.contains("about a card"), "{}", got.message);
        assert!(got.message.contains("mid (invalid_output), frontier (invalid_output)"), "{}", got.message);
        assert!(told.starts_with("failed 502: student discarded"), "{told}");
    }
    let empty: Script = || Act::Text("", None);
    let two: Script = || Act::Text("card rate", None);
    let (got, _) = ask(CERTIFIED, [unsure, empty, two], |_| (), false).await;
    assert_eq!(got.status, 502);
}

#[tokio::test]
async fn a_backend_that_streams_unasked_cannot_bypass_the_labels() {
    let streams: Script = || Act::Chunks(completion_events("m", "any prose", 1, 1), None);
    let unsure: Script = || Act::Say("card", 0.1);
    check(
        CERTIFIED,
        [unsure, streams, transfer],
        "transfer",
        "answered 200: student discarded low_confidence, mid discarded invalid_output, frontier accepted",
    )
    .await;
}

#[tokio::test]
async fn a_model_s_label_is_cleaned_of_its_wrapping() {
    let unsure: Script = || Act::Say("card", 0.1);
    for (answer, expected) in [("Rate.", "rate"), (" \"TRANSFER\"\n", "transfer"), ("`card`", "card")] {
        let ladder = vec![
            Arc::new(student_rung(Arc::new(scripted(Tier::Local, move |_, _| unsure())), CERTIFIED)),
            Arc::new(rung("mid", Arc::new(scripted(Tier::Mid, move |_, _| Act::Text(answer, None))))),
        ];
        let desk = Desk::new(deployment(vec![task("intent", ladder)], vec![]));
        assert_eq!(desk.ask("task/intent", "hi").await.text, expected);
    }
}

#[tokio::test]
async fn a_task_with_an_answer_key_speaks_json_both_ways() {
    let wrapped: Script = || Act::Text("```json\n{\"intent\": \"Rate\"}\n```", None);
    let other_key: Script = || Act::Text("{\"label\": \"rate\", \"or\": \"card\"}", None);
    let with_key = |task: &mut Task| task.answer_key = Some("intent".into());
    let (got, _) = ask(CERTIFIED, [card, rate, transfer], with_key, false).await;
    assert_eq!(got.text, "{\"intent\":\"card\"}");
    let unsure: Script = || Act::Say("card", 0.1);
    let (got, told) = ask(CERTIFIED, [unsure, other_key, wrapped], with_key, true).await;
    assert_eq!(got.text, "{\"intent\":\"rate\"}");
    assert!(told.contains("mid discarded invalid_output"), "{told}");
}

#[tokio::test]
async fn failures_climb_the_ladder_and_the_last_one_names_the_error() {
    let unsure: Script = || Act::Say("card", 0.1);
    check(
        CERTIFIED,
        [unsure, broken, transfer],
        "transfer",
        "answered 200: student discarded low_confidence, mid failed error, frontier accepted",
    )
    .await;
    let busy: Script = || Act::Fail(BackendFault::Busy);
    for (last, status, slug) in [
        (broken as Script, 502, "upstream_failed"),
        (late, 504, "upstream_timeout"),
        (busy, 503, "upstreams_unavailable"),
    ] {
        let (got, told) = ask(CERTIFIED, [unsure, broken, last], |_| (), true).await;
        assert_eq!((got.status, got.slug), (status, slug));
        assert_eq!(got.retry_after_s.is_some(), status == 503);
        assert!(
            told.starts_with(&format!("failed {status}: student discarded low_confidence, mid failed error")),
            "{told}"
        );
    }
}

#[tokio::test]
async fn an_audit_holds_the_answer_until_a_higher_rung_has_spoken() {
    let audit = |task: &mut Task| task.audit_share = 1.0;
    let (got, told) = ask(CERTIFIED, [card, rate, transfer], audit, false).await;
    assert_eq!((&*got.text, &*told), ("rate", "answered 200: student discarded audit, mid accepted"));
    // When nothing better comes, the answer that was good all along is returned.
    for fault in [broken as Script, late, prose] {
        for stream in [false, true] {
            let (got, told) = ask(CERTIFIED, [card, fault, fault], audit, stream).await;
            assert_eq!((got.status, &*got.text), (200, "card"));
            assert!(told.starts_with("answered 200: student accepted, mid "), "{told}");
        }
    }
}

fn trained_desk(threshold: f32) -> Desk {
    let ladder = vec![
        Arc::new(student_rung(trained(), Gate::Certified { threshold })),
        Arc::new(rung("mid", Arc::new(scripted(Tier::Mid, |_, _| Act::Text("rate", None))))),
    ];
    Desk::new(deployment(vec![task("intent", ladder)], vec![]))
}

#[tokio::test]
async fn a_trained_student_answers_what_it_knows_and_escalates_what_it_does_not() {
    let desk = trained_desk(0.6);
    let got = desk.ask("task/intent", "please block my card").await;
    let settled = desk.of(&got);
    assert_eq!((&*got.text, &*told(&settled)), ("card", "answered 200: student accepted"));
    let confidence = settled.attempts[0].confidence.unwrap();
    assert!((0.6..=1.0).contains(&confidence));
    assert_eq!(got.json["bantam"]["tier"], "local");
    assert!((got.json["bantam"]["confidence"].as_f64().unwrap() - f64::from(confidence)).abs() < 1e-3);
    // A threshold that lets everything pass leaves only the student's own word that it knows no such text.
    for (threshold, reason) in [(0.6, "low_confidence"), (0.0, "out_of_scope")] {
        let desk = trained_desk(threshold);
        let got = desk.ask("task/intent", "zzzz qqqq").await;
        let expected = format!("answered 200: student discarded {reason}, mid accepted");
        assert_eq!((&*got.text, told(&desk.of(&got))), ("rate", expected));
    }
}

#[tokio::test]
async fn a_task_s_instructions_go_only_to_callers_without_their_own() {
    for (own, expected) in [(false, true), (true, false)] {
        let mid = scripted(Tier::Mid, move |_, ask| {
            assert_eq!(ask.system.is_some(), expected);
            assert!(!ask.stream, "a label is never asked for as a stream");
            Act::Text("card", None)
        });
        let desk =
            Desk::new(deployment(vec![task("intent", vec![Arc::new(rung("mid", Arc::new(mid)))])], vec![]));
        let mut messages = vec![serde_json::json!({"role": "user", "content": "hi"})];
        if own {
            messages.insert(0, serde_json::json!({"role": "developer", "content": "do as I say"}));
        }
        let body =
            serde_json::json!({"model": "task/intent", "stream": true, "messages": messages}).to_string();
        assert_eq!(desk.ask_body(body, bantam_gateway::Hints::default()).await.text, "card");
    }
}

#[tokio::test]
async fn a_student_of_free_answers_returns_what_it_is_sure_of_and_in_form_and_counts_its_own_tokens() {
    let gate = Gate::Certified { threshold: 0.8 };
    for (text, probability, is_valid, expected) in [
        (r#"{"city":"Rome"}"#, 0.9, true, "answered 200: student accepted"),
        (
            r#"{"city":"Rome"}"#,
            0.7,
            true,
            "answered 200: student discarded low_confidence, frontier accepted",
        ),
        (r#"{"city":"Ro"#, 0.9, false, "answered 200: student discarded invalid_output, frontier accepted"),
    ] {
        let student = scripted(Tier::Local, move |_, _| Act::Draft(text, probability, is_valid));
        let frontier = scripted(Tier::Frontier, |_, ask| match ask.stream {
            true => Act::Chunks(completion_events("m", "from above", 1, 1), None),
            false => Act::Text("from above", None),
        });
        let ladder = vec![
            Arc::new(student_rung(Arc::new(student), gate)),
            Arc::new(rung("frontier", Arc::new(frontier))),
        ];
        let desk = Desk::new(deployment(vec![open_task("places", ladder)], vec![]));
        for got in [desk.ask("task/places", "to Rome").await, desk.ask_stream("task/places", "to Rome").await]
        {
            let settled = desk.of(&got);
            assert_eq!(told(&settled), expected);
            let is_own = expected.ends_with("student accepted");
            assert_eq!(got.text, if is_own { text } else { "from above" });
            assert_eq!(settled.attempts[0].usage, tokens(40, 0, 7));
            assert_eq!(settled.attempts[0].confidence, Some(probability));
        }
    }
}
