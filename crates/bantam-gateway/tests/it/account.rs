//! What is written into the ledger: every attempt, exact costs, examples only where wanted.

use std::sync::Arc;

use bantam_backend::BackendFault;
use bantam_books::ExampleRecord;
use bantam_gateway::{Hints, Rung, Task};
use bantam_route::Gate;
use bantam_types::{AnswerUsage, Label, Price, ServiceTier, Tier, Unpriced, Usd};
use serde_json::json;

use crate::support::{
    Act, Desk, body, deployment, open_task, price, rung, scripted, student_rung, task, tokens, told,
};

fn model(name: &str, tier: Tier, script: impl Fn() -> Act + Send + Sync + 'static) -> Rung {
    rung(name, Arc::new(scripted(tier, move |_, _| script())))
}

fn desk(ladder: Vec<Rung>) -> Desk {
    Desk::new(deployment(vec![open_task("chat", ladder.into_iter().map(Arc::new).collect())], vec![]))
}

fn micro(dollars: i64) -> Option<Usd> {
    Some(Usd::from_picodollars(dollars * 1_000_000))
}

#[tokio::test]
async fn a_cost_is_exact_and_cached_tokens_are_cheaper() {
    let desk = desk(vec![model("mid", Tier::Mid, || Act::Text("x", tokens(1000, 400, 50)))]);
    let got = desk.ask("task/chat", "hi").await;
    let settled = desk.of(&got);
    // 600 at $2, 400 cached at $1 and 50 out at $8 a million tokens; the baseline asks $10, $5 and $30.
    assert_eq!(settled.attempts[0].cost, micro(2000));
    assert_eq!(settled.baseline_cost, micro(9500));
    assert_eq!(got.json["bantam"]["cost_usd"], json!(0.002));
    assert_eq!(settled.attempts[0].usage, tokens(1000, 400, 50));
    assert_eq!(&*settled.attempts[0].model, "real-mid");
}

#[tokio::test]
async fn every_attempt_is_settled_and_counts_also_when_it_was_discarded_or_failed() {
    let ladder = vec![
        student_rung(
            Arc::new(scripted(Tier::Local, |_, _| Act::Say("card", 0.5))),
            Gate::Certified { threshold: 0.9 },
        ),
        model("prosaic", Tier::Mid, || Act::Text("no label at all", tokens(10, 0, 10))),
        model("late", Tier::Mid, || Act::Fail(BackendFault::FirstByteTimeout)),
        model("refused", Tier::Mid, || Act::Fail(BackendFault::Unsupported(400))),
        model("good", Tier::Frontier, || Act::Text("card", tokens(10, 0, 1))),
    ];
    let ladder = ladder.into_iter().map(Arc::new).collect();
    let desk = Desk::new(deployment(vec![task("intent", ladder)], vec![]));
    let got = desk.ask("task/intent", "hi").await;
    let settled = desk.of(&got);
    assert_eq!(
        told(&settled),
        "answered 200: student discarded low_confidence, prosaic discarded invalid_output, late failed timeout, \
         refused failed error, good accepted"
    );
    let costs: Vec<_> = settled.attempts.iter().map(|attempt| attempt.cost).collect();
    // Nobody bills for a refusal; what a time-out costs nobody knows, and unknown is not free.
    assert_eq!(costs, [micro(0), micro(100), None, micro(0), micro(28)]);
    assert_eq!(got.json["bantam"]["cost_usd"], json!(null));
    assert_eq!(settled.attempts[0].confidence, Some(0.5));
    let started: Vec<u64> = settled.attempts.iter().map(|attempt| attempt.started_us).collect();
    assert!(started.is_sorted());
    let usage = desk.total();
    assert_eq!((usage.requests, usage.attempts, usage.attempts_unpriced), (1, 5, 1));
    assert_eq!(usage.spend, Usd::from_picodollars(128_000_000));
}

