//! Which task or model a request goes to.

use std::sync::Arc;

use bantam_books::{TemplateUsage, TimeRange};
use bantam_gateway::{Deployment, Hints};
use bantam_route::Gate;
use bantam_types::{Template, Tier};

use crate::support::{
    Act, Desk, Scripted, body, deployment, open_task, rung, scripted, student_rung, task, told,
};

struct World {
    desk: Desk,
    student: Arc<Scripted>,
    mid: Arc<Scripted>,
    frontier: Arc<Scripted>,
}

fn world() -> World {
    let student = Arc::new(scripted(Tier::Local, |request, ask| {
        // The student must see the payload alone.
        let text = request.last_user_text().unwrap().get(ask.payload_start..).unwrap();
        // After a question it must see that too.
        if text == "the second" && request.said_before() != Some("which one?") {
            return Act::Say("card", 0.1);
        }
        if text.starts_with("Message:") { Act::Say("card", 0.1) } else { Act::Say("card", 0.99) }
    }));
    let mid = Arc::new(scripted(Tier::Mid, |_, _| Act::Text("rate", None)));
    let frontier = Arc::new(scripted(Tier::Frontier, |_, _| Act::Text("transfer", None)));
    let desk = Desk::new(deploy(&student, &mid, &frontier));
    World { desk, student, mid, frontier }
}

fn deploy(student: &Arc<Scripted>, mid: &Arc<Scripted>, frontier: &Arc<Scripted>) -> Deployment {
    let student = Arc::new(student_rung(Arc::clone(student) as _, Gate::Certified { threshold: 0.9 }));
    let mid = Arc::new(rung("mid-model", Arc::clone(mid) as _));
    let frontier = Arc::new(rung("frontier-model", Arc::clone(frontier) as _));
    let intent = task("intent", vec![student, Arc::clone(&mid)]);
    let notes = open_task("notes", vec![Arc::clone(&frontier)]);
    deployment(vec![intent, notes], vec![mid, frontier])
}

fn hint(task: &str) -> Hints {
    Hints { task: Some(task.to_owned()), ..Hints::default() }
}

/// Checks who answers a request.
async fn check(model: &str, hints: Hints, expected: &str) {
    let world = world();
    let got = world.desk.ask_body(body(model, "hello"), hints).await;
    assert_eq!(got.status, 200, "{got:?}");
    let settled = world.desk.of(&got);
    assert_eq!(told(&settled), expected, "{model}");
    assert_eq!(settled.requested_model, model);
}

#[tokio::test]
async fn the_model_s_name_or_the_header_says_which_task() {
    check("task/intent", Hints::default(), "answered 200: student accepted").await;
    check("task/notes", Hints::default(), "answered 200: frontier-model accepted").await;
    check("auto", hint("intent"), "answered 200: student accepted").await;
    // The header counts first, also beside a model that is not here.
    check("gpt-of-elsewhere", hint("intent"), "answered 200: student accepted").await;
    check("task/notes", hint("intent"), "answered 200: student accepted").await;
}

#[tokio::test]
async fn auto_climbs_the_whole_ladder_and_a_model_is_itself() {
    check("auto", Hints::default(), "answered 200: mid-model accepted").await;
    check("unchanged-app", Hints::default(), "answered 200: mid-model accepted").await;
    check("mid-model", Hints::default(), "answered 200: mid-model accepted").await;
    check("frontier-model", Hints::default(), "answered 200: frontier-model accepted").await;
}

#[tokio::test]
async fn a_model_that_fails_is_not_replaced_by_another() {
    let mid = Arc::new(scripted(Tier::Mid, |_, _| Act::Fail(bantam_backend::BackendFault::Status(500))));
    let frontier = Arc::new(scripted(Tier::Frontier, |_, _| Act::Text("x", None)));
    let ladder = vec![
        Arc::new(rung("mid", Arc::clone(&mid) as _)),
        Arc::new(rung("frontier", Arc::clone(&frontier) as _)),
    ];
    let desk = Desk::new(deployment(vec![], ladder));
    for stream in [false, true] {
        let got = if stream { desk.ask_stream("mid", "hi").await } else { desk.ask("mid", "hi").await };
        assert_eq!((got.status, got.slug), (502, "upstream_failed"));
        assert_eq!(told(&desk.of(&got)), "failed 502: mid failed error");
    }
    assert_eq!(frontier.calls(), 0);
    assert_eq!(desk.ask("auto", "hi").await.status, 200);
}

/// Checks that a name is refused, that the nearest comes first, and that nobody was asked.
async fn check_unknown(model: &str, hints: Hints, slug: &str, param: &str, nearest: &str) {
    let world = world();
    let got = world.desk.ask_body(body(model, "hello"), hints).await;
    assert_eq!((got.status, got.slug, got.param.as_deref()), (404, slug, Some(param)), "{got:?}");
    assert!(got.message.contains(&format!("nearest: `{nearest}`")), "{}", got.message);
    assert_eq!(world.student.calls() + world.mid.calls() + world.frontier.calls(), 0);
    let settled: Vec<_> = world.desk.settled().iter().map(told).collect();
    assert!(settled.iter().all(|line| line == "refused 404: "), "{settled:?}");
}

