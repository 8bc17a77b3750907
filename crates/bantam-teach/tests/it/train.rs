use bantam_teach::{
    BaseTuning, StudentKind, TrainError, TrainErrorKind, TrainReport, TrainedStudent, TrainingData,
    TrainingEnd, TrainingEvent, TrainingRequest,
};
use serde_json::json;

use crate::{Place, tiny_base, tiny_model};

const PRODUCTS: [&str; 4] = ["lamp", "tent", "mug", "desk"];

/// Rows for a decoder: the product that the text names.
fn questions(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| {
        let product = PRODUCTS[number * 7 % 4];
        json!({ "text": format!("send {number} {product}s"), "answer": product }).to_string()
    })
}

/// Rows for a classifier.
fn labelled(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| {
        let (label, text) =
            [("order", "where is my parcel"), ("refund", "give me my money back")][number % 2];
        json!({ "text": format!("{text}, ticket {number}"), "label": label }).to_string()
    })
}

fn small_decoder(place: &Place) -> TrainingRequest {
    TrainingRequest {
        size: Some(100_000),
        epochs: Some(2),
        merges: Some(64),
        ..place.request(StudentKind::Decoder)
    }
}

#[test]
fn a_base_is_hashed_once_and_its_hash_is_what_the_student_names() {
    let place = Place::new();
    let base = tiny_model::write(place.folder.path());
    let rows = place.write("rows.jsonl", questions(40));
    let request = TrainingRequest {
        base: Some(base.clone()),
        rank: Some(4),
        epochs: Some(1),
        ..place.request(StudentKind::Decoder)
    };
    let trained = place.train(request, TrainingData::File(&rows)).unwrap();
    let hashed = place.hashed.borrow();
    assert_eq!(hashed.iter().filter(|path| **path == base).count(), 1, "{hashed:?}");
    assert_eq!(hashed.len(), 2, "the base and the weights: {hashed:?}");
    let TrainedStudent::Decoder(file) = &trained.student else { unreachable!("it is a decoder") };
    let files = [file.base.as_ref().unwrap().sha256.clone(), file.weights.sha256.clone()];
    assert_eq!(trained.report.student(), (&*place.path("a.student"), &*file.task("any").fingerprint(&files)));
}

#[test]
fn every_place_that_is_written_at_the_end_is_tried_before_rows_are_read() {
    let place = Place::new();
    let nowhere = place.path("none/x");
    let missing = place.path("missing.jsonl");
    tiny_base::write(&place.path("base"), 7);
    let tuned = TrainingRequest {
        base: Some(place.path("base")),
        tune: Some(BaseTuning::Lora),
        ..place.request(StudentKind::Encoder)
    };
    std::fs::write(place.path("file"), "").unwrap();
    let requests = [
        ("out", TrainingRequest::new(StudentKind::Linear, &nowhere)),
        ("out", TrainingRequest::new(StudentKind::Tagger, &nowhere)),
        ("checkpoint", TrainingRequest { checkpoint: Some(nowhere.clone()), ..tuned.clone() }),
        ("curve", TrainingRequest { curve: Some(nowhere.clone()), ..tuned.clone() }),
        ("peft", TrainingRequest { peft: Some(place.path("file/adapter")), ..tuned.clone() }),
        ("curve", TrainingRequest { curve: Some(nowhere.clone()), ..small_decoder(&place) }),
    ];
    for (field, request) in requests {
        let error = place.train(request, TrainingData::File(&missing)).unwrap_err();
        assert!(matches!(&error, TrainError::Destination(error) if error.field == field), "{field}: {error}");
        assert!(error.hint().unwrap().contains(&format!("`{field}`")));
    }
    let log = TrainingRequest { log: Some(nowhere), ..tuned };
    let error = place.train(log, TrainingData::File(&missing)).unwrap_err();
    assert!(matches!(&error, TrainError::Record(error) if error.field == "log"), "{error}");
    assert_eq!(std::fs::read_dir(place.folder.path()).unwrap().count(), 2, "nothing was left behind");
}

