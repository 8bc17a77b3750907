//! What is known of a job: the JSON that is stored, listed and sent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the format that is written and read.
pub(crate) const VERSION: u32 = 1;
/// Letters of an id: no vowels, so no words; nothing that is mistaken for something else.
const ID_LETTERS: &[u8; 24] = b"bcdfghjkmnpqrstvwxyz2456";
const ID_LENGTH: usize = 10;
/// Events that a record keeps; older ones are dropped and counted.
pub(crate) const EVENTS_KEPT: usize = 100;
/// Characters of a note or warning.
const TEXT_CHARS_MAX: usize = 1_000;

/// Everything known of one job.
///
/// This is a wire contract: `bantam job --json` prints it, and the files in the state folder hold it. Times are RFC
/// 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRecord {
    /// The version of this format.
    pub version: u32,
    /// The job's id.
    pub id: JobId,
    /// What kind of work it is, such as `pull` or `train`.
    pub kind: String,
    /// What was asked for; its shape depends on the kind.
    pub parameters: Value,
    /// Whether it waits, runs, or how it ended.
    pub state: JobState,
    /// When it was submitted.
    pub created_at: String,
    /// When it began to run.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// How far it has come, as last reported.
    pub progress: Option<JobProgress>,
    /// The latest events, oldest first; at most 100.
    pub events: Vec<JobEvent>,
    /// How many older events were dropped.
    pub events_dropped: u64,
    /// What came of it; only for a job that is `done`. Its shape depends on the kind.
    pub result: Option<Value>,
    /// Why it failed; only for a job that has `failed`.
    pub failure: Option<JobFailure>,
}

/// Returns the time as records have it: to the millisecond, so that jobs of one second keep their order.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

impl JobRecord {
    /// Returns the record of a job that was just submitted.
    pub(crate) fn new(id: JobId, kind: String, parameters: Value) -> Self {
        let mut record = Self {
            version: VERSION,
            id,
            kind,
            parameters,
            state: JobState::Queued,
            created_at: now(),
            started_at: None,
            ended_at: None,
            progress: None,
            events: Vec::new(),
            events_dropped: 0,
            result: None,
            failure: None,
        };
        record.push(EventBody::State { state: JobState::Queued });
        record
    }

    /// Returns how much of the work is done, in percent, once it is known how much there is. Work may be done before as much
    /// was done as was expected.
    pub fn percent(&self) -> Option<u64> {
        if self.state == JobState::Done {
            return Some(100);
        }
        let progress = self.progress.as_ref()?;
        let total = progress.total.filter(|total| *total > 0)?;
        Some((u128::from(progress.done.min(total)) * 100 / u128::from(total)) as u64)
    }

    /// Returns what is known of the job as facts for people, each with its name.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![
            ("id", self.id.to_string()),
            ("kind", self.kind.clone()),
            ("state", self.state.to_string()),
            ("asked", self.parameters.to_string()),
            ("submitted", self.created_at.clone()),
        ];
        facts.extend(self.started_at.clone().map(|time| ("started", time)));
        facts.extend(self.ended_at.clone().map(|time| ("ended", time)));
        facts.extend(self.progress.as_ref().map(|progress| {
            let item = progress.item.as_ref().map_or_else(String::new, |item| format!(" ({item})"));
            ("progress", format!("{progress}{item}"))
        }));
        facts.extend(self.result.as_ref().map(|result| ("result", result.to_string())));
        if let Some(failure) = &self.failure {
            facts.push(("error", failure.message.clone()));
            facts.extend(failure.hint.clone().map(|hint| ("help", hint)));
        }
        facts.extend(self.events.iter().filter_map(|event| match &event.event {
            EventBody::Note { text } => Some(("note", text.clone())),
            EventBody::Warning { text } => Some(("warning", text.clone())),
            EventBody::State { .. } | EventBody::Detail { .. } => None,
        }));
        facts
    }

    /// Changes the state, and notes when.
    pub(crate) fn change_state(&mut self, state: JobState) {
        self.state = state;
        if state == JobState::Running {
            self.started_at = Some(now());
        }
        if state.is_over() {
            self.ended_at = Some(now());
        }
        self.push(EventBody::State { state });
    }

    /// Adds an event; the oldest of too many is dropped.
    pub(crate) fn push(&mut self, event: EventBody) {
        let number = self.events_dropped + self.events.len() as u64 + 1;
        self.events.push(JobEvent { number, at: now(), event: event.bounded() });
        if self.events.len() > EVENTS_KEPT {
            self.events.remove(0);
            self.events_dropped += 1;
        }
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It waits for others to end.
    Queued,
    /// It runs.
    Running,
    /// It ended with a result.
    Done,
    /// It ended with an error.
    Failed,
    /// It was cancelled before it was done.
    Cancelled,
    /// Its process ended before it did.
    Interrupted,
}

