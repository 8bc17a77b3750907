//! The files that a deployment is built from, each as it was before it was read.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::identity::LAYOUT_EXTENSION;

/// A file that changed less long ago than this may change again without showing it: clocks of file systems tick, and
/// two writes may fall into one tick.
const SETTLED: Duration = Duration::from_secs(3);
/// Bytes of a file whose content is compared while its time is that recent. Larger ones are models, which are hashed
/// where it matters.
const HASHED_BYTES_MAX: u64 = 1 << 20;
/// Entries of a folder that are looked at, and folders within folders.
const ENTRIES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 4;

/// A file or folder as it was at one moment; equal states mean that nothing changed between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// There was nothing.
    Missing,
    /// A file.
    File {
        /// Which file it was, how long it was, and when it was written.
        stamp: Stamp,
        /// Its content, where it had changed so recently that its stamp proves nothing.
        content: Option<[u8; 32]>,
    },
    /// A folder: a digest of the names and stamps in it.
    Folder([u8; 32]),
}

/// What the file system says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl Stamp {
    fn of(about: &fs::Metadata) -> Self {
        let (modified_s, modified_ns) = (about.mtime(), about.mtime_nsec());
        Self { inode: about.ino(), bytes: about.len(), modified_s, modified_ns }
    }

    /// Returns whether the file was written so long before `now` that a later write shows.
    fn is_settled(self, now: SystemTime) -> bool {
        let seconds = u64::try_from(self.modified_s).unwrap_or_default();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        now.duration_since(modified).is_ok_and(|age| age > SETTLED + Duration::from_secs(1))
    }
}

impl FileState {
    /// Returns the state of whatever is at `path`; `known` is an earlier one, whose content need not be read again
    /// where the stamp proves that it is the same.
    pub fn look(path: &Path, known: Option<&Self>, now: SystemTime) -> Self {
        let Ok(about) = fs::metadata(path) else { return Self::Missing };
        if about.is_dir() {
            let mut digest = Sha256::new();
            let mut left = ENTRIES_MAX;
            digest_folder(path, DEPTH_MAX, &mut left, &mut digest);
            return Self::Folder(digest.finalize().into());
        }
        let stamp = Stamp::of(&about);
        let content = match known {
            Some(Self::File { stamp: before, content }) if *before == stamp && stamp.is_settled(now) => {
                *content
            }
            _ if stamp.is_settled(now) || stamp.bytes > HASHED_BYTES_MAX => None,
            _ => hash(path),
        };
        Self::File { stamp, content }
    }
}

fn hash(path: &Path) -> Option<[u8; 32]> {
    let mut content = Vec::new();
    fs::File::open(path).ok()?.take(HASHED_BYTES_MAX + 1).read_to_end(&mut content).ok()?;
    Some(Sha256::digest(&content).into())
}

fn digest_folder(folder: &Path, depth: usize, left: &mut usize, digest: &mut Sha256) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    // Weights laid out for this machine come and go while models are served.
    paths.retain(|path| path.extension().is_none_or(|extension| extension != LAYOUT_EXTENSION));
    paths.sort();
    for path in paths {
        let Some(rest) = left.checked_sub(1) else { return };
        *left = rest;
        let Ok(about) = fs::metadata(&path) else { continue };
        digest.update(path.as_os_str().as_encoded_bytes());
        if about.is_dir() {
            if depth > 0 {
                digest_folder(&path, depth - 1, left, digest);
            }
            continue;
        }
        let stamp = Stamp::of(&about);
        for number in [stamp.inode, stamp.bytes] {
            digest.update(number.to_le_bytes());
        }
        for number in [stamp.modified_s, stamp.modified_ns] {
            digest.update(number.to_le_bytes());
        }
    }
}

/// Collects the files that something is built from, with their states from before they were read.
#[derive(Debug)]
pub struct FilesRead {
    now: SystemTime,
    files: Mutex<BTreeMap<PathBuf, FileState>>,
}

impl FilesRead {
    /// Returns an empty collection; what it is told of counts as read from `now` on.
    pub fn begin(now: SystemTime) -> Self {
        Self { now, files: Mutex::default() }
    }

    /// Notes that a file is about to be read; call it before reading.
    pub fn before(&self, path: &Path) {
        let mut files = self.files.lock();
        if !files.contains_key(path) {
            let state = FileState::look(path, None, self.now);
            files.insert(path.to_owned(), state);
        }
    }

    /// Returns the files with their states.
    pub fn states(self) -> BTreeMap<PathBuf, FileState> {
        self.files.into_inner()
    }

    /// Returns the files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.lock().keys().cloned().collect()
    }
}

/// Looks at the disk, and notes what was asked for.
pub(crate) struct NotedFiles<'f>(pub(crate) &'f FilesRead);

impl bantam_config::Files for NotedFiles<'_> {
    fn exists(&self, path: &Path) -> bool {
        self.0.before(path);
        path.exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(path: &Path, known: Option<&FileState>) -> FileState {
        FileState::look(path, known, SystemTime::now())
    }

    fn set_modified(path: &Path, time: SystemTime) {
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn a_change_shows_even_within_one_tick_of_the_clock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        assert_eq!(look(&path, None), FileState::Missing);
        fs::write(&path, "aaaa").unwrap();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        let before = look(&path, None);
        assert_eq!(look(&path, Some(&before)), before);
        fs::write(&path, "bbbb").unwrap();
        set_modified(&path, time);
        assert_ne!(look(&path, Some(&before)), before);
    }

    #[test]
    fn a_file_at_rest_stays_the_same_without_being_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        fs::write(&path, "aaaa").unwrap();
        let fresh = look(&path, None);
        let later = SystemTime::now() + Duration::from_secs(60);
        assert_eq!(FileState::look(&path, Some(&fresh), later), fresh);
        let old = FileState::look(&path, None, later);
        assert!(matches!(old, FileState::File { content: None, .. }));
        assert_eq!(FileState::look(&path, Some(&old), later), old);
    }

    #[test]
    fn a_folder_changes_with_its_files_and_not_with_weights_laid_out() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/config.json"), "{}").unwrap();
        let before = look(folder.path(), None);
        fs::write(folder.path().join(format!("model.{LAYOUT_EXTENSION}")), "x").unwrap();
        assert_eq!(look(folder.path(), Some(&before)), before);
        fs::write(folder.path().join("deep/config.json"), "{ }").unwrap();
        assert_ne!(look(folder.path(), Some(&before)), before);
    }
}
