//! The store on a disk that takes no more, and what is left once there is room again.
//!
//! The binary runs under a limit on the size of files (`ulimit -f`), which every user may set and the system enforces:
//! writes fail in the middle, as on a full disk.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::hub::{Fault, Hub};
use crate::place::Place;
use crate::tiny_model;

/// Blocks of 512 bytes or, where a shell counts so, of 1,024: less than any of the files that are written here.
const BLOCKS: &str = "64";

fn place() -> Place {
    let place = Place::with_config("[store]\npath = \"models\"\n");
    tiny_model::write(&place.path(""));
    place
}

/// Runs the binary where no file may become larger than [`BLOCKS`]. The signal that comes with it is ignored, so that
/// what the binary sees is a write that fails.
fn run_full(place: &Place, arguments: &[&str]) -> String {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"", BLOCKS])
        .arg(env!("CARGO_BIN_EXE_bantam"))
        .args(arguments);
    place.run_as(command)
}

fn fails_as_full(shown: &str, what: &str) {
    let is_named = shown.contains(what) && shown.contains("the disk is full") && shown.contains("help: ");
    assert!(shown.starts_with("exit code: 1\n") && is_named, "{shown}");
}

/// Returns the names and bytes of all that the store keeps as models.
fn kept(place: &Place) -> Vec<(String, Vec<u8>)> {
    fn walk(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    for part in ["manifests", "trees", "blobs"] {
        walk(&place.path("models").join(part), &mut found);
    }
    found.sort();
    found
}

fn names(place: &Place) -> Vec<String> {
    let shown: Value = serde_json::from_str(&place.good(&["list", "--json"])).unwrap();
    let models = shown["models"].as_array().unwrap().iter();
    models.map(|model| model["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_import_onto_a_full_disk_leaves_nothing_and_succeeds_later() {
    let place = place();
    fails_as_full(
        &run_full(&place, &["import", "tiny.gguf", "--name", "tiny:f32"]),
        "cannot import tiny.gguf",
    );
    assert_eq!((names(&place), kept(&place)), (Vec::<String>::new(), Vec::new()));
    place.good(&["import", "tiny.gguf", "--name", "tiny:f32"]);
    assert_eq!(names(&place), ["tiny:f32"]);
}

#[test]
fn a_pull_onto_a_full_disk_goes_on_later_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let model = std::fs::read(tiny_model::write(folder.path())).unwrap();
    let hub = Hub::start(&[("tiny-Q8_0.gguf", &model)], Fault::None);
    let place = place().env("HF_ENDPOINT", &format!("http://127.0.0.1:{}", hub.port));
    fails_as_full(&run_full(&place, &["pull", "org/tiny"]), "cannot pull org/tiny");
    assert_eq!((names(&place), kept(&place)), (Vec::<String>::new(), Vec::new()));
    place.good(&["pull", "org/tiny"]);
    assert_eq!(names(&place), ["org/tiny:Q8_0"]);
    let seen = hub.seen.lock().unwrap();
    assert!(seen.starts.len() == 2 && seen.starts[0] == 0 && seen.starts[1] > 0, "{:?}", seen.starts);
}

#[test]
fn what_is_made_of_a_model_on_a_full_disk_leaves_the_store_as_it_was() {
    let place = place();
    place.good(&["import", "tiny.gguf", "--name", "tiny:f32"]);
    let before = kept(&place);
    assert!(!before.is_empty());
    let shown = run_full(&place, &["quantize", "tiny", "--to", "q8_0"]);
    let is_named = shown.contains("cannot quantise tiny:f32")
        && shown.contains("check that the disk has enough free space");
    assert!(shown.starts_with("exit code: 1\n") && is_named, "{shown}");
    fails_as_full(&run_full(&place, &["export", "tiny", "--out", "models.tar"]), "cannot write models.tar");
    assert!(kept(&place) == before && !place.path("models.tar").exists());
    place.good(&["quantize", "tiny", "--to", "q8_0"]);
    place.good(&["export", "tiny:f32", "--out", "models.tar"]);
    assert_eq!(names(&place), ["tiny:Q8_0", "tiny:f32"]);
    let other = self::place();
    other.write("models.tar", std::fs::read(place.path("models.tar")).unwrap());
    fails_as_full(&run_full(&other, &["import", "models.tar"]), "cannot import models.tar");
    assert_eq!((names(&other), kept(&other)), (Vec::<String>::new(), Vec::new()));
    other.good(&["import", "models.tar"]);
    assert_eq!(names(&other), ["tiny:f32"]);
}

#[test]
fn a_training_whose_state_finds_no_room_says_so_and_goes_on_when_there_is_some() {
    let place = Place::with_config("");
    let row = |number: usize| {
        let product = ["lamp", "tent", "mug"][number % 3];
        format!("{{\"text\":\"please send {number} {product}s\",\"answer\":\"{product}\"}}\n")
    };
    place.write("rows.jsonl", (0..90).map(row).collect::<String>());
    let train = ["student", "train", "--kind", "decoder", "--data", "rows.jsonl", "--out", "order.student"];
    let flags = ["--size", "100k", "--epochs", "2", "--checkpoint-every", "3", "--resume"];
    let train = [&train[..], &flags].concat();
    let shown = run_full(&place, &train);
    assert!(shown.starts_with("exit code: 1\n") && shown.contains("order.student.checkpoint"), "{shown}");
    assert!(shown.contains("help: make room on the disk"), "{shown}");
    assert!(!place.path("order.student").exists());
    place.good(&train);
    assert!(place.path("order.student/model.gguf").exists());
    let left = std::fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains("order.student")).collect();
    assert_eq!(left, ["order.student"]);
}
