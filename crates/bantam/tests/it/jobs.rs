//! Long commands as jobs: listed, shown, cancelled from here and from another process.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::hub::{Fault, Hub};
use crate::place::{Place, Running};
use crate::tiny_model;

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
