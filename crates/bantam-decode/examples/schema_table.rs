//! Compiles real schemas and prints statistics: `cargo run --release -p bantam-decode --example schema_table --
//! [STEP]`.
//!
//! Compiles each schema of the data set. For each that compiles, a random model answers twice, and an independent
//! validator judges the answers and the data set's own instances. `STEP` takes only every STEP-th schema.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for development")]

#[path = "../tests/it/harness.rs"]
mod harness;

use std::time::Instant;

use bantam_decode::{Forcing, GrammarLimits, Grammars};
use harness::{Tally, rows, table};
use serde_json::Value;

fn main() {
    let step: usize = std::env::args().nth(1).map_or(1, |text| text.parse().unwrap());
    let table = table(Forcing::LongestMatch);
    let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
    println!(
        "file             schemas compiled       answers invalid unfinished stuck | instances: valid accepted, refused; invalid refused, accepted | s"
    );
    let mut reasons = std::collections::BTreeMap::<String, usize>::new();
    for file in ["Github_trivial", "Github_easy", "Github_medium", "Glaiveai2K"] {
        let Some(rows) = rows(&format!("jsonschemabench/{file}.jsonl.gz")) else { return };
        let start = Instant::now();
        let mut tally = Tally::default();
        for row in rows.iter().step_by(step) {
            let instances: Vec<&Value> =
                row["tests"].as_array().unwrap().iter().map(|test| &test["data"]).collect();
            tally.add(row["id"].as_str().unwrap(), &row["schema"], &instances, &grammars, &table, 2);
        }
        println!(
            "{file:16} {:7} {:8} {:4.1} % {:6} {:7} {:10} {:5} | {} {} {} {} | {:.0}",
            tally.schemas,
            tally.compiled,
            100.0 * tally.compiled as f64 / tally.schemas as f64,
            tally.answers,
            tally.invalid.len(),
            tally.unfinished.len(),
            tally.stuck.len(),
            tally.valid_accepted,
            tally.valid_refused.len(),
            tally.invalid_refused,
            tally.invalid_accepted.len(),
            start.elapsed().as_secs_f64()
        );
        for problem in tally
            .invalid
            .iter()
            .chain(&tally.invalid_accepted)
            .chain(&tally.stuck)
            .chain(&tally.valid_refused)
        {
            println!("  {}", problem.chars().take(300).collect::<String>());
        }
        for (reason, count) in tally.reasons {
            *reasons.entry(reason.chars().take(160).collect()).or_default() += count;
        }
    }
    let mut reasons: Vec<(String, usize)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (reason, count) in reasons {
        println!("refused {count}: {reason}");
    }
}
