//! `SIGKILL` at any point: every acknowledged settlement is there exactly once.
//!
//! The child is this test binary, asked to run one "test" that settles as fast as it can and writes
//! the id of each settlement to its standard output after it was acknowledged.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bantam_books::{Books, GroupBy, RequestFilter, SettleError};
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions, LedgerReader};
use bantam_types::RequestOutcome;

use crate::support::{example_of, new_path, newest, page, settlement_of, usage};
use tempfile::TempDir;

const CHILD: &str = "BANTAM_LEDGER_KILL_CHILD";
const ROUNDS: u64 = 200;
/// After this many rounds a new ledger is begun, so that checking all of it stays cheap.
const ROUNDS_A_LEDGER: u64 = 5;

fn options(run: u64) -> LedgerOptions {
    let acknowledge = if run.is_multiple_of(4) { Acknowledge::PowerLoss } else { Acknowledge::ProcessCrash };
    LedgerOptions {
        segment_bytes: 8 << 10,
        fold_interval: Duration::from_millis(2),
        backlog_bytes_max: 64 << 10,
        ..LedgerOptions::new(acknowledge)
    }
}

#[test]
fn child_settles_until_it_is_killed() {
    #[expect(clippy::disallowed_methods, reason = "how the parent below talks to this child")]
    let Ok(order) = std::env::var(CHILD) else {
        return;
    };
    let (run, path) = order.split_once(' ').unwrap();
    let run: u64 = run.parse().unwrap();
    let ledger = Arc::new(Ledger::open(Path::new(path), options(run)).unwrap());
    let threads: Vec<_> = (0..3_u64)
        .map(|thread| {
            let ledger = Arc::clone(&ledger);
            std::thread::spawn(move || {
                settle_for_ever(&ledger, u128::from(run) << 64 | u128::from(thread) << 32);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn settle_for_ever(ledger: &Ledger, first_id: u128) {
    let mut request_id = first_id;
    loop {
        let example = request_id.is_multiple_of(8).then(|| example_of(request_id, 0));
        match ledger.settle(&settlement_of(request_id), example.as_ref()) {
            Ok(ticket) => ticket.wait().unwrap(),
            Err(SettleError::Behind { .. }) => {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        let mut out = std::io::stdout().lock();
        out.write_all(format!("ack {request_id:032x}\n").as_bytes()).unwrap();
        request_id += 1;
    }
}

/// Runs a child for a while, kills it, and returns what it acknowledged.
fn killed_child(path: &Path, run: u64, lives: Duration) -> Vec<u128> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_settles_until_it_is_killed", "--nocapture"])
        .env(CHILD, format!("{run} {}", path.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).map(|_| text)
    });
    std::thread::sleep(lives);
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "the child failed before it was killed");
    let text = reader.join().unwrap().unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    // The test harness writes to the same line before the first acknowledgement.
    let ids = whole.lines().filter_map(|line| line.split_once("ack ")).map(|(_, id)| id);
    ids.map(|id| u128::from_str_radix(id, 16).unwrap()).collect()
}

/// A ledger that children are killed over.
struct Victim {
    _folder: TempDir,
    path: PathBuf,
    acknowledged: HashSet<u128>,
    /// What was found in it and checked.
    checked: HashSet<u128>,
}

impl Victim {
    fn new() -> Self {
        let (folder, path) = new_path();
        Self { _folder: folder, path, acknowledged: HashSet::new(), checked: HashSet::new() }
    }

    /// Opens what is left, and finds every acknowledged settlement in it once and as it was.
    fn check(&mut self, run: u64) {
        let ledger = Ledger::open(&self.path, options(run)).unwrap();
        assert_eq!(ledger.recovered().damaged, Vec::<PathBuf>::new());
        ledger.close().unwrap();
        let connection = rusqlite::Connection::open(&self.path).unwrap();
        let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
        let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as usize;
        assert_eq!(count("SELECT count(*) FROM attempts WHERE seq NOT IN (SELECT seq FROM requests)"), 0);

        // Rows are only added, so those that were checked before need no second look.
        let added = count("SELECT count(*) FROM requests") - self.checked.len();
        for settlement in newest(&self.path, added as u32) {
            let id = settlement.request_id;
            assert_eq!(settlement, settlement_of(id));
            assert!(self.checked.insert(id), "a settlement is there twice");
        }
        // Sums and blocks are of the same transactions as the rows.
        let reader = LedgerReader::open(&self.path).unwrap();
        let sums = usage(&reader, GroupBy::Task);
        assert_eq!(sums.iter().map(|row| row.usage.requests).sum::<u64>(), self.checked.len() as u64);
        let failed = RequestFilter { outcome: Some(RequestOutcome::Failed), ..RequestFilter::default() };
        let odd =
            self.checked.iter().filter(|id| settlement_of(**id).outcome == RequestOutcome::Failed).count();
        assert_eq!(page(&reader, failed, u32::MAX).len(), odd);
        let examples = self.checked.iter().filter(|id| id.is_multiple_of(8)).count();
        assert_eq!(count("SELECT count(*) FROM examples"), examples);
        assert_eq!(count("SELECT count(DISTINCT request_id) FROM examples"), examples);
        let lost: Vec<_> = self.acknowledged.difference(&self.checked).collect();
        assert_eq!(lost, Vec::<&u128>::new(), "of {} acknowledged", self.acknowledged.len());
    }
}

#[test]
fn what_was_acknowledged_is_there_exactly_once_after_sigkill_at_any_point() {
    let mut seed = 0x1ed6_e400_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27) % below
    };
    let (mut victim, mut total, mut run) = (Victim::new(), 0, 0);
    for round in 0..ROUNDS {
        if round.is_multiple_of(ROUNDS_A_LEDGER) {
            victim = Victim::new();
        }
        // A second child is often killed while it replays what the first one left.
        for lives_ms in [5 + random(45), 3 + random(20)].into_iter().take(1 + random(2) as usize) {
            run += 1;
            let ids = killed_child(&victim.path, run, Duration::from_millis(lives_ms));
            total += ids.len();
            victim.acknowledged.extend(ids);
        }
        victim.check(run);
    }
    assert!(total > 10 * ROUNDS as usize, "only {total} settlements in {run} children: nothing was tested");
    println!("{total} settlements acknowledged by {run} killed children");
}
