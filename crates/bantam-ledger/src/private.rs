//! Files that only their owner may read: what a ledger holds is about the callers, and may be their words.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;

use crate::error::OpenError;

/// Makes a folder, and those above it that are missing, for their owner alone.
pub(crate) fn make_folder(path: &Path) -> Result<(), OpenError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })
}

/// Returns how a file is opened so that it is its owner's if it is new.
pub(crate) fn file_options() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "modes are of Unix"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes the database's file, if it is missing, before SQLite does: SQLite lets everybody read it. The files beside it
/// get the mode that it has.
pub(crate) fn make_database(path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    drop(file_options().write(true).create(true).truncate(false).open(path).map_err(io)?);
    for extension in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(extension);
        tighten(Path::new(&name))?;
    }
    Ok(())
}

/// Makes a folder and the files in it, which an earlier version left for others to read, their owner's alone.
pub(crate) fn tighten_folder(path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    tighten(path)?;
    for entry in std::fs::read_dir(path).map_err(io)? {
        tighten(&entry.map_err(io)?.path())?;
    }
    Ok(())
}

/// Takes a file or folder away from everybody but its owner. One that is missing, or another's, is left alone.
pub(crate) fn tighten(path: &Path) -> Result<(), OpenError> {
    let tightened = File::open(path).and_then(|file| tighten_file(&file));
    match tightened {
        Err(error) if ![io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied].contains(&error.kind()) => {
            Err(OpenError::Io { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn tighten_file(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let mut permissions = file.metadata()?.permissions();
    let mode = permissions.mode();
    if mode & 0o077 != 0 {
        permissions.set_mode(mode & !0o077);
        file.set_permissions(permissions)?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn tighten_file(_: &File) -> io::Result<()> {
    Ok(())
}
