//! A folder that is made beside its place and put there in one step.

use std::path::{Path, PathBuf};

use crate::train::TrainError;

/// A folder beside the student's that becomes it. It goes when it is dropped before that.
pub(super) struct StagedFolder {
    folder: PathBuf,
    out: PathBuf,
}

impl StagedFolder {
    /// Makes the folder, where `out` is free or a student.
    pub(super) fn new(out: &Path) -> Result<Self, TrainError> {
        let is_free = match std::fs::read_dir(out) {
            Ok(mut entries) => entries.next().is_none() || out.join("student.json").exists(),
            Err(_) => true,
        };
        let Some(name) = out.file_name().filter(|_| is_free) else {
            return Err(TrainError::Occupied { path: out.to_owned() });
        };
        let folder = out.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
        let failed = |source| TrainError::Stage { path: out.to_owned(), source };
        // What a process with the same number has left behind.
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(failed)?;
        }
        std::fs::create_dir(&folder).map_err(failed)?;
        Ok(Self { folder, out: out.to_owned() })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts the folder in the place of what is there: in one step where the system can exchange two names. Elsewhere
    /// nothing is there between two steps; what was there lies beside it then, and comes back when the second step fails.
    pub(super) fn place(self) -> std::io::Result<()> {
        let had = self.out.exists();
        let old = if had && exchange(&self.folder, &self.out) {
            self.folder.clone()
        } else {
            let old = self.folder.with_extension("old");
            if had {
                std::fs::rename(&self.out, &old)?;
            }
            if let Err(error) = std::fs::rename(&self.folder, &self.out) {
                if had {
                    std::fs::rename(&old, &self.out)?;
                }
                return Err(error);
            }
            old
        };
        let parent = self.out.parent().filter(|parent| !parent.as_os_str().is_empty());
        // Not every system can open a folder; where it can, the rename is made to last.
        if let Ok(parent) = std::fs::File::open(parent.unwrap_or(Path::new("."))) {
            parent.sync_all()?;
        }
        match (had, old.is_dir()) {
            (false, _) => Ok(()),
            (true, true) => std::fs::remove_dir_all(&old),
            (true, false) => std::fs::remove_file(&old),
        }
    }
}

/// Gives two names to each other's content in one step; false where the system or its disk cannot.
fn exchange(one: &Path, other: &Path) -> bool {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    {
        let _ = (one, other);
        false
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        // After it was put in its place there is nothing to remove.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_student_takes_the_place_of_another_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.student");
        for content in ["first", "second"] {
            let staged = StagedFolder::new(&out).unwrap();
            std::fs::write(staged.folder().join("student.json"), content).unwrap();
            staged.place().unwrap();
            assert_eq!(std::fs::read_to_string(out.join("student.json")).unwrap(), content);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        let dropped = StagedFolder::new(&out).unwrap();
        std::fs::write(dropped.folder().join("student.json"), "third").unwrap();
        drop(dropped);
        assert_eq!(std::fs::read_to_string(out.join("student.json")).unwrap(), "second");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_names_are_exchanged_or_nothing_happens() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        for path in [&one, &other] {
            std::fs::create_dir(path).unwrap();
        }
        std::fs::write(one.join("file"), "").unwrap();
        let happened = exchange(&one, &other);
        assert_eq!((one.join("file").exists(), other.join("file").exists()), (!happened, happened));
        assert!(!exchange(&one, &folder.path().join("none")) && one.exists());
    }
}
