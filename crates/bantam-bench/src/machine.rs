//! The machine: its cores, what runs on which, and process statistics from `/proc`.

use std::process::Command;

/// Ticks of `/proc/PID/stat` per second: 100 on every Linux that Rust's standard library supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// The machine and how its cores are divided.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The processor's name.
    pub(crate) processor: String,
    /// The cores that this process may use.
    pub(crate) cores: Vec<u32>,
    /// The commit under test.
    pub(crate) commit: String,
    /// The gateway's core, if it has one of its own.
    pub(crate) gateway_core: Option<u32>,
    /// What runs on which core, in words.
    pub(crate) pinning: String,
}

impl Machine {
    /// Reads the facts about this machine.
    pub(crate) fn read() -> Result<Self, String> {
        let read = |path: &str| {
            std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))
        };
        let status = read("/proc/self/status")?;
        let cores = field(&status, "Cpus_allowed_list").and_then(parse_cores);
        let processor = read("/proc/cpuinfo")?;
        let processor = field(&processor, "model name").unwrap_or("unknown processor").to_owned();
        Ok(Self {
            processor,
            cores: cores.ok_or("cannot determine which cores this process may use")?,
            commit: commit(),
            gateway_core: None,
            pinning: "not pinned".to_owned(),
        })
    }

    /// Pins this process to the first core and reserves the last for the gateway, if there are at least two
    /// cores and `taskset` exists. Threads and processes started later inherit the core of their parent.
    pub(crate) fn pin(&mut self) {
        let (Some(first), Some(last)) = (self.cores.first(), self.cores.last()) else { return };
        if first == last {
            "not pinned: load, mock and gateway share the only core".clone_into(&mut self.pinning);
            return;
        }
        let own = std::process::id().to_string();
        let pinned = Command::new("taskset").args(["-a", "-p", "-c", &first.to_string(), &own]).output();
        if pinned.is_ok_and(|output| output.status.success()) {
            self.pinning = format!("load and mock on core {first}, gateway on core {last}");
            self.gateway_core = Some(*last);
        } else {
            "not pinned: taskset (util-linux) cannot be run".clone_into(&mut self.pinning);
        }
    }
}

/// Returns the CPU seconds used by all processes on the machine, including time stolen by its host.
pub(crate) fn busy_seconds() -> Result<f64, String> {
    let path = "/proc/stat";
    let stat = std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    parse_busy(&stat)
        .map(|ticks| ticks as f64 / TICKS_PER_SECOND)
        .ok_or_else(|| format!("cannot read {path}"))
}

/// Returns the CPU seconds that a process has used.
pub(crate) fn processor_seconds(process: u32) -> Result<f64, String> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    parse_ticks(&stat)
        .map(|ticks| ticks as f64 / TICKS_PER_SECOND)
        .ok_or_else(|| format!("cannot read {path}"))
}

/// Returns the peak memory of a process, in MB of 1,024 × 1,024 bytes.
pub(crate) fn peak_megabytes(process: u32) -> Result<f64, String> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let peak = field(&status, "VmHWM").and_then(|peak| peak.strip_suffix("kB")?.trim().parse::<f64>().ok());
    peak.map(|kilobytes| kilobytes / 1024.0).ok_or_else(|| format!("{path} has no VmHWM"))
}

/// Returns the value of the first line `name: value`.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(known, _)| known.trim() == name).map(|(_, value)| value.trim())
}

/// Parses a list such as `0-3,8`.
fn parse_cores(list: &str) -> Option<Vec<u32>> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cores.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(cores)
}

/// Returns user plus system ticks. The program's name in brackets may contain anything, even brackets.
fn parse_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Returns the non-idle ticks of all cores together: user, nice, system, irq, softirq, steal.
fn parse_busy(stat: &str) -> Option<u64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
    let fields: Vec<u64> = fields.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let [user, nice, system, _idle, _waiting, rest @ ..] = &fields[..] else { return None };
    Some(user + nice + system + rest.iter().sum::<u64>())
}

fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown commit".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_lists_of_cores() {
        assert_eq!(parse_cores("0-1"), Some(vec![0, 1]));
        assert_eq!(parse_cores("0,2-4,9"), Some(vec![0, 2, 3, 4, 9]));
        assert_eq!(parse_cores("7"), Some(vec![7]));
        assert_eq!(parse_cores(""), None);
        assert_eq!(parse_cores("0-x"), None);
    }

    #[test]
    fn finds_ticks_after_any_program_name() {
        let stat = "42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0";
        assert_eq!(parse_ticks(stat), Some(175));
        assert_eq!(parse_ticks("42 (a) S 1 2"), None);
        assert_eq!(parse_ticks(""), None);
    }

    #[test]
    fn finds_fields_by_their_whole_name() {
        let status = "VmHWMx:\t1 kB\nVmHWM:\t  2048 kB\n";
        assert_eq!(field(status, "VmHWM"), Some("2048 kB"));
        assert_eq!(field(status, "VmRSS"), None);
    }

    #[test]
    fn idle_and_waiting_ticks_are_not_busy() {
        assert_eq!(parse_busy("cpu  1 2 3 1000 5000 4 5 6 7 8\ncpu0 1\n"), Some(21));
        assert_eq!(parse_busy("cpu  1 2 3\n"), None);
        assert_eq!(parse_busy("cpu0 1 2 3 4 5 6 7 8\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_can_be_read() {
        assert!(!Machine::read().unwrap().cores.is_empty());
        let own = std::process::id();
        assert!(peak_megabytes(own).unwrap() > 0.5);
        assert!(busy_seconds().unwrap() >= processor_seconds(own).unwrap());
    }
}
