//! What a demo is about: generated messages, or labelled rows of a user's own.

use std::collections::{BTreeSet, HashSet};

use bantam_privacy::{Scanner, ScannerConfig};
use bantam_student::{Example, normalised};
use bantam_types::Label;

use crate::desk::{Message, Mix, generate, labels};
use crate::frontier::Skill;
use crate::random::Random;
use crate::traffic::Traffic;
use crate::{orders, replies, words};

/// How many messages are sent at a time, in replays one after the other; the middle one is the headline.
pub const CONCURRENCIES: [usize; 3] = [8, 32, 128];
/// Messages that each of those who send at a time sends in a replay.
const REPLAY_ROUNDS: usize = 90;
/// Rows that a workload of a user's own needs.
const ROWS_MIN: usize = 500;

/// Why rows make no workload.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// Too few to be split.
    #[error("{rows} rows are too few for a demo")]
    TooFewRows {
        /// How many.
        rows: usize,
    },
    /// The scanner that finds personal data.
    #[error("cannot build the privacy scanner")]
    Scanner(#[from] bantam_privacy::BuildScannerError),
}

impl WorkloadError {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TooFewRows { .. } => Some(format!(
                "give at least {ROWS_MIN}: they are split into rows to learn from, to certify on and to replay"
            )),
            Self::Scanner(_) => None,
        }
    }
}

/// Traffic for every part of a demo.
pub struct Workload {
    /// What it is, in words.
    pub title: String,
    /// The labels of the classification.
    pub labels: Vec<String>,
    /// Traffic whose answers are recorded and learned from.
    pub teach: Vec<Message>,
    /// How many of those are asked for at a time.
    pub teach_concurrency: usize,
    /// Labelled rows to certify on; without them the recorded answers that were kept back are used.
    pub certify: Option<Vec<Example>>,
    /// The workload that is replayed at each concurrency.
    pub replays: Vec<Vec<Message>>,
    /// How good the simulated model is.
    pub skill: Skill,
    /// A task that extracts, where the traffic is generated.
    pub orders: Option<Traffic>,
    /// And one that writes.
    pub replies: Option<Traffic>,
}

/// Names that labelled data gives to "none of these".
const SCOPE_LABELS: [&str; 3] = [words::OUT_OF_SCOPE, "oos", "out-of-scope"];

impl Workload {
    /// Returns the label that means "none of these", if there is one.
    pub fn scope_label(&self) -> Option<&str> {
        self.labels.iter().map(String::as_str).find(|label| SCOPE_LABELS.contains(label))
    }

    /// Returns every message that is classified: what the simulated model must know.
    pub fn messages(&self) -> Vec<Message> {
        self.teach.iter().chain(self.replays.iter().flatten()).cloned().collect()
    }

    /// Returns the generated support desk.
    pub fn generated(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let teach = generate(4800, Mix::TEACH, &mut random);
        let taught: HashSet<String> = teach.iter().map(|message| normalised(&message.text)).collect();
        let replays = CONCURRENCIES.iter().map(|concurrency| {
            // What a student has seen word for word proves nothing about it.
            let mut unseen = Vec::new();
            while unseen.len() < concurrency * REPLAY_ROUNDS {
                let more = generate(concurrency * REPLAY_ROUNDS, Mix::REPLAY, &mut random);
                unseen
                    .extend(more.into_iter().filter(|message| !taught.contains(&normalised(&message.text))));
            }
            unseen.truncate(concurrency * REPLAY_ROUNDS);
            unseen
        });
        Self {
            title: "a generated support desk".to_owned(),
            labels: labels(),
            teach,
            teach_concurrency: 256,
            certify: None,
            replays: replays.collect(),
            skill: Skill { plain_error: 0.004, ambiguous_error: 0.35 },
            orders: Some(orders::generated(&mut Random::new(seed ^ 0x0de5))),
            replies: Some(replies::generated(&mut Random::new(seed ^ 0x5e9d))),
        }
    }

    /// Returns a workload of a user's own labelled rows: six tenths are recorded and learned from, two tenths certify, two
    /// are replayed.
    ///
    /// # Errors
    /// [`WorkloadError`], when there are too few rows.
    pub fn of_rows(title: String, mut rows: Vec<Example>, seed: u64) -> Result<Self, WorkloadError> {
        let mut random = Random::new(seed);
        random.shuffle(&mut rows);
        let labels: BTreeSet<String> = rows.iter().map(|row| row.label.clone()).collect();
        if rows.len() < ROWS_MIN {
            return Err(WorkloadError::TooFewRows { rows: rows.len() });
        }
        let scanner = Scanner::new(&ScannerConfig { dictionary: Vec::new() })?;
        let (teach, rest) = rows.split_at(rows.len() * 6 / 10);
        let (certify, replay) = rest.split_at(rest.len() / 2);
        let message = |row: &Example| Message {
            text: row.text.clone(),
            truth: Some(row.label.clone()),
            mistakable_for: None,
            sensitive: is_sensitive(&scanner, &row.text),
        };
        let taught: HashSet<String> = teach.iter().map(|row| normalised(&row.text)).collect();
        let held_out: Vec<Message> =
            replay.iter().filter(|row| !taught.contains(&normalised(&row.text))).map(message).collect();
        // Each concurrency sees the held-out rows, the larger ones all of them and the smaller ones a part.
        let replays = CONCURRENCIES
            .iter()
            .map(|concurrency| held_out.iter().take(concurrency * REPLAY_ROUNDS / 3).cloned().collect());
        Ok(Self {
            title,
            labels: labels.into_iter().collect(),
            teach: teach.iter().map(message).take(9000).collect(),
            teach_concurrency: 256,
            certify: Some(certify.to_vec()),
            replays: replays.collect(),
            skill: Skill { plain_error: 0.03, ambiguous_error: 0.03 },
            orders: None,
            replies: None,
        })
    }
}

fn is_sensitive(scanner: &Scanner, text: &str) -> bool {
    let mut scan = scanner.begin();
    scan.text(text);
    scan.finish().label() > Label::Internal
}
