//! Long commands as jobs: listed, shown, cancelled from here and from another process.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::hub::{Fault, Hub};
use crate::place::{MODELS, Place, Running};
use crate::{rows, tiny_model};

fn place() -> Place {
    let place = Place::with_config("[store]\npath = \"models\"\n");
    tiny_model::write(&place.path(""));
    place
}

fn jobs(place: &Place) -> Vec<Value> {
    let shown: Value = serde_json::from_str(&place.good(&["job", "list", "--json"])).unwrap();
    shown["jobs"].as_array().unwrap().clone()
}

#[test]
fn an_import_is_a_job_whose_result_stays() {
    let place = place();
    assert!(place.good(&["job", "list"]).contains("there are no jobs"));
    place.good(&["import", "tiny.gguf"]);
    let all = jobs(&place);
    assert_eq!((all.len(), &all[0]["kind"], &all[0]["state"]), (1, &"import".into(), &"done".into()));
    let id = all[0]["id"].as_str().unwrap();
    let shown: Value = serde_json::from_str(&place.good(&["job", "show", id, "--json"])).unwrap();
    assert_eq!(shown["result"][0]["name"], "tiny:latest");
    assert_eq!(shown["parameters"]["file"], "tiny.gguf");
    let table = place.good(&["job", "list"]);
    assert!(table.contains(id) && table.contains("100 %") && table.contains("tiny.gguf"), "{table}");
    assert!(place.good(&["job", "show", id]).contains("state          done"));
    let over = place.run(&["job", "cancel", id]);
    assert!(over.starts_with("exit code: 1\n") && over.contains("has ended already: done"), "{over}");
}

#[test]
fn a_failed_job_keeps_what_went_wrong() {
    let place = place();
    place.write("pytorch_model.bin", "PK");
    assert!(place.run(&["import", "pytorch_model.bin"]).starts_with("exit code: 1\n"));
    let all = jobs(&place);
    assert_eq!(all[0]["state"], "failed");
    assert!(all[0]["failure"]["message"].as_str().unwrap().contains("Python pickle"), "{all:?}");
}

#[test]
fn ids_that_are_none_or_of_nothing_are_told_apart() {
    let place = place();
    let shown = place.run(&["job", "show", "../x"]);
    assert!(shown.starts_with("exit code: 2\n") && shown.contains("not a job id"), "{shown}");
    let shown = place.run(&["job", "show", "bcdfghjkmn"]);
    assert!(shown.starts_with("exit code: 1\n") && shown.contains("there is no job"), "{shown}");
}

#[test]
fn a_damaged_record_is_a_warning() {
    let place = place();
    place.good(&["import", "tiny.gguf"]);
    place.write(".local/state/bantam/jobs/bcdfghjkmn.json", "{");
    let shown = place.run(&["job", "list"]);
    assert!(shown.starts_with("exit code: 0\n"), "{shown}");
    assert!(shown.contains("bcdfghjkmn.json is damaged") && shown.contains("import"), "{shown}");
    assert!(!place.run(&["job", "list", "--quiet"]).contains("damaged"));
}

const TASKS: &str = "
[store]
path = \"models\"
[models.tiny]
file = \"tiny.gguf\"
[tasks.desk]
kind = \"classify\"
student = \"desk.student\"
[tasks.letter]
kind = \"generate\"
student_model = \"tiny\"
certificate = \"letter.certificate.json\"
";
const TRAIN: [&str; 6] = ["student", "train", "--data", "rows.jsonl", "--out", "desk.student"];
const CERTIFY: [&str; 6] = ["certify", "desk", "--error", "0.02", "--data", "evidence.jsonl"];

/// Returns a place with rows, evidence for them, and a model that can be quantised.
fn teaching_place() -> Place {
    let place = Place::with_config(&format!("{MODELS}{TASKS}"));
    tiny_model::write(&place.path(""));
    place.write("rows.jsonl", rows::lines(0, 150));
    place.write("evidence.jsonl", rows::lines(1000, 300));
    place
}

/// Returns the newest job as `bantam job show` has it, which reads its file.
fn newest(place: &Place) -> Value {
    let id = jobs(place)[0]["id"].as_str().unwrap().to_owned();
    serde_json::from_str(&place.good(&["job", "show", &id, "--json"])).unwrap()
}

