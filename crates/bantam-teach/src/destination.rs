//! Whether a place can be written to, asked before the work whose result goes there.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

/// A place that cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {what} to {}", .path.display())]
pub struct DestinationError {
    /// The setting that names the place.
    pub field: &'static str,
    /// What would be written there, in words.
    pub what: &'static str,
    /// The place.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl DestinationError {
    /// Returns what to do about it. Fields stand in backticks.
    pub fn hint(&self) -> String {
        match self.field {
            "checkpoint" => {
                "make room on the disk, or give another `checkpoint` in a folder that exists and can be written"
                    .to_owned()
            }
            field => format!("give another `{field}`, in a folder that exists and can be written"),
        }
    }
}

/// Checks that a file called `path` can be written: its folder is there and takes another file. What is at `path` stays.
///
/// # Errors
/// [`DestinationError`] with what the system said. `field` is the setting that names the place, `what` says what would
/// be written there.
pub fn check_file(field: &'static str, what: &'static str, path: &Path) -> Result<(), DestinationError> {
    check_beside(path).map_err(|source| DestinationError { field, what, path: path.to_owned(), source })
}

/// Checks that a folder called `path` can be made and written into: the nearest folder on the way there that exists
/// takes another file.
///
/// # Errors
/// [`DestinationError`], as [`check_file`].
pub fn check_folder(field: &'static str, what: &'static str, path: &Path) -> Result<(), DestinationError> {
    let check = || {
        let absolute = std::path::absolute(path)?;
        let found = absolute.ancestors().find(|folder| folder.symlink_metadata().is_ok());
        match found {
            Some(folder) if folder.is_dir() => probe(folder, "probe".as_ref()),
            _ => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        }
    };
    check().map_err(|source| DestinationError { field, what, path: path.to_owned(), source })
}

fn check_beside(path: &Path) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    if path.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    probe(folder.unwrap_or(Path::new(".")), name)
}

/// Makes a file in `folder` under a name of its own, and removes it.
fn probe(folder: &Path, name: &std::ffi::OsStr) -> io::Result<()> {
    let mut probe = std::ffi::OsString::from(".");
    probe.push(name);
    probe.push(format!(".{}.probe", std::process::id()));
    let probe = folder.join(probe);
    drop(OpenOptions::new().write(true).create(true).truncate(true).open(&probe)?);
    std::fs::remove_file(&probe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_can_be_written_is_left_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("a.student");
        std::fs::write(&file, "kept").unwrap();
        check_file("out", "the student", &file).unwrap();
        check_file("out", "the student", &place.path().join("new.student")).unwrap();
        check_folder("peft", "the adapter", &place.path().join("far/away")).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named_with_its_field() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("file"), "").unwrap();
        let missing = check_file("out", "the student", &place.path().join("none/a.student")).unwrap_err();
        assert_eq!((missing.field, missing.source.kind()), ("out", io::ErrorKind::NotFound));
        assert!(
            missing.hint().contains("`out`")
                && missing.to_string().starts_with("cannot write the student to ")
        );
        let folder = check_file("curve", "the curve", place.path()).unwrap_err();
        assert_eq!(folder.source.kind(), io::ErrorKind::IsADirectory);
        let within = check_folder("peft", "the adapter", &place.path().join("file/adapter")).unwrap_err();
        assert_eq!(within.source.kind(), io::ErrorKind::NotADirectory);
    }
}
