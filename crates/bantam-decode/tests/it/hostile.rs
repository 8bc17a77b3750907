//! Grammars made to exhaust the process: each is refused, or works, within a gigabyte and some seconds of processor time.
//!
//! A test cannot survive running out of memory, so each grammar is compiled by this test binary run once more, under
//! limits of the system.

use std::process::Command;

use bantam_decode::{Forcing, Grammar, GrammarLimits, Grammars, JsonLayout};
use serde_json::{Value, json};

use super::harness::table;

/// Names the grammar that a child compiles.
const CHILD: &str = "BANTAM_HOSTILE_GRAMMAR";

fn schema(schema: Value) -> Grammar {
    Grammar::JsonSchema { schema, layout: JsonLayout::Compact }
}

fn grammars() -> Vec<(&'static str, Grammar)> {
    let windows = |count: usize| (1..=count).map(|k| format!("a.{{{k}}}b"));
    let all_of = |patterns: Vec<String>| {
        let all: Vec<Value> = patterns.iter().map(|pattern| json!({ "pattern": pattern })).collect();
        json!({"type": "string", "allOf": all})
    };
    let searches: Vec<String> = windows(25).collect();
    let members: serde_json::Map<String, Value> =
        windows(25).map(|pattern| (pattern, json!({"type": "integer"}))).collect();
    let terms: Vec<String> = (1..=25).map(|k| format!("/.*a.{{{k}}}b.*/")).collect();
    let choices: Vec<Value> =
        windows(25).map(|pattern| json!({"type": "string", "pattern": pattern})).collect();
    let large: Vec<Value> = (0..40)
        .map(|n| json!({"type": "string", "pattern": format!("^(x|y){{{}}}z.{{{n}}}$", 900 + n)}))
        .collect();
    vec![
        ("all of", schema(all_of(searches.clone()))),
        ("all of in items", schema(json!({"type": "array", "items": all_of(searches.clone())}))),
        ("all of few", schema(all_of(windows(8).collect()))),
        (
            "all of with length",
            schema(
                json!({"type": "string", "minLength": 900, "maxLength": 1000, "allOf": all_of(searches)["allOf"]}),
            ),
        ),
        (
            "listed under all of",
            schema({
                let texts: Vec<String> = (0..4_000).map(|n| format!("{}b{n}", "a".repeat(n % 40))).collect();
                json!({"enum": texts, "allOf": all_of(windows(7).collect())["allOf"]})
            }),
        ),
        ("all of below the bound", schema(all_of(windows(7).collect()))),
        ("two below the bound", schema(all_of(vec!["a.{1000}b".into(), "c.{1000}d".into()]))),
        ("lark below the bound", Grammar::Lark("start: T\nT: /.*a.{300}b.*/ & /.*c.{300}d.*/\n".into())),
        (
            "name and others",
            schema(
                json!({"type": "object", "patternProperties": {"a.{40}b.*c.{40}d.*e.{39}f": {}}, "additionalProperties": {"type": "null"}}),
            ),
        ),
        ("one of", schema(json!({"oneOf": choices}))),
        ("any of", schema(json!({"anyOf": choices}))),
        ("any of large", schema(json!({"anyOf": large}))),
        (
            "names",
            schema(json!({"type": "object", "patternProperties": members, "additionalProperties": false})),
        ),
        (
            "further names",
            schema(
                json!({"type": "object", "patternProperties": {"a.{40}b": {}, "c.{40}d": {}, "e.{39}f": {}}, "additionalProperties": {"type": "null"}}),
            ),
        ),
        ("window", schema(json!({"type": "string", "pattern": "^(.*a.{200}b)+$"}))),
        ("windows", schema(json!({"type": "string", "pattern": "(a.{60}b.*c.{60}d.*e.{60}f)"}))),
        ("regex", Grammar::Regex("(.*a.{300}b.*)&(.*c.{300}d.*)".into())),
        ("regex window", Grammar::Regex("(a|b)*a(a|b){400}".into())),
        ("lark conjunction", Grammar::Lark(format!("start: T\nT: {}\n", terms.join(" & ")))),
        (
            "lark complement",
            Grammar::Lark("start: T\nT: ~/.*a.{60}b.*c.{60}d.*/ & ~/.*e.{59}f.*/ & /.*a.{40}z.*/\n".into()),
        ),
        ("lark choice", Grammar::Lark(format!("start: {}\n", terms.join(" | ")))),
        (
            "lark repeat",
            Grammar::Lark("start: T\nT: ((/[ab]/{1,200}){1,200}){1,200} & (/[bc]/{3}){1,1000}\n".into()),
        ),
    ]
}

/// Compiles one grammar and writes 40 characters of an answer; only under [`CHILD`].
#[test]
#[expect(clippy::disallowed_methods, reason = "a test is its own edge")]
fn child() {
    let Ok(name) = std::env::var(CHILD) else { return };
    let table = table(Forcing::Off);
    let grammars_of = Grammars::new(&table, GrammarLimits::standard()).unwrap();
    let (_, grammar) = grammars().into_iter().find(|(other, _)| *other == name).unwrap();
    let compiled = match grammars_of.compile(&grammar) {
        Ok(compiled) => compiled,
        Err(error) => {
            println!("REFUSED {}", error.to_string().chars().take(160).collect::<String>());
            return;
        }
    };
    let mut constraint = compiled.start();
    for at in 0..40 {
        let mask = match constraint.mask() {
            Ok(mask) => mask,
            Err(error) => {
                println!("STUCK at {at}: {error}");
                return;
            }
        };
        let wanted = u32::from(b"ab\"aabcde"[at % 9]);
        let token = if mask.allows(wanted) { wanted } else { mask.tokens().next().unwrap() };
        if constraint.accept(token).is_err() || constraint.is_finished() {
            break;
        }
    }
    println!("WORKS");
}

#[test]
#[cfg(target_os = "linux")]
fn no_grammar_exhausts_the_process() {
    let binary = std::env::current_exe().unwrap();
    let mut failed = Vec::new();
    for (name, _) in grammars() {
        let begun = std::time::Instant::now();
        let output = Command::new("sh")
            .args(["-c", "ulimit -v 1000000; ulimit -t 20; exec \"$0\" --exact hostile::child --nocapture"])
            .arg(&binary)
            .env(CHILD, name)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let outcome = told.lines().find_map(|line| {
            ["REFUSED", "STUCK", "WORKS"]
                .iter()
                .find_map(|word| line.find(word).map(|at| line[at..].to_owned()))
        });
        println!("{name}: {:?}: {}", begun.elapsed(), outcome.as_deref().unwrap_or("DIED"));
        if outcome.is_none() || !output.status.success() {
            failed.push(name);
        }
    }
    assert_eq!(failed, [""; 0]);
}
