//! Contexts: used in training, recorded in the file, and given only to students that were trained with them.

use std::sync::Arc;

use bantam_backend::{Backend, StudentAnswer};
use bantam_engine::{EncoderAdapter, EncoderUpdate};
use bantam_extract::Shape;
use bantam_student::tagger::{
    LinearTagger, LinearTaggerConfig, TaggerParts, TaggerStudent, Tags, TrainTaggerError, train,
};
use bantam_student::{
    BasePrecision, Bases, Scratch, SlotExample, SlotSpan, StudentDescription, Tagger, TaggerBackend,
    count_contexts, read_expected_objects,
};
use bantam_types::Tier;
use serde_json::json;

use crate::backend::{ask, cleared_messages, label, run};
use crate::tiny_base;

const PEOPLE: &str = "for how many people?";
const TIME: &str = "at what time?";

/// Returns rows whose numbers only the preceding question distinguishes.
fn rows() -> Vec<SlotExample> {
    let row = |number: usize| {
        let (context, slot) = if number.is_multiple_of(2) { (PEOPLE, "people") } else { (TIME, "time") };
        let value = (1 + number / 2 % 12).to_string();
        let text =
            [value.clone(), format!("{value} please"), format!("make it {value}")][number / 24].clone();
        let start = text.find(&value).unwrap();
        let spans = vec![SlotSpan { slot: slot.into(), range: start..start + value.len() }];
        SlotExample { text, context: context.into(), spans }
    };
    (0..72).map(row).collect()
}

/// Returns the same rows without the questions.
fn rows_alone() -> Vec<SlotExample> {
    rows().into_iter().map(|row| SlotExample { context: " ".into(), ..row }).collect()
}

fn trained(rows: &[SlotExample]) -> Result<LinearTagger, TrainTaggerError> {
    train(rows, &LinearTaggerConfig::recommended(), &mut |_| {})
}

fn linear(rows: &[SlotExample]) -> Tagger {
    Tagger::Linear(trained(rows).unwrap())
}

/// Returns a tagger over a random base with an arbitrary head, so that its answers depend on everything it reads.
fn over_encoder(rows: &[SlotExample]) -> Tagger {
    let folder = tempfile::tempdir().unwrap();
    tiny_base::write(folder.path(), 7);
    let base = Bases::new(2).open(folder.path(), BasePrecision::F32).unwrap();
    let tags = Tags::new(["people", "time"].map(str::to_owned).to_vec());
    let weights: Vec<f32> =
        (0..tags.len() * base.identity().width as usize).map(|at| (at as f32).sin()).collect();
    // A file needs an adapter, even one that changes nothing.
    let module = "encoder.layer.0.output.dense".to_owned();
    let unchanged = EncoderUpdate { module, outputs: 32, inputs: 48, a: vec![0.0; 48], b: vec![0.0; 32] };
    let parts = TaggerParts {
        base: &base,
        adapter: &EncoderAdapter { rank: 1, alpha: 1.0, updates: vec![unchanged] },
        weights: &weights,
        bias: &vec![0.0; tags.len()],
        words: None,
        tokens_max: 20,
    };
    let report = trained(rows).unwrap().describe().report.clone();
    Tagger::Encoder(Box::new(TaggerStudent::assemble(rows, &tags, parts, "base".into(), report).unwrap()))
}

fn backend(tagger: Tagger) -> TaggerBackend {
    TaggerBackend::new(Arc::new(tagger), Shape::free())
}

/// Asks after a question, among irrelevant turns.
fn asked(backend: &TaggerBackend, question: &str, text: &str) -> StudentAnswer {
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let turns = json!([
        turn("system", "fill in the form"),
        turn("user", "a table"),
        turn("assistant", "hello"),
        turn("assistant", question),
        turn("user", text),
        turn("assistant", "ignored"),
    ]);
    label(run(backend.answer(cleared_messages(&turns, Tier::Local), ask())).unwrap())
}

#[test]
fn the_preceding_question_decides_for_a_student_trained_with_contexts() {
    let backend = backend(linear(&rows()));
    assert!(backend.tagger().reads_context());
    for text in ["6", "6 please", "make it 11"] {
        let value = text.split(' ').find(|word| word.parse::<u8>().is_ok()).unwrap();
        let said = |question| asked(&backend, question, text).text.to_string();
        assert_eq!(said(PEOPLE), json!({"people": [value]}).to_string());
        assert_eq!(said(TIME), json!({"time": [value]}).to_string());
    }
    let evidence = run(backend.evidence(
        cleared_messages(
            &json!([{"role": "assistant", "content": TIME}, {"role": "user", "content": "6"}]),
            Tier::Local,
        ),
        ask(),
    ));
    assert!(evidence[0].starts_with("time `6` with probability"), "{evidence:?}");
}

