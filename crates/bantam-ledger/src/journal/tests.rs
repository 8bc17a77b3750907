use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bantam_books::block_on;
use bantam_books::{Books, BooksReader, RequestFilter, SettleError};

use super::disk::RealDisk;
use super::segment::JournalError;
use super::*;
use crate::entry::Entry;
use crate::error::FoldError;
use crate::format::tests::{encode, example, settlement, template};
use crate::options::{Acknowledge, Damage, LedgerOptions, Retention};
use crate::recover::{Recovered, replay};
use crate::store::tests::{BusyStore, FullStore, MemoryStore};
use crate::store::{SqliteStore, StoreOptions};
use crate::{Ledger, LedgerReader};

/// What goes wrong with the next operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fault {
    create_fails: bool,
    write_takes: Option<usize>,
    write_fails: bool,
    truncate_fails: bool,
    sync_fails: bool,
}

/// A real disk on which things go wrong on demand.
#[derive(Clone, Default)]
struct FaultyDisk(Arc<Mutex<Fault>>);

struct FaultyFile(File, FaultyDisk);

fn fail() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "full")
}

impl FaultyDisk {
    fn set(&self, fault: Fault) {
        *self.0.lock() = fault;
    }

    fn now(&self) -> Fault {
        *self.0.lock()
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        if self.now().create_fails {
            return Err(fail());
        }
        let file = File::options().append(true).create_new(true).open(path)?;
        Ok(Box::new(FaultyFile(file, self.clone())))
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        RealDisk.sync_directory(directory)
    }
}

impl SegmentFile for FaultyFile {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let fault = self.1.now();
        match fault.write_takes {
            _ if fault.write_fails => Err(fail()),
            Some(taken) => self.0.append(&bytes[..taken.min(bytes.len() - 1)]),
            None => self.0.append(bytes),
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        if self.1.now().truncate_fails { Err(fail()) } else { self.0.truncate(length) }
    }

    fn sync(&self) -> io::Result<()> {
        if self.1.now().sync_fails { Err(fail()) } else { SegmentFile::sync(&self.0) }
    }
}

fn options(acknowledge: Acknowledge) -> LedgerOptions {
    LedgerOptions {
        segment_bytes: 4096,
        fold_interval: Duration::from_millis(1),
        ..LedgerOptions::new(acknowledge)
    }
}

fn start(path: &Path, disk: &FaultyDisk, acknowledge: Acknowledge) -> Ledger {
    let store = Box::new(SqliteStore::open(path, StoreOptions::default()).unwrap());
    let lock = crate::ledger::lock(path).unwrap();
    Ledger::start(path, options(acknowledge), lock, store, Box::new(disk.clone())).unwrap()
}

fn ids(path: &Path) -> Vec<u128> {
    let reader = LedgerReader::open(path).unwrap();
    let page = block_on(reader.requests(RequestFilter::default(), None, 1000)).unwrap();
    page.requests.iter().rev().map(|request| request.request_id).collect()
}

/// Settles three, meets a fault with the fourth, settles and two more after it is gone.
fn check_append_fault(fault: Fault) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let disk = FaultyDisk::default();
    let ledger = start(&path, &disk, Acknowledge::ProcessCrash);
    for number in 0..3 {
        let _ticket = ledger.settle(&settlement(number), None).unwrap();
    }
    disk.set(fault);
    if fault.create_fails {
        ledger.journal().rotate();
    }
    assert!(matches!(ledger.settle(&settlement(3), None), Err(SettleError::Journal { .. })), "{fault:?}");
    assert!(!ledger.is_writable(), "{fault:?}");
    assert!(ledger.health().append_failure.is_some(), "{fault:?}");
    disk.set(Fault::default());
    for number in 4..6 {
        let _ticket = ledger.settle(&settlement(number), None).unwrap();
    }
    assert!(ledger.is_writable() && ledger.health().append_failure.is_none(), "{fault:?}");
    ledger.close().unwrap();
    assert_eq!(ids(&path), [0, 1, 2, 4, 5], "{fault:?}");
    assert_eq!(segment_numbers(&path.with_added_extension("journal")).unwrap(), [0; 0], "{fault:?}");
}

#[test]
fn a_failed_append_is_an_error_and_leaves_the_records_around_it_whole() {
    let none = Fault::default();
    check_append_fault(Fault { write_fails: true, ..none });
    check_append_fault(Fault { write_fails: true, truncate_fails: true, ..none });
    check_append_fault(Fault { create_fails: true, ..none });
    for taken in [0, 1, 11, 12, 50] {
        check_append_fault(Fault { write_takes: Some(taken), ..none });
        check_append_fault(Fault { write_takes: Some(taken), truncate_fails: true, ..none });
    }
}

