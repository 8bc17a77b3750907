//! How much memory this process may use, as the system says.

use std::path::{Path, PathBuf};

/// Where the system tells the limits of groups of processes.
const GROUPS: &str = "/sys/fs/cgroup";

/// Returns the bytes that may be used at most: those of the machine, or the least that a group of this process may use.
pub(crate) fn memory_bytes() -> Option<u64> {
    let machine = meminfo("MemTotal:")?;
    Some(group_limit().map_or(machine, |limit| limit.min(machine)))
}

/// Returns the bytes that can be taken now without swapping, within the limits of this process's groups.
pub(crate) fn free_bytes() -> Option<u64> {
    let free = meminfo("MemAvailable:")?;
    let left = group_limit().map(|limit| {
        let used = groups().iter().find_map(|group| number(&group.join("memory.current")));
        limit.saturating_sub(used.unwrap_or(0))
    });
    Some(left.map_or(free, |left| left.min(free)))
}

/// Returns the least limit of the groups that this process is in: beyond `memory.max` it is ended, beyond `memory.high` it
/// is slowed down until it might as well be.
fn group_limit() -> Option<u64> {
    let limits = groups().into_iter().flat_map(|group| {
        ["memory.max", "memory.high"].map(|file| number(&group.join(file))).into_iter().flatten()
    });
    limits.min()
}

/// Returns the groups that this process is in, the innermost first.
fn groups() -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups_of(&text, Path::new(GROUPS))
}

fn groups_of(text: &str, root: &Path) -> Vec<PathBuf> {
    let own = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    // Seen from inside of a container, a path may lead out of it.
    let own = Path::new(own.trim()).components().filter_map(|component| match component {
        std::path::Component::Normal(name) => Some(name),
        _ => None,
    });
    let innermost: PathBuf = own.fold(root.to_owned(), |path, name| path.join(name));
    innermost.ancestors().take_while(|group| group.starts_with(root)).map(Path::to_owned).collect()
}

fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn meminfo(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_around_this_process_counts() {
        let check = |text: &str, expected: &[&str]| {
            let groups = groups_of(text, Path::new("/g"));
            assert_eq!(
                groups.iter().map(|group| group.to_str().unwrap()).collect::<Vec<_>>(),
                expected,
                "{text}"
            );
        };
        check(
            "0::/system.slice/bantam.service\n",
            &["/g/system.slice/bantam.service", "/g/system.slice", "/g"],
        );
        check("0::/\n", &["/g"]);
        check("12:cpu:/x\n0::/../other\n", &["/g/other", "/g"]);
        check("", &["/g"]);
    }

    #[test]
    fn what_may_be_used_is_no_less_than_what_is_free() {
        let (Some(all), Some(free)) = (memory_bytes(), free_bytes()) else {
            assert!(!Path::new("/proc/meminfo").exists(), "the system says, and it was not read");
            return;
        };
        assert!(free <= all && all > 1 << 20, "{free} of {all}");
    }
}