#[tokio::test]
async fn an_unpriced_model_is_marked_and_never_free() {
    let unpriced = Rung { price: None, ..model("mid", Tier::Mid, || Act::Text("x", tokens(1000, 0, 50))) };
    let silent = model("silent", Tier::Mid, || Act::Text("x", None));
    for rung in [unpriced, silent] {
        let desk = desk(vec![rung]);
        let got = desk.ask("task/chat", "hi").await;
        assert_eq!(got.json["bantam"]["cost_usd"], json!(null));
        assert_eq!(desk.of(&got).attempts[0].cost, None);
        let usage = desk.total();
        assert_eq!((usage.requests_unpriced, usage.attempts_unpriced, usage.spend), (1, 1, Usd::ZERO));
    }
}

#[tokio::test]
async fn a_service_that_was_asked_for_and_that_the_answer_does_not_name_has_no_known_rates() {
    let named = |tier| {
        move || Act::Text("x", tokens(1000, 0, 50).map(|usage| AnswerUsage { service_tier: tier, ..usage }))
    };
    let standard = Some(ServiceTier::Standard);
    for (asked, told, expected) in [
        ("flex", None, Some(Unpriced::OtherService)),
        ("flex", Some(ServiceTier::Flex), Some(Unpriced::Flex)),
        ("flex", standard, None),
        ("auto", None, None),
    ] {
        let desk = desk(vec![model("mid", Tier::Mid, named(told))]);
        let body = format!(
            r#"{{"model":"task/chat","service_tier":"{asked}","messages":[{{"role":"user","content":"hi"}}]}}"#
        );
        let got = desk.ask_body(body, Hints::default()).await;
        let attempt = desk.of(&got).attempts.remove(0);
        assert_eq!((attempt.unpriced, attempt.cost.is_none()), (expected, expected.is_some()), "{asked}");
    }
}

#[tokio::test]
async fn a_fee_is_charged_for_an_answer_and_not_for_a_refusal() {
    let fee = Usd::from_picodollars(5_000_000_000);
    let priced = |name: &str, script: fn() -> Act| {
        let with_fee = Price { request_fee: Some(fee), ..(*price(2, 1, 8)).clone() };
        Rung { price: Some(Arc::new(with_fee)), ..model(name, Tier::Mid, script) }
    };
    let refused = priced("refused", || Act::Fail(BackendFault::RateLimited(429)));
    let desk = desk(vec![refused, priced("good", || Act::Text("x", tokens(1000, 0, 50)))]);
    let got = desk.ask("task/chat", "hi").await;
    let costs: Vec<_> = desk.of(&got).attempts.iter().map(|attempt| attempt.cost).collect();
    assert_eq!(costs, [micro(0), micro(2400 + 5000)]);
}

#[tokio::test]
async fn a_local_answer_is_free_and_its_baseline_follows_what_models_counted() {
    let student = student_rung(
        Arc::new(scripted(Tier::Local, |request, _| match request.last_user_text() {
            Some("hard to say") => Act::Say("card", 0.1),
            _ => Act::Say("card", 0.99),
        })),
        Gate::Certified { threshold: 0.9 },
    );
    // The model counts 100 tokens where the estimate has about a dozen.
    let ladder = vec![student, model("mid", Tier::Mid, || Act::Text("card", tokens(100, 0, 4)))];
    let desk =
        Desk::new(deployment(vec![task("intent", ladder.into_iter().map(Arc::new).collect())], vec![]));
    let before = desk.ask("task/intent", "easy to say").await;
    let counted = desk.ask("task/intent", "hard to say").await;
    let after = desk.ask("task/intent", "easy to say").await;
    let [before, counted, after] = [&before, &counted, &after].map(|got| desk.of(got));
    assert_eq!(counted.baseline_cost, micro(1120));
    assert_eq!((before.attempts[0].cost, after.attempts[0].cost), (micro(0), micro(0)));
    assert!(before.baseline_cost.unwrap() < micro(400).unwrap(), "{before:?}");
    assert_eq!(after.baseline_cost, micro(1120));
}

