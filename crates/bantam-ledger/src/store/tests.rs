use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender};

use bantam_books::{GroupBy, RequestFilter, TimeRange};
use bantam_types::Settlement;
use parking_lot::Mutex;

use super::*;
use crate::format::tests::{example, settlement};

/// A store that keeps entries as they came.
#[derive(Clone, Default)]
pub(crate) struct MemoryStore(pub(crate) Arc<Mutex<Vec<Entry>>>);

impl Store for MemoryStore {
    fn fold(&mut self, entries: &[Entry]) -> Result<Folded, DatabaseError> {
        self.0.lock().extend_from_slice(entries);
        Ok(Folded { settlements: entries.len() as u64, duplicates: 0 })
    }

    fn tidy(&mut self, _: i64) -> Result<bool, DatabaseError> {
        Ok(false)
    }

    fn close(self: Box<Self>) -> Result<(), CloseError> {
        Ok(())
    }
}

/// A store that goes on removing old rows for as long as the test holds it up.
pub(crate) struct BusyStore {
    pub(crate) store: MemoryStore,
    /// Told when a removal has begun.
    pub(crate) begun: SyncSender<()>,
    /// Each removal waits for one of these.
    pub(crate) go_on: Receiver<()>,
}

impl Store for BusyStore {
    fn fold(&mut self, entries: &[Entry]) -> Result<Folded, DatabaseError> {
        self.store.fold(entries)
    }

    fn tidy(&mut self, _: i64) -> Result<bool, DatabaseError> {
        let _ = self.begun.try_send(());
        Ok(self.go_on.recv().is_ok())
    }

    fn close(self: Box<Self>) -> Result<(), CloseError> {
        Ok(())
    }
}

/// A real store whose disk is full while the switch is on.
pub(crate) struct FullStore {
    store: SqliteStore,
    full: Arc<AtomicBool>,
}

impl FullStore {
    pub(crate) fn new(store: SqliteStore, full: Arc<AtomicBool>) -> Self {
        Self { store, full }
    }
}

impl Store for FullStore {
    fn fold(&mut self, entries: &[Entry]) -> Result<Folded, DatabaseError> {
        let pages = if self.full.load(SeqCst) { 1 } else { 1_000_000 };
        let connection = self.store.connection();
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
        self.store.fold(entries)
    }

    fn tidy(&mut self, now_ms: i64) -> Result<bool, DatabaseError> {
        self.store.tidy(now_ms)
    }

    fn close(self: Box<Self>) -> Result<(), CloseError> {
        Box::new(self.store).close()
    }
}

pub(crate) fn store_of(path: &std::path::Path) -> SqliteStore {
    SqliteStore::open(path, StoreOptions::default()).unwrap()
}

#[test]
fn the_bundled_sqlite_is_new_enough_and_an_older_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(SqliteStore::open(&folder.path().join("ledger.sqlite"), StoreOptions::default()).is_ok());
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
    let error = connection::check_library_version(3_051_002, "3.51.2").unwrap_err();
    assert!(matches!(error, crate::OpenError::OldSqlite { found: "3.51.2" }));
}

#[test]
fn each_commit_survives_a_power_loss_and_readers_do_not_block_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store_of(&folder.path().join("ledger.sqlite"));
    let mut pragma = |name: &str| {
        let connection = store.connection();
        connection
            .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, rusqlite::types::Value>(0))
            .unwrap()
    };
    assert_eq!(pragma("journal_mode"), "wal".to_owned().into());
    assert_eq!(pragma("synchronous"), 2.into());
}

#[test]
fn folding_an_entry_again_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store_of(&folder.path().join("ledger.sqlite"));
    let entry = Entry::Settlement { settlement: settlement(1), example: Some(example(1)) };
    let entries = [entry.clone(), entry];
    assert_eq!(store.fold(&entries).unwrap(), Folded { settlements: 1, duplicates: 1 });
    assert_eq!(store.fold(&entries).unwrap(), Folded { settlements: 0, duplicates: 2 });
    for (table, rows) in [("requests", 1), ("attempts", 2), ("examples", 1), ("prices", 1)] {
        let sql = format!("SELECT count(*) FROM {table}");
        let found: i64 = store.connection().query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(found, rows, "{table}");
    }
}

#[test]
fn what_a_failed_transaction_added_is_added_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut store = store_of(&path);
    store
        .connection()
        .execute_batch(
            "CREATE TEMP TRIGGER fail BEFORE INSERT ON templates BEGIN SELECT raise(ABORT, 'no'); END",
        )
        .unwrap();
    let good = Entry::Settlement { settlement: settlement(1), example: None };
    let bad = Entry::Template(crate::format::tests::template(1));
    assert!(store.fold(&[good.clone(), bad]).is_err());
    store.fold(&[good]).unwrap();
    let mut reader = SqliteReader::open(&path).unwrap();
    let page = reader.requests(&RequestFilter::default(), None, 9).unwrap();
    assert_eq!(page.requests, [settlement(1)]);
    let filter = RequestFilter { model: Some("small".to_owned()), ..RequestFilter::default() };
    assert_eq!(reader.requests(&filter, None, 9).unwrap().requests.len(), 1);
    let rows = reader.usage(TimeRange::ALL, GroupBy::None).unwrap();
    assert_eq!((rows[0].usage.requests, rows[0].usage.attempts), (1, 2), "nothing is counted twice");
}

/// Folds requests for models, and returns how many kinds they have.
fn kinds_of(models: impl Iterator<Item = String>) -> i64 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut store = store_of(&path);
    let settlements: Vec<_> = (1..)
        .zip(models)
        .map(|(number, requested_model)| Settlement { requested_model, ..settlement(number) })
        .collect();
    let entry = |settlement: &Settlement| Entry::Settlement { settlement: settlement.clone(), example: None };
    for part in settlements.chunks(100) {
        store.fold(&part.iter().map(entry).collect::<Vec<_>>()).unwrap();
    }
    let page =
        SqliteReader::open(&path).unwrap().requests(&RequestFilter::default(), None, u32::MAX).unwrap();
    assert!(page.requests.iter().rev().eq(&settlements), "they read back as they were");
    store.connection().query_row("SELECT count(*) FROM request_kinds", [], |row| row.get(0)).unwrap()
}

#[test]
fn what_callers_make_up_does_not_become_a_kind_and_what_they_repeat_does() {
    assert_eq!(kinds_of((0..1000).map(|number| format!("made up {number}"))), 1);
    assert_eq!(kinds_of((0..1000).map(|number| format!("model {}", number % 3))), 4);
    assert_eq!(kinds_of((0..50).map(|_| "long".repeat(100))), 1);
}
