//! Atomic writes, durable copies and links.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::digest::{CHUNK_BYTES, Digest, Hasher};

/// Makes a rename or a new file in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Replaces a small file atomically.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    bantam_weights::write_file(path, |sink| sink.write_all(bytes))
}

/// Copies a stream to a new file, durably, and returns its digest and length. Calls `advance` with the number of
/// bytes of each write. Fails if the file exists.
pub(crate) fn copy_hashed(
    source: &mut dyn Read,
    target: &Path,
    advance: &mut dyn FnMut(u64),
) -> io::Result<(Digest, u64)> {
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::create_new(target)?;
    let (mut hasher, mut bytes) = (Hasher::default(), 0);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = match source.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&chunk[..count]);
        file.write_all(&chunk[..count])?;
        bytes += count as u64;
        advance(count as u64);
    }
    file.sync_all()?;
    Ok((hasher.finish(), bytes))
}

/// Protects a file from accidental writes: models and trees share it.
pub(crate) fn make_read_only(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o444))
}

/// Links `path` to `original`: a hard link, or a relative symbolic link if the file system has no hard links.
/// `common` is a folder that contains both.
pub(crate) fn link(original: &Path, path: &Path, common: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::hard_link(original, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            std::os::unix::fs::symlink(relative(original, path, common), path)
        }
        done => done,
    }
}

/// Returns the relative path from `path`'s folder to `original`, both within `common`.
fn relative(original: &Path, path: &Path, common: &Path) -> PathBuf {
    let within = |path: &Path| path.strip_prefix(common).map(Path::to_owned).unwrap_or_default();
    let levels_up = within(path).components().count().saturating_sub(1);
    let mut relative: PathBuf = std::iter::repeat_n("..", levels_up).collect();
    relative.push(within(original));
    relative
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_digest_of_its_bytes_and_never_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("deep/er/file");
        let mut told = 0;
        let (digest, bytes) = copy_hashed(&mut &b"abc"[..], &target, &mut |count| told += count).unwrap();
        assert_eq!((digest, bytes, told), (Digest::of(b"abc"), 3, 3));
        assert!(copy_hashed(&mut &b"xyz"[..], &target, &mut |_| ()).is_err());
        assert_eq!(fs::read(&target).unwrap(), b"abc");
    }

    #[test]
    fn a_symbolic_link_points_to_the_file() {
        let found = relative(Path::new("/s/blobs/x"), Path::new("/s/trees/t/1/config"), Path::new("/s"));
        assert_eq!(found, Path::new("../../../blobs/x"));
    }
}
