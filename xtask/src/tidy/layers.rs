//! Checks that dependencies point down: compares the table in ARCHITECTURE.md with what Cargo builds.

use std::collections::BTreeMap;

use super::Report;
use crate::metadata::{Kind, Package};

/// An edge that is allowed although the layers forbid it.
struct Edge {
    from: &'static str,
    to: &'static str,
    reason: &'static str,
}

const fn edge(from: &'static str, to: &'static str, reason: &'static str) -> Edge {
    Edge { from, to, reason }
}

/// Edges within a layer, or from the product to a crate for development. An edge that no longer exists is a
/// problem, so that this list stays true.
const ALLOWED: &[Edge] = &[
    edge("bantam-wire", "bantam-types", "JSON is read into the nouns"),
    edge("bantam-privacy", "bantam-types", "a finding has a label"),
    edge("bantam-privacy", "bantam-wire", "what was scanned must be what was decoded"),
    edge("bantam-route", "bantam-types", "plans and verdicts are made of the nouns"),
    edge("bantam-engine", "bantam-kernels", "a forward pass is made of kernels"),
    edge("bantam-engine", "bantam-weights", "an encoder is read from checked weights"),
    edge("bantam-quantise", "bantam-engine", "what quantising costs is measured by running both models"),
    edge("bantam-quantise", "bantam-kernels", "both models run on one pool"),
    edge("bantam-quantise", "bantam-store", "a model of the store becomes a smaller one beside it"),
    edge("bantam-quantise", "bantam-weights", "tensors are read from one file and written to another"),
    edge("bantam-store", "bantam-engine", "what enters the store is what the engine can open"),
    edge("bantam-store", "bantam-weights", "a model's files are checked before they enter"),
    edge("bantam-student", "bantam-engine", "an encoder student runs an encoder"),
    edge("bantam-student", "bantam-kernels", "all bases share one thread pool"),
    edge(
        "bantam-student",
        "bantam-weights",
        "a base is identified by its weights' hash and uses their tokenizer",
    ),
    edge("bantam-train", "bantam-engine", "training produces adapters that the engine loads"),
    edge("bantam-train", "bantam-student", "training produces students and evaluates them as served"),
    edge("bantam-train", "bantam-kernels", "gradients are matrix products, computed on the pool"),
    edge(
        "bantam-train",
        "bantam-weights",
        "bases are read from checked weights, and checkpoints are weight files",
    ),
    edge("bantam-measure", "bantam-local", "answers under a schema are timed as callers get them"),
    edge("bantam-teach", "bantam-eval", "what was taught is certified"),
    edge("bantam-teach", "bantam-local", "a decoder is judged and certified as it is served"),
    edge("bantam-deploy", "bantam-eval", "a certificate is read by whoever wrote it"),
    edge("bantam-deploy", "bantam-gateway", "a deployment is what the gateway serves"),
    edge("bantam-deploy", "bantam-local", "language models in this process are part of a deployment"),
    edge("bantam", "bantam-admin", "the binary prints what use cases return"),
    edge("bantam", "bantam-server", "the binary starts the server"),
    edge("bantam", "bantam-scenario", "the demo's traffic and its frontier model are generated"),
    edge("bantam", "bantam-simulate", "the demo's frontier model is the simulated upstream"),
];

/// A crate's layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Numbered(u8),
    /// For development: any crate may use it in tests, but none may ship with it.
    Dev,
}

/// Checks that the table lists exactly the crates of the workspace, and that no dependency points up.
pub(super) fn check(architecture: &str, packages: &[Package], report: &mut Report) {
    let table = read_table(architecture, report);
    let members: Vec<&Package> = packages.iter().filter(|package| package.is_member).collect();
    for member in &members {
        if !table.contains_key(member.name.as_str()) {
            report.problem(format!("ARCHITECTURE.md does not list the crate `{}`", member.name));
        }
    }
    for name in table.keys() {
        if !members.iter().any(|member| member.name == *name) {
            report.problem(format!("ARCHITECTURE.md lists `{name}`, which is not a crate of the workspace"));
        }
    }
    let mut edges = 0;
    for member in &members {
        for dependency in &member.dependencies {
            let layers = (table.get(member.name.as_str()), table.get(dependency.name.as_str()));
            let (Some(from), Some(to)) = layers else { continue };
            edges += 1;
            let is_fine = points_down(*from, *to) || (dependency.kind == Kind::Dev && *to == Layer::Dev);
            if !is_fine && !is_allowed(&member.name, &dependency.name) {
                report.problem(format!(
                    "`{}` ({}) depends on `{}` ({}), which is not a lower layer: move the code, or allow the edge \
                     in xtask/src/tidy/layers.rs with a reason",
                    member.name,
                    shown(*from),
                    dependency.name,
                    shown(*to)
                ));
            }
        }
    }
    for edge in ALLOWED {
        let uses = |member: &&Package| {
            member.name == edge.from
                && member.dependencies.iter().any(|dependency| dependency.name == edge.to)
        };
        let is_known = members.iter().any(|member| member.name == edge.from);
        if is_known && !members.iter().any(uses) {
            let (from, to, reason) = (edge.from, edge.to, edge.reason);
            report.problem(format!("the allowed edge `{from}` to `{to}` ({reason}) is unused: remove it"));
        }
    }
    report.fact(format!("layers: {} crates, {edges} edges between them", members.len()));
}

