//! What training, certifying, measuring and showing have in common: places that are tried first, one document for
//! machines, nothing but results when asked to be quiet.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::place::{MODELS, Place, Running};
use crate::{rows, tiny_base, tiny_model};

const TASK: &str = "\n[tasks.desk]\nkind = \"classify\"\nstudent = \"desk.student\"\n";
const TRAIN: [&str; 6] = ["student", "train", "--data", "rows.jsonl", "--out", "desk.student"];

/// Returns a place with a student trained on the rows up to 150, and evidence for it.
fn place() -> Place {
    let place = Place::with_config(&format!("{MODELS}{TASK}"));
    place.write("rows.jsonl", rows::lines(0, 150));
    place.write("evidence.jsonl", rows::lines(1000, 300));
    place.good(&TRAIN);
    place
}

fn certify<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["certify", "desk", "--error", "0.02", "--data", "evidence.jsonl"], more].concat()
}

/// Runs the binary, and returns its one document.
#[track_caller]
fn document(place: &Place, arguments: &[&str]) -> Value {
    let output = place.command(arguments).arg("--json").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

#[test]
fn a_label_with_one_row_is_evidence_and_cannot_be_trained_on() {
    let place = place();
    let one = "{\"text\": \"sing me a song\", \"label\": \"music\"}\n";
    place.write("evidence.jsonl", rows::lines(1000, 300) + one);
    let shown = place.run(&certify(&[]));
    assert!(shown.starts_with("exit code: 0\n") && shown.contains("of 301 rows accepted"), "{shown}");
    place.write("rows.jsonl", rows::lines(0, 90) + one);
    let shown = place.run(&TRAIN);
    assert!(shown.starts_with("exit code: 1\n"), "{shown}");
    assert!(shown.contains("line 91: label `music` has 1 row; at least 2 are needed"), "{shown}");
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_the_work() {
    let place = place();
    tiny_base::write(&place.path("models/tiny"), 7);
    let check = |arguments: &[&str], flag: &str| {
        let shown = place.run(arguments);
        assert!(shown.starts_with("exit code: 1\n") && shown.contains("none/x"), "{shown}");
        assert!(shown.contains("help: ") && shown.contains(flag), "{shown}");
    };
    // None of these gets as far as reading rows that are not there.
    let train = ["student", "train", "--data", "missing.jsonl"];
    check(&[&train[..], &["--out", "none/x"]].concat(), "--out");
    check(&[&train[..], &["--kind", "tagger", "--out", "none/x"]].concat(), "--out");
    let tuned = ["--kind", "encoder", "--base", "models/tiny", "--tune", "lora", "--out", "new.student"];
    for flag in ["--curve", "--log", "--checkpoint"] {
        check(&[&train[..], &tuned, &[flag, "none/x"]].concat(), flag);
    }
    check(&["certify", "desk", "--error", "0.02", "--data", "missing.jsonl", "--out", "none/x"], "--out");
    place.write("file", "");
    let shown = place.run(&[&train[..], &tuned, &["--peft", "file/x"]].concat());
    assert!(shown.contains("file/x") && shown.contains("--peft"), "{shown}");
    let shown = place.run(&["train", "export", "desk.student", "--to", "peft", "--out", "file/x"]);
    assert!(shown.contains("file/x") && shown.contains("--out"), "{shown}");
    assert!(!place.path("new.student").exists());
}

#[test]
fn asked_to_be_quiet_it_prints_what_was_made_and_no_figures() {
    let place = place();
    let lines = |arguments: &[&str]| {
        let output = place.command(arguments).arg("--quiet").output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let trained = lines(&TRAIN);
    assert!(trained.starts_with("desk.student  sha256 ") && trained.lines().count() == 1, "{trained}");
    let task = lines(&["train", "desk", "--data", "rows.jsonl"]);
    assert!(task.contains("desk.student  sha256 ") && task.lines().count() == 1, "{task}");
    let certified = lines(&certify(&[]));
    assert!(certified.ends_with("desk.certificate.json\n") && certified.lines().count() == 1, "{certified}");
    let place = Place::with_config("[store]\npath = \"models\"\n");
    tiny_model::write(&place.path(""));
    place.good(&["import", "tiny.gguf", "--name", "tiny:f32"]);
    let made = place.command(&["quantize", "tiny", "--to", "q8_0", "--quiet"]).output().unwrap();
    assert_eq!((made.stdout, made.stderr), (b"tiny:Q8_0\n".to_vec(), Vec::new()));
}

#[test]
fn what_machines_read_is_one_document() {
    let place = place();
    let trained = document(&place, &TRAIN);
    assert_eq!((&trained["kind"], &trained["rows"]), (&"classifier".into(), &150.into()));
    let shown = document(&place, &["student", "show", "desk.student"]);
    assert_eq!((&shown["seen"], &shown["sha256"]), (&150.into(), &trained["sha256"]));
    let certified = document(&place, &certify(&[]));
    assert_eq!((&certified["certified"], &certified["rows"]), (&true.into(), &300.into()));
    assert_eq!(certified["student_sha256"], trained["sha256"]);
    place.write("evidence.jsonl", rows::lines(1000, 60));
    let missing = document(&place, &certify(&[]));
    assert_eq!((&missing["certified"], &missing["missing_rows"]), (&false.into(), &89.into()));
    let output = place.command(&certify(&["--json"])).output().unwrap();
    assert_eq!(output.status.code(), Some(6));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(error["error"]["hint"].as_str().unwrap().contains("89"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_said_to_be_missing() {
    let place = Place::with_config("[store]\npath = \"models\"\n");
    for arguments in [&["quantize", "./none.gguf", "--to", "q8_0"][..], &["bench", "./none.gguf"]] {
        let shown = place.run(arguments);
        assert!(shown.starts_with("exit code: 3\n"), "{shown}");
        assert!(shown.contains("error: there is no file or folder ./none.gguf\n"), "{shown}");
    }
    tiny_model::write(&place.path(""));
    let shown = place.run(&["quantize", "./tiny.gguf", "--to", "q8_0"]);
    assert!(shown.starts_with("exit code: 2\n") && shown.contains("bantam import ./tiny.gguf"), "{shown}");
    let rows = ["student", "train", "--kind", "decoder", "--data", "rows.jsonl", "--out", "a.student"];
    let shown = place.run(&[&rows[..], &["--base", "./none.gguf"]].concat());
    assert!(
        shown.starts_with("exit code: 3\n") && shown.contains("there is no base at ./none.gguf"),
        "{shown}"
    );
}

#[test]
fn a_flag_that_would_be_ignored_is_refused() {
    let place = place();
    let shown = place.run(&[&TRAIN[..], &["--rank", "4"]].concat());
    assert!(shown.starts_with("exit code: 2\n"), "{shown}");
    assert!(
        shown.contains("error: --rank does nothing for a linear student\nhelp: leave --rank out\n"),
        "{shown}"
    );
    let shown = place.run(&[&TRAIN[..], &["--kind", "decoder", "--held-out", "0.9"]].concat());
    assert!(shown.contains("error: --held-out must be from 0.01 to 0.5\n"), "{shown}");
}

/// Sends the signal of Ctrl-C to a process and returns what it ended with.
#[cfg(unix)]
fn interrupted(mut process: Running) -> Output {
    let id = process.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let begun = Instant::now();
    while process.0.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(120), "it did not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    let code = process.0.wait().unwrap();
    let mut stderr = Vec::new();
    std::io::Read::read_to_end(&mut process.0.stderr.take().unwrap(), &mut stderr).unwrap();
    Output { status: code, stdout: Vec::new(), stderr }
}

#[test]
#[cfg(unix)]
fn a_demo_that_is_interrupted_takes_its_folder_away() {
    let place = Place::new();
    std::fs::create_dir(place.path("tmp")).unwrap();
    let mut command = place.command(&["demo", "--quiet"]);
    command.env("TMPDIR", place.path("tmp")).stdout(Stdio::null()).stderr(Stdio::piped());
    let process = Running(command.spawn().unwrap());
    let folders = || std::fs::read_dir(place.path("tmp")).unwrap().flatten().map(|entry| entry.path());
    let begun = Instant::now();
    while !folders().any(|folder| folder.join("bantam.toml").exists()) {
        assert!(begun.elapsed() < Duration::from_secs(60), "the demo did not begin in a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = interrupted(process);
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(folders().count(), 0);
}
