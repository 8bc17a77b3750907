use insta::assert_snapshot;

use crate::place::Place;
use crate::rows;

const TRAIN: [&str; 8] =
    ["student", "train", "--kind", "linear", "--data", "rows.jsonl", "--out", "desk.student"];

fn trained() -> Place {
    let place = Place::new();
    place.write("rows.jsonl", rows::lines(0, 90));
    place.good(&TRAIN);
    place
}

#[test]
fn training_says_what_was_learned_and_how_well() {
    let place = Place::new();
    place.write("rows.jsonl", rows::lines(0, 90));
    assert_snapshot!(place.run_rounded(&TRAIN));
    assert!(place.path("desk.student").exists());
}

#[test]
fn training_the_same_rows_again_gives_the_same_file() {
    let place = trained();
    let first = std::fs::read(place.path("desk.student")).unwrap();
    place.good(&TRAIN);
    assert!(std::fs::read(place.path("desk.student")).unwrap() == first);
}

#[test]
fn predictions_are_one_json_object_a_row() {
    let place = trained();
    let rows = "{\"text\": \"where is the parcel with my lamp\"}\n\n{\"text\": \"my money back for the tent please\"}\n";
    place.write("ask.jsonl", rows);
    assert_snapshot!(place.run_rounded(&[
        "student",
        "predict",
        "--student",
        "desk.student",
        "--input",
        "ask.jsonl"
    ]));
}

#[test]
fn a_student_says_what_it_is() {
    assert_snapshot!(trained().run_rounded(&["student", "show", "desk.student"]));
}

#[test]
fn rows_that_cannot_be_used_are_named_with_their_line() {
    let check = |rows: &str, expected: &str| {
        let place = Place::new();
        place.write("rows.jsonl", rows);
        let shown = place.run(&TRAIN);
        assert!(shown.starts_with("exit code: 1\n"), "{shown}");
        assert!(shown.contains(expected), "{shown}");
        assert!(!place.path("desk.student").exists());
    };
    check("", "no rows");
    check("{\"text\": \"a\", \"label\": \"x\"}\nnot json\n", "line 2");
    check("{\"text\": \"a\"}\n", "line 1");
    check("{\"text\": 5, \"label\": \"x\"}\n", "line 1");
    check("{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"b\", \"label\": \"x\"}\n", "label");
}

#[test]
fn a_file_of_rows_that_is_not_there_is_a_failure_with_its_path() {
    assert_snapshot!(Place::new().run(&TRAIN));
}

#[test]
fn a_task_nobody_has_heard_of_gets_the_nearest_name() {
    let place = Place::with_config("[tasks.intent]\nkind = \"generate\"\n[routing]\nladder = []\n");
    place.write("bantam.toml", format!("{}\n[tasks.intent]\nkind = \"generate\"\n", crate::place::MODELS));
    assert_snapshot!(place.run(&["student", "train", "--task", "intnet"]));
}

#[test]
fn a_damaged_student_is_a_named_error() {
    let place = trained();
    let good = std::fs::read(place.path("desk.student")).unwrap();
    let check = |bytes: &[u8]| {
        place.write("desk.student", bytes);
        for command in [
            &["student", "show", "desk.student"][..],
            &["student", "predict", "--student", "desk.student", "--input", "rows.jsonl"][..],
        ] {
            let shown = place.run(command);
            assert!(
                shown.starts_with("exit code: 3\n----- stderr -----\nerror: cannot use the student"),
                "{shown}"
            );
            assert!(shown.contains("help: train it again"), "{shown}");
        }
    };
    check(b"");
    check(b"no student at all");
    check(good.split_at(good.len() / 2).0);
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    check(&flipped);
    check(&[&good[..], b"more"].concat());
}
