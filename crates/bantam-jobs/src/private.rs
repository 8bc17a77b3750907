//! Files that only their owner may read.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Makes a folder, and those above it that are missing, readable by their owner alone. A folder that exists keeps its
/// permissions.
///
/// # Errors
/// What the system says.
pub fn create_private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Closes a folder to everybody but its owner.
pub(crate) fn close_folder(folder: &Path) -> io::Result<()> {
    if fs::metadata(folder)?.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(folder, Permissions::from_mode(0o700))
}

/// Opens a private file for locking or writing, and creates it if it is missing.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(0o600).open(path)
}

/// Writes a file that only its owner may read: its path then holds all of `bytes`, or what it held before. A
/// `durable` one also survives the end of the machine.
///
/// # Errors
/// What the system says.
pub fn write_private_file(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let temporary = path.with_added_extension(format!("{}.partial", std::process::id()));
    // One left by a process of the same number may have other permissions.
    let _ = fs::remove_file(&temporary);
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| if durable { file.sync_all() } else { Ok(()) });
    drop(file);
    let moved = written.and_then(|()| fs::rename(&temporary, path));
    if moved.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    moved?;
    match path.parent().filter(|_| durable) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_written_can_be_read_by_its_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        create_private_folder(&folder).unwrap();
        assert_eq!((mode(&root.path().join("a")), mode(&folder)), (0o700, 0o700));
        let file = folder.join("x.json");
        fs::write(&file, "old").unwrap();
        write_private_file(&file, b"new", true).unwrap();
        assert_eq!((fs::read(&file).unwrap(), mode(&file)), (b"new".to_vec(), 0o600));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_the_old_one() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("folder");
        fs::create_dir(&file).unwrap();
        assert!(write_private_file(&file, b"new", false).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