#[tokio::test]
async fn an_unknown_name_is_refused_with_the_nearest_ones() {
    check_unknown("mid-modle", Hints::default(), "model_not_found", "model", "mid-model").await;
    check_unknown("task/intnet", Hints::default(), "task_not_found", "model", "intent").await;
    check_unknown("task/../intent", Hints::default(), "task_not_found", "model", "intent").await;
    check_unknown("auto", hint("note"), "task_not_found", "x-bantam-task", "notes").await;
    check_unknown("Auto", Hints::default(), "model_not_found", "model", "auto").await;
    check_unknown(&"mid-model".repeat(20), Hints::default(), "model_not_found", "model", "mid-model").await;
}

const SUBJECTS: [&str; 10] = [
    "my card",
    "the refund",
    "this transfer",
    "why app",
    "a top-up",
    "how new pin",
    "where money",
    "lost phone",
    "which rate",
    "no cash",
];

fn templated(number: usize) -> String {
    let subject = SUBJECTS[number % 10];
    let content = format!(
        "Classify this customer message.\nMessage: {subject} {} number{number} please",
        SUBJECTS[number / 10 % 10]
    );
    serde_json::json!({"model": "auto", "messages": [
        {"role": "system", "content": "You sort the mail of a bank."},
        {"role": "user", "content": content},
    ]})
    .to_string()
}

/// Returns the only template that was discovered.
async fn discovered(world: &World) -> TemplateUsage {
    let mut templates = world.desk.reader().templates(TimeRange::ALL).await.unwrap();
    assert_eq!(templates.len(), 1, "{templates:?}");
    templates.remove(0)
}

#[tokio::test]
async fn no_text_of_a_discovered_prompt_is_kept_unless_the_owner_asked_for_it() {
    let world = world();
    for number in 0..60 {
        world.desk.ask_body(templated(number), Hints::default()).await;
    }
    let record = discovered(&world).await.record;
    assert_eq!((&*record.system_preview, &*record.prefix, &*record.suffix), ("", "", ""));
}

#[tokio::test]
async fn a_template_is_discovered_and_once_named_brings_its_requests_to_the_task() {
    let world = world();
    for number in 0..60 {
        assert_eq!(world.desk.ask_body(templated(number), Hints::default()).await.status, 200);
    }
    let found = discovered(&world).await;
    assert!(found.usage.requests >= 20, "{found:?}");
    let template: Template = found.record.template;
    let mut next = deploy(&world.student, &world.mid, &world.frontier);
    next.templates.insert(template, "intent".parse().unwrap());
    world.desk.gateway.deploy(next);
    let got = world.desk.ask_body(templated(7), Hints::default()).await;
    let settled = world.desk.of(&got);
    assert_eq!(
        (told(&settled), settled.template),
        ("answered 200: student accepted".to_owned(), Some(template))
    );
    assert_eq!(settled.task.unwrap().as_str(), "intent");
    // A later turn is known by the same template, and goes to the student with the whole conversation.
    let mut later: serde_json::Value = serde_json::from_str(&templated(9)).unwrap();
    later["messages"].as_array_mut().unwrap().extend([
        serde_json::json!({"role": "assistant", "content": "which one?"}),
        serde_json::json!({"role": "user", "content": "the second"}),
    ]);
    let got = world.desk.ask_body(later.to_string(), Hints::default()).await;
    let settled = world.desk.of(&got);
    assert_eq!(
        (told(&settled), settled.template),
        ("answered 200: student accepted".to_owned(), Some(template))
    );
    // A model named outright stays what the caller decided.
    let got =
        world.desk.ask_body(templated(8).replace("\"auto\"", "\"frontier-model\""), Hints::default()).await;
    let settled = world.desk.of(&got);
    assert_eq!(
        (told(&settled).as_str(), settled.template),
        ("answered 200: frontier-model accepted", Some(template))
    );
}

#[tokio::test]
async fn the_preview_of_a_template_is_kept_on_request_and_never_of_a_sensitive_prompt() {
    for (system, is_kept) in [("sort the mail of a bank", true), ("work for jane.doe@example.com", false)] {
        let world = world();
        let student =
            Arc::new(student_rung(Arc::clone(&world.student) as _, Gate::Uncertified { threshold: 0.0 }));
        let asked = Deployment { keep_prompt_previews: true, ..deployment(vec![], vec![student]) };
        world.desk.gateway.deploy(asked);
        for number in 0..60 {
            let body = templated(number).replace("sort the mail of a bank", system);
            assert_ne!(world.desk.ask_body(body, Hints::default()).await.status, 409);
        }
        let record = discovered(&world).await.record;
        assert_eq!(record.system_preview.contains(system), is_kept, "{record:?}");
        assert_eq!(record.prefix.ends_with("Message: "), is_kept, "{record:?}");
    }
}

#[tokio::test]
async fn explaining_asks_no_model_and_settles_nothing() {
    let world = world();
    let explained =
        world.desk.gateway.explain(body("task/intent", "hello").into(), Hints::default()).await.unwrap();
    let text = explained.lines.join("\n");
    for part in [
        "intent (classify)",
        "public: nothing sensitive found",
        "says `card` with probability 0.9900",
        "certified threshold 0.9000: accept",
        "mid-model (mid, $2 in, $8 out",
        "asked when no rung before it answers",
    ] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    let explained = world
        .desk
        .gateway
        .explain(body("auto", "I am jane@example.com").into(), Hints::default())
        .await
        .unwrap();
    let text = explained.lines.join("\n");
    for part in ["confidential: email (1)", "may not reach the mid tier", "may not reach the frontier tier"] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    assert!(!text.contains("jane"), "{text}");
    assert_eq!((world.mid.calls(), world.frontier.calls()), (0, 0));
    assert!(world.desk.settled().is_empty());
}
