//! Prints what becomes of real schemas: `cargo run --release -p bantam-decode --example schema_table -- [share]`.
//!
//! Each schema of the data set is compiled; each that is gets answered twice by a model that knows nothing, and
//! the answers and the data set's own instances are judged by an independent validator. `share` takes every n-th
//! schema only.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for development")]

#[path = "../tests/it/harness.rs"]
mod harness;

use std::time::Instant;

use bantam_decode::{Forcing, GrammarLimits, Grammars};
use harness::{Tally, rows, table};
use serde_json::Value;

fn main() {
    let share: usize = std::env::args().nth(1).map_or(1, |text| text.parse().unwrap());
    let table = table(Forcing::LongestMatch);
    let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
    println!(
        "file             schemas compiled       answers invalid unfinished stuck | instances: valid taken, refused; invalid refused, taken | s"
    );
    let mut reasons = std::collections::BTreeMap::<String, usize>::new();
    for file in ["Github_trivial", "Github_easy", "Github_medium", "Glaiveai2K"] {
        let Some(rows) = rows(&format!("jsonschemabench/{file}.jsonl.gz")) else { return };
        let start = Instant::now();
        let mut tally = Tally::default();
        for row in rows.iter().step_by(share) {
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
            tally.valid_taken,
            tally.valid_refused.len(),
            tally.invalid_refused,
            tally.invalid_taken.len(),
            start.elapsed().as_secs_f64()
        );
        for problem in
            tally.invalid.iter().chain(&tally.invalid_taken).chain(&tally.stuck).chain(&tally.valid_refused)
        {
            println!("  {}", problem.chars().take(300).collect::<String>());
        }
        for (keyword, count) in tally.refused {
            *reasons.entry(keyword).or_default() += count;
        }
    }
    let mut reasons: Vec<(String, usize)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (keyword, count) in reasons {
        println!("refused by {keyword}: {count}");
    }
}
