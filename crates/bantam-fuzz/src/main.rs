//! Tries one target, or all, for longer than the tests do: `cargo run --release -p bantam-fuzz -- gguf 1000000 7`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program talks to the person at the terminal"
)]

use std::process::ExitCode;

use bantam_fuzz::{TARGETS, Target, explore, replay, target};

const USAGE: &str = "usage: bantam-fuzz [TARGET|all] [INPUTS] [SEED]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let targets: Vec<&Target> = match words.first().map(String::as_str) {
        None | Some("all") => TARGETS.iter().collect(),
        Some(name) => target(name).into_iter().collect(),
    };
    let number = |at: usize, otherwise: u64| words.get(at).map_or(Ok(otherwise), |word| word.parse());
    let (Ok(inputs), Ok(seed), false) = (number(1, 10_000), number(2, 1), targets.is_empty()) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("{USAGE}\ntargets: {}", names.join(", "));
        return ExitCode::from(2);
    };
    for target in targets {
        println!("{}: the corpus, then {inputs} inputs of seed {seed}", target.name);
        if let Err(error) = replay(target).and_then(|_| explore(target, seed, inputs)) {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
