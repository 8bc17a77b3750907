//! The folder that records are kept in, shared by all processes of a user.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use bantam_types::with_causes;
use serde_json::Value;

use crate::error::RecordError;
use crate::private;
use crate::record::{DamagedRecord, JobId, JobList, JobRecord, JobState, VERSION};

/// Bytes of a record at most: parameters, events and a result within their limits take less.
const RECORD_BYTES_MAX: u64 = 4 << 20;

/// A folder with, for each job, `ID.json` (its record), `ID.lock` (held by whoever runs it) and sometimes `ID.cancel`
/// (somebody wants it to stop).
#[derive(Clone, Debug)]
pub(crate) struct JobFolder {
    path: PathBuf,
}

/// Holds a job's lock: whoever has it may write the job's record.
#[derive(Debug)]
pub(crate) struct JobLock {
    path: PathBuf,
    _file: File,
}

impl JobLock {
    /// Releases the lock of a job that has ended, and removes its file.
    pub(crate) fn release(self) {
        // Removed while it is still held, so that nobody can take a lock on a file that is about to go.
        let _ = fs::remove_file(&self.path);
    }
}

impl JobFolder {
    /// Creates the folder if it is missing, closes it to others, and marks jobs whose process has ended.
    pub(crate) fn open(path: PathBuf, kept_max: usize) -> io::Result<Self> {
        private::create_private_folder(&path)?;
        private::close_folder(&path)?;
        let folder = Self { path };
        let list = folder.list()?;
        folder.prune(&list, kept_max);
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn record_path(&self, id: &JobId) -> PathBuf {
        self.path.join(format!("{id}.json"))
    }

    fn lock_path(&self, id: &JobId) -> PathBuf {
        self.path.join(format!("{id}.lock"))
    }

    fn cancel_path(&self, id: &JobId) -> PathBuf {
        self.path.join(format!("{id}.cancel"))
    }

    /// Takes the lock of a job that is about to be made; `None` where the id is taken.
    pub(crate) fn claim(&self, id: &JobId) -> io::Result<Option<JobLock>> {
        if self.record_path(id).exists() {
            return Ok(None);
        }
        self.try_lock(id)
    }

    /// Takes a job's lock unless somebody holds it.
    fn try_lock(&self, id: &JobId) -> io::Result<Option<JobLock>> {
        let path = self.lock_path(id);
        let file = private::open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(JobLock { path, _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Writes a record. Only whoever holds the job's lock may.
    pub(crate) fn write(
        &self,
        _lock: &JobLock,
        record: &JobRecord,
        durable: bool,
    ) -> Result<(), RecordError> {
        let mut json = serde_json::to_vec_pretty(record)?;
        json.push(b'\n');
        Ok(private::write_private_file(&self.record_path(&record.id), &json, durable)?)
    }

    /// Reads a record as it is; `None` if it does not exist.
    pub(crate) fn read(&self, id: &JobId) -> Result<Option<JobRecord>, RecordError> {
        match read(&self.record_path(id)) {
            Err(RecordError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// Reads a record; one that says it runs, while nobody runs it, becomes `interrupted`.
    pub(crate) fn read_settled(&self, id: &JobId) -> Result<Option<JobRecord>, RecordError> {
        match self.read(id)? {
            Some(record) if !record.state.is_over() => self.settle(id),
            record => Ok(record),
        }
    }

    fn settle(&self, id: &JobId) -> Result<Option<JobRecord>, RecordError> {
        let Some(lock) = self.try_lock(id)? else { return self.read(id) };
        // Read again under the lock: the job may have ended between.
        let Some(mut record) = self.read(id)? else {
            lock.release();
            return Ok(None);
        };
        if !record.state.is_over() {
            record.change_state(JobState::Interrupted);
            self.write(&lock, &record, true)?;
        }
        let _ = fs::remove_file(self.cancel_path(id));
        lock.release();
        Ok(Some(record))
    }

    /// Returns all jobs, the newest first, and the records that cannot be read.
    pub(crate) fn list(&self) -> io::Result<JobList> {
        let mut list = JobList::default();
        for entry in fs::read_dir(&self.path)? {
            let file = entry?.path();
            let Some(id) = id_of(&file) else { continue };
            match self.read_settled(&id) {
                Ok(record) => list.jobs.extend(record),
                Err(error) => list.damaged.push(DamagedRecord { reason: with_causes(&error), file }),
            }
        }
        list.jobs
            .sort_by(|one, other| other.created_at.cmp(&one.created_at).then_with(|| one.id.cmp(&other.id)));
        list.damaged.sort_by(|one, other| one.file.cmp(&other.file));
        Ok(list)
    }

    /// Deletes the oldest records of jobs that have ended, so that `kept_max` are left.
    pub(crate) fn prune(&self, list: &JobList, kept_max: usize) {
        let over = list.jobs.iter().filter(|record| record.state.is_over());
        for record in over.skip(kept_max) {
            // What cannot be deleted now is deleted another time.
            let _ = fs::remove_file(self.record_path(&record.id));
        }
    }

    /// Asks whoever runs a job to cancel it.
    pub(crate) fn ask_to_cancel(&self, id: &JobId) -> io::Result<()> {
        private::write_private_file(&self.cancel_path(id), b"", false)
    }

    /// Returns whether somebody asked for a job to be cancelled.
    pub(crate) fn is_to_cancel(&self, id: &JobId) -> bool {
        self.cancel_path(id).exists()
    }

    /// Forgets that somebody asked for a job to be cancelled.
    pub(crate) fn forget_cancel(&self, id: &JobId) {
        let _ = fs::remove_file(self.cancel_path(id));
    }
}

/// Returns the job whose record a file is.
fn id_of(file: &Path) -> Option<JobId> {
    file.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok()
}

fn read(path: &Path) -> Result<JobRecord, RecordError> {
    let bytes = fs::metadata(path)?.len();
    if bytes > RECORD_BYTES_MAX {
        return Err(RecordError::TooLong { bytes });
    }
    let json: Value = serde_json::from_slice(&fs::read(path)?)?;
    // The version first: a later one may have other fields.
    match json.get("version").and_then(Value::as_u64) {
        Some(found) if found != u64::from(VERSION) => Err(RecordError::Version { found, supported: VERSION }),
        _ => Ok(serde_json::from_value(json)?),
    }
}