impl JobState {
    /// Returns the state's name, as JSON has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// Returns whether the job has ended, one way or another.
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a job has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobProgress {
    /// How much is done.
    pub done: u64,
    /// How much there is to do, once that is known.
    pub total: Option<u64>,
    /// How much of `done` was there before the job began, which says nothing about its speed.
    pub skipped: u64,
    /// What is counted, such as `bytes`, `rows` or `steps`.
    pub unit: String,
    /// What is being done right now, such as a file's name.
    pub item: Option<String>,
}

impl fmt::Display for JobProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { done, total, unit, .. } = self;
        match total {
            Some(total) => write!(f, "{done} of {total} {unit}"),
            None => write!(f, "{done} {unit}"),
        }
    }
}

/// Something worth knowing that happened to a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobEvent {
    /// Counts the job's events from 1.
    pub number: u64,
    /// When it happened.
    pub at: String,
    /// What happened.
    pub event: EventBody,
}

/// What happened to a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum EventBody {
    /// It changed its state.
    State {
        /// The new one.
        state: JobState,
    },
    /// Something for people to read.
    Note {
        /// What.
        text: String,
    },
    /// Something that people should know before they trust the result.
    Warning {
        /// What.
        text: String,
    },
    /// A measurement or a step, in a shape that depends on the kind of job.
    Detail {
        /// What.
        value: Value,
    },
}

impl EventBody {
    /// Returns the event with a text of bounded length.
    pub(crate) fn bounded(self) -> Self {
        let cut = |text: String| match text.char_indices().nth(TEXT_CHARS_MAX) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        };
        match self {
            Self::Note { text } => Self::Note { text: cut(text) },
            Self::Warning { text } => Self::Warning { text: cut(text) },
            other => other,
        }
    }
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobFailure {
    /// What kind of failure it was.
    pub reason: FailureReason,
    /// What was attempted, and why it did not work.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The kinds of failure that callers tell apart; each front end maps them to its own codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureReason {
    /// It did not work.
    Failed,
    /// What was asked for cannot be understood or is contradictory.
    Invalid,
    /// A model, or another thing that was named, does not exist.
    NotFound,
    /// The network is needed and may not be used.
    Offline,
    /// A key, a licence or a budget forbids it.
    Refused,
    /// A quality gate was not passed.
    GateFailed,
}

/// A job's name: ten letters and digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

/// A text that is not a job's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a job id: expected {ID_LENGTH} letters and digits, such as `tkz4mbwq2h`")]
pub struct ParseJobIdError;

impl JobId {
    /// Returns the id that these random bytes make.
    pub(crate) fn from_random(bytes: [u8; ID_LENGTH]) -> Self {
        let letter = |byte: u8| char::from(ID_LETTERS[usize::from(byte) % ID_LETTERS.len()]);
        Self(bytes.map(letter).iter().collect())
    }

