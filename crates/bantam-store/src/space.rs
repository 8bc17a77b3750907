//! What is free on a disk.

use std::io;
use std::path::Path;

/// Bytes that are kept free beyond what is written: manifests, laid-out weights' beginnings, everybody else's needs.
pub(crate) const RESERVE_BYTES: u64 = 64 << 20;

/// Returns how many bytes somebody without privileges may still write to the file system of `path`, which is there or
/// has a parent that is.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let found = rustix::fs::statvfs(existing)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_there_yet_has_its_parent_s_disk() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_bytes(&folder.path().join("not/there/yet")).unwrap() > 0);
    }
}
