//! Nobody but the owner reads what a ledger writes.
#![cfg(unix)]

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bantam_books::Books;
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions, LedgerReader};

use crate::support::{new_path, open, request, settlement_of};

/// Returns every file and folder below a folder, and the folder itself.
fn everything(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(everything(&path)) } else { found.push(path) }
    }
    found
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn check(folder: &Path, expected: &[&str]) {
    let found = everything(folder);
    for path in &found {
        assert_eq!(mode(path), if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    for name in expected {
        assert!(found.iter().any(|path| path.ends_with(name)), "{name} is not in {found:?}");
    }
}

fn slow() -> LedgerOptions {
    LedgerOptions { fold_interval: Duration::from_secs(60), ..LedgerOptions::new(Acknowledge::ProcessCrash) }
}

#[test]
fn all_files_are_made_for_their_owner_alone() {
    let (_folder, path) = new_path();
    let state = path.parent().unwrap();
    let ledger = Ledger::open(&path, slow()).unwrap();
    let _ticket = ledger.settle(&settlement_of(1), None).unwrap();
    let reader = LedgerReader::open(&path).unwrap();
    // Asked, so that the files that readers and the writer share are there.
    let _ = request(&reader, 1);
    check(
        state,
        &[
            "ledger.sqlite",
            "ledger.sqlite-wal",
            "ledger.sqlite-shm",
            "ledger.sqlite.lock",
            "ledger.sqlite.journal/00000000000000000001.journal",
        ],
    );
    ledger.close().unwrap();
    check(state, &["ledger.sqlite"]);
}

#[test]
fn files_that_others_could_read_are_taken_away_from_them() {
    let (_folder, path) = new_path();
    open(&path).close().unwrap();
    let state = path.parent().unwrap();
    let aside = path.with_added_extension("journal").join("00000000000000000001.journal.damaged");
    std::fs::write(&aside, "damaged").unwrap();
    for path in everything(state) {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    set_permissions(state, Permissions::from_mode(0o700)).unwrap();
    let ledger = open(&path);
    let _ticket = ledger.settle(&settlement_of(1), None).unwrap();
    ledger.fold().unwrap();
    check(state, &["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite.lock"]);
}

#[test]
fn a_folder_that_somebody_else_made_stays_as_it_is() {
    let (folder, _) = new_path();
    set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().join("ledger.sqlite");
    open(&path).close().unwrap();
    assert_eq!(mode(folder.path()), 0o755);
    assert_eq!(mode(&path), 0o600);
}
