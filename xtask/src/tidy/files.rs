//! Checks files: their length, size and forbidden content, and the ratio of tests to code.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::Report;

/// The most lines of production code in one file.
const LINES_MAX: usize = 500;
/// The largest tracked file in bytes.
const BYTES_MAX: u64 = 1024 * 1024;
/// How many lines of tests there should be for each line of production code. This is only reported, because
/// a required number of lines is easily padded.
const TEST_RATIO_AIM: f64 = 0.5;

/// Files that may be longer, with the reason. The list only shrinks: a file that is short again is a problem.
const LONG_FILES: &[(&str, &str)] = &[];

/// A file of the repository.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Relative to the root, with `/`.
    pub(super) path: String,
    pub(super) bytes: u64,
    /// The text of Rust files and of the tests in Python; of other files only the size is checked.
    pub(super) text: Option<String>,
}

/// Returns the paths of what git tracks, or would track after `git add`, from the root and with `/`.
pub(crate) fn tracked(root: &Path) -> Result<BTreeSet<String>, String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run git: {error}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    // A file that is tracked and deleted is not there to be checked.
    let is_there = |path: &&str| !path.is_empty() && std::fs::symlink_metadata(root.join(path)).is_ok();
    Ok(list.split('\0').filter(is_there).map(str::to_owned).collect())
}

/// Reads the tracked files.
pub(super) fn read(root: &Path) -> Result<Vec<Source>, String> {
    let sources = tracked(root)?.into_iter().filter_map(|path| {
        let bytes = std::fs::symlink_metadata(root.join(&path)).ok()?.len();
        let text = is_counted(&path).then(|| std::fs::read_to_string(root.join(&path)).unwrap_or_default());
        Some(Source { path, bytes, text })
    });
    Ok(sources.collect())
}

fn is_counted(path: &str) -> bool {
    path.ends_with(".rs") || (path.starts_with("tests/") && path.ends_with(".py"))
}

/// Checks all files.
pub(super) fn check(sources: &[Source], report: &mut Report) {
    let (mut production, mut tests, mut longest) = (0, 0, 0);
    for source in sources {
        if source.bytes > BYTES_MAX {
            report.problem(format!(
                "{} has {} bytes; tracked files may have at most {BYTES_MAX}",
                source.path, source.bytes
            ));
        }
        let Some(text) = &source.text else { continue };
        check_text(&source.path, text, report);
        let lines = Lines::of(&source.path, text);
        production += lines.production;
        tests += lines.tests;
        longest = longest.max(lines.production);
        let reason = LONG_FILES.iter().find(|(path, _)| *path == source.path);
        match reason {
            None if lines.production > LINES_MAX => report.problem(format!(
                "{} has {} lines of production code; the limit is {LINES_MAX}, split it",
                source.path, lines.production
            )),
            Some((path, _)) if lines.production <= LINES_MAX => {
                report.problem(format!("{path} is short enough again: remove it from LONG_FILES"));
            }
            _ => {}
        }
    }
    for (path, reason) in LONG_FILES {
        if !sources.iter().any(|source| source.path == *path) {
            report.problem(format!("{path} ({reason}) no longer exists: remove it from LONG_FILES"));
        }
    }
    let ratio = tests as f64 / (production as f64).max(1.0);
    let remark = if ratio < TEST_RATIO_AIM { format!(" (aim: {TEST_RATIO_AIM})") } else { String::new() };
    report.fact(format!(
        "files: {production} lines of production code, {longest} in the longest file; {tests} lines of tests, \
         {ratio:.2} per line of code{remark}"
    ));
}

fn check_text(path: &str, text: &str, report: &mut Report) {
    if path.ends_with("/mod.rs") {
        report.problem(format!("{path}: name the file after its module and put it next to the folder"));
    }
    // Spelled in parts, because this file is checked too.
    let refused = [
        (["to", "do!"].concat(), "finish it"),
        (["FIX", "ME"].concat(), "fix it"),
        (["#[ig", "nore"].concat(), "a test must run, or report why it skips"),
    ];
    for (number, line) in text.lines().enumerate() {
        for (word, advice) in &refused {
            if line.contains(word.as_str()) {
                report.problem(format!("{path}:{} contains `{word}`: {advice}", number + 1));
            }
        }
    }
}

