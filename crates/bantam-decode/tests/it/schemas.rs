use bantam_decode::{Forcing, GrammarLimits, Grammars};
use serde_json::Value;

use super::harness::{SeededRandom, Tally, rows, table};

const FILES: [&str; 4] = ["Github_trivial", "Github_easy", "Github_medium", "Glaiveai2K"];

/// `BANTAM_ALL_SCHEMAS=1` runs all 6,070; otherwise every run uses the same few hundred.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test is its own edge")]
fn random_answers_are_valid_under_real_schemas() {
    let takes_all = std::env::var_os("BANTAM_ALL_SCHEMAS").is_some();
    let table = table(Forcing::LongestMatch);
    let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
    let mut tally = Tally::default();
    let mut random = SeededRandom::new(11);
    for file in FILES {
        let Some(rows) = rows(&format!("jsonschemabench/{file}.jsonl.gz")) else { return };
        for row in rows {
            if !takes_all && !random.next().is_multiple_of(30) {
                continue;
            }
            let instances: Vec<&Value> =
                row["tests"].as_array().unwrap().iter().map(|test| &test["data"]).collect();
            tally.add(row["id"].as_str().unwrap(), &row["schema"], &instances, &grammars, &table, 2);
        }
    }
    println!("{tally:#?}");
    assert_eq!(tally.invalid, [""; 0]);
    assert_eq!(tally.invalid_accepted, [""; 0]);
    // A lexer may exceed its limit on the way; that is an error, not an answer.
    assert!(tally.stuck.len() * 2_000 <= tally.answers, "{:?}", tally.stuck);
    assert!(tally.schemas > 150 && tally.compiled * 100 > tally.schemas * 70);
    assert!(tally.unfinished.len() * 20 < tally.answers);
}
