//! The journal: segment files that every settlement is appended to before anything else is done.
//!
//! The journal is also the queue of the folder thread. What is not folded into the store yet is read
//! back from the segments, not from memory: so a long backlog costs disk and no memory, a fold that
//! failed is retried from the same bytes, and folding while running and replaying after a crash are
//! one code path. Reading back costs little, since the bytes are still in the page cache.

pub(crate) mod disk;
pub(crate) mod segment;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::format::{SEGMENT_HEADER_BYTES, segment_header};
use disk::{Disk, SegmentFile};

/// How long after a failed append the journal calls itself unwritable. After that, one request is
/// let through to find out: without it a ledger that refuses everything would never learn that there
/// is room again.
const FAILURE_HOLDS: Duration = Duration::from_secs(1);

/// The sizes that bound a journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JournalLimits {
    /// A segment is closed when it would grow beyond this.
    pub(crate) segment_bytes: u64,
    /// Appends are refused while this much is not folded.
    pub(crate) backlog_bytes_max: u64,
}

/// The appending side, shared by all callers.
pub(crate) struct Journal {
    directory: PathBuf,
    disk: Box<dyn Disk>,
    limits: JournalLimits,
    /// Whether closed segments are kept open until somebody has synced them.
    keeps_unsynced: bool,
    /// Bytes of records appended since the journal was opened: the position after the last record.
    appended: AtomicU64,
    /// The position up to which the store holds everything.
    folded: AtomicU64,
    /// Whether the last append failed or the journal is closed, for a look without the lock.
    failing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    next_number: u64,
    extents: VecDeque<Extent>,
    unsynced: Vec<Arc<dyn SegmentFile>>,
    directory_changed: bool,
    closed: bool,
    failure: Option<(Instant, Arc<io::Error>)>,
}

struct Current {
    file: Arc<dyn SegmentFile>,
    length: u64,
}

/// How far a segment may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The segment's number.
    pub(crate) number: u64,
    /// Its length in whole records, the header included.
    pub(crate) length: u64,
    /// Whether nothing will be appended any more.
    pub(crate) sealed: bool,
}

/// Why a record was not appended. In every case the journal holds nothing of it.
#[derive(Debug)]
pub(crate) enum AppendError {
    Closed,
    Behind { backlog_bytes: u64 },
    Write(Arc<io::Error>),
}

/// What a sync has to do, and the position that is durable when it succeeded.
pub(crate) struct Unsynced {
    pub(crate) position: u64,
    pub(crate) files: Vec<Arc<dyn SegmentFile>>,
    pub(crate) directory_changed: bool,
}

impl Journal {
    /// Returns a journal that continues with segment `next_number`.
    pub(crate) fn new(
        directory: PathBuf,
        disk: Box<dyn Disk>,
        limits: JournalLimits,
        next_number: u64,
        keeps_unsynced: bool,
    ) -> Self {
        let state = Mutex::new(State { next_number, ..State::default() });
        let (appended, folded) = (AtomicU64::new(0), AtomicU64::new(0));
        Self {
            directory,
            disk,
            limits,
            keeps_unsynced,
            appended,
            folded,
            failing: AtomicBool::new(false),
            state,
        }
    }

    /// Appends one whole record and returns the position after it.
    pub(crate) fn append(&self, record: &[u8]) -> Result<u64, AppendError> {
        let length = record.len() as u64;
        let mut state = self.state.lock();
        if state.closed {
            return Err(AppendError::Closed);
        }
        let backlog_bytes = self.backlog_bytes();
        if backlog_bytes + length > self.limits.backlog_bytes_max {
            return Err(AppendError::Behind { backlog_bytes });
        }
        if let Err(error) = self.write(&mut state, record) {
            let error = Arc::new(error);
            state.failure = Some((Instant::now(), Arc::clone(&error)));
            self.failing.store(true, SeqCst);
            return Err(AppendError::Write(error));
        }
        if state.failure.take().is_some() {
            self.failing.store(false, SeqCst);
        }
        Ok(self.appended.fetch_add(length, SeqCst) + length)
    }

    fn write(&self, state: &mut State, record: &[u8]) -> io::Result<()> {
        let length = record.len() as u64;
        let full = |current: &Current| {
            current.length > SEGMENT_HEADER_BYTES as u64
                && current.length + length > self.limits.segment_bytes
        };
        if state.current.as_ref().is_some_and(full) {
            self.seal(state);
        }
        if state.current.is_none() {
            self.create(state)?;
        }
        let State { current: Some(current), extents, .. } = state else {
            return Err(io::Error::other("no segment is open"));
        };
        match append_whole(&*current.file, record, current.length) {
            Ok(()) => {
                current.length += length;
                if let Some(extent) = extents.back_mut() {
                    extent.length = current.length;
                }
                Ok(())
            }
            Err(Torn { error, repaired: true }) => Err(error),
            // The segment ends in half a record now. Nothing may follow that, so it is closed; the
            // extent still ends before the half, and a replay drops a half at the end of a file.
            Err(Torn { error, repaired: false }) => {
                self.seal(state);
                Err(error)
            }
        }
    }

