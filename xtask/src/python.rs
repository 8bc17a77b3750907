//! Finds and checks the Python that the API tests need, and sets up its virtual environment.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest Python that the pinned packages support.
const VERSION_MIN: (u32, u32) = (3, 10);

const INSTALL: &str = "install it (Debian and Ubuntu: apt install python3 python3-venv; Fedora: dnf install \
    python3; macOS: brew install python), or skip the API tests: cargo xtask test --fast";

/// Returns the interpreter of `target/venv`, which then has exactly the packages in `tests/requirements.txt`.
pub(crate) fn prepare(root: &Path) -> Result<PathBuf, String> {
    let requirements = root.join("tests/requirements.txt");
    let wanted = std::fs::read_to_string(&requirements)
        .map_err(|error| format!("cannot read {}: {error}", requirements.display()))?;
    let version = version()?;
    let venv = root.join("target/venv");
    let interpreter = venv.join("bin/python");
    let stamp = venv.join("installed.txt");
    let wanted = format!("# python {version}\n{wanted}");
    if interpreter.exists() && std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(interpreter);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))
        .map_err(|error| format!("cannot create {}: {error}; {INSTALL}", venv.display()))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run(Command::new(&interpreter).args(pip).arg(&requirements)).map_err(|error| {
        format!("cannot install tests/requirements.txt, which needs network access once: {error}")
    })?;
    std::fs::write(&stamp, wanted).map_err(|error| format!("cannot write {}: {error}", stamp.display()))?;
    Ok(interpreter)
}

/// Returns the version of `python3` if it is new enough.
fn version() -> Result<String, String> {
    let output = Command::new("python3")
        .arg("--version")
        .output()
        .map_err(|error| format!("the API tests need python3 ({error}): {INSTALL}"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match parse_version(&text) {
        Some(version) if version >= VERSION_MIN => Ok(text),
        _ => Err(format!(
            "the API tests need Python {}.{} or newer, but found `{text}`: {INSTALL}",
            VERSION_MIN.0, VERSION_MIN.1
        )),
    }
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix("Python ")?.split('.');
    let mut next = || parts.next()?.parse().ok();
    Some((next()?, next()?))
}

fn run(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(status.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let check = |text: &str, expected: Option<bool>| {
            assert_eq!(parse_version(text).map(|version| version >= VERSION_MIN), expected, "{text}");
        };
        check("Python 3.11.7", Some(true));
        check("Python 3.9.2", Some(false));
        check("Python 3.10", Some(true));
        check("Python 4.0.0rc1", Some(true));
        check("Python 2.7.18", Some(false));
        check("", None);
        check("command not found", None);
    }
}
