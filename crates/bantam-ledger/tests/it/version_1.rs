//! What the first version wrote: its journal and its tables.

use std::path::{Path, PathBuf};

use bantam_books::block_on;
use bantam_books::{BooksReader, GroupBy, Tally, TimeRange};
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions, LedgerReader, OpenError};
use rusqlite::Connection;

use crate::support::{
    VERSION_1_REQUESTS, all, new_path, open, settlement_of_version_1, templates_of_version_1, usage,
};

const TABLES: &str = include_str!("../fixtures/version-1.sql");
const JOURNAL: &[u8] = include_bytes!("../fixtures/version-1.journal");

/// Makes the database that the first version left.
fn write_tables(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    Connection::open(path).unwrap().execute_batch(TABLES).unwrap();
}

/// Puts the journal of a process that was killed before it folded anything.
fn write_journal(path: &Path) {
    let journal = path.with_added_extension("journal");
    std::fs::create_dir_all(&journal).unwrap();
    std::fs::write(journal.join(format!("{:020}.journal", 1)), JOURNAL).unwrap();
}

/// Finds all requests as they were, in pages and added up.
fn check(path: &Path) {
    let expected: Vec<_> = (0..VERSION_1_REQUESTS).map(settlement_of_version_1).collect();
    assert_eq!(all(path), expected);
    let reader = LedgerReader::open(path).unwrap();
    for by in GroupBy::ALL {
        let mut tally = Tally::new(TimeRange::ALL, by);
        expected.iter().for_each(|request| tally.add(request));
        assert_eq!(usage(&reader, by), tally.into_rows(), "{by:?}");
    }
}

#[test]
fn its_tables_are_brought_up_to_date() {
    let (_folder, path) = new_path();
    write_tables(&path);
    open(&path).close().unwrap();
    check(&path);
    open(&path).close().unwrap();
    check(&path);
}

#[test]
fn a_reader_says_that_its_tables_are_too_old() {
    let (_folder, path) = new_path();
    write_tables(&path);
    let before = std::fs::read(&path).unwrap();
    let error = LedgerReader::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::OlderSchema { found: 1, supported: 2 }), "{error:?}");
    assert!(error.to_string().contains("when the gateway starts"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn its_file_can_be_shrunk_in_small_steps_afterwards() {
    let (_folder, path) = new_path();
    write_tables(&path);
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
fn no_text_of_its_templates_is_left_in_any_file() {
    let (_folder, path) = new_path();
    write_tables(&path);
    write_journal(&path);
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
fn its_journal_is_replayed() {
    let (_folder, path) = new_path();
    write_journal(&path);
    let ledger = open(&path);
    assert_eq!(ledger.recovered().settlements, VERSION_1_REQUESTS as u64);
    ledger.close().unwrap();
    check(&path);
}

#[test]
fn its_journal_adds_nothing_to_the_tables_that_have_it_all() {
    let (_folder, path) = new_path();
    write_tables(&path);
    write_journal(&path);
    let ledger = open(&path);
    assert_eq!(ledger.recovered().settlements, 0);
    ledger.close().unwrap();
    check(&path);
}

#[test]
fn its_templates_keep_their_texts_where_that_is_asked_for() {
    let (_folder, path) = new_path();
    write_tables(&path);
    let options =
        LedgerOptions { keep_prompt_previews: true, ..LedgerOptions::new(Acknowledge::ProcessCrash) };
    let ledger = Ledger::open(&path, options).unwrap();
    let mut found = block_on(ledger.reader().unwrap().template_records()).unwrap();
    found.sort_by_key(|record| record.template);
    assert_eq!(found, templates_of_version_1());
}