#[test]
fn a_training_that_is_stopped_leaves_a_state_and_comes_to_the_same_student_when_it_is_taken_up() {
    let place = Place::new();
    let rows = place.write("rows.jsonl", questions(60));
    let whole = place.train(small_decoder(&place), TrainingData::File(&rows)).unwrap();
    let request = TrainingRequest {
        out: place.path("b.student"),
        log: Some(place.path("log.jsonl")),
        checkpoint_every: Some(3),
        ..small_decoder(&place)
    };
    let stop = |event: &TrainingEvent| matches!(event, TrainingEvent::Step(step) if step.step == 5);
    let error = place.train_until(request.clone(), TrainingData::File(&rows), stop).unwrap_err();
    assert_eq!(error.kind(), TrainErrorKind::Stopped, "{error}");
    assert!(error.hint().unwrap().contains("`resume`") && !place.path("b.student").exists());
    let log = std::fs::read_to_string(place.path("log.jsonl")).unwrap();
    assert!(log.ends_with("{\"event\":\"end\",\"outcome\":\"stopped\"}\n"), "{log}");

    place.events.borrow_mut().clear();
    let request = TrainingRequest { resume: true, ..request };
    let resumed = place.train(request, TrainingData::File(&rows)).unwrap();
    let is_resumed = |event: &TrainingEvent| *event == TrainingEvent::Resumed { run: None, step: 5 };
    assert!(place.events.borrow().iter().any(is_resumed));
    assert_eq!(resumed.report.student().1, whole.report.student().1);
    assert!(!place.path("b.student.checkpoint").exists());
}

#[test]
fn an_encoder_is_changed_with_events_of_both_runs_and_an_adapter_beside() {
    let place = Place::new();
    tiny_base::write(&place.path("base"), 7);
    let rows = place.write("rows.jsonl", labelled(60));
    let request = TrainingRequest {
        base: Some(place.path("base")),
        tune: Some(BaseTuning::Lora),
        rank: Some(4),
        epochs: Some(2),
        peft: Some(place.path("adapter")),
        ..place.request(StudentKind::Encoder)
    };
    let trained = place.train(request, TrainingData::File(&rows)).unwrap();
    assert!(matches!(&trained.report, TrainReport::Classifier(report) if report.rows == 60));
    let events = place.events.borrow();
    let runs = events.iter().filter_map(|event| match event {
        TrainingEvent::Step(step) => step.run,
        _ => None,
    });
    let mut runs: Vec<String> = runs.map(|run| format!("{run:?}")).collect();
    runs.dedup();
    assert_eq!(runs, ["Measure", "Final"]);
    assert_eq!(events.last(), Some(&TrainingEvent::End { outcome: TrainingEnd::Done }));
    assert!(place.path("adapter/adapter_config.json").exists() && place.path("a.student").exists());
}

#[test]
fn what_is_fitted_in_one_go_is_stopped_after_a_pass_and_leaves_nothing() {
    let place = Place::new();
    tiny_base::write(&place.path("base"), 7);
    let rows = place.write("rows.jsonl", labelled(200));
    let slots = (0..60)
        .map(|number| json!({ "text": format!("{number} lamps"), "slots": { "n": [number.to_string()] } }));
    let slots = place.write("slots.jsonl", slots.map(|row| row.to_string()));
    let over_base = TrainingRequest { base: Some(place.path("base")), ..place.request(StudentKind::Encoder) };
    let is_embedding = |event: &TrainingEvent| matches!(event, TrainingEvent::Embedding { .. });
    for (request, rows) in [
        (place.request(StudentKind::Linear), &rows),
        (over_base, &rows),
        (place.request(StudentKind::Tagger), &slots),
    ] {
        let kind = request.kind;
        place.events.borrow_mut().clear();
        let error = place.train_until(request, TrainingData::File(rows), |_| true).unwrap_err();
        assert_eq!(error.kind(), TrainErrorKind::Stopped, "{kind:?}: {error}");
        assert!(!place.path("a.student").exists());
        let embedded = place.events.borrow().iter().filter(|event| is_embedding(event)).count();
        assert_eq!(embedded, usize::from(kind == StudentKind::Encoder), "a batch of texts at most");
    }
}

#[test]
fn recorded_answers_teach_like_rows_of_a_file() {
    let place = Place::new();
    let answers: Vec<bantam_student::Example> = labelled(60)
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(&line).unwrap();
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            bantam_student::Example { text: text("text"), label: text("label") }
        })
        .collect();
    let of_file = place.write("rows.jsonl", labelled(60));
    let of_file = place.train(place.request(StudentKind::Linear), TrainingData::File(&of_file)).unwrap();
    let recorded = place.train(place.request(StudentKind::Linear), TrainingData::Recorded(answers)).unwrap();
    assert_eq!(of_file.report.student(), recorded.report.student());
    let nothing = place.train(place.request(StudentKind::Linear), TrainingData::Recorded(Vec::new()));
    assert!(matches!(nothing, Err(TrainError::NoRecordedAnswers)));
}