#[test]
fn a_training_a_certification_and_a_quantisation_leave_their_results() {
    let place = teaching_place();
    let check = |arguments: &[&str], kind: &str, named: (&str, &str)| {
        let printed: Value = serde_json::from_str(&place.good(&[arguments, &["--json"]].concat())).unwrap();
        let job = newest(&place);
        assert_eq!((&job["kind"], &job["state"]), (&kind.into(), &"done".into()), "{job}");
        assert_eq!(job["result"], printed);
        assert_eq!(job["parameters"][named.0], named.1, "{job}");
        assert!(job["progress"]["done"].as_u64() > Some(0), "{job}");
        let table = place.good(&["job", "list"]);
        let newest = table.lines().nth(1).unwrap();
        assert!([kind, named.1, "done", "100 %"].iter().all(|part| newest.contains(part)), "{table}");
    };
    check(&TRAIN, "train", ("student", "desk.student"));
    check(&CERTIFY, "certify", ("task", "desk"));
    place.good(&["import", "tiny.gguf", "--name", "tiny:f32"]);
    check(&["quantize", "tiny", "--to", "q8_0"], "quantise", ("model", "tiny:f32"));
    // A claim that is refuted is a result too.
    place.write("evidence.jsonl", rows::wrong_lines(1000, 300));
    assert!(place.run(&CERTIFY).starts_with("exit code: 6\n"));
    let job = newest(&place);
    assert_eq!((&job["state"], &job["result"]["certified"]), (&"done".into(), &false.into()), "{job}");
}

#[test]
fn a_warning_is_told_to_machines_too_and_stays_with_the_job() {
    let place = teaching_place();
    place.good(&TRAIN);
    place.write("evidence.jsonl", rows::lines(100, 300));
    let warning = "50 of 300 rows are left out: the student was trained on them";
    let shown = place.run(&[&CERTIFY[..], &["--json"]].concat());
    assert!(shown.starts_with("exit code: 0\n"), "{shown}");
    assert!(shown.contains(&format!("----- stderr -----\nwarning: {warning}\n")), "{shown}");
    assert!(!place.run(&[&CERTIFY[..], &["--quiet"]].concat()).contains("left out"));
    let job = newest(&place);
    assert!(job["events"].to_string().contains(warning), "{job}");
    let id = job["id"].as_str().unwrap();
    assert!(place.good(&["job", "show", id]).contains(&format!("warning        {warning}")));
}

#[test]
fn work_that_fails_is_a_failed_job_with_its_message() {
    let place = teaching_place();
    let check = |arguments: &[&str], code: &str, kind: &str, expected: &str| {
        let shown = place.run(arguments);
        assert!(shown.starts_with(code) && shown.contains(expected), "{shown}");
        let job = newest(&place);
        assert_eq!((&job["kind"], &job["state"]), (&kind.into(), &"failed".into()), "{job}");
        let message = job["failure"]["message"].as_str().unwrap();
        assert!(message.contains(expected), "{job}");
        assert!(job["result"].is_null(), "{job}");
    };
    place.write("rows.jsonl", "{\"text\": \"a\", \"label\": \"x\"}\nnot json\n");
    check(&TRAIN, "exit code: 1\n", "train", "line 2");
    check(&CERTIFY, "exit code: 3\n", "certify", "desk.student");
    place.write("rows.jsonl", rows::lines(0, 150));
    place.good(&TRAIN);
    place.write("evidence.jsonl", rows::lines(0, 150));
    check(&CERTIFY, "exit code: 6\n", "certify", "trained on all of these rows");
    place.good(&["import", "tiny.gguf", "--name", "tiny:f32"]);
    place.good(&["quantize", "tiny", "--to", "q8_0"]);
    check(
        &["quantize", "tiny:Q8_0", "--to", "Q4_0"],
        "exit code: 1\n",
        "quantise",
        "cannot quantise tiny:Q8_0",
    );
}