fn points_down(from: Layer, to: Layer) -> bool {
    match (from, to) {
        (Layer::Dev, _) => true,
        (Layer::Numbered(from), Layer::Numbered(to)) => to < from,
        (Layer::Numbered(_), Layer::Dev) => false,
    }
}

fn is_allowed(from: &str, to: &str) -> bool {
    ALLOWED.iter().any(|edge| edge.from == from && edge.to == to)
}

fn shown(layer: Layer) -> String {
    match layer {
        Layer::Numbered(number) => format!("layer {number}"),
        Layer::Dev => "for development".to_owned(),
    }
}

/// Reads the rows under `| Layer | Crate | … |`.
fn read_table<'t>(architecture: &'t str, report: &mut Report) -> BTreeMap<&'t str, Layer> {
    let mut table = BTreeMap::new();
    let is_heading =
        |line: &&str| matches!(cells(line)[..], [first, second, ..] if first == "Layer" && second == "Crate");
    let rows = architecture.lines().skip_while(|line| !is_heading(line)).skip(2);
    for row in rows.take_while(|line| line.trim_start().starts_with('|')) {
        let [layer, name, ..] = cells(row)[..] else { continue };
        let layer = match layer {
            "dev" => Some(Layer::Dev),
            number => number.parse().ok().filter(|number| *number <= 4).map(Layer::Numbered),
        };
        let name = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'));
        match (layer, name) {
            (Some(layer), Some(name)) => {
                if table.insert(name, layer).is_some() {
                    report.problem(format!("ARCHITECTURE.md lists `{name}` twice"));
                }
            }
            _ => report.problem(format!(
                "ARCHITECTURE.md has a row that is not `| 0-4 or dev | \\`crate\\` |`: {row}"
            )),
        }
    }
    if table.is_empty() {
        report.problem("ARCHITECTURE.md has no table under | Layer | Crate | Responsibility |");
    }
    table
}

fn cells(row: &str) -> Vec<&str> {
    row.trim().trim_matches('|').split('|').map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{member, problems};
    use super::*;

    const TABLE: &str = "# Map\n\n| a | b |\n|---|---|\n\n| Layer | Crate | Responsibility |\n|---|---|---|\n\
        | 0 | `low` | pure |\n| 3 | `high` | edge |\n| 3 | `side` | edge |\n| dev | `tool` | tests |\n\nProse.\n| 9 | x |\n";

    fn found(high: &[&str], tool: &[&str]) -> Vec<String> {
        let packages = [member("low", &[]), member("high", high), member("side", &[]), member("tool", tool)];
        problems(|report| check(TABLE, &packages, report))
    }

    #[test]
    fn dependencies_may_point_down_but_not_up_or_sideways() {
        assert_eq!(found(&["low"], &["high", "low"]), [""; 0]);
        let sideways = found(&["side"], &[]);
        assert!(
            sideways.iter().any(|problem| problem.contains("`high` (layer 3) depends on `side`")),
            "{sideways:?}"
        );
        let packages =
            [member("low", &["high"]), member("high", &[]), member("side", &[]), member("tool", &[])];
        let up = problems(|report| check(TABLE, &packages, report));
        assert!(up.iter().any(|problem| problem.contains("`low` (layer 0) depends on `high`")), "{up:?}");
    }

    #[test]
    fn crates_for_development_may_only_be_used_in_tests() {
        assert_eq!(found(&["dev:tool"], &[]), [""; 0]);
        assert_eq!(found(&["tool"], &[]).len(), 1);
        assert_eq!(found(&["dev:side"], &[]).len(), 1);
    }

    #[test]
    fn the_table_must_list_exactly_the_crates_of_the_workspace() {
        let packages = [member("low", &[]), member("high", &[]), member("new", &[]), member("tool", &[])];
        let problems = problems(|report| check(TABLE, &packages, report));
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().any(|problem| problem.contains("does not list the crate `new`")));
        assert!(problems.iter().any(|problem| problem.contains("`side`, which is not a crate")));
    }

    #[test]
    fn reports_rows_that_cannot_be_parsed() {
        let table = TABLE.replace("| 3 | `side`", "| high | side");
        let packages = [member("low", &[]), member("high", &[]), member("tool", &[])];
        let problems = problems(|report| check(&table, &packages, report));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("| high | side |"), "{problems:?}");
    }

    #[test]
    fn a_page_without_the_table_is_a_problem() {
        let problems = problems(|report| check("# Map", &[], report));
        assert_eq!(problems.len(), 1, "{problems:?}");
    }

    #[test]
    fn an_allowed_edge_that_no_longer_exists_is_a_problem() {
        let table =
            "| Layer | Crate | x |\n|---|---|---|\n| 0 | `bantam-wire` | x |\n| 0 | `bantam-types` | x |\n";
        let edges = |dependencies: &[&str]| {
            let packages = [member("bantam-wire", dependencies), member("bantam-types", &[])];
            problems(|report| check(table, &packages, report))
        };
        assert_eq!(edges(&["bantam-types"]), [""; 0]);
        assert!(edges(&[])[0].contains("is unused"));
    }
}
