//! The writing side of a ledger.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use bantam_books::{Books, ExampleRecord, SettleError, TemplateRecord, Ticket};
use bantam_types::Settlement;
use parking_lot::Mutex;

use crate::error::{CloseError, FoldError, OpenError};
use crate::flush::Flusher;
use crate::folder::{FoldStatus, Folder, Pace};
use crate::format::{encode_settlement, encode_template};
use crate::journal::disk::{Disk, RealDisk};
use crate::journal::{AppendError, Journal, JournalLimits};
use crate::options::{Acknowledge, LedgerOptions, Retention};
use crate::private;
use crate::reader::LedgerReader;
use crate::recover::{Recovered, replay};
use crate::store::{SqliteStore, Store, StoreOptions};
use crate::ticket;

/// A ledger that is open for writing. One process at a time has it.
///
/// All methods take `&self`: share it behind an [`Arc`]. Dropping it closes it; [`close`](Self::close)
/// also says how that went.
pub struct Ledger {
    path: PathBuf,
    journal: Arc<Journal>,
    status: Arc<FoldStatus>,
    flusher: Option<Arc<Flusher>>,
    recovered: Recovered,
    keeps_previews: bool,
    running: Mutex<Option<Running>>,
}

type FolderEnd = (Box<dyn Store>, Result<(), Arc<FoldError>>);

struct Running {
    folder: JoinHandle<FolderEnd>,
    flusher: Option<JoinHandle<()>>,
    /// Held open: the lock goes with it.
    _lock: File,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("path", &self.path).finish_non_exhaustive()
    }
}

/// How full the journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// Bytes that are in the journal and not in the database.
    pub backlog_bytes: u64,
    /// How many there may be.
    pub backlog_bytes_max: u64,
}

impl Pressure {
    /// Returns whether new requests should be let in: below three quarters. The last quarter is for
    /// the requests that are on their way, which have spent money and must still be settled.
    pub const fn admits(self) -> bool {
        self.backlog_bytes < self.backlog_bytes_max / 4 * 3
    }
}

/// How the ledger is.
#[derive(Clone, Debug)]
pub struct Health {
    /// Whether new requests should be let in.
    pub writable: bool,
    /// How full the journal is.
    pub pressure: Pressure,
    /// Settlements that were brought into the database since the ledger was opened.
    pub settlements: u64,
    /// Settlements that were ignored since the ledger was opened because the database has their
    /// request id. More than none means that somebody gives ids out twice.
    pub duplicates: u64,
    /// Why the last append to the journal failed.
    pub append_failure: Option<Arc<io::Error>>,
    /// Why the journal is not brought into the database at the moment. Nothing is lost by it.
    pub fold_failure: Option<Arc<FoldError>>,
    /// Why the journal could not be made to survive a power loss, if that ever happened.
    pub sync_failure: Option<Arc<io::Error>>,
}

impl Ledger {
    /// Opens the ledger whose database is at `path`, or makes one, and brings in what a crash left in
    /// its journal. The journal is the folder `<path>.journal`, the lock is on `<path>.lock`.
    ///
    /// # Errors
    /// When another process has it, when the file is something else, too new or unusable, and when the
    /// journal cannot be replayed. None of these loses anything.
    pub fn open(path: &Path, options: LedgerOptions) -> Result<Self, OpenError> {
        let lock = lock(path)?;
        let kept =
            StoreOptions { keeps_previews: options.keep_prompt_previews, retention: options.retention };
        let store = Box::new(SqliteStore::open(path, kept)?);
        Self::start(path, options, lock, store, Box::new(RealDisk))
    }

    /// Opens a ledger over a store and a disk.
    pub(crate) fn start(
        path: &Path,
        options: LedgerOptions,
        lock: File,
        mut store: Box<dyn Store>,
        disk: Box<dyn Disk>,
    ) -> Result<Self, OpenError> {
        let directory = path.with_added_extension("journal");
        private::make_folder(&directory)?;
        private::tighten_folder(&directory)?;
        let (recovered, next_number) =
            replay(&directory, &mut *store, options.damage).map_err(|source| OpenError::Replay { source })?;
        let limits = JournalLimits {
            segment_bytes: options.segment_bytes,
            backlog_bytes_max: options.backlog_bytes_max,
        };
        let waits = options.acknowledge == Acknowledge::PowerLoss;
        if waits {
            sync_name(&*disk, &directory)?;
        }
        let journal = Arc::new(Journal::new(directory, disk, limits, next_number, waits));
        let status = Arc::new(FoldStatus::new());
        let flusher = waits.then(|| Arc::new(Flusher::new()));

        let pace =
            Pace { interval: options.fold_interval, retains: options.retention != Retention::default() };
        let folder = Folder::new(Arc::clone(&journal), Arc::clone(&status), store, pace);
        let thread = |source| OpenError::Thread { source };
        let flusher_thread =
            flusher.as_ref().map(|flusher| spawn_flusher(flusher, &journal)).transpose().map_err(thread)?;
        let folder = spawn("bantam-fold", move || folder.run()).map_err(thread)?;
        status.started(folder.thread());
        let keeps_previews = options.keep_prompt_previews;
        let running = Mutex::new(Some(Running { folder, flusher: flusher_thread, _lock: lock }));
        Ok(Self { path: path.to_owned(), journal, status, flusher, recovered, keeps_previews, running })
    }

