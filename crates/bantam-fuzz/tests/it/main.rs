//! Every parser of foreign bytes on its corpus and on a fixed number of damaged inputs.
#![expect(clippy::panic, reason = "tests stop at the first surprise")]

use std::fs;
use std::path::Path;

use bantam_fuzz::{TARGETS, explore, replay, target};

/// The seed of the inputs: another one gives other inputs, and every one has to pass.
const SEED: u64 = 13;

fn survives(name: &str, inputs: u64) {
    let target = target(name).unwrap_or_else(|| panic!("no target is called {name}"));
    let done = replay(target).and_then(|_| explore(target, SEED, inputs));
    done.unwrap_or_else(|error| panic!("{error}"));
}

/// libFuzzer's entry points are in a workspace that the tests do not build, so their text is compared.
#[test]
fn every_target_has_an_entry_point_for_libfuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let listed: Vec<&str> =
        manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")).collect();
    let known: Vec<String> = TARGETS.iter().map(|target| format!("{}.rs\"", target.name)).collect();
    assert_eq!(listed, known, "[[bin]] sections of fuzz/Cargo.toml");
    for target in TARGETS {
        let name = target.name;
        assert!(
            manifest.contains(&format!("[[bin]]\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n")),
            "{name}"
        );
        let entry = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        let expected =
            format!("libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bantam_fuzz::run(\"{name}\", bytes));");
        assert_eq!(entry, format!("#![no_main]\n\n{expected}\n"));
    }
    assert_eq!(fs::read_dir(folder.join("fuzz_targets")).unwrap().count(), TARGETS.len());
}

macro_rules! targets {
    ($($name:ident: $inputs:literal,)*) => {
        $(#[test]
        fn $name() {
            survives(stringify!($name), $inputs);
        })*

        #[test]
        fn every_target_is_tried_here() {
            let tried = [$(stringify!($name)),*];
            let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(tried.as_slice(), known);
        }
    };
}

// Inputs by how long one takes: each target is done in a few seconds without optimisation.
targets! {
    anthropic_answer: 20_000,
    anthropic_stream: 10_000,
    bundle: 300,
    certificate: 2_000,
    chat_template: 1_000,
    decoder_student: 2_000,
    extract: 2_000,
    gguf: 2_000,
    grammar: 150,
    journal: 60,
    json_walk: 20_000,
    openai_answer: 20_000,
    openai_request: 5_000,
    openai_stream: 10_000,
    rows: 1_000,
    safetensors: 2_000,
    scanner: 1_000,
    schema: 150,
    settings: 1_500,
    student: 500,
    tokenizer_json: 500,
}
