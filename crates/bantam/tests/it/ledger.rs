use insta::assert_snapshot;

use crate::place::{MODELS, Place};

#[test]
fn usage_without_a_ledger_says_when_there_will_be_one() {
    assert_snapshot!(Place::with_config(MODELS).run(&["usage"]));
}

#[test]
fn what_is_not_a_day_is_refused() {
    let place = with_empty_ledger();
    assert_snapshot!(place.run(&["usage", "--from", "yesterday"]));
}

#[test]
fn usage_of_an_empty_ledger_is_all_zero() {
    let place = with_empty_ledger();
    assert_snapshot!(place.run(&["usage"]));
    let json: serde_json::Value = serde_json::from_str(&place.good(&["usage", "--json"])).unwrap();
    assert!(json["rows"].is_array(), "{json}");
    for by in ["task", "tier", "model", "caller", "endpoint", "day"] {
        place.good(&["usage", "--by", by]);
    }
}

#[test]
fn tasks_are_listed_before_any_request_came() {
    let task = "[tasks.notes]\nkind = \"summarize\"\n";
    let place = Place::with_config(&format!("{MODELS}{task}"));
    assert_snapshot!(place.run(&["task", "list"]));
}

#[test]
fn a_file_that_is_no_ledger_is_a_named_error() {
    for garbage in
        [&b"this is no database, and it is longer than a header of SQLite would be"[..], &[0xff; 8192]]
    {
        let place = Place::with_config(MODELS);
        place.write("ledger.sqlite", garbage);
        for command in [&["usage"][..], &["task", "list"], &["serve", "--set", "server.bind=127.0.0.1:0"]] {
            let shown = place.run(command);
            assert!(
                shown.starts_with("exit code: 1\n----- stderr -----\nerror: cannot "),
                "{command:?}: {shown}"
            );
            assert!(shown.contains("[FOLDER]/ledger.sqlite"), "{command:?}: {shown}");
        }
        assert!(std::fs::read(place.path("ledger.sqlite")).unwrap() == garbage, "a foreign file was changed");
    }
}

#[test]
fn a_ledger_that_is_a_folder_is_a_named_error() {
    let place = Place::with_config(MODELS);
    std::fs::create_dir(place.path("ledger.sqlite")).unwrap();
    let shown = place.run(&["serve", "--set", "server.bind=127.0.0.1:0"]);
    assert!(shown.starts_with("exit code: 1\n----- stderr -----\nerror: cannot open the ledger"), "{shown}");
}

/// Returns a place whose gateway ran once and was never asked.
fn with_empty_ledger() -> Place {
    let place = Place::with_config(MODELS);
    crate::serve::Serving::start(&place).stop();
    place
}
