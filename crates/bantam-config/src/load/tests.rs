use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use crate::document::{Table, Value};
use crate::{Purpose, complete_example, reference};

struct Everything;

impl Env for Everything {
    fn get(&self, name: &str) -> Option<String> {
        (!name.starts_with("BANTAM_")).then(|| "k".repeat(32))
    }
}

impl Files for Everything {
    fn exists(&self, _: &Path) -> bool {
        true
    }
}

fn source(text: &str) -> Source<'_> {
    Source {
        name: "bantam.toml",
        text,
        folder: Path::new("/etc/bantam"),
        state_folder: Path::new("/var/lib/bantam"),
        data_folder: Path::new("/usr/share/bantam"),
        overrides: &[],
        variable_names: &[],
        purpose: Purpose::Serve,
    }
}

/// Collects the patterns of all keys in a tree, names of upstreams, models and tasks as `*`.
fn patterns(table: &Table, prefix: &str, out: &mut BTreeSet<String>) {
    for (key, node) in table {
        let is_named = matches!(prefix, "upstreams" | "models" | "tasks");
        let segment = if is_named { "*" } else { key };
        let pattern = if prefix.is_empty() { segment.to_owned() } else { format!("{prefix}.{segment}") };
        match &node.value {
            // A table of names that the file chooses is one value.
            Value::Table(_) if key == "headers" => {}
            Value::Table(entries) => patterns(entries, &pattern, out),
            Value::List(nodes) => {
                for element in nodes {
                    if let Value::Table(entries) = &element.value {
                        patterns(entries, &pattern, out);
                    }
                }
            }
            _ => {}
        }
        if !is_named {
            out.insert(pattern);
        }
    }
}

#[test]
fn the_example_has_every_key_that_the_reader_knows() {
    let example = complete_example();
    let source = source(&example);
    let (_, outcome) = read(&source, &Everything, &Everything);
    assert_eq!(outcome.diagnostics, []);
    let log = Log::new(&source);
    let tree = document::read(&Context { source: &source, env: &Everything, files: &Everything }, &log);
    let mut written = BTreeSet::new();
    patterns(&tree, "", &mut written);
    assert_eq!(written, outcome.known);
}

#[test]
fn every_variable_sets_a_key_that_the_reader_knows() {
    let (_, outcome) = read(&source(&complete_example()), &Everything, &Everything);
    let mut by_name = BTreeMap::new();
    for variable in variables::ALL {
        assert!(outcome.known.contains(variable.key), "{}", variable.key);
        let named = format!("BANTAM_{}", variable.key.replace('.', "_").to_uppercase());
        assert_eq!(variable.name, named);
        assert_eq!(by_name.insert(variable.name, variable.key), None);
    }
    let has_variable = |key: &String| by_name.values().any(|known| known == key);
    let scalars = outcome.known.iter().filter(|key| key.starts_with("server.") || key.starts_with("ledger."));
    assert_eq!(scalars.filter(|key| !has_variable(key)).count(), 0);
}

#[test]
fn the_reference_has_every_key_that_the_reader_knows() {
    let (_, outcome) = read(&source(&complete_example()), &Everything, &Everything);
    let is_table = |key: &str| {
        let inside = format!("{key}.");
        outcome.known.iter().any(|other| other.starts_with(&inside))
    };
    let known: BTreeSet<&str> =
        outcome.known.iter().map(String::as_str).filter(|key| !is_table(key)).collect();
    let listed: BTreeSet<&str> = reference::ALL.iter().map(|setting| setting.key).collect();
    assert_eq!(listed, known, "left: src/reference/table.rs, right: what is read");
    assert_eq!(listed.len(), reference::ALL.len(), "no key is listed twice");
    for setting in reference::ALL {
        let sections = reference::SECTIONS.iter().filter(|section| setting.key.starts_with(section.prefix));
        assert_eq!(sections.count(), 1, "{}", setting.key);
    }
}
