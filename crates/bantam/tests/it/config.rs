use insta::assert_snapshot;

use crate::place::{MODELS, Place};

#[test]
fn the_doctor_says_which_upstreams_fail_and_what_would_help() {
    let place = Place::with_config(MODELS);
    let shown = place.run(&["doctor", "--upstreams"]);
    assert!(shown.starts_with("exit code: 1\n"), "{shown}");
    for part in ["far at http://127.0.0.1:9/v1", "connection_refused", "check the port in `base_url`"] {
        assert!(shown.contains(part), "{shown}");
    }
    let shown = place.run(&["doctor", "--upstreams", "--json"]);
    let beginning = r#"[{"upstream":"far","address":"http://127.0.0.1:9/v1","duration_ms":"#;
    let end = r#","fault":"connection_refused","reason":"the connection was refused","hint":"check the port in `base_url`, and that the server runs there"}]"#;
    assert!(shown.contains(beginning) && shown.contains(end), "{shown}");
    assert!(place.run(&["doctor", "--upstreams", "--offline"]).starts_with("exit code: 4\n"));
}

#[test]
fn every_mistake_is_reported_at_once() {
    let place = Place::with_config(
        r#"
[server]
bnid = "127.0.0.1:5454"
threads = "four"

[upstreams.far]
dialect = "open-ai"
base_url = "ftp://example.com"
api_key = "sk-secret-that-must-not-be-shown"

[models.small]
upstream = "fra"
tier = "middle"
price = { input = -1.0, output = 2.0, as_of = "yesterday" }

[tasks.intent]
kind = "clasify"
student = "not-there.student"
ladder = ["student", "smal"]
audit_share = 0.9
"#,
    );
    let shown = place.run(&["config", "check"]);
    assert!(!shown.contains("sk-secret"), "{shown}");
    assert_snapshot!(shown);
}

#[test]
fn a_file_that_is_no_toml_is_one_mistake_with_its_place() {
    assert_snapshot!(Place::with_config("[server\nbind = 1\n").run(&["config", "check"]));
}