#[tokio::test]
async fn a_request_without_an_answer_has_no_baseline() {
    let desk = desk(vec![model("mid", Tier::Mid, || Act::Fail(BackendFault::Garbage))]);
    let failed = desk.ask("task/chat", "hi").await;
    let refused = desk.ask("task/chat", "I am jane.doe@example.com").await;
    assert_eq!((failed.status, refused.status), (502, 409));
    assert_eq!(told(&desk.of(&refused)), "refused 409: ");
    assert_eq!((desk.of(&failed).baseline_cost, desk.of(&refused).baseline_cost), (None, None));
}

async fn recorded(change: impl Fn(&mut Task), text: &str) -> Vec<ExampleRecord> {
    let ladder = vec![
        student_rung(
            Arc::new(scripted(Tier::Local, |_, _| Act::Say("card", 0.1))),
            Gate::Certified { threshold: 0.9 },
        ),
        model("local-model", Tier::Local, || Act::Text("Rate.", tokens(9, 0, 1))),
    ];
    let mut task = task("intent", ladder.into_iter().map(Arc::new).collect());
    task.record = true;
    change(&mut task);
    let desk = Desk::new(deployment(vec![task], vec![]));
    assert_eq!(desk.ask_body(body("task/intent", text), Hints::default()).await.status, 200);
    let reader = desk.reader();
    let mut examples = reader.examples("intent".parse().unwrap());
    let mut found = Vec::new();
    while let Some(example) = examples.next().await.unwrap() {
        found.push(example);
    }
    found
}

#[tokio::test]
async fn answers_are_kept_to_learn_from_only_where_the_task_asks_and_nothing_sensitive_is_said() {
    let kept = recorded(|_| (), "what is the rate").await;
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (&*kept[0].text, &*kept[0].answer, &*kept[0].model),
        ("what is the rate", "rate", "real-local-model")
    );
    assert!(recorded(|task| task.record = false, "what is the rate").await.is_empty());
    assert!(recorded(|_| (), "rates for jane.doe@example.com").await.is_empty());
    assert!(recorded(|task| task.minimum_label = Label::Confidential, "what is the rate").await.is_empty());
    assert_eq!(recorded(|task| task.minimum_label = Label::Internal, "what is the rate").await.len(), 1);
    // What a student said is nothing to learn from.
    let sure = |task: &mut Task| {
        let student = scripted(Tier::Local, |_, _| Act::Say("card", 1.0));
        task.ladder = vec![Arc::new(student_rung(Arc::new(student), Gate::Certified { threshold: 0.9 }))];
    };
    assert!(recorded(sure, "what is the rate").await.is_empty());
}

#[tokio::test]
async fn a_minimum_label_of_the_task_keeps_its_requests_here() {
    let mid = Arc::new(scripted(Tier::Mid, |_, _| Act::Text("x", None)));
    let mut task = open_task("chat", vec![Arc::new(rung("mid", Arc::clone(&mid) as _))]);
    task.minimum_label = Label::Confidential;
    let desk = Desk::new(deployment(vec![task], vec![]));
    let got = desk.ask("task/chat", "hello").await;
    assert_eq!((got.status, got.slug), (409, "sensitive_request"));
    assert!(got.message.contains("the task's minimum label (confidential)"), "{}", got.message);
    assert_eq!((desk.of(&got).label, mid.calls()), (Label::Confidential, 0));
    assert_eq!(desk.ask("mid", "hello").await.status, 200);
}

#[tokio::test]
async fn a_whole_answer_keeps_every_byte_of_the_model_s_and_gains_a_note() {
    let desk = desk(vec![model("mid", Tier::Mid, || Act::Text("exactly this", tokens(1, 0, 1)))]);
    let got = desk.ask("task/chat", "hi").await;
    assert_eq!((&got.json["id"], &got.json["model"]), (&json!("chatcmpl-simulated"), &json!("real-model")));
    assert_eq!(got.json["bantam"]["task"], "chat");
    assert_eq!(desk.of(&got).attempts[0].usage, tokens(1, 0, 1));
}
