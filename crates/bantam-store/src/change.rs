//! Changes to the store. One runs at a time, and each is atomic.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::about::ModelDescription;
use crate::error::{StoreError, StoreErrorKind};
use crate::files;
use crate::import::ImportError;
use crate::manifest::{Manifest, Origin, StoredFile};
use crate::name::ModelName;
use crate::store::{Entry, ResolveError, Store, walk};

/// How long to wait for another change; each takes milliseconds.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The result of naming a model.
#[derive(Clone, Debug)]
pub struct Added {
    /// The model.
    pub entry: Entry,
    /// Whether the name already stood for this very model.
    pub was_there: bool,
    /// Whether the name stood for another model before.
    pub has_replaced: bool,
}

/// The result of removing a model's name.
#[derive(Clone, Debug)]
pub struct Removed {
    /// The name.
    pub name: ModelName,
    /// Bytes of the files that no other model used, which were deleted.
    pub freed_bytes: u64,
}

/// Holds the store's lock. The system releases it when the process ends, however it ends.
pub(crate) struct StoreLock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

/// A folder in which a model's files are assembled. Dropping it removes the folder and anything left in it.
pub(crate) struct StagingFolder {
    folder: PathBuf,
    #[expect(dead_code, reason = "the lock tells sweepers that the folder is in use")]
    lock: File,
}

impl StagingFolder {
    /// The folder for the model's files, under their own names.
    pub(crate) fn model(&self) -> PathBuf {
        self.folder.join("model")
    }

    /// The folder for other files.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for StagingFolder {
    fn drop(&mut self) {
        // If this fails, the next change removes the folder.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Store {
    /// Creates a staging folder.
    pub(crate) fn staging(&self) -> Result<StagingFolder, StoreError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let name = format!("{}-{count}-{started:x}", std::process::id());
        let folder = self.root.join("incoming").join(name);
        let make = || {
            self.make_root()?;
            fs::create_dir_all(folder.join("model"))?;
            let lock = File::create(folder.join("lock"))?;
            lock.lock()?;
            Ok::<_, io::Error>(lock)
        };
        let lock = make().map_err(StoreError::at("create the folder", &folder))?;
        Ok(StagingFolder { folder, lock })
    }

