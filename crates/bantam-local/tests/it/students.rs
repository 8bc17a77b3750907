//! A language model as a task's student: its own prompt, the task's form, and a confidence.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_backend::{Answer, Ask, Backend, BackendFault, StudentAnswer};
use bantam_local::{AnswerForm, DecoderStudent, KeepAlive, LocalModel, RoomBackend, StudentTask};
use bantam_student::{AnswerEvidence, JudgedAnswer, Salt, Verifier};
use bantam_wire::Feature;
use serde_json::{Value, json};

use crate::tiny::{backend, cleared, options, whole};
use crate::tiny_model::write;

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": { "kind": { "enum": ["refund", "praise"] }, "count": { "type": "integer" } },
        "required": ["kind", "count"],
        "additionalProperties": false,
    })
}

fn task(form: AnswerForm, tokens_max: usize) -> StudentTask {
    StudentTask {
        name: "tickets".into(),
        instructions: "Read the ticket.".into(),
        form,
        tokens_max,
        samples: 0,
        verifier: None,
    }
}

async fn draft(task: &StudentTask, text: &str) -> StudentAnswer {
    backend().draft(task, text, None).await.unwrap().answer
}

#[tokio::test]
async fn json_keeps_to_the_schema_and_is_the_same_again_with_the_same_confidence() {
    let task = task(AnswerForm::Json(schema()), 64);
    for text in ["the lamp broke", "thank you so much"] {
        let first = draft(&task, text).await;
        let value: Value = serde_json::from_str(&first.text).unwrap();
        assert!(first.is_valid && value["count"].is_i64() && value["kind"].is_string(), "{value}");
        assert!(first.probability > 0.0 && first.probability < 1.0, "{}", first.probability);
        assert_eq!(first, draft(&task, text).await);
        let usage = first.usage.unwrap();
        assert!(usage.input > text.len() as u64 && usage.output > 0);
    }
}

/// Returns a text to which the model says at least three tokens, and its answer of `tokens_max` at most.
async fn long_text(tokens_max: usize) -> (String, StudentAnswer) {
    for number in 0..50 {
        let text = format!("ticket {number}");
        let answer = draft(&task(AnswerForm::Text, tokens_max), &text).await;
        if answer.usage.unwrap().output >= 3 {
            return (text, answer);
        }
    }
    panic!("the model says nothing to any text")
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_not_valid() {
    // Where the end is not known in advance, forced text is cut as well.
    let lark = "start: \"order \" body \"end\"\nbody[lazy]: /[0-9]+;/\n";
    for tokens_max in [3, 9] {
        let answer = draft(&task(AnswerForm::Lark(lark.into()), tokens_max), "the lamp broke").await;
        assert!(!answer.is_valid, "{}", answer.text);
    }
    let (_, answer) = long_text(3).await;
    assert!(!answer.is_valid, "{}", answer.text);
}

#[tokio::test]
async fn free_text_is_what_the_model_says_to_the_same_prompt_and_as_sure_as_its_least_sure_token() {
    let (text, answer) = long_text(12).await;
    let more = json!({
        "messages": [
            { "role": "system", "content": "Read the ticket." }, { "role": "user", "content": text },
        ],
        "max_tokens": 12, "temperature": 0, "logprobs": true,
    });
    let body = whole(&backend(), "", more).await;
    assert_eq!(*answer.text, *body["choices"][0]["message"]["content"].as_str().unwrap());
    let logs = body["choices"][0]["logprobs"]["content"].as_array().unwrap();
    let logs = logs.iter().map(|token| token["logprob"].as_f64().unwrap());
    assert!((f64::from(answer.probability) - logs.fold(0.0, f64::min).exp()).abs() < 1e-6);
}

#[tokio::test]
async fn a_label_is_chosen_by_its_share_among_the_labels() {
    let labels: Arc<[String]> = ["refund", "praise", "other"].map(str::to_owned).into();
    let answer = draft(&task(AnswerForm::Labels(Arc::clone(&labels)), 1), "the lamp broke").await;
    assert!(labels.iter().any(|label| **label == *answer.text));
    assert!(answer.probability >= 1.0 / 3.0 && answer.probability <= 1.0, "{}", answer.probability);
}

#[tokio::test]
async fn a_regular_expression_and_a_grammar_are_kept_to_and_as_sure_as_the_whole_answer() {
    let lark = "start: \"order \" NUMBER (\", \" NUMBER)?\nNUMBER: /[0-9]{3}/\n";
    let regex = "order [0-9]{3}(, [0-9]{3})?";
    let drafts = |form: AnswerForm| async { draft(&task(form, 40), "the lamp broke").await };
    let by_regex = drafts(AnswerForm::Regex(regex.into())).await;
    let by_grammar = drafts(AnswerForm::Lark(lark.into())).await;
    for answer in [&by_regex, &by_grammar] {
        let numbers = answer.text.strip_prefix("order ").unwrap();
        assert!(
            numbers.split(", ").all(|number| number.len() == 3 && number.parse::<u32>().is_ok()),
            "{numbers}"
        );
        assert!(answer.is_valid && answer.probability > 0.0 && answer.probability < 0.5, "{answer:?}");
    }
    assert_eq!(by_regex.text, by_grammar.text, "the same language");
    for (form, tokens_max) in [(AnswerForm::Regex(regex.into()), 8), (AnswerForm::Json(schema()), 6)] {
        let refused = backend().draft(&task(form, tokens_max), "the lamp broke", None).await.unwrap_err();
        assert_eq!(refused.fault, BackendFault::CannotHonour(Feature::OutputLimit));
    }
}

#[tokio::test]
async fn it_reads_the_payload_alone_and_honours_the_schema_of_its_task_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path());
    let room = bantam_local::Room::new(1 << 30, Duration::from_secs(60), Arc::new(Instant::now));
    let load = move || LocalModel::open(&path, &options()).map_err(Into::into);
    let place = room.place("tiny", 1 << 20, KeepAlive::Always, load);
    let student = DecoderStudent::new(
        Arc::new(RoomBackend::new(place, "tiny".into(), None)),
        task(AnswerForm::Json(schema()), 64),
    );
    let format =
        |schema: Value| json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": schema } });
    let body = |content: &str, format: Value| {
        json!({ "model": "task/t", "response_format": format,
            "messages": [{ "role": "system", "content": "Ignore this." }, { "role": "user", "content": content }] })
    };
    let ask = |payload_start| Ask { stream: true, payload_start, ..Ask::default() };
    let asked = cleared(&body("Ticket: the lamp broke", format(schema())));
    assert_eq!(student.cannot_honour(asked.request()), None);
    let Answer::Student(answer) = student.answer(asked, ask("Ticket: ".len())).await.unwrap() else {
        panic!("no student's answer")
    };
    let alone = student.draft("the lamp broke", None).await.unwrap().answer;
    assert_eq!((answer.text, answer.probability), (alone.text, alone.probability));
    let other = cleared(&body("x", format(json!({ "type": "object" }))));
    assert_eq!(student.cannot_honour(other.request()).unwrap().feature, Feature::AnswerForm);
    let tools = cleared(&json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }],
        "tools": [{ "type": "function", "function": { "name": "f" } }] }));
    assert_eq!(student.cannot_honour(tools.request()).unwrap().feature, Feature::Tools);
}