/// The line counts of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lines {
    production: usize,
    tests: usize,
}

impl Lines {
    /// Everything before the first `#[cfg(test)]` is production code, unless the file itself is a test.
    fn of(path: &str, text: &str) -> Self {
        let all = text.lines().count();
        let is_in = |folder: &str| path.split('/').rev().skip(1).any(|part| part == folder);
        if is_in("tests") || path.ends_with("/tests.rs") {
            return Self { production: 0, tests: all };
        }
        let is_python = path.ends_with(".py");
        if is_python || is_in("examples") || is_in("benches") || is_in("fuzz") {
            return Self { production: 0, tests: 0 };
        }
        let marker = ["#[cfg(", "test)]"].concat();
        let production = text.lines().position(|line| line.trim_start().starts_with(&marker)).unwrap_or(all);
        Self { production, tests: all - production }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::problems;
    use super::*;

    fn rust(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), bytes: text.len() as u64, text: Some(text.to_owned()) }
    }

    fn found(sources: &[Source]) -> Vec<String> {
        problems(|report| check(sources, report))
    }

    #[test]
    fn lines_before_the_first_inline_test_are_production_code() {
        let text = "a\nb\n    #[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(Lines::of("crates/a/src/lib.rs", text), Lines { production: 2, tests: 3 });
        assert_eq!(Lines::of("crates/a/tests/it/x.rs", text), Lines { production: 0, tests: 5 });
        assert_eq!(Lines::of("crates/a/src/b/tests.rs", text), Lines { production: 0, tests: 5 });
        assert_eq!(Lines::of("crates/a/examples/x.rs", text), Lines { production: 0, tests: 0 });
        assert_eq!(Lines::of("crates/a/src/tests_of.rs", "a\n"), Lines { production: 1, tests: 0 });
    }

    #[test]
    fn a_long_file_is_a_problem_but_its_tests_do_not_count() {
        let long = "line\n".repeat(LINES_MAX + 1);
        assert_eq!(found(&[rust("crates/a/src/b.rs", &long)]).len(), 1);
        let fine = format!("{}#[cfg(test)]\n{long}", "line\n".repeat(LINES_MAX));
        assert_eq!(found(&[rust("crates/a/src/b.rs", &fine)]), [""; 0]);
        assert_eq!(found(&[rust("crates/a/tests/it/b.rs", &long)]), [""; 0]);
    }

    #[test]
    fn reports_unfinished_work_with_its_line() {
        for word in [["to", "do!()"].concat(), ["// FIX", "ME"].concat(), ["#[ig", "nore]"].concat()] {
            let problems = found(&[rust("crates/a/src/b.rs", &format!("fn a() {{}}\n{word}\n"))]);
            assert_eq!(problems.len(), 1, "{word}");
            assert!(problems[0].starts_with("crates/a/src/b.rs:2 "), "{problems:?}");
        }
        assert_eq!(found(&[rust("crates/a/src/b/mod.rs", "")]).len(), 1);
    }

    #[test]
    fn large_files_are_a_problem_whatever_they_contain() {
        let weigh = |bytes| found(&[Source { path: "model.bin".to_owned(), bytes, text: None }]).len();
        assert_eq!((weigh(BYTES_MAX), weigh(BYTES_MAX + 1)), (0, 1));
    }

    #[test]
    fn reports_the_ratio_of_tests_and_the_aim_if_there_are_too_few() {
        let facts = |tests: usize| {
            let mut report = Report::default();
            let sources =
                [rust("crates/a/src/b.rs", "line\nline\n"), rust("tests/test_b.py", &"line\n".repeat(tests))];
            check(&sources, &mut report);
            report.facts.concat()
        };
        assert!(facts(1).ends_with("1 lines of tests, 0.50 per line of code"));
        assert!(facts(0).ends_with("0 lines of tests, 0.00 per line of code (aim: 0.5)"));
    }
}