#[test]
fn a_segment_that_ends_in_half_a_record_is_replayed_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let limits = JournalLimits { segment_bytes: 4096, backlog_bytes_max: 1 << 20 };
    let journal = Journal::new(folder.path().to_owned(), Box::new(disk.clone()), limits, 1, false);
    let entry = |number| Entry::Settlement { settlement: settlement(number), example: None };
    journal.append(&encode(&entry(0))).unwrap();
    disk.set(Fault { write_takes: Some(40), truncate_fails: true, ..Fault::default() });
    assert!(matches!(journal.append(&encode(&entry(1))), Err(AppendError::Write(_))));
    disk.set(Fault::default());
    journal.append(&encode(&entry(2))).unwrap();

    let mut store = MemoryStore::default();
    let (recovered, next) = replay(folder.path(), &mut store, Damage::Refuse).unwrap();
    assert_eq!(*store.0.lock(), [entry(0), entry(2)]);
    assert_eq!((recovered.settlements, recovered.torn_bytes, next), (2, 40, 3));
}

#[test]
fn a_failed_sync_is_told_to_everybody_it_concerns_and_to_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let disk = FaultyDisk::default();
    let ledger = start(&path, &disk, Acknowledge::PowerLoss);
    ledger.settle(&settlement(0), None).unwrap().wait().unwrap();
    disk.set(Fault { sync_fails: true, ..Fault::default() });
    let failed = ledger.settle(&settlement(1), None).unwrap();
    assert!(failed.wait().is_err());
    assert!(ledger.health().sync_failure.is_some());
    disk.set(Fault::default());
    ledger.settle(&settlement(2), None).unwrap().wait().unwrap();
    ledger.close().unwrap();
    assert_eq!(ids(&path), [0, 1, 2]);
}

#[test]
fn a_full_database_stops_nothing_until_the_backlog_is_full_and_then_catches_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let full = Arc::new(AtomicBool::new(true));
    let store = Box::new(FullStore::new(
        SqliteStore::open(&path, StoreOptions::default()).unwrap(),
        Arc::clone(&full),
    ));
    let options = LedgerOptions { backlog_bytes_max: 40_000, ..options(Acknowledge::ProcessCrash) };
    let lock = crate::ledger::lock(&path).unwrap();
    let ledger = Ledger::start(&path, options, lock, store, Box::new(RealDisk)).unwrap();
    let mut settled = Vec::new();
    let mut writable_at_last = true;
    for number in 0..1000 {
        let writable = ledger.is_writable();
        match ledger.settle(&settlement(number), None) {
            Ok(_ticket) => settled.push(number),
            Err(SettleError::Behind { backlog_bytes }) => {
                assert!(backlog_bytes <= 40_000 && !writable);
                break;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(writable_at_last || !writable, "writable again without a fold");
        writable_at_last = writable;
    }
    assert!((50..300).contains(&settled.len()), "{}", settled.len());
    assert!(matches!(*ledger.fold().unwrap_err(), FoldError::Database(_)));
    assert!(ledger.health().fold_failure.is_some());
    full.store(false, SeqCst);
    while ledger.fold().is_err() {}
    assert!(ledger.is_writable() && ledger.health().fold_failure.is_none());
    assert_eq!(ids(&path), settled);
}

#[test]
fn settling_waits_for_no_removal_of_old_rows_and_folding_for_one_step_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let (begun, has_begun) = sync_channel(1);
    let (steps, go_on) = sync_channel(0);
    let entries = MemoryStore::default();
    let store = Box::new(BusyStore { store: entries.clone(), begun, go_on });
    let retention = Retention { days: Some(1), bytes: None };
    let options = LedgerOptions { retention, ..options(Acknowledge::ProcessCrash) };
    let lock = crate::ledger::lock(&path).unwrap();
    let ledger = Ledger::start(&path, options, lock, store, Box::new(RealDisk)).unwrap();
    has_begun.recv().unwrap();
    // The folding thread is in the middle of a step and stays there.
    for number in 0..200 {
        ledger.settle(&settlement(number), None).unwrap().wait().unwrap();
    }
    assert!(ledger.is_writable());
    assert_eq!(entries.0.lock().len(), 0);
    // The step ends and says that there is more to remove: what waits is folded first.
    steps.send(()).unwrap();
    ledger.fold().unwrap();
    assert_eq!(entries.0.lock().len(), 200);
    drop(steps);
    ledger.close().unwrap();
}