/// Starts a command that runs as a job for long, and waits until it has come a little way.
fn begun(place: &Place, arguments: &[&str]) -> Running {
    let mut command = place.command(arguments);
    let mut work = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let begun = Instant::now();
    let is_under_way = |job: &Value| {
        job["state"] == "running"
            && (job["progress"].is_object() || job["events"].as_array().unwrap().len() > 2)
    };
    while !jobs(place).iter().any(is_under_way) {
        assert!(work.0.try_wait().unwrap().is_none(), "{arguments:?} ended: {:?}", jobs(place));
        assert!(begun.elapsed() < Duration::from_secs(60), "{arguments:?} does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    work
}

#[test]
fn training_certifying_and_quantising_stop_when_they_are_cancelled() {
    let place = teaching_place();
    let answers: String = (0..4_000)
        .map(|number| format!("{{\"text\": \"order {number}\", \"answer\": \"lamp {number}\"}}\n"))
        .collect();
    place.write("answers.jsonl", &answers);
    place.write("text.txt", "a lamp that broke, and what became of it. ".repeat(20_000));
    place.good(&["import", "tiny.gguf", "--name", "tiny:f32"]);
    let train =
        ["student", "train", "--kind", "decoder", "--data", "answers.jsonl", "--out", "order.student"];
    let train = [&train[..], &["--size", "100k", "--epochs", "500"]].concat();
    let certify = ["certify", "letter", "--error", "0.02", "--data", "answers.jsonl"];
    let quantise = ["quantize", "tiny:f32", "--to", "q8_0", "--text", "text.txt", "--tokens", "900000"];
    for (arguments, left) in
        [(&train[..], "order.student"), (&certify, "letter.certificate.json"), (&quantise, "none")]
    {
        let mut work = begun(&place, arguments);
        let id = work.0.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        assert_eq!(work.0.wait().unwrap().code(), Some(130), "{arguments:?}");
        assert_eq!(newest(&place)["state"], "cancelled", "{arguments:?}");
        assert!(!place.path(left).exists());

        let mut work = begun(&place, arguments);
        let running = jobs(&place).into_iter().find(|job| job["state"] == "running").unwrap();
        place.good(&["job", "cancel", running["id"].as_str().unwrap()]);
        assert_eq!(work.0.wait().unwrap().code(), Some(130), "{arguments:?}");
        assert_eq!(newest(&place)["state"], "cancelled", "{arguments:?}");
    }
    let trained = jobs(&place).into_iter().find(|job| job["kind"] == "train").unwrap();
    assert!(trained["events"].to_string().contains("training was stopped after step"), "{trained}");
}

/// A pull of a file that breaks off again and again, so that it waits between attempts.
fn slow_pull(place: &Place) -> Running {
    let mut command = place.command(&["pull", "org/tiny"]);
    let pull = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let begun = Instant::now();
    while !jobs(place).iter().any(|job| job["state"] == "running") {
        assert!(begun.elapsed() < Duration::from_secs(20), "the pull does not begin");
        std::thread::sleep(Duration::from_millis(50));
    }
    pull
}

fn hub(folder: &std::path::Path) -> Hub {
    let model = std::fs::read(tiny_model::write(folder)).unwrap();
    Hub::start(&[("tiny-Q8_0.gguf", &model)], Fault::BreaksOff(100, 100))
}

#[test]
fn a_pull_is_cancelled_by_an_interrupt_and_by_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path());
    let place = place().env("HF_ENDPOINT", &format!("http://127.0.0.1:{}", hub.port));
    let mut pull = slow_pull(&place);
    let id = pull.0.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(pull.0.wait().unwrap().code(), Some(130));
    assert_eq!(jobs(&place)[0]["state"], "cancelled");

    let mut pull = slow_pull(&place);
    let running = jobs(&place).into_iter().find(|job| job["state"] == "running").unwrap();
    let shown = place.good(&["job", "cancel", running["id"].as_str().unwrap()]);
    assert!(shown.contains(": cancelled"), "{shown}");
    assert_eq!(pull.0.wait().unwrap().code(), Some(130));
}

#[test]
fn a_job_whose_process_was_killed_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path());
    let place = place().env("HF_ENDPOINT", &format!("http://127.0.0.1:{}", hub.port));
    let mut pull = slow_pull(&place);
    pull.0.kill().unwrap();
    pull.0.wait().unwrap();
    assert_eq!(jobs(&place)[0]["state"], "interrupted");
}
