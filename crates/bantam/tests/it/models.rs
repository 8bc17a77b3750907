//! The store of models and its verbs.

use insta::assert_snapshot;
use serde_json::Value;

use crate::hub::{Fault, Hub};
use crate::place::{MODELS, Place};
use crate::tiny_model;

fn place() -> Place {
    let place = Place::with_config("[store]\npath = \"models\"\n");
    tiny_model::write(&place.path(""));
    place
}

#[test]
fn a_model_comes_is_listed_gets_a_second_name_and_goes() {
    let place = place();
    assert_snapshot!(place.run(&["import", "tiny.gguf"]));
    assert_snapshot!(place.run(&["cp", "tiny", "other:q"]));
    assert_snapshot!(place.run(&["ls"]));
    let shown: Value = serde_json::from_str(&place.good(&["show", "tiny", "--json"])).unwrap();
    assert_eq!(shown["about"]["architecture"], "llama");
    assert_eq!(shown["origin"]["kind"], "file");
    assert!(place.good(&["rm", "tiny"]).contains("0 B are free again"));
    assert!(place.run(&["rm", "other"]).starts_with("exit code: 0\n"));
    assert_snapshot!(place.run(&["list"]));
}

#[test]
fn a_model_that_is_not_there_is_exit_code_3_with_near_names() {
    let place = place();
    place.good(&["import", "tiny.gguf", "--name", "tiny:f32"]);
    for verb in ["show", "run", "rm", "bench"] {
        let shown = place.run(&[verb, "tinny"]);
        assert!(shown.starts_with("exit code: 3\n") && shown.contains("did you mean `tiny:f32`"), "{shown}");
    }
    assert_snapshot!(place.run(&["run", "org/none"]));
    assert!(place.run(&["import", "gone.gguf"]).starts_with("exit code: 3\n"));
    assert!(place.run(&["show", "../x"]).starts_with("exit code: 2\n"));
}

#[test]
fn a_file_that_is_missing_is_said_to_be_missing() {
    let place = place();
    for path in ["./gone.gguf", "gone.gguf", "/nowhere/at/all", "a/b/c", "../gone.gguf"] {
        let shown = place.run(&["run", path]);
        let expected = format!("error: there is no file or folder {path}\n");
        assert!(shown.starts_with("exit code: 3\n") && shown.contains(&expected), "{shown}");
    }
    let shown = place.run(&["run", "./tiny.gguf", "hello", "--max-tokens", "2", "--quiet"]);
    assert!(shown.starts_with("exit code: 0\n"), "{shown}");
}

