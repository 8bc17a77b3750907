//! The real program: its commands, and `bantam serve` as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::machine::Machine;

/// How long a gateway may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test.
pub(crate) struct Bantam {
    path: PathBuf,
}

impl Bantam {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Runs one command to its end and returns what it printed.
    pub(crate) fn run(
        &self,
        config: &Path,
        words: &[&str],
        files: &[(&str, &Path)],
    ) -> Result<String, String> {
        let mut command = Command::new(&self.path);
        command.args(words).arg("--config").arg(config).stdin(Stdio::null());
        for (flag, file) in files {
            command.arg(flag).arg(file);
        }
        let output = without_settings(&mut command).output();
        let output = output.map_err(|error| format!("cannot run {}: {error}", self.path.display()))?;
        if !output.status.success() {
            let says = String::from_utf8_lossy(&output.stderr);
            return Err(format!("bantam {} failed: {}", words.join(" "), says.trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Returns the totals of `bantam usage`.
    pub(crate) fn usage(&self, config: &Path) -> Result<Value, String> {
        let printed = self.run(config, &["usage", "--json"], &[])?;
        let usage: Value =
            serde_json::from_str(&printed).map_err(|error| format!("usage printed no JSON: {error}"))?;
        Ok(usage["total"].clone())
    }

    /// Starts `bantam serve`, on its core when it has one, and waits until it serves.
    pub(crate) fn serve(&self, config: &Path, machine: &Machine) -> Result<Gateway, String> {
        let mut command = match machine.gateway_core {
            Some(core) => {
                // taskset becomes the gateway, so that the process is the gateway's.
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
        let (tell, lines) = channel();
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || {
                let lines = BufReader::new(stderr).lines();
                lines.map_while(Result::ok).try_for_each(|line| tell.send(line))
            });
        }
        // From here on the process ends with the value.
        let mut gateway = Gateway { address: SocketAddr::from(([0, 0, 0, 0], 0)), child, lines };
        gateway.address = gateway.wait_until_it_serves()?;
        Ok(gateway)
    }
}

/// A running gateway; it is ended when it is dropped.
pub(crate) struct Gateway {
    /// Where it serves.
    pub(crate) address: SocketAddr,
    child: Child,
    lines: Receiver<String>,
}

impl Gateway {
    /// Returns its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop and waits until it has; returns what it complained of.
    pub(crate) fn stop(mut self) -> Result<Vec<String>, String> {
        let process = self.process().to_string();
        // The shell's own `kill`: not every machine has the program.
        let asked = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &process]).status();
        if !asked.is_ok_and(|status| status.success()) {
            return Err("cannot ask the gateway to stop".to_owned());
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(self.lines.iter().collect()),
                Ok(Some(status)) => return Err(format!("the gateway ended with {status}")),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                Ok(None) => return Err(format!("the gateway did not stop in {PATIENCE:?}")),
                Err(error) => return Err(format!("cannot wait for the gateway: {error}")),
            }
        }
    }

    fn wait_until_it_serves(&self) -> Result<SocketAddr, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if let Some(address) = parse_address(&line) {
                return Ok(address);
            }
            said.push(line);
        }
        Err(format!("the gateway does not serve: {}", said.join("\n")))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes away what this machine would set for a gateway of its user's.
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
    fn the_address_is_read_from_the_line_that_tells_it() {
        let address = parse_address("bantam 0.1.0 is serving on http://127.0.0.1:4711");
        assert_eq!(address, Some(SocketAddr::from(([127, 0, 0, 1], 4711))));
        assert_eq!(parse_address("warning: nobody serves"), None);
        assert_eq!(parse_address("serving on http://somewhere"), None);
    }
}
