//! Free disk space.

use std::io;
use std::path::Path;

/// Bytes to keep free beyond a model's own: for manifests, the start of laid-out weights, and other programs.
pub(crate) const RESERVE_BYTES: u64 = 64 << 20;

/// Returns how many bytes an unprivileged user may still write to the file system of `path`, or of its nearest
/// existing parent.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let found = rustix::fs::statvfs(existing)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_path_uses_its_parent_s_disk() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_bytes(&folder.path().join("not/there/yet")).unwrap() > 0);
    }
}
