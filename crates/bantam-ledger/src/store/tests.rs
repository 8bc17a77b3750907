use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

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

    fn close(self: Box<Self>) -> Result<(), CloseError> {
        Box::new(self.store).close()
    }
}

#[test]
fn the_bundled_sqlite_is_new_enough_and_an_older_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(SqliteStore::open(&folder.path().join("ledger.sqlite")).is_ok());
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
    let error = connection::check_library_version(3_051_002, "3.51.2").unwrap_err();
    assert!(matches!(error, crate::OpenError::OldSqlite { found: "3.51.2" }));
}

#[test]
fn each_commit_survives_a_power_loss_and_readers_do_not_block_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&folder.path().join("ledger.sqlite")).unwrap();
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
    let mut store = SqliteStore::open(&folder.path().join("ledger.sqlite")).unwrap();
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
fn a_price_of_a_failed_transaction_is_inserted_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut store = SqliteStore::open(&path).unwrap();
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
    let reader = SqliteReader::open(&path).unwrap();
    assert_eq!(reader.requests(&RequestFilter::default(), 9).unwrap(), [settlement(1)]);
}