/// Replays a journal of one segment and returns what came out.
fn replay_bytes(bytes: &[u8], damage: Damage) -> (Result<Recovered, FoldError>, Vec<Entry>) {
    replay_in(&tempfile::tempdir().unwrap(), bytes, damage)
}

fn replay_in(
    folder: &tempfile::TempDir,
    bytes: &[u8],
    damage: Damage,
) -> (Result<Recovered, FoldError>, Vec<Entry>) {
    std::fs::write(segment_path(folder.path(), 1), bytes).unwrap();
    let mut store = MemoryStore::default();
    let result = replay(folder.path(), &mut store, damage).map(|(recovered, _)| recovered);
    let left = paths(folder.path()).unwrap();
    let kept = result.as_ref().map_or(true, |found| !found.damaged.is_empty());
    assert_eq!(left.len(), usize::from(kept));
    left.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let entries = store.0.lock().clone();
    (result, entries)
}

fn segment() -> (Vec<u8>, Vec<Entry>, Vec<usize>) {
    let entries = vec![
        Entry::Settlement { settlement: settlement(1), example: None },
        Entry::Template(template(2)),
        Entry::Settlement { settlement: settlement(3), example: Some(example(3)) },
    ];
    let mut bytes = segment_header().to_vec();
    let mut ends = Vec::new();
    for entry in &entries {
        bytes.extend(encode(entry));
        ends.push(bytes.len());
    }
    (bytes, entries, ends)
}

#[test]
fn a_segment_cut_anywhere_gives_the_whole_records_before_the_cut() {
    let (bytes, entries, ends) = segment();
    for length in 0..=bytes.len() {
        let (result, found) = replay_bytes(&bytes[..length], Damage::Refuse);
        let whole = ends.iter().filter(|end| **end <= length).count();
        assert_eq!(found, entries[..whole], "cut at {length}");
        let end = ends[..whole].last().copied().unwrap_or(SEGMENT_HEADER_BYTES.min(length));
        let torn = if length < SEGMENT_HEADER_BYTES { 0 } else { length - end };
        assert_eq!(result.unwrap().torn_bytes, torn as u64, "cut at {length}");
    }
}

#[test]
fn a_segment_with_any_bit_flipped_is_an_error_that_says_where() {
    let (bytes, entries, ends) = segment();
    let folder = tempfile::tempdir().unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            let (result, found) = replay_in(&folder, &bytes, Damage::Refuse);
            let whole = ends.iter().filter(|end| **end <= at).count();
            let begin = if at < SEGMENT_HEADER_BYTES {
                0
            } else {
                ends[..whole].last().copied().unwrap_or(SEGMENT_HEADER_BYTES)
            };
            let Err(FoldError::Journal(JournalError::Damaged { offset, .. })) = result else {
                panic!("bit {bit} of byte {at}: {result:?}");
            };
            assert_eq!(offset, begin as u64, "bit {bit} of byte {at}");
            assert_eq!(found, entries[..whole], "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn a_damaged_segment_is_kept_aside_when_that_is_asked_for() {
    let (mut bytes, entries, ends) = segment();
    bytes[ends[0] + 20] ^= 1;
    let (result, found) = replay_bytes(&bytes, Damage::SetAside);
    assert_eq!(found, entries[..1]);
    assert_eq!(result.unwrap().damaged.len(), 1);
}

#[test]
fn zeros_that_a_power_loss_left_at_the_end_are_no_damage() {
    let (mut bytes, entries, ends) = segment();
    bytes.resize(bytes.len() + 9000, 0);
    let (result, found) = replay_bytes(&bytes, Damage::Refuse);
    assert_eq!((result.unwrap().torn_bytes, found), (9000, entries));
    bytes[ends[2] + 5000] = 1;
    assert!(replay_bytes(&bytes, Damage::Refuse).0.is_err());
}

#[test]
fn a_record_longer_than_a_chunk_reads_back() {
    let mut long = example(7);
    long.text = "word ".repeat(200_000);
    let entries = [
        Entry::Settlement { settlement: settlement(6), example: None },
        Entry::Settlement { settlement: settlement(7), example: Some(long) },
        Entry::Settlement { settlement: settlement(8), example: None },
    ];
    let bytes: Vec<u8> =
        std::iter::once(segment_header().to_vec()).chain(entries.iter().map(encode)).flatten().collect();
    let (result, found) = replay_bytes(&bytes, Damage::Refuse);
    assert_eq!(result.unwrap().torn_bytes, 0);
    assert!(found == entries);
    // The same, cut within the long one.
    let (result, found) = replay_bytes(&bytes[..bytes.len() / 2], Damage::Refuse);
    assert!(result.unwrap().torn_bytes > 400_000);
    assert!(found == entries[..1]);
}