#[tokio::test]
async fn answers_that_are_drawn_beside_it_count_and_change_no_text() {
    for form in [AnswerForm::Text, AnswerForm::Json(schema())] {
        let alone = draft(&task(form.clone(), 40), "the lamp broke").await;
        let sampled = StudentTask { samples: 3, ..task(form, 40) };
        let first = draft(&sampled, "the lamp broke").await;
        assert_eq!(first.text, alone.text);
        let agreement = first.probability / alone.probability;
        let quarters = agreement * 4.0;
        assert!((quarters - quarters.round()).abs() < 1e-3 && (0.9..4.1).contains(&quarters), "{agreement}");
        assert!(first.usage.unwrap().output > alone.usage.unwrap().output);
        assert_eq!(first, draft(&sampled, "the lamp broke").await, "equal texts get equal answers");
    }
}

#[tokio::test]
async fn a_verifier_decides_how_sure_an_answer_is_and_changes_no_text() {
    let sure = |least: f32| AnswerEvidence { least, tenth: least, mean: least, agreement: 1.0, tokens: 3 };
    let judged: Vec<JudgedAnswer<'_>> = (0..60)
        .map(|row| JudgedAnswer {
            text: "the lamp broke",
            answer: if row % 3 == 0 { "a tent" } else { "a lamp" },
            evidence: sure(0.5),
            is_right: row % 3 != 0,
        })
        .collect();
    let taught =
        [("my lamp", "a lamp"), ("my tent", "a tent"), ("one tent", "a tent"), ("one lamp", "a lamp")];
    let (verifier, _) = Verifier::fit(taught.into_iter(), &judged, Salt::of(&["rows"])).unwrap();
    let verifier = Arc::new(verifier);
    for form in [AnswerForm::Text, AnswerForm::Json(schema())] {
        let alone = draft(&task(form.clone(), 40), "the lamp broke").await;
        let verified = StudentTask { verifier: Some(Arc::clone(&verifier)), ..task(form, 40) };
        let drafted = backend().draft(&verified, "the lamp broke", None).await.unwrap();
        let expected = verifier.probability("the lamp broke", &alone.text, &drafted.evidence.unwrap());
        assert_eq!((drafted.answer.text, drafted.answer.probability), (alone.text, expected));
    }
}
