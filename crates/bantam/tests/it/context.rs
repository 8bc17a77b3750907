//! A tagger that learnt with what was said before is certified and served with it.

use serde_json::{Value, json};

use crate::place::{MODELS, Place};
use crate::rows;
use crate::serve::Serving;

const TASK: &str = "\n[tasks.table]\nkind = \"extract\"\nstudent = \"table.tagger\"\n";
const QUESTIONS: [(&str, &str); 2] = [("people", "For how many people?"), ("time", "At what time?")];

/// Returns numbers that only the question before them tells apart.
fn lines(numbers: std::ops::Range<usize>, key: &str) -> String {
    let row = |number: usize| {
        let (slot, question) = QUESTIONS[number % 2];
        let row =
            json!({"text": format!("{number} please"), key: question, "slots": {slot: number.to_string()}});
        row.to_string() + "\n"
    };
    numbers.map(row).collect()
}

/// Returns a place with a student that was trained on rows whose questions stand under `key`.
fn place(key: &str) -> Place {
    let place = Place::with_config(&format!("{MODELS}{TASK}"));
    place.write("rows.jsonl", lines(100..250, key));
    let train = ["student", "train", "--kind", "tagger", "--data", "rows.jsonl", "--out", "table.tagger"];
    let told = place.good(&train);
    assert_eq!(told.contains("it reads the rows' context"), key == "context", "{told}");
    place
}

fn certify(place: &Place, rows: &str) -> String {
    place.write("evidence.jsonl", rows);
    place.run(&["certify", "table", "--error", "0.05", "--data", "evidence.jsonl"])
}

/// Returns the answer's object and its note to a conversation.
fn answered(serving: &Serving, question: &str, text: &str) -> (Value, Value) {
    let body = json!({"model": "task/table", "messages": [
        {"role": "system", "content": "Fill in the form."},
        {"role": "user", "content": "A table, please."},
        {"role": "assistant", "content": question},
        {"role": "user", "content": text},
    ]});
    let answer = serving.ask("POST", "/v1/chat/completions", &body.to_string());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    let body: Value = serde_json::from_str(body).unwrap();
    let content = body["choices"][0]["message"]["content"].as_str().unwrap();
    (serde_json::from_str(content).unwrap(), body["bantam"].clone())
}

#[test]
fn the_question_of_the_assistant_decides_what_a_certified_student_answers() {
    let place = place("context");
    let shown = place.good(&["student", "show", "table.tagger"]);
    assert!(shown.contains("\"reads_context\": true"), "{shown}");
    let told = certify(&place, &lines(300..600, "context"));
    assert!(told.starts_with("exit code: 0\n") && told.contains("whole answers right: 300 of 300"), "{told}");
    assert!(!told.contains("context"), "{told}");
    let serving = Serving::start(&place);
    for (slot, question) in QUESTIONS {
        let (object, note) = answered(&serving, question, "777 please");
        assert_eq!(object, json!({slot: ["777"]}));
        assert_eq!((&note["tier"], &note["escalated"]), (&json!("local"), &json!([])), "{note}");
    }
    serving.stop();
}

#[test]
fn rows_without_context_prove_little_of_a_student_that_reads_one_and_that_is_said() {
    let told = certify(&place("context"), &lines(300..600, "elsewhere"));
    assert!(told.starts_with("exit code: 6\n"), "{told}");
    assert!(
        told.contains("warning: the student reads what was said before a text, and no row has"),
        "{told}"
    );
}

#[test]
fn a_context_that_a_student_does_not_read_is_told() {
    let place = place("elsewhere");
    let shown = place.good(&["student", "show", "table.tagger"]);
    assert!(shown.contains("\"reads_context\": false"), "{shown}");
    let told = certify(&place, &lines(300..600, "context"));
    assert!(told.contains("300 rows have a context, which this student does not read"), "{told}");

    let task = "\n[tasks.table]\nkind = \"classify\"\nstudent = \"desk.student\"\n";
    let place = Place::with_config(&format!("{MODELS}{task}"));
    place.write("rows.jsonl", rows::lines(0, 150));
    place.good(&["student", "train", "--data", "rows.jsonl", "--out", "desk.student"]);
    let asked = rows::lines(1000, 300).replacen("{\"text\"", "{\"context\":\"hello\",\"text\"", 1);
    let told = certify(&place, &asked);
    assert!(told.starts_with("exit code: 0\n"), "{told}");
    assert!(told.contains("1 row has a context, which this student does not read"), "{told}");
}