    /// Returns how many random bytes an id takes.
    pub(crate) const fn random_bytes() -> [u8; ID_LENGTH] {
        [0; ID_LENGTH]
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JobId {
    type Err = ParseJobIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_id = text.len() == ID_LENGTH && text.bytes().all(|byte| ID_LETTERS.contains(&byte));
        if is_id { Ok(Self(text.to_owned())) } else { Err(ParseJobIdError) }
    }
}

impl TryFrom<String> for JobId {
    type Error = ParseJobIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

/// All jobs of a folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct JobList {
    /// The jobs, the newest first.
    pub jobs: Vec<JobRecord>,
    /// Records that cannot be read.
    pub damaged: Vec<DamagedRecord>,
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedRecord {
    /// Its file.
    pub file: std::path::PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_nothing_else_is_one() {
        let id = JobId::from_random([0, 1, 2, 3, 23, 24, 100, 200, 254, 255]);
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        for bad in ["", "bcdfghjkm", "bcdfghjkmnp", "../../etc/", "BCDFGHJKMN", "bcdfghjkma"] {
            assert_eq!(bad.parse::<JobId>(), Err(ParseJobIdError), "{bad}");
        }
    }

    #[test]
    fn what_is_done_is_told_in_percent_and_in_words() {
        let id = JobId::from_random([0; 10]);
        let mut record = JobRecord::new(id, "train".to_owned(), Value::Null);
        assert_eq!(record.percent(), None);
        let progress =
            |done, total| JobProgress { done, total, unit: "steps".to_owned(), ..JobProgress::default() };
        for (done, total, percent, words) in [
            (3, Some(9), Some(33), "3 of 9 steps"),
            (9, Some(3), Some(100), "9 of 3 steps"),
            (u64::MAX, Some(u64::MAX), Some(100), "18446744073709551615 of 18446744073709551615 steps"),
            (3, None, None, "3 steps"),
            (0, Some(0), None, "0 of 0 steps"),
        ] {
            record.progress = Some(progress(done, total));
            assert_eq!(record.percent(), percent, "{words}");
            assert_eq!(progress(done, total).to_string(), words);
        }
        record.change_state(JobState::Done);
        assert_eq!(record.percent(), Some(100), "it may be done in fewer steps");
        let facts = record.facts();
        assert!(facts.contains(&("state", "done".to_owned())), "{facts:?}");
        assert!(facts.contains(&("progress", "0 of 0 steps".to_owned())), "{facts:?}");
    }

    #[test]
    fn long_notes_are_cut_between_characters() {
        let EventBody::Note { text } = (EventBody::Note { text: "ä".repeat(5_000) }).bounded() else {
            panic!("a note stays a note")
        };
        assert_eq!(text.chars().count(), TEXT_CHARS_MAX + 1);
    }

    #[test]
    fn a_record_is_json_that_stays_as_it_is() {
        let event = |number, event| JobEvent { number, at: "2026-11-21T10:00:01Z".to_owned(), event };
        let record = JobRecord {
            version: VERSION,
            id: JobId::from_random([7; 10]),
            kind: "pull".to_owned(),
            parameters: serde_json::json!({ "name": "org/tiny" }),
            state: JobState::Failed,
            created_at: "2026-11-21T10:00:00Z".to_owned(),
            started_at: Some("2026-11-21T10:00:00Z".to_owned()),
            ended_at: Some("2026-11-21T10:00:02Z".to_owned()),
            progress: Some(JobProgress {
                done: 10,
                total: Some(20),
                skipped: 5,
                unit: "bytes".to_owned(),
                item: Some("model.gguf".to_owned()),
            }),
            events: vec![
                event(3, EventBody::State { state: JobState::Running }),
                event(4, EventBody::Note { text: "the server closed the connection".to_owned() }),
                event(5, EventBody::Warning { text: "no template".to_owned() }),
                event(6, EventBody::Detail { value: serde_json::json!({ "loss": 0.5 }) }),
            ],
            events_dropped: 2,
            result: None,
            failure: Some(JobFailure {
                reason: FailureReason::NotFound,
                message: "cannot pull org/tiny".to_owned(),
                hint: Some("check the name".to_owned()),
            }),
        };
        let json = serde_json::to_string_pretty(&record).unwrap();
        assert_eq!(serde_json::from_str::<JobRecord>(&json).unwrap(), record);
        insta::assert_snapshot!(json);
    }
}
