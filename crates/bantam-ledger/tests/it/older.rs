//! What older versions wrote: their journals and their tables.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bantam_books::block_on;
use bantam_books::{Books, BooksReader, GroupBy, Tally, TimeRange};
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions, LedgerReader, OpenError};
use bantam_types::Settlement;
use rusqlite::Connection;

use crate::support::{
    OLDER_REQUESTS, all, new_path, older_templates, open, settlement_of, settlement_of_version_1,
    settlement_of_version_2, usage,
};

/// The files that the code of a version left.
struct Version {
    number: i64,
    tables: &'static str,
    journal: &'static [u8],
    settlement_of: fn(u128) -> Settlement,
}

const VERSION_1: Version = Version {
    number: 1,
    tables: include_str!("../fixtures/version-1.sql"),
    journal: include_bytes!("../fixtures/version-1.journal"),
    settlement_of: settlement_of_version_1,
};

const VERSION_2: Version = Version {
    number: 2,
    tables: include_str!("../fixtures/version-2.sql"),
    journal: include_bytes!("../fixtures/version-2.journal"),
    settlement_of: settlement_of_version_2,
};

const VERSIONS: [Version; 2] = [VERSION_1, VERSION_2];

impl Version {
    /// Makes the database that the version left.
    fn write_tables(&self, path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        Connection::open(path).unwrap().execute_batch(self.tables).unwrap();
    }

    /// Puts the journal of a process that was killed before it folded anything.
    fn write_journal(&self, path: &Path) {
        let journal = path.with_added_extension("journal");
        std::fs::create_dir_all(&journal).unwrap();
        std::fs::write(journal.join(format!("{:020}.journal", 1)), self.journal).unwrap();
    }

    fn requests(&self) -> Vec<Settlement> {
        (0..OLDER_REQUESTS).map(self.settlement_of).collect()
    }
}

/// Finds all requests as they were, in pages and added up.
fn check(path: &Path, expected: &[Settlement]) {
    assert_eq!(all(path), expected);
    let reader = LedgerReader::open(path).unwrap();
    for by in GroupBy::ALL {
        let mut tally = Tally::new(TimeRange::ALL, by);
        expected.iter().for_each(|request| tally.add(request));
        assert_eq!(usage(&reader, by), tally.into_rows(), "{by:?}");
    }
}

/// Waits until no row is left in the tables of an older version.
fn wait_until_moved(path: &Path) {
    let begun = Instant::now();
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name IN ('requests_2', 'attempts_2', 'origins', 'older_requests')";
    while Connection::open(path).unwrap().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the older rows are never moved");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn their_tables_are_brought_up_to_date_and_new_requests_follow() {
    for version in VERSIONS {
        let (_folder, path) = new_path();
        version.write_tables(&path);
        let mut expected = version.requests();
        let ledger = open(&path);
        check(&path, &expected);
        wait_until_moved(&path);
        check(&path, &expected);
        for id in OLDER_REQUESTS..OLDER_REQUESTS + 20 {
            // The older requests come again, as after a crash.
            let _again = ledger.settle(&expected[id as usize % 60], None).unwrap();
            let settlement = settlement_of(id);
            let _new = ledger.settle(&settlement, None).unwrap();
            expected.push(settlement);
        }
        ledger.close().unwrap();
        check(&path, &expected);
        open(&path).close().unwrap();
        check(&path, &expected);
    }
}

#[test]
fn a_reader_says_that_their_tables_are_too_old() {
    for version in VERSIONS {
        let (_folder, path) = new_path();
        version.write_tables(&path);
        let before = std::fs::read(&path).unwrap();
        let error = LedgerReader::open(&path).unwrap_err();
        let OpenError::OlderSchema { found, supported: 3 } = error else { panic!("{error:?}") };
        assert_eq!(found, version.number);
        assert!(error.to_string().contains("when the gateway starts"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}

#[test]
fn the_first_versions_file_can_be_shrunk_in_small_steps_afterwards() {
    let (_folder, path) = new_path();
    VERSION_1.write_tables(&path);
    open(&path).close().unwrap();
    let mode = |path: &Path| {
        let connection = Connection::open(path).unwrap();
        connection.query_row("PRAGMA auto_vacuum", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(mode(&path), 2);
    let (_folder, new) = new_path();
    open(&new).close().unwrap();
    assert_eq!(mode(&new), 2);
}

#[test]
fn no_text_of_the_first_versions_templates_is_left_in_any_file() {
    let (_folder, path) = new_path();
    VERSION_1.write_tables(&path);
    VERSION_1.write_journal(&path);
    let state = path.parent().unwrap();
    let is_there = |text: &str| files_with(state, text.as_bytes());
    assert!(!is_there("You sort the mail of").is_empty() && !is_there("Sort this: ").is_empty());
    let ledger = open(&path);
    let texts = ["You sort the mail of", "Sort this: "].map(is_there);
    assert_eq!(texts, [const { Vec::<PathBuf>::new() }; 2], "while it is open");
    let found = block_on(ledger.reader().unwrap().template_records()).unwrap();
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|record| record.system_preview.is_empty() && record.prefix.is_empty()));
    ledger.close().unwrap();
    let texts = ["You sort the mail of", "Sort this: "].map(is_there);
    assert_eq!(texts, [const { Vec::<PathBuf>::new() }; 2], "after it was closed");
}

/// Returns the files below a folder that hold some bytes.
fn files_with(folder: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, bytes));
        } else if std::fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes) {
            found.push(path);
        }
    }
    found
}

#[test]
fn their_journals_are_replayed() {
    for version in VERSIONS {
        let (_folder, path) = new_path();
        version.write_journal(&path);
        let ledger = open(&path);
        assert_eq!(ledger.recovered().settlements, OLDER_REQUESTS as u64);
        ledger.close().unwrap();
        check(&path, &version.requests());
    }
}

#[test]
fn their_journals_add_nothing_to_the_tables_that_have_it_all() {
    for version in VERSIONS {
        let (_folder, path) = new_path();
        version.write_tables(&path);
        version.write_journal(&path);
        let ledger = open(&path);
        assert_eq!(ledger.recovered().settlements, 0);
        ledger.close().unwrap();
        check(&path, &version.requests());
    }
}

#[test]
fn their_templates_keep_their_texts_where_that_is_asked_for() {
    for version in VERSIONS {
        let (_folder, path) = new_path();
        version.write_tables(&path);
        let options =
            LedgerOptions { keep_prompt_previews: true, ..LedgerOptions::new(Acknowledge::ProcessCrash) };
        let ledger = Ledger::open(&path, options).unwrap();
        let mut found = block_on(ledger.reader().unwrap().template_records()).unwrap();
        found.sort_by_key(|record| record.template);
        assert_eq!(found, older_templates());
    }
}
