//! A folder with a configuration, and the binary run in it with nothing of this machine's settings.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// Where one test happens.
pub(crate) struct Place {
    folder: TempDir,
    env: Vec<(&'static str, String)>,
}

/// A configuration with one upstream, which nobody listens for, and a priced model on each paid tier.
pub(crate) const MODELS: &str = r#"
[routing]
ladder = ["small", "large"]

[upstreams.far]
dialect = "openai"
base_url = "http://127.0.0.1:9/v1"

[models.small]
upstream = "far"
tier = "mid"
price = { input = 0.25, cached_input = 0.025, output = 2.0, as_of = "2026-11-01" }

[models.large]
upstream = "far"
tier = "frontier"
price = { input = 1.25, cached_input = 0.125, output = 10.0, as_of = "2026-11-01" }
"#;

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), env: Vec::new() }
    }

    /// Returns a place with this `bantam.toml`; its ledger lies beside it.
    pub(crate) fn with_config(config: &str) -> Self {
        let place = Self::new();
        let ledger = "[ledger]\npath = \"ledger.sqlite\"\n";
        place.write("bantam.toml", format!("{ledger}{config}"));
        place
    }

    /// Sets an environment variable for every run.
    pub(crate) fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
        command.args(arguments);
        self.placed(command)
    }

    fn placed(&self, mut command: Command) -> Command {
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("BANTAM_CONFIG", self.path("bantam.toml"))
            .stdin(Stdio::null());
        for (name, value) in &self.env {
            command.env(name, value);
        }
        command
    }

    /// Runs the binary to its end and returns exit code and both outputs, with folders and hashes filtered.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        self.run_as(self.command(arguments))
    }

    /// Runs a command that runs the binary, like [`Self::run`].
    pub(crate) fn run_as(&self, command: Command) -> String {
        let output = self.placed(command).output().unwrap();
        let shown = shown(&output);
        assert!(!shown.contains("panicked"), "{shown}");
        filter(&shown, self.folder.path())
    }

    /// Runs the binary like [`Self::run`] and filters fractions too: times, and what depends on how a machine
    /// rounds. Prices are exact and stay.
    pub(crate) fn run_rounded(&self, arguments: &[&str]) -> String {
        filter_fractions(&self.run(arguments))
    }

    /// Runs the binary, which has to succeed, and returns its standard output as it is.
    pub(crate) fn good(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A process that is ended with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn shown(output: &Output) -> String {
    let code = output.status.code().map_or_else(|| "none".to_owned(), |code| code.to_string());
    let mut shown = format!("exit code: {code}\n");
    for (name, text) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if !text.is_empty() {
            shown.push_str(&format!("----- {name} -----\n{}", String::from_utf8_lossy(text)));
        }
    }
    shown
}

/// Replaces what is different every time or on every system: folders, hashes, numbers of errors.
fn filter(text: &str, folder: &Path) -> String {
    let resolved = std::fs::canonicalize(folder).unwrap();
    let text = text.replace(&resolved.display().to_string(), "[FOLDER]");
    let text = text.replace(&folder.display().to_string(), "[FOLDER]");
    let hash = |run: &str| (run.len() == 64).then(|| "[SHA256]".to_owned());
    let text = replace_runs(&text, |symbol| symbol.is_ascii_hexdigit(), hash);
    let lines = text.split_inclusive('\n').map(|line| match line.split_once(" (os error ") {
        Some((before, after)) => {
            format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit() || c == ')'))
        }
        None => line.to_owned(),
    });
    lines.collect()
}

fn filter_fractions(text: &str) -> String {
    let fraction = |run: &str| {
        let (whole, rest) = run.split_once('.')?;
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let rest = rest.split_once("e-").map_or(rest, |(digits, _)| digits);
        (digits(whole) && digits(rest)).then(|| "[FRACTION]".to_owned())
    };
    replace_runs(text, |symbol| symbol.is_ascii_digit() || ".$-e".contains(symbol), fraction)
}

/// Replaces every longest run of symbols that `belongs`, where `change` wants it.
fn replace_runs(
    text: &str,
    belongs: impl Fn(char) -> bool,
    change: impl Fn(&str) -> Option<String>,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(&belongs) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|symbol| !belongs(symbol)).unwrap_or(from.len());
        let (run, after) = from.split_at(end);
        out.push_str(before);
        out.push_str(&change(run).unwrap_or_else(|| run.to_owned()));
        rest = after;
    }
    out + rest
}

#[test]
fn what_changes_from_run_to_run_is_filtered() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{}/a 0.9875 12 $0.0014 127.0.0.1 {} 3.2e-05 {}",
        folder.path().display(),
        "ab".repeat(32),
        "ab".repeat(8)
    );
    let expected =
        format!("[FOLDER]/a [FRACTION] 12 $0.0014 127.0.0.1 [SHA256] [FRACTION] {}", "ab".repeat(8));
    assert_eq!(filter_fractions(&filter(&text, folder.path())), expected);
}
