use insta::assert_snapshot;

use crate::place::{MODELS, Place};

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
    let place = Place::new().env("OPENAI_API_KEY", "sk-of-nobody");
    let example = place.good(&["config", "example"]);
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