#[test]
fn a_student_trained_without_contexts_ignores_them() {
    for tagger in [linear(&rows_alone()), over_encoder(&rows_alone())] {
        assert!(!tagger.reads_context());
        let backend = backend(tagger);
        let alone = backend.draft("6 please", "");
        let mut scratch = Scratch::default();
        for question in [PEOPLE, TIME, " "] {
            let read = backend.tagger().read("6 please", question, &mut scratch);
            assert_eq!(read.confidence, alone.probability);
            let answers = [asked(&backend, question, "6 please"), backend.draft("6 please", question)];
            for answer in answers {
                assert_eq!((&answer.text, answer.probability), (&alone.text, alone.probability));
            }
        }
    }
}

#[test]
fn the_end_of_a_long_context_decides() {
    let after = |opening: &str, question: &str| format!("{} {question}", opening.repeat(40));
    let linear = backend(linear(&rows()));
    for (question, slot) in [(PEOPLE, "people"), (TIME, "time")] {
        let answer = linear.draft("6 please", &after("We are open on all days.", question));
        assert_eq!(*answer.text, *json!({slot: ["6"]}).to_string());
    }
    for backend in [linear, backend(over_encoder(&rows()))] {
        let sure = |context: &str| backend.draft("6 please", context).probability;
        let (one, other) = ("We are open on all days.", "Our cook is the best in town.");
        let question = "so may I ask for how many of your people I shall lay the table in the corner by the window \
                        today, and if there are more of them to come for how many people?";
        assert_eq!(sure(&after(one, question)), sure(&after(other, question)));
        assert!(sure(&after(one, PEOPLE)) != sure(&after(one, TIME)));
    }
}

#[test]
fn a_draft_equals_the_served_answer() {
    for tagger in [linear(&rows()), over_encoder(&rows())] {
        let backend = backend(tagger);
        let mut probabilities = Vec::new();
        for question in [PEOPLE, TIME] {
            let (draft, served) =
                (backend.draft("6 please", question), asked(&backend, question, "6 please"));
            assert_eq!((&draft.text, draft.probability), (&served.text, served.probability));
            probabilities.push(draft.probability);
        }
        assert!(probabilities[0] != probabilities[1], "{probabilities:?}");
    }
}

#[test]
fn a_file_records_whether_its_student_reads_contexts_and_older_files_do_not() {
    let (with, without) = (trained(&rows()).unwrap(), trained(&rows_alone()).unwrap());
    let has_key =
        |student: &LinearTagger| String::from_utf8_lossy(&student.to_bytes()).contains("reads_context");
    assert!(has_key(&with) && with.describe().reads_context);
    // Older programs did not write this key, so this file is identical to one of theirs.
    assert!(!has_key(&without) && !without.describe().reads_context);
    let folder = tempfile::tempdir().unwrap();
    for (name, student) in [("with", &with), ("without", &without)] {
        let path = folder.path().join(name);
        student.save(&path).unwrap();
        let loaded = Tagger::load(&path, None, &Bases::new(1)).unwrap();
        assert_eq!(loaded.reads_context(), name == "with");
        let (description, _) = bantam_student::Student::read_description(&path).unwrap();
        let StudentDescription::LinearTagger(description) = description else {
            unreachable!("{description:?}")
        };
        assert_eq!(description.reads_context, name == "with");
    }
    let Tagger::Encoder(student) = over_encoder(&rows()) else { unreachable!("it has an encoder") };
    assert!(student.describe().reads_context);
}

#[test]
fn counts_contexts_and_keeps_them_in_expected_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    let rows = [
        json!({"text": "6", "context": "how many?", "slots": {"people": "6"}}),
        json!({"text": "7", "requested": ["people", "time"], "answer": {"people": ["7"]}}),
        json!({"text": "8", "context": "  ", "answer": "{}"}),
        json!({"text": "9", "context": {"page": 3}, "answer": "{}"}),
        json!({"text": "none", "slots": {}}),
    ];
    std::fs::write(&path, rows.map(|row| row.to_string()).join("\n")).unwrap();
    assert_eq!(count_contexts(&path).unwrap(), 2);
    let contexts = read_expected_objects(&path).unwrap().into_iter().map(|row| match row {
        bantam_student::ExpectedRow::Slots(row) => row.context,
        bantam_student::ExpectedRow::Answer { context, .. } => context,
    });
    assert_eq!(contexts.collect::<Vec<_>>(), ["how many?", "people , time", "  ", "", ""]);
    std::fs::write(&path, "\n").unwrap();
    assert_eq!(count_contexts(&path).unwrap_err().kind.to_string(), "the file has no rows");
}