    #[cfg(test)]
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    fn append(&self, record: Result<Vec<u8>, usize>) -> Result<Ticket, SettleError> {
        let record = record.map_err(|bytes| SettleError::TooLarge { bytes })?;
        let position = self.journal.append(&record).map_err(|error| match error {
            AppendError::Closed => SettleError::Closed,
            AppendError::Behind { backlog_bytes } => SettleError::Behind { backlog_bytes },
            AppendError::Write(source) => SettleError::Journal { source },
        })?;
        self.status.note_appended(&self.journal);
        Ok(match &self.flusher {
            None => Ticket::ready(),
            Some(flusher) => {
                flusher.request(position);
                ticket::waiting(position, Arc::clone(flusher))
            }
        })
    }

    /// Waits until everything that was recorded before is in the database, where readers see it.
    ///
    /// # Errors
    /// When folding fails while this waits. Nothing is lost by it.
    pub fn fold(&self) -> Result<(), Arc<FoldError>> {
        self.status.wait(&self.journal, self.journal.appended())
    }

    /// Returns how full the journal is: two loads.
    pub fn pressure(&self) -> Pressure {
        Pressure {
            backlog_bytes: self.journal.backlog_bytes(),
            backlog_bytes_max: self.journal.limits().backlog_bytes_max,
        }
    }

    /// Returns how the ledger is.
    pub fn health(&self) -> Health {
        let fold = self.status.report();
        Health {
            writable: self.is_writable(),
            pressure: self.pressure(),
            settlements: fold.settlements,
            duplicates: fold.duplicates,
            append_failure: self.journal.failure(),
            fold_failure: fold.failure,
            sync_failure: self.flusher.as_ref().and_then(|flusher| flusher.failure()),
        }
    }

    /// Returns what was found when the ledger was opened.
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Opens a reader of the same ledger.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn reader(&self) -> Result<LedgerReader, OpenError> {
        LedgerReader::open(&self.path)
    }

    /// Refuses new settlements, brings all others into the database, and gives the ledger up for others
    /// to open. Closing again does nothing. It blocks for as long as folding the backlog takes, so it has
    /// no place on a thread that runs futures.
    ///
    /// # Errors
    /// When not everything could be brought in. The journal keeps the rest for the next start.
    pub fn close(&self) -> Result<(), CloseError> {
        let Some(running) = self.running.lock().take() else {
            return Ok(());
        };
        self.journal.close();
        self.status.close();
        if let Some(flusher) = &self.flusher {
            flusher.close();
        }
        let flusher = running.flusher.map_or(Ok(()), JoinHandle::join);
        let (store, folded) = running.folder.join().map_err(|_| CloseError::Thread)?;
        let closed = store.close();
        folded.map_err(|source| CloseError::Fold { source })?;
        flusher.map_err(|_| CloseError::Thread)?;
        closed
    }
}

impl Books for Ledger {
    fn settle(
        &self,
        settlement: &Settlement,
        example: Option<&ExampleRecord>,
    ) -> Result<Ticket, SettleError> {
        self.append(encode_settlement(settlement, example))
    }

    fn record_template(&self, record: &TemplateRecord) -> Result<Ticket, SettleError> {
        if self.keeps_previews {
            return self.append(encode_template(record));
        }
        self.append(encode_template(&without_text(record)))
    }

    /// After an append failed it says no for a second and then yes again, so that the next request finds out whether
    /// there is room.
    fn is_writable(&self) -> bool {
        self.pressure().admits() && self.journal.accepts()
    }
}

/// Returns what is kept of a template when nobody asked for its texts.
pub(crate) fn without_text(record: &TemplateRecord) -> TemplateRecord {
    TemplateRecord {
        template: record.template,
        first_seen_ms: record.first_seen_ms,
        system_preview: String::new(),
        prefix: String::new(),
        suffix: String::new(),
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // What could not be folded is in the journal, and the next start says why.
        let _ = self.close();
    }
}

/// Makes the journal's own folder survive a power loss; segments in it are synced as they come.
fn sync_name(disk: &dyn Disk, directory: &Path) -> Result<(), OpenError> {
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    disk.sync_directory(parent).map_err(|source| OpenError::Io { path: parent.to_owned(), source })
}

fn spawn_flusher(flusher: &Arc<Flusher>, journal: &Arc<Journal>) -> io::Result<JoinHandle<()>> {
    let (flusher, journal) = (Arc::clone(flusher), Arc::clone(journal));
    spawn("bantam-sync", move || flusher.run(&journal))
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).stack_size(512 << 10).spawn(run)
}

/// Takes the lock that keeps a second writer out. The system lets go of it when the process ends.
pub(crate) fn lock(path: &Path) -> Result<File, OpenError> {
    let lock_path = path.with_added_extension("lock");
    let io = |source| OpenError::Io { path: lock_path.clone(), source };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        private::make_folder(directory)?;
    }
    let options = private::file_options().write(true).create(true).truncate(false).open(&lock_path);
    let file = options.map_err(io)?;
    private::tighten(&lock_path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: lock_path }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}