#[test]
fn a_good_file_is_told_so() {
    assert_snapshot!(Place::with_config(MODELS).run(&["config", "check"]), @"
    exit code: 0
    ----- stdout -----
    [FOLDER]/bantam.toml is good: 2 models, 0 tasks
    ");
    let json = Place::with_config(MODELS).good(&["config", "check", "--json"]);
    assert_eq!(json.trim(), r#"{"ok":true,"models":2,"tasks":0,"warnings":0}"#);
}

#[test]
fn a_missing_file_says_how_to_write_one() {
    assert_snapshot!(Place::new().run(&["config", "check"]));
}

#[test]
fn the_hint_after_a_missing_file_works_as_it_is_printed() {
    for folder in ["", "not/there/yet/", "it's here/"] {
        let place = Place::new();
        let path = place.path(&format!("{folder}bantam.toml"));
        let config = path.to_str().unwrap();
        let output = place.command(&["config", "check", "--config", config]).output().unwrap();
        let shown = String::from_utf8(output.stderr).unwrap();
        let hint = shown.lines().find_map(|line| line.strip_prefix("help: write one: ")).unwrap();
        let binary = env!("CARGO_BIN_EXE_bantam");
        let script = hint.replace("bantam config", &format!("{binary} config"));
        assert!(std::process::Command::new("/bin/sh").args(["-c", &script]).status().unwrap().success());
        place.good(&["config", "check", "--config", config]);
    }
}

#[test]
fn the_example_checks_clean_as_it_is() {
    let place = Place::new();
    place.write("bantam.toml", place.good(&["config", "example"]));
    let shown = place.run(&["config", "check"]);
    assert_eq!(shown, "exit code: 0\n----- stdout -----\n[FOLDER]/bantam.toml is good: 1 models, 0 tasks\n");
}

/// A configuration whose keys are not set and whose student is not there.
const KEYED: &str = r#"
[server]
api_key_envs = ["DESK_KEY"]
[upstreams.keyed]
dialect = "openai"
base_url = "https://api.example.com/v1"
api_key_env = "FAR_KEY"
[models.keyed]
upstream = "keyed"
tier = "mid"
price = { input = 0.25, output = 2.0, as_of = "2026-11-01" }
[tasks.desk]
kind = "classify"
student = "desk.student"
[store]
path = "models"
"#;

#[test]
fn keys_and_files_are_needed_by_what_serves_alone() {
    let place = Place::with_config(&format!("{MODELS}{KEYED}"));
    for command in [
        &["task", "list"][..],
        &["list"],
        &["doctor", "--threads", "1"],
        &["config", "show"],
        &["job", "list"],
        &["rm", "--unfinished"],
    ] {
        let output = place.command(command).output().unwrap();
        let shown = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {shown}");
        assert!(!shown.contains("KEY"), "{command:?}: {shown}");
    }
    // There is no ledger, and no model; neither is about keys.
    for (command, code) in [(&["usage"][..], 1), (&["show", "tiny"], 3)] {
        let output = place.command(command).output().unwrap();
        let shown = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{command:?}: {shown}");
        assert!(!shown.contains("KEY"), "{command:?}: {shown}");
    }
    for command in [&["serve"][..], &["config", "check"], &["config", "apply"]] {
        let shown = place.run(command);
        assert!(shown.starts_with("exit code: 2\n"), "{shown}");
        for missing in ["DESK_KEY", "FAR_KEY", "desk.student"] {
            assert!(shown.contains(missing), "{shown}");
        }
    }
}

#[test]
fn settings_are_shown_with_where_each_comes_from() {
    let place = Place::with_config(MODELS).env("BANTAM_SERVER_THREADS", "2");
    let shown = place.run(&["config", "show", "--origin", "--set", "server.json_depth_max=32"]);
    // How wide the first column is depends on how long the folder's name is.
    let lines = shown.lines().map(|line| match line.split_once(" # ") {
        Some((setting, origin)) => format!("{} # {origin}", setting.trim_end()),
        None => line.to_owned(),
    });
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn settings_shown_without_their_origin_are_a_file_that_loads() {
    let place = Place::with_config(MODELS);
    let shown = place.good(&["config", "show"]);
    place.write("bantam.toml", &shown);
    assert_eq!(place.good(&["config", "show"]), shown);
}

#[test]
fn the_example_loads_where_everything_it_names_is_there() {
    let place = Place::new()
        .env("OPENAI_API_KEY", "sk-of-nobody")
        .env("PROXY_LOGIN", "user:password")
        .env("PORTAL_KEY", "key-of-nobody");
    let switched_on = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
        _ => format!("{line}\n"),
    };
    let example: String = place.good(&["config", "example"]).lines().map(switched_on).collect();
    // A certificate of another student would be void, which is a warning and no mistake.
    place.write("bantam.toml", example);
    place.write("corporate-root.pem", "");
    place.write("intent.student", "");
    for name in ["booking.tagger", "booking.schema.json", "ticket.lark"] {
        place.write(name, "");
    }
    for task in ["intent", "booking", "ticket", "ticket-number", "ticket-query"] {
        place.write(&format!("{task}.certificate.json"), "");
    }
    place.write("ticket.schema.json", "{}");
    std::fs::create_dir(place.path("models")).unwrap();
    place.write("models/desk-0.6b-q8_0.gguf", "");
    place.write("models/support-tone", "");
    let shown = place.good(&["config", "show"]);
    assert!(shown.contains("base_url = \"https://api.openai.com/v1\""), "{shown}");
}

#[test]
fn an_override_that_is_no_pair_is_refused() {
    assert_snapshot!(Place::with_config(MODELS).run(&["config", "check", "--set", "server.bind"]));
}

#[test]
fn machines_get_failures_as_json_too() {
    let place = Place::with_config("[server]\nthreads = -1\n");
    let output = place.command(&["config", "check", "--json"]).output().unwrap();
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["exit_code"], 2);
    assert!(error["error"]["message"].as_str().unwrap().contains("threads"), "{error}");
    assert!(output.stdout.is_empty());
}
