//! How a ledger is opened.

use std::time::Duration;

/// What an acknowledged settlement survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// The end of the process at any point. After a power loss the last seconds may be missing.
    ProcessCrash,
    /// Also a power loss: a [`Ticket`](bantam_books::Ticket) waits for the disk.
    PowerLoss,
}

/// What is done when a journal segment that a crash left turns out to be damaged in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The ledger does not open, and the error says where the damage is.
    Refuse,
    /// What stands before the damage is folded, the segment is kept beside the journal with
    /// `.damaged` behind its name and named in [`Recovered`](crate::Recovered), and the ledger opens.
    SetAside,
}

/// How a ledger is opened. Every field is a limit that bounds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerOptions {
    /// What an acknowledged settlement survives.
    pub acknowledge: Acknowledge,
    /// What is done about a damaged segment.
    pub damage: Damage,
    /// A journal segment is closed when it would grow beyond this. It bounds what a start after a
    /// crash has to replay needlessly.
    pub segment_bytes: u64,
    /// Settlements are refused while this much of the journal is not in the database. It bounds the
    /// disk that the journal takes, and the time of a start after a crash.
    pub backlog_bytes_max: u64,
    /// How long a settlement may wait to become visible to readers.
    pub fold_interval: Duration,
    /// How long rows are kept.
    pub retention: Retention,
    /// Whether the texts of discovered templates are kept. They come from prompts. Where they are not, those that an
    /// earlier run kept are erased when the ledger opens.
    pub keep_prompt_previews: bool,
}

/// When the oldest requests are removed, with their attempts. Usage of the past stays: it is added up by the hour. The
/// default keeps everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Requests and recorded answers that are older than this many days are removed.
    pub days: Option<u32>,
    /// The oldest requests are removed while the database holds more than this. Recorded answers, and the newest
    /// thousand requests, stay whatever they take.
    pub bytes: Option<u64>,
}

impl LedgerOptions {
    /// Returns the limits that suit a gateway: 8 MiB segments, a backlog of 64 MiB (some 300,000
    /// requests), and readers at most 50 ms behind.
    pub const fn new(acknowledge: Acknowledge) -> Self {
        Self {
            acknowledge,
            damage: Damage::Refuse,
            segment_bytes: 8 << 20,
            backlog_bytes_max: 64 << 20,
            fold_interval: Duration::from_millis(50),
            retention: Retention { days: None, bytes: None },
            keep_prompt_previews: false,
        }
    }
}
