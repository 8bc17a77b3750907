//! Segments of the ledger's journal that a crash left.

use bantam_ledger::{Acknowledge, Damage, Ledger, LedgerOptions};

const SEGMENT_HEADER_BYTES: usize = 16;
const RECORD_HEADER_BYTES: usize = 12;

/// Puts the bytes in the place of a segment, as they are and with the checksums written anew, and opens the ledger.
pub(super) fn journal(bytes: &[u8]) {
    open(bytes);
    open(&with_checksums(bytes));
}

#[expect(clippy::expect_used, reason = "without a temporary folder nothing can be tried")]
fn open(segment: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("ledger.sqlite");
    let journal = folder.path().join("ledger.sqlite.journal");
    std::fs::create_dir(&journal).expect("room for a folder");
    std::fs::write(journal.join(format!("{:020}.journal", 1)), segment).expect("room for a segment");
    for damage in [Damage::Refuse, Damage::SetAside] {
        let options = LedgerOptions { damage, ..LedgerOptions::new(Acknowledge::ProcessCrash) };
        if let Ok(ledger) = Ledger::open(&path, options) {
            let _ = ledger.close();
        }
    }
}

/// Walks the records by their lengths and writes each record's checksums anew; what does not fit is cut off.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut segment = bytes.to_vec();
    if segment.len() >= SEGMENT_HEADER_BYTES {
        seal(&mut segment[..SEGMENT_HEADER_BYTES], 12);
    }
    let mut at = SEGMENT_HEADER_BYTES;
    while let Some(header) = segment.get(at..at + RECORD_HEADER_BYTES) {
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let begin = at + RECORD_HEADER_BYTES;
        let end = begin.saturating_add(length).min(segment.len());
        let body = crc32fast::hash(&segment[begin..end]);
        let length = u32::try_from(end - begin).unwrap_or(u32::MAX);
        segment[at..at + 4].copy_from_slice(&length.to_le_bytes());
        segment[at + 4..at + 8].copy_from_slice(&body.to_le_bytes());
        seal(&mut segment[at..begin], 8);
        at = end;
    }
    segment
}

/// Writes the checksum of the first `length` bytes behind them.
fn seal(header: &mut [u8], length: usize) {
    let sum = crc32fast::hash(&header[..length]);
    header[length..length + 4].copy_from_slice(&sum.to_le_bytes());
}
