//! What the system says of itself.

use std::path::Path;

/// What there is.
pub(super) struct Machine {
    /// Bytes of memory that may still be taken, where the system says.
    pub(super) memory: Option<u64>,
    /// Whether a limit of this process's group is the lower one.
    pub(super) is_limited: bool,
    /// Bytes that are free on the store's disk.
    pub(super) disk: Option<u64>,
}

impl Machine {
    pub(super) fn look(store: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let available = available(&read("/proc/meminfo"));
        let left = left(&read("/sys/fs/cgroup/memory.max"), &read("/sys/fs/cgroup/memory.current"));
        let is_limited = left.is_some_and(|left| available.is_none_or(|available| left < available));
        let memory = if is_limited { left } else { available };
        Self { memory, is_limited, disk: bantam_store::free_bytes(store).ok() }
    }
}

/// Reads what the kernel says can be taken without swapping.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.starts_with("MemAvailable:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Returns what a group may still take; nothing where it has no limit.
fn left(most: &str, now: &str) -> Option<u64> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    Some(number(most)?.saturating_sub(number(now)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_can_still_be_taken() {
        let meminfo = "MemTotal:  16000 kB\nMemAvailable:    2000 kB\n";
        assert_eq!(available(meminfo), Some(2_048_000));
        assert_eq!(available("nothing"), None);
        assert_eq!(left("1000\n", "400\n"), Some(600));
        assert_eq!(left("max\n", "400\n"), None);
    }
}
