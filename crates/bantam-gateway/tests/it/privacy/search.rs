//! Searching many bytes for many needles, and capturing the log.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Bytes that are searched for tens of thousands of needles: an index of all windows says no quickly.
pub(super) struct Haystack {
    bytes: Vec<u8>,
    seen: Vec<u64>,
}

const WINDOW: usize = 8;
const INDEX_BITS: u32 = 27;

impl Haystack {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let mut seen = vec![0; 1 << (INDEX_BITS - 6)];
        for window in bytes.windows(WINDOW) {
            let (word, bit) = place(window);
            seen[word] |= bit;
        }
        Self { bytes, seen }
    }

    /// Returns whether `needle`, of at least eight bytes, is in it.
    pub(super) fn contains(&self, needle: &str) -> bool {
        let needle = needle.as_bytes();
        assert!(needle.len() >= WINDOW, "too short to search for");
        let possible = needle.windows(WINDOW).all(|window| {
            let (word, bit) = place(window);
            self.seen[word] & bit != 0
        });
        // Only what is there, or almost, is worth a walk over all bytes.
        possible && self.bytes.windows(needle.len()).any(|window| window == needle)
    }
}

impl Haystack {
    /// Returns all words of requests in it: `zuvi` and eight letters.
    pub(super) fn words(&self) -> HashSet<&str> {
        let words = self.bytes.windows(12).filter(|window| window.starts_with(b"zuvi"));
        words.filter_map(|word| std::str::from_utf8(word).ok()).collect()
    }
}

fn place(window: &[u8]) -> (usize, u64) {
    let number = u64::from_le_bytes(window.try_into().unwrap());
    let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - INDEX_BITS);
    ((hash >> 6) as usize, 1 << (hash & 63))
}

/// Returns the bytes of all files under `folder`.
pub(super) fn files_under(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes.extend(files_under(&path));
        } else {
            bytes.extend(std::fs::read(&path).unwrap());
        }
    }
    bytes
}

/// Captures everything that is logged in this process from now on, down to TRACE.
pub(super) fn capture_log() -> Arc<Mutex<Vec<u8>>> {
    let log = Arc::new(Mutex::new(Vec::new()));
    tracing::subscriber::set_global_default(Capture { log: Arc::clone(&log) }).unwrap();
    log
}

struct Capture {
    log: Arc<Mutex<Vec<u8>>>,
}

impl Capture {
    fn write(&self, record: impl FnOnce(&mut Line)) {
        let mut line = Line::default();
        record(&mut line);
        line.0.push('\n');
        self.log.lock().extend_from_slice(line.0.as_bytes());
    }
}

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, " {field}={value}");
    }
}

impl Subscriber for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.write(|line| span.record(line));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        self.write(|line| values.record(line));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.write(|line| event.record(line));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn the_search_finds_what_is_there_and_nothing_else() {
    let haystack = Haystack::new(b"there is a needle in here".to_vec());
    assert!(haystack.contains("a needle"));
    assert!(!haystack.contains("a noodle"));
    assert!(!haystack.contains("needle in there"));
}