    /// Creates the store's folder if it is missing, accessible to its owner only. An existing folder keeps its
    /// permissions: it may be shared on purpose.
    pub(crate) fn make_root(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.root)
    }

    /// Waits until no other process changes the store, and locks it. Sleeps while it waits, so it must not run on a
    /// thread that runs futures.
    pub(crate) fn lock(&self) -> Result<StoreLock, StoreError> {
        let path = self.root.join("lock");
        let wrong = |error: io::Error| StoreError::at("lock", &path)(error);
        self.make_root().map_err(wrong)?;
        let file = File::options().create(true).append(true).open(&path).map_err(wrong)?;
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(StoreLock(file)),
                Err(TryLockError::WouldBlock) if begin.elapsed() < LOCK_WAIT => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    let kind = StoreErrorKind::Busy { seconds: LOCK_WAIT.as_secs() };
                    return Err(StoreError { what: "lock", path, kind });
                }
                Err(TryLockError::Error(error)) => return Err(wrong(error)),
            }
        }
    }

    /// Names the model whose files are in a staging folder. The files must have been checked.
    pub(crate) fn publish(
        &self,
        staging: &StagingFolder,
        name: &ModelName,
        (files, about, origin): (Vec<StoredFile>, ModelDescription, Origin),
        replaces: bool,
    ) -> Result<Added, ImportError> {
        let added_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let manifest = Manifest::new(files, about, origin, added_s);
        let name = match name.tag() {
            Some(tag) => name.with_tag(tag)?,
            None => name.with_tag(ModelName::DEFAULT_TAG)?,
        };
        let lock = self.lock()?;
        let before = self.find(&name)?;
        let was_there = before.as_ref().is_some_and(|before| before.manifest.digest() == manifest.digest());
        if let Some(before) = before.as_ref().filter(|_| !was_there && !replaces) {
            return Err(ImportError::Exists { name: Box::new(before.name.clone()) });
        }
        // A replaced name keeps its spelling (upper and lower case).
        let name = before.as_ref().map_or(name, |before| before.name.clone());
        for file in &manifest.files {
            self.store_blob(&staging.model().join(&file.path), file)?;
        }
        self.link_tree(&manifest)?;
        self.write_manifest(&name, &manifest)?;
        let has_replaced = before.is_some() && !was_there;
        self.sweep(&lock)?;
        let entry = self.find(&name)?.ok_or_else(|| ImportError::Lost { name: Box::new(name) })?;
        Ok(Added { entry, was_there, has_replaced })
    }

    /// Moves a file to the blobs, unless it is already there.
    fn store_blob(&self, staged: &Path, file: &StoredFile) -> Result<(), StoreError> {
        let blob = self.blob(&file.digest);
        let folder = self.root.join("blobs");
        let take = || {
            fs::create_dir_all(&folder)?;
            // A blob of another length is damaged, since its name is the hash of its content: replace it.
            if fs::metadata(&blob).is_ok_and(|found| found.len() == file.bytes) {
                return Ok(());
            }
            files::make_read_only(staged)?;
            fs::rename(staged, &blob)?;
            files::sync_folder(&folder)
        };
        take().map_err(StoreError::at("write", &blob))
    }

    fn write_manifest(&self, name: &ModelName, manifest: &Manifest) -> Result<(), StoreError> {
        let path = self.root.join("manifests").join(name.manifest_path());
        let json = manifest.to_json().map_err(|error| StoreError {
            what: "write",
            path: path.clone(),
            kind: StoreErrorKind::Manifest(error),
        })?;
        files::write_whole(&path, &json).map_err(StoreError::at("write", &path))
    }

    /// Gives a model a second name. Both names share the files.
    ///
    /// # Errors
    /// If there is no such model, or the new name stands for another one.
    pub fn copy(&self, from: &ModelName, to: &ModelName) -> Result<Added, ImportError> {
        // Locked first: what is resolved must still be there when it gets its second name.
        let _lock = self.lock()?;
        let source = self.resolve(from)?;
        let tag = to.tag().or(source.name.tag()).unwrap_or(ModelName::DEFAULT_TAG);
        let to = to.with_tag(tag)?;
        let before = self.find(&to)?;
        let digest = source.manifest.digest();
        let was_there = before.as_ref().is_some_and(|before| before.manifest.digest() == digest);
        if let Some(before) = before.filter(|_| !was_there) {
            return Err(ImportError::Exists { name: Box::new(before.name) });
        }
        if !was_there {
            self.write_manifest(&to, &source.manifest)?;
        }
        Ok(Added { entry: Entry { name: to, ..source }, was_there, has_replaced: false })
    }

    /// Removes a model's name and deletes every file that no other name uses. Also removes a damaged manifest.
    pub fn remove(&self, name: &ModelName) -> Result<Removed, ResolveError> {
        let lock = self.lock()?;
        let damaged = self.list()?.damaged.into_iter().find(|(other, _)| name.means(other));
        let name = match damaged {
            Some((name, _)) => name,
            None => match self.resolve(name) {
                Ok(entry) => entry.name,
                // A model can be removed even if its files are gone.
                Err(ResolveError::Store(StoreError { kind: StoreErrorKind::BlobGone, .. })) => {
                    self.find(name)?.map_or_else(|| name.clone(), |entry| entry.name)
                }
                Err(error) => return Err(error),
            },
        };
        let path = self.root.join("manifests").join(name.manifest_path());
        fs::remove_file(&path).map_err(StoreError::at("remove", &path))?;
        if let Some(folder) = path.parent() {
            files::sync_folder(folder).map_err(StoreError::at("remove", &path))?;
            // A name's folder goes with its last tag; removing a non-empty folder fails, which is fine.
            let _ = fs::remove_dir(folder).and_then(|()| folder.parent().map_or(Ok(()), fs::remove_dir));
        }
        Ok(Removed { name, freed_bytes: self.sweep(&lock)? })
    }

    /// Deletes everything that no manifest refers to: files, links, measurements and remains of interrupted changes.
    /// Returns the bytes of the deleted files. Deletes no files while a manifest cannot be read, because it might
    /// refer to them.
    pub(crate) fn sweep(&self, _lock: &StoreLock) -> Result<u64, StoreError> {
        self.sweep_staging();
        let listing = self.list()?;
        if !listing.damaged.is_empty() {
            return Ok(0);
        }
        let manifests = listing.models.iter().map(|entry| &entry.manifest);
        let digests: BTreeSet<String> =
            manifests.clone().map(|manifest| manifest.digest().to_string()).collect();
        let blobs: BTreeSet<PathBuf> =
            manifests.flat_map(|manifest| &manifest.files).map(|file| self.blob(&file.digest)).collect();
        let mut freed = 0;
        let folder = self.root.join("blobs");
        let mut found = Vec::new();
        walk(&folder, &mut found).map_err(StoreError::at("list", &folder))?;
        for path in found.iter().filter(|path| !blobs.contains(*path)) {
            freed += fs::metadata(path).map_or(0, |file| file.len());
            fs::remove_file(path).map_err(StoreError::at("remove", path))?;
        }
        for part in ["trees", "measured"] {
            let folder = self.root.join(part);
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                if digests.contains(&name) {
                    continue;
                }
                let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(StoreError::at("remove", &path))?;
            }
        }
        Ok(freed)
    }

    /// Removes staging folders whose locks nobody holds: their owners have ended.
    fn sweep_staging(&self) {
        let Ok(entries) = fs::read_dir(self.root.join("incoming")) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_left = match File::open(path.join("lock")) {
                Ok(lock) => lock.try_lock().is_ok(),
                Err(_) => false,
            };
            if is_left {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }
}
