use bantam_decode::{Forcing, GrammarLimits, Grammars, JsonLayout};

use super::harness::{accepts, compile, rows, table};

/// Compares constraints with the official test suite of a draft.
fn check(file: &str, draft: &str, agreement_min: f64) {
    let Some(groups) = rows(&format!("json-schema-test-suite/{file}")) else { return };
    let table = table(Forcing::Off);
    let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
    let (mut compiled, mut valid_accepted, mut valid, mut invalid, mut wrong) = (0, 0, 0, 0, Vec::new());
    for group in &groups {
        let mut schema = group["schema"].clone();
        if let Some(object) = schema.as_object_mut().filter(|object| !object.contains_key("$schema")) {
            object.insert("$schema".to_owned(), draft.into());
        }
        let Ok(grammar) = compile(&grammars, &schema, JsonLayout::Compact) else { continue };
        compiled += 1;
        for test in group["tests"].as_array().unwrap() {
            let is_accepted = accepts(&grammar, &schema, &test["data"]);
            if test["valid"].as_bool().unwrap() {
                valid += 1;
                valid_accepted += usize::from(is_accepted);
                if !is_accepted {
                    println!(
                        "too narrow: {} / {} / {}",
                        group["file"], group["description"], test["description"]
                    );
                }
            } else {
                invalid += 1;
                if is_accepted {
                    wrong.push(format!(
                        "{} / {} / {}: {}",
                        group["file"], group["description"], test["description"], test["data"]
                    ));
                }
            }
        }
    }
    println!(
        "{file}: {compiled} of {} schemas compiled; {valid_accepted} of {valid} valid instances accepted; {} of {invalid} invalid ones refused",
        groups.len(),
        invalid - wrong.len()
    );
    assert_eq!(wrong, [""; 0]);
    assert!(f64::from(valid_accepted as u32) > agreement_min * f64::from(valid as u32));
}

#[test]
fn instances_that_are_invalid_in_draft_7_are_refused() {
    check("draft7.jsonl.gz", "http://json-schema.org/draft-07/schema#", 0.5);
}

#[test]
fn instances_that_are_invalid_in_draft_2020_12_are_refused() {
    check("draft2020-12.jsonl.gz", "https://json-schema.org/draft/2020-12/schema", 0.5);
}