    fn create(&self, state: &mut State) -> io::Result<()> {
        let number = state.next_number;
        state.next_number += 1;
        let path = self.path(number);
        let file: Arc<dyn SegmentFile> = Arc::from(self.disk.create(&path)?);
        let header = segment_header();
        if let Err(Torn { error, .. }) = append_whole(&*file, &header, 0) {
            // Less than a header is an empty segment to a replay: leaving it behind is harmless.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        let length = header.len() as u64;
        state.extents.push_back(Extent { number, length, sealed: false });
        state.current = Some(Current { file, length });
        state.directory_changed = true;
        Ok(())
    }

    fn seal(&self, state: &mut State) {
        if let Some(current) = state.current.take() {
            if self.keeps_unsynced {
                state.unsynced.push(current.file);
            }
            if let Some(extent) = state.extents.back_mut() {
                extent.sealed = true;
            }
        }
    }

    /// Closes the open segment, so that the next record begins another.
    pub(crate) fn rotate(&self) {
        self.seal(&mut self.state.lock());
    }

    /// Refuses everything from now on, and closes the open segment.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        self.failing.store(true, SeqCst);
        self.seal(&mut state);
    }

    /// Returns the oldest segment that is not folded wholly.
    pub(crate) fn oldest(&self) -> Option<Extent> {
        self.state.lock().extents.front().copied()
    }

    /// Forgets the oldest segment, which has to be sealed and folded, and deletes its file.
    pub(crate) fn remove_oldest(&self, number: u64) -> io::Result<()> {
        match std::fs::remove_file(self.path(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.state.lock().extents.pop_front_if(|extent| extent.number == number && extent.sealed);
        Ok(())
    }

    /// Notes that `bytes` more are in the store.
    pub(crate) fn note_folded(&self, bytes: u64) {
        self.folded.fetch_add(bytes, SeqCst);
    }

    /// Returns what is not durable yet, for a sync to take over.
    pub(crate) fn take_unsynced(&self) -> Unsynced {
        let mut state = self.state.lock();
        let mut files = std::mem::take(&mut state.unsynced);
        files.extend(state.current.as_ref().map(|current| Arc::clone(&current.file)));
        let directory_changed = std::mem::take(&mut state.directory_changed);
        Unsynced { position: self.appended(), files, directory_changed }
    }

    /// Makes the names of new segments survive a power loss.
    pub(crate) fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory(&self.directory)
    }

    /// Returns the position after the last record.
    pub(crate) fn appended(&self) -> u64 {
        self.appended.load(SeqCst)
    }

    /// Returns the position up to which the store holds everything.
    pub(crate) fn folded(&self) -> u64 {
        self.folded.load(SeqCst)
    }

    /// Returns how much is appended and not folded.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        let folded = self.folded();
        self.appended().saturating_sub(folded)
    }

    /// Returns the limits it was opened with.
    pub(crate) fn limits(&self) -> JournalLimits {
        self.limits
    }

    /// Returns whether an append may work: the last one did, or failed long enough ago to try again.
    pub(crate) fn accepts(&self) -> bool {
        if !self.failing.load(SeqCst) {
            return true;
        }
        let state = self.state.lock();
        !state.closed && state.failure.as_ref().is_none_or(|(at, _)| at.elapsed() >= FAILURE_HOLDS)
    }

    /// Returns why the last append failed.
    pub(crate) fn failure(&self) -> Option<Arc<io::Error>> {
        self.state.lock().failure.as_ref().map(|(_, error)| Arc::clone(error))
    }

    /// Returns the file of segment `number`.
    pub(crate) fn path(&self, number: u64) -> PathBuf {
        segment_path(&self.directory, number)
    }
}

/// An append that failed, and whether the file was cut back to what it was before.
struct Torn {
    error: io::Error,
    repaired: bool,
}

fn append_whole(file: &dyn SegmentFile, bytes: &[u8], length_before: u64) -> Result<(), Torn> {
    let error = match file.append(bytes) {
        Ok(written) if written == bytes.len() => return Ok(()),
        // A short write to a file means that it is full; trying the rest would only say so.
        Ok(_) => io::Error::new(io::ErrorKind::StorageFull, "the disk took only a part of a record"),
        Err(error) => error,
    };
    Err(Torn { error, repaired: file.truncate(length_before).is_ok() })
}

const EXTENSION: &str = "journal";

/// Returns the file of segment `number`; names sort as the numbers do.
pub(crate) fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.{EXTENSION}"))
}

/// Returns the numbers of all segments in `directory`, oldest first.
pub(crate) fn segment_numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == EXTENSION);
    let mut numbers: Vec<u64> =
        paths(directory)?.iter().filter(|path| is_segment(path)).filter_map(|path| number_of(path)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Returns a number greater than that of every file in `directory`, those set aside included.
pub(crate) fn next_number(directory: &Path) -> io::Result<u64> {
    Ok(paths(directory)?.iter().filter_map(|path| number_of(path)).max().map_or(1, |last| last + 1))
}

fn paths(directory: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split('.').next()?.parse().ok().filter(|number| *number < u64::MAX)
}
