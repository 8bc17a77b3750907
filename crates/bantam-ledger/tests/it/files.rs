//! What is found where a ledger should be.

use bantam_books::block_on;
use bantam_books::{Books, BooksReader, GroupBy, RequestFilter, TimeRange};
use bantam_ledger::FoldError;
use bantam_ledger::{Acknowledge, Damage, JournalError, Ledger, LedgerOptions, LedgerReader, OpenError};
use rusqlite::Connection;

use crate::support::{all, new_path, open, settlement_of};

/// Opens both ways and returns what each says.
fn check(prepare: impl FnOnce(&std::path::Path), expected: impl Fn(&OpenError) -> bool) {
    let (_folder, path) = new_path();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    prepare(&path);
    let before = std::fs::read(&path).ok();
    let error = Ledger::open(&path, LedgerOptions::new(Acknowledge::ProcessCrash)).unwrap_err();
    assert!(expected(&error), "writer: {error:?}");
    let error = LedgerReader::open(&path).unwrap_err();
    assert!(expected(&error), "reader: {error:?}");
    assert_eq!(std::fs::read(&path).ok(), before, "the file was changed");
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    check(
        |path| std::fs::write(path, "dear diary, ".repeat(1000)).unwrap(),
        |error| matches!(error, OpenError::NotADatabase { .. }),
    );
}

#[test]
fn a_database_of_another_program_is_refused_and_left_alone() {
    check(
        |path| Connection::open(path).unwrap().execute_batch("CREATE TABLE notes (text)").unwrap(),
        |error| matches!(error, OpenError::Foreign { .. }),
    );
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let newer = |path: &std::path::Path| {
        open(path).close().unwrap();
        Connection::open(path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    };
    check(newer, |error| matches!(error, OpenError::NewerSchema { found: 99, supported: 3 }));
}

#[test]
fn a_reader_says_that_there_is_no_ledger() {
    let (_folder, path) = new_path();
    assert!(matches!(LedgerReader::open(&path), Err(OpenError::Missing { .. })));
}

#[test]
fn a_damaged_database_is_an_error_and_no_panic() {
    let (_folder, path) = new_path();
    let ledger = open(&path);
    for number in 0..2000 {
        let _ticket = ledger.settle(&settlement_of(number), None).unwrap();
    }
    ledger.close().unwrap();
    let whole = std::fs::read(&path).unwrap();
    for begin in (100..whole.len()).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        let end = (begin + 3000).min(bytes.len());
        bytes[begin..end].fill(0xa5);
        std::fs::write(&path, bytes).unwrap();
        if let Ok(reader) = LedgerReader::open(&path) {
            let _ = block_on(reader.usage(TimeRange::ALL, GroupBy::Model));
            let _ = block_on(reader.requests(RequestFilter::default(), None, u32::MAX));
        }
    }
}

#[test]
fn a_second_writer_is_refused_until_the_first_is_closed() {
    let (_folder, path) = new_path();
    let first = open(&path);
    let error = Ledger::open(&path, LedgerOptions::new(Acknowledge::ProcessCrash)).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
    let _ticket = first.settle(&settlement_of(1), None).unwrap();
    first.close().unwrap();
    let second = open(&path);
    let _ticket = second.settle(&settlement_of(2), None).unwrap();
    drop(second);
    assert_eq!(all(&path), [settlement_of(1), settlement_of(2)]);
}

#[test]
fn a_damaged_journal_is_refused_with_what_to_do_or_kept_aside() {
    let (_folder, path) = new_path();
    open(&path).close().unwrap();
    let segment = path.with_added_extension("journal").join("00000000000000000007.journal");
    std::fs::write(&segment, [0x55; 300]).unwrap();
    let error = Ledger::open(&path, LedgerOptions::new(Acknowledge::ProcessCrash)).unwrap_err();
    let OpenError::Replay {
        source: FoldError::Journal(JournalError::Damaged { path: named, offset: 0, .. }),
    } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!(*named, segment);
    assert!(segment.exists());

    let options = LedgerOptions { damage: Damage::SetAside, ..LedgerOptions::new(Acknowledge::ProcessCrash) };
    let ledger = Ledger::open(&path, options).unwrap();
    assert_eq!(ledger.recovered().damaged, [segment.with_added_extension("damaged")]);
    assert_eq!(std::fs::read(&ledger.recovered().damaged[0]).unwrap(), [0x55; 300]);
    let _ticket = ledger.settle(&settlement_of(1), None).unwrap();
    ledger.close().unwrap();
    assert_eq!(all(&path), [settlement_of(1)]);
}
