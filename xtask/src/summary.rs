//! Reads from the output of test runners how many tests passed and failed.

/// Numbers of tests by result. Tests that were filtered out are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Counts {
    /// Returns the sum of both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

/// Reads `cargo nextest`'s summary: `Summary [ 1.2s] 9 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 0 skipped`.
pub(crate) fn nextest(output: &str) -> Counts {
    let lines = output.lines().rev().map(str::trim_start);
    let summary =
        lines.filter_map(|line| line.strip_prefix("Summary [")).find_map(|line| line.split_once("run: "));
    summary.map_or_else(Counts::default, |(_, counts)| {
        let failed = ["failed", "timed", "exec"].iter().map(|word| number_before(counts, word)).sum();
        Counts { passed: number_before(counts, "passed"), failed }
    })
}

/// Reads every `test result: ok. 3 passed; 0 failed; …` that `cargo test` prints.
pub(crate) fn cargo_test(output: &str) -> Counts {
    output
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("test result: "))
        .map(|line| Counts { passed: number_before(line, "passed"), failed: number_before(line, "failed") })
        .fold(Counts::default(), Counts::and)
}

/// Reads pytest's last line: `3 failed, 40 passed, 1 error in 3.21s`, with or without `=` around it.
pub(crate) fn pytest(output: &str) -> Counts {
    let last = output
        .lines()
        .rev()
        .find(|line| line.contains(" in ") && line.contains(|c: char| c.is_ascii_digit()));
    last.map_or_else(Counts::default, |line| {
        let failed = ["failed", "error", "errors"].iter().map(|word| number_before(line, word)).sum();
        Counts { passed: number_before(line, "passed"), failed }
    })
}

/// Returns the number before the word `word`, or 0 if the word is absent.
fn number_before(text: &str, word: &str) -> u64 {
    let mut before = "";
    for part in text.split_whitespace() {
        let bare = part.trim_matches(|symbol: char| !symbol.is_ascii_alphanumeric());
        if bare == word {
            return before.parse().unwrap_or(0);
        }
        before = bare;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(read: fn(&str) -> Counts, output: &str, passed: u64, failed: u64) {
        assert_eq!(read(output), Counts { passed, failed }, "{output}");
    }

    #[test]
    fn reads_nextest() {
        check(nextest, "     Summary [   0.123s] 45 tests run: 45 passed, 2 skipped", 45, 0);
        check(nextest, "Summary [ 1.0s] 1 test run: 1 passed (1 slow), 0 skipped\nlater words", 1, 0);
        check(
            nextest,
            "  Summary [ 9.1s] 45/50 tests run: 40 passed, 3 failed, 1 timed out, 1 exec failed, 0 skipped",
            40,
            5,
        );
        check(nextest, "error: could not compile", 0, 0);
    }

    #[test]
    fn adds_up_every_binary_of_cargo_test() {
        let output = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            noise\ntest result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        check(cargo_test, output, 4, 2);
    }

    #[test]
    fn reads_pytest() {
        check(pytest, "........\n============ 62 passed in 14.20s ============\n", 62, 0);
        check(pytest, "FAILED tests/a.py::b - assert 1 in [2]\n1 failed, 2 passed, 2 errors in 0.5s", 2, 3);
        check(pytest, "5 passed, 1 warning in 61.02s (0:01:01)", 5, 0);
        check(pytest, "no tests ran in 0.01s", 0, 0);
    }
}
