//! What a demo is about: generated requests, or anybody's labelled rows.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use bantam_privacy::{Scanner, ScannerConfig};
use bantam_student::{Example, normalised};
use bantam_types::Label;

use super::desk::{Mix, Turn, generate, labels};
use super::frontier::Skill;
use super::further::Traffic;
use super::random::Random;
use super::{orders, replies};
use crate::commands::student::read_rows;
use crate::failure::{Failure, Outcome};

/// The concurrencies of the replay; the table's headline is the middle one.
pub(crate) const CONCURRENCIES: [usize; 3] = [8, 32, 128];
/// Requests a worker sends in a replay through Bantam.
const REPLAY_ROUNDS: usize = 90;
/// One in so many of these is sent to the frontier alone: at 750 ms each, all would take ten minutes.
pub(crate) const BASELINE_STEP: usize = 10;

/// Everything the story needs.
pub(crate) struct Scene {
    pub(crate) title: String,
    pub(crate) labels: Vec<String>,
    /// Traffic whose answers are recorded and learned from.
    pub(crate) teach: Vec<Turn>,
    /// How many of those are asked for at a time.
    pub(crate) teach_concurrency: usize,
    /// Labelled rows to certify on; without them the recorded answers that were kept back are used.
    pub(crate) certify: Option<Vec<Example>>,
    /// The workload that is replayed at each concurrency.
    pub(crate) replays: Vec<Vec<Turn>>,
    pub(crate) skill: Skill,
    /// A task that extracts, where the traffic is generated.
    pub(crate) orders: Option<Traffic>,
    /// And one that writes.
    pub(crate) replies: Option<Traffic>,
}

/// Names that labelled data gives to "none of these".
const SCOPE_LABELS: [&str; 3] = [super::words::OUT_OF_SCOPE, "oos", "out-of-scope"];

impl Scene {
    /// Returns the label that means "none of these", if there is one.
    pub(crate) fn scope_label(&self) -> Option<&str> {
        self.labels.iter().map(String::as_str).find(|label| SCOPE_LABELS.contains(label))
    }

    /// Returns every turn there is: what the simulated model must know.
    pub(crate) fn turns(&self) -> Vec<Turn> {
        self.teach.iter().chain(self.replays.iter().flatten()).cloned().collect()
    }
}

/// The generated support desk.
pub(crate) fn generated(seed: u64) -> Scene {
    let mut random = Random::new(seed);
    let teach = generate(4800, Mix::TEACH, &mut random);
    let taught: HashSet<String> = teach.iter().map(|turn| normalised(&turn.text)).collect();
    let replays = CONCURRENCIES.iter().map(|concurrency| {
        // What a student has seen word for word proves nothing about it.
        let mut unseen = Vec::new();
        while unseen.len() < concurrency * REPLAY_ROUNDS {
            let more = generate(concurrency * REPLAY_ROUNDS, Mix::REPLAY, &mut random);
            unseen.extend(more.into_iter().filter(|turn| !taught.contains(&normalised(&turn.text))));
        }
        unseen.truncate(concurrency * REPLAY_ROUNDS);
        unseen
    });
    Scene {
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

/// Anybody's labelled rows: six tenths are recorded and learned from, two tenths certify, two are replayed.
pub(crate) fn from_file(path: &Path, seed: u64) -> Result<Scene, Failure> {
    let mut rows = read_rows(path)?;
    let mut random = Random::new(seed);
    random.shuffle(&mut rows);
    let labels: BTreeSet<String> = rows.iter().map(|row| row.label.clone()).collect();
    let needed = 50 * 10;
    if rows.len() < needed {
        return Err(Failure::new(Outcome::Failed, format!("{} rows are too few for a demo", rows.len()))
            .hint(format!(
                "give at least {needed}: they are split into rows to learn from, to certify on and to replay"
            )));
    }
    let scanner = Scanner::new(&ScannerConfig { dictionary: Vec::new() })
        .map_err(|error| Failure::from_error("cannot build the privacy scanner", &error))?;
    let (teach, rest) = rows.split_at(rows.len() * 6 / 10);
    let (certify, replay) = rest.split_at(rest.len() / 2);
    let turn = |row: &Example| Turn {
        text: row.text.clone(),
        truth: Some(row.label.clone()),
        mistakable_for: None,
        sensitive: is_sensitive(&scanner, &row.text),
    };
    let taught: HashSet<String> = teach.iter().map(|row| normalised(&row.text)).collect();
    let held_out: Vec<Turn> =
        replay.iter().filter(|row| !taught.contains(&normalised(&row.text))).map(turn).collect();
    // Each concurrency sees the held-out rows, the larger ones all of them and the smaller ones a part.
    let replays = CONCURRENCIES
        .iter()
        .map(|concurrency| held_out.iter().take(concurrency * REPLAY_ROUNDS / 3).cloned().collect());
    Ok(Scene {
        title: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        labels: labels.into_iter().collect(),
        teach: teach.iter().map(turn).take(9000).collect(),
        teach_concurrency: 256,
        certify: Some(certify.to_vec()),
        replays: replays.collect(),
        skill: Skill { plain_error: 0.03, ambiguous_error: 0.03 },
        orders: None,
        replies: None,
    })
}

fn is_sensitive(scanner: &Scanner, text: &str) -> bool {
    let mut scan = scanner.begin();
    scan.text(text);
    scan.finish().label() > Label::Internal
}
