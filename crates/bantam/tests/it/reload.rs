//! A configuration that changes while it is served: what is taken over, and how somebody says that a shorter one is
//! meant.

use std::time::{Duration, Instant};

use crate::place::{MODELS, Place};
use crate::serve::Serving;

const MORE: &str = "\n[models.more]\nupstream = \"far\"\ntier = \"mid\"\n\
                    price = { input = 0.25, output = 2.0, as_of = \"2026-11-01\" }\n";

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn lists(serving: &Serving, model: &str) -> bool {
    serving.ask("GET", "/v1/models", "").contains(&format!("\"{model}\""))
}

fn config(place: &Place) -> String {
    std::fs::read_to_string(place.path("bantam.toml")).unwrap()
}

#[test]
fn a_shorter_file_is_taken_over_once_somebody_confirms_it() {
    let place = Place::with_config(MODELS);
    let shorter = config(&place);
    place.write("bantam.toml", format!("{shorter}{MORE}"));
    let serving = Serving::start(&place);
    assert!(lists(&serving, "more"));
    place.write("bantam.toml", &shorter);
    wait_until("the shorter file is refused", || serving.said().contains("has lost [models.more]"));
    assert!(serving.said().contains("bantam config apply"), "{}", serving.said());
    assert!(lists(&serving, "more"));
    let shown = place.good(&["config", "apply"]);
    assert!(shown.contains("is confirmed"), "{shown}");
    wait_until("the confirmed file is taken over", || !lists(&serving, "more"));
    serving.stop();
}

#[test]
fn a_hangup_reloads_and_confirms_what_the_file_has_now() {
    let place = Place::with_config(MODELS);
    let shorter = config(&place);
    place.write("bantam.toml", format!("{shorter}{MORE}"));
    let serving = Serving::start(&place);
    place.write("bantam.toml", &shorter);
    wait_until("the shorter file is refused", || serving.said().contains("was refused"));
    serving.signal("-HUP");
    wait_until("the file is taken over", || !lists(&serving, "more"));
    place.write("bantam.toml", "");
    wait_until("an empty file is refused", || serving.said().contains("has lost every setting"));
    serving.signal("-HUP");
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(lists(&serving, "small"), "an empty file is never taken over");
    serving.stop();
}

#[test]
fn a_student_that_comes_later_is_taken_over_by_itself() {
    let place = Place::with_config(MODELS);
    place.write("rows.jsonl", crate::rows::lines(0, 60));
    let before = config(&place);
    let serving = Serving::start(&place);
    let task = "\n[tasks.desk]\nkind = \"classify\"\nstudent = \"desk.student\"\nallow_uncertified = true\n";
    place.write("bantam.toml", format!("{before}{task}"));
    wait_until("the missing student is refused", || {
        serving.said().contains("names a file that is not there")
    });
    place.good(&["student", "train", "--data", "rows.jsonl", "--out", "desk.student"]);
    wait_until("the student is taken over", || serving.said().contains("the configuration was reloaded"));
    let answer = serving.ask(
        "POST",
        "/v1/chat/completions",
        r#"{"model": "task/desk", "messages": [{"role": "user", "content": "where is the parcel with my lamp"}]}"#,
    );
    assert!(answer.contains("order_status"), "{answer}");
    serving.stop();
}
