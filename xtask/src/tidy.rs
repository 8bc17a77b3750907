//! `cargo xtask tidy`: the house rules that no lint checks.

mod files;
mod layers;
mod licences;
mod owners;

use std::path::Path;

pub(crate) use files::tracked as tracked_files;

use crate::metadata;

/// What the checks found. Facts are always shown; one problem is enough to fail.
#[derive(Debug, Default)]
pub(crate) struct Report {
    facts: Vec<String>,
    problems: Vec<String>,
}

impl Report {
    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Returns the facts, the problems and the verdict, one per line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let problems = self.problems.iter().map(|problem| format!("problem: {problem}"));
        let verdict = match self.problems.len() {
            0 => "tidy".to_owned(),
            1 => "not tidy: 1 problem".to_owned(),
            count => format!("not tidy: {count} problems"),
        };
        self.facts.iter().cloned().chain(problems).chain([verdict]).collect()
    }

    pub(crate) fn fact(&mut self, fact: impl Into<String>) {
        self.facts.push(fact.into());
    }

    pub(crate) fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }
}

/// Runs every check; a check that cannot run is itself a problem.
pub(crate) fn run(root: &Path) -> Report {
    let mut report = Report::default();
    match metadata::read(root) {
        Ok(packages) => {
            match std::fs::read_to_string(root.join("ARCHITECTURE.md")) {
                Ok(text) => layers::check(&text, &packages, &mut report),
                Err(error) => report.problem(format!("cannot read ARCHITECTURE.md: {error}")),
            }
            owners::check(&packages, &mut report);
            match std::fs::read_to_string(root.join("deny.toml")) {
                Ok(text) => licences::check(&text, &packages, &mut report),
                Err(error) => report.problem(format!("cannot read deny.toml: {error}")),
            }
        }
        Err(error) => report.problem(error),
    }
    match files::read(root) {
        Ok(sources) => files::check(&sources, &mut report),
        Err(error) => report.problem(error),
    }
    report
}

/// Shared by the tests of the checks.
#[cfg(test)]
pub(crate) mod testing {
    use super::Report;
    use crate::metadata::{Dependency, Kind, Package};

    /// Returns a crate of the workspace; dependencies after `dev:` are for tests only.
    pub(super) fn member(name: &str, dependencies: &[&str]) -> Package {
        let dependency = |name: &&str| match name.strip_prefix("dev:") {
            Some(name) => Dependency { name: name.to_owned(), kind: Kind::Dev },
            None => Dependency { name: (*name).to_owned(), kind: Kind::Normal },
        };
        Package {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            license: Some("MIT OR Apache-2.0".to_owned()),
            is_member: true,
            dependencies: dependencies.iter().map(dependency).collect(),
        }
    }

    /// Runs one check and returns its problems.
    pub(crate) fn problems(check: impl FnOnce(&mut Report)) -> Vec<String> {
        let mut report = Report::default();
        check(&mut report);
        report.problems
    }

    #[test]
    fn one_problem_is_enough_to_fail() {
        let mut report = Report::default();
        report.fact("3 files");
        assert!(report.is_clean());
        assert_eq!(report.lines(), ["3 files", "tidy"]);
        report.problem("a.rs is long");
        assert!(!report.is_clean());
        assert_eq!(report.lines(), ["3 files", "problem: a.rs is long", "not tidy: 1 problem"]);
    }
}
