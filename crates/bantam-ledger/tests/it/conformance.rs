//! The ledger does what every form of the books does.

use bantam_books::conformance::{self, check};
use bantam_books::{Books, BooksReader};
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions, LedgerReader};
use tempfile::TempDir;

use crate::support::new_path;

struct Shelf {
    ledger: Ledger,
    reader: LedgerReader,
    _folder: TempDir,
}

impl conformance::Shelf for Shelf {
    fn books(&self) -> &dyn Books {
        &self.ledger
    }

    fn reader(&self) -> &dyn BooksReader {
        &self.reader
    }

    fn catch_up(&self) {
        self.ledger.fold().unwrap();
    }
}

#[test]
fn a_ledger_is_books() {
    check(|| {
        let (folder, path) = new_path();
        let options =
            LedgerOptions { keep_prompt_previews: true, ..LedgerOptions::new(Acknowledge::ProcessCrash) };
        let ledger = Ledger::open(&path, options).unwrap();
        let reader = ledger.reader().unwrap();
        Shelf { ledger, reader, _folder: folder }
    });
}
