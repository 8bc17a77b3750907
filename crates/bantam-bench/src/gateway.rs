//! The program under test: its commands, and `bantam serve` as a separate process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::machine::Machine;

/// How long a gateway may take to start or stop.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The program under test.
pub(crate) struct Bantam {
    path: PathBuf,
}

impl Bantam {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Runs one command and returns what it printed.
    pub(crate) fn run(
        &self,
        config: &Path,
        arguments: &[&str],
        files: &[(&str, &Path)],
    ) -> Result<String, String> {
        let mut command = Command::new(&self.path);
        command.args(arguments).arg("--config").arg(config).stdin(Stdio::null());
        for (flag, file) in files {
            command.arg(flag).arg(file);
        }
        let output = without_settings(&mut command).output();
        let output = output.map_err(|error| format!("cannot run {}: {error}", self.path.display()))?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            return Err(format!("bantam {} failed: {}", arguments.join(" "), message.trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Returns the totals of `bantam usage`.
    pub(crate) fn usage(&self, config: &Path) -> Result<Value, String> {
        let printed = self.run(config, &["usage", "--json"], &[])?;
        let usage: Value = serde_json::from_str(&printed)
            .map_err(|error| format!("`bantam usage` did not print JSON: {error}"))?;
        Ok(usage["total"].clone())
    }

    /// Starts `bantam serve`, pinned to its core if it has one, and waits until it serves.
    pub(crate) fn serve(&self, config: &Path, machine: &Machine) -> Result<Gateway, String> {
        let mut command = match machine.gateway_core {
            Some(core) => {
                // `taskset` replaces itself with the gateway, so the process id is the gateway's.
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string()]).arg(&self.path);
                command
            }
            None => Command::new(&self.path),
        };
        command.arg("serve").arg("--config").arg(config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            without_settings(&mut command).spawn().map_err(|error| format!("cannot start: {error}"))?;
        let (sender, lines) = channel();
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || {
                let lines = BufReader::new(stderr).lines();
                lines.map_while(Result::ok).try_for_each(|line| sender.send(line))
            });
        }
        // From here on the process ends when the value is dropped.
        let mut gateway = Gateway { address: SocketAddr::from(([0, 0, 0, 0], 0)), child, lines };
        gateway.address = gateway.wait_until_it_serves()?;
        Ok(gateway)
    }
}

/// A running gateway; dropping it ends the process.
pub(crate) struct Gateway {
    /// The address it serves on.
    pub(crate) address: SocketAddr,
    child: Child,
    lines: Receiver<String>,
}

impl Gateway {
    /// Returns its process id.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Stops it, waits until it has ended, and returns the lines it wrote to standard error.
    pub(crate) fn stop(mut self) -> Result<Vec<String>, String> {
        let process = self.process().to_string();
        // The shell's built-in `kill`, because not every machine has the program.
        let asked = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &process]).status();
        if !asked.is_ok_and(|status| status.success()) {
            return Err("cannot ask the gateway to stop".to_owned());
        }
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(self.lines.iter().collect()),
                Ok(Some(status)) => return Err(format!("the gateway ended with {status}")),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                Ok(None) => return Err(format!("the gateway did not stop within {TIMEOUT:?}")),
                Err(error) => return Err(format!("cannot wait for the gateway: {error}")),
            }
        }
    }

    fn wait_until_it_serves(&self) -> Result<SocketAddr, String> {
        let deadline = Instant::now() + TIMEOUT;
        let mut output = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if let Some(address) = parse_address(&line) {
                return Ok(address);
            }
            output.push(line);
        }
        Err(format!("the gateway did not start serving: {}", output.join("\n")))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Removes environment variables that would configure the gateway.
fn without_settings(command: &mut Command) -> &mut Command {
    let names = std::env::vars_os().map(|(name, _)| name);
    let is_setting = |name: &std::ffi::OsString| {
        name.to_str().is_some_and(|name| name.starts_with("BANTAM_") || name == "RUST_LOG")
    };
    for name in names.filter(is_setting) {
        command.env_remove(name);
    }
    command
}

/// Finds the address in `… is serving on http://ADDRESS`.
fn parse_address(line: &str) -> Option<SocketAddr> {
    line.split_once("serving on http://")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_address_in_the_line_that_announces_it() {
        let address = parse_address("bantam 0.1.0 is serving on http://127.0.0.1:4711");
        assert_eq!(address, Some(SocketAddr::from(([127, 0, 0, 1], 4711))));
        assert_eq!(parse_address("warning: nobody serves"), None);
        assert_eq!(parse_address("serving on http://somewhere"), None);
    }
}