#[test]
fn every_table_fits_a_terminal_and_quiet_prints_results_alone() {
    let place = place();
    let long = "an-organisation-of-some-length/a-model-with-a-very-long-name-GGUF:Q4_K_M";
    place.good(&["import", "tiny.gguf", "--name", "tiny:f32"]);
    place.good(&["cp", "tiny", long]);
    place.good(&["bench", "tiny", "--times", "3", "--threads", "1", "--quiet"]);
    for command in [&["list"][..], &["doctor", "--threads", "1"], &["job", "list"]] {
        let shown = place.good(command);
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{command:?}:\n{shown}");
    }
    assert!(place.good(&["list"]).lines().any(|line| line == long));
    for command in [&["list", "-q"][..], &["show", "tiny", "-q"], &["rm", "tiny", "-q"], &["list", "-q"]] {
        let output = place.command(command).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{command:?}: {output:?}");
    }
    let output = place.command(&["import", "tiny.gguf", "-q"]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
}

#[test]
fn what_is_no_model_is_refused_with_a_next_step() {
    let place = place();
    place.write("pytorch_model.bin", "PK");
    assert_snapshot!(place.run(&["import", "pytorch_model.bin"]));
}

#[test]
fn the_network_is_left_alone_where_it_is_forbidden() {
    let place = place();
    assert_snapshot!(place.run(&["pull", "org/repo", "--offline"]));
    let place = place.env("HF_HUB_OFFLINE", "1");
    assert!(place.run(&["pull", "org/repo"]).starts_with("exit code: 4\n"));
}

#[test]
fn a_conversation_goes_line_by_line_and_says_what_it_took() {
    use std::io::Write;
    let place = place();
    place.good(&["import", "tiny.gguf"]);
    let mut child = place
        .command(&["run", "tiny", "--max-tokens", "40", "--seed", "1", "--json"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n/clear\n\nagain\n/bye\nnever\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let turns: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(turns.len(), 2, "{text}");
    assert_eq!(turns[0]["cost_usd"], "0");
    assert!(
        turns[0]["usage"]["output"].as_u64().unwrap() > 0 && turns[0]["total_ms"].as_f64().unwrap() > 0.0
    );
    let plain = place.run(&["run", "tiny", "hello", "--max-tokens", "5"]);
    assert!(plain.contains("tokens/s") && plain.contains("$0"), "{plain}");
}

#[test]
fn a_bundle_takes_models_to_another_machine() {
    let (here, there) = (place(), place());
    here.good(&["import", "tiny.gguf", "--name", "tiny:f32"]);
    here.good(&["export", "tiny", "--out", "models.tar"]);
    there.write("models.tar", std::fs::read(here.path("models.tar")).unwrap());
    let shown = there.good(&["import", "models.tar", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["name"], "tiny:f32");
    let shown = there.run(&["import", "models.tar", "--name", "x"]);
    assert!(shown.starts_with("exit code: 2\n"), "{shown}");
}

#[test]
fn quantising_says_what_it_costs() {
    let place = place();
    place.good(&["import", "tiny.gguf", "--name", "tiny:f32"]);
    place.write("text.txt", "a lamp that broke, and what became of it. ".repeat(40));
    let shown = place.good(&["quantize", "tiny", "--to", "q8_0", "--text", "text.txt", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["name"], "tiny:Q8_0");
    assert!(shown["bytes"].as_u64().unwrap() * 3 < shown["bytes_before"].as_u64().unwrap());
    let found = &shown["comparison"];
    assert!(
        found["mean_kl"].as_f64().unwrap() > 0.0 && found["top_1_agreement"].as_f64().unwrap() > 0.5,
        "{found}"
    );
    let again = place.run(&["quantize", "tiny:Q8_0", "--to", "Q4_0"]);
    assert!(again.starts_with("exit code: 1\n") && again.contains("quantise the original"), "{again}");
}

#[test]
fn the_doctor_says_what_fits_and_shows_what_was_measured() {
    let place = place();
    place.good(&["import", "tiny.gguf", "--name", "tiny:f32"]);
    place.good(&["bench", "tiny", "--times", "3", "--threads", "1", "--quiet"]);
    let shown: Value = serde_json::from_str(&place.good(&["doctor", "--threads", "1", "--json"])).unwrap();
    assert!(shown["cores"].as_u64().unwrap() > 0 && shown["read_gb_s"].as_f64().unwrap() > 0.0);
    assert!(shown["usual"].as_array().unwrap().len() > 10);
    assert_eq!(shown["models"][0]["measured"]["by"], "bench");
    assert!(place.good(&["doctor", "--threads", "1"]).contains("measured"));
}

#[test]
fn a_model_of_the_store_is_served_by_its_name_and_a_missing_one_is_named() {
    let config = format!("{MODELS}\n[store]\npath = \"models\"\n[models.desk]\nstore = \"tiny\"\n");
    let place = Place::with_config(&config);
    tiny_model::write(&place.path(""));
    let shown = place.run(&["config", "check"]);
    assert!(shown.starts_with("exit code: 3\n") && shown.contains("bantam import"), "{shown}");
    place.good(&["import", "tiny.gguf"]);
    assert!(place.run(&["config", "check"]).starts_with("exit code: 0\n"));
}

/// A place whose hub is this one.
fn place_of(hub: &Hub) -> Place {
    place().env("HF_ENDPOINT", &format!("http://127.0.0.1:{}", hub.port)).env("HF_TOKEN", "hf_secret")
}

#[test]
fn a_model_is_pulled_from_the_hub_and_pulling_again_finds_it() {
    let folder = tempfile::tempdir().unwrap();
    let model = std::fs::read(tiny_model::write(folder.path())).unwrap();
    let hub = Hub::start(&[("tiny-Q8_0.gguf", &model)], Fault::BreaksOff(1, 50_000));
    let place = place_of(&hub);
    let shown = place.run(&["pull", "org/tiny"]).replace(&hub.port.to_string(), "[PORT]");
    assert_snapshot!(shown);
    assert!(place.good(&["pull", "org/tiny:q8_0"]).contains("was there already"));
    assert_eq!(hub.seen.lock().unwrap().bytes, model.len());
    assert_snapshot!(place.run(&["pull", "org/tiny:Q4_0"]));
    assert!(place.run(&["pull", "org/none"]).starts_with("exit code: 3\n"));
}

#[test]
fn a_gated_model_and_a_lying_hub_are_told_apart() {
    let gated = Hub::start(&[("tiny-Q8_0.gguf", b"x")], Fault::Gated);
    assert_snapshot!(place_of(&gated).run(&["pull", "org/tiny"]));
    let lying = Hub::start(&[("tiny-Q8_0.gguf", b"some bytes")], Fault::Lies);
    let place = place_of(&lying);
    let shown = place.run(&["pull", "org/tiny"]);
    assert!(
        shown.starts_with("exit code: 1\n") && shown.contains("does not match the hub's checksum"),
        "{shown}"
    );
    assert!(place.good(&["list"]).contains("no model"));
}
