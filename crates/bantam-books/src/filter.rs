//! Which requests are listed, and where a list goes on.

use bantam_types::{AttemptRecord, RequestOutcome, Settlement, TaskName, Tier};

use crate::TimeRange;

/// Which requests are listed. The default is all; what is set has to hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// Only the one with this id.
    pub request_id: Option<u128>,
    /// Only those that arrived then.
    pub range: Option<TimeRange>,
    /// Only those of this task.
    pub task: Option<TaskName>,
    /// Only those that ended so.
    pub outcome: Option<RequestOutcome>,
    /// Only those of this caller.
    pub caller: Option<CallerFilter>,
    /// Only those for which this model was asked, whatever became of its answer.
    pub model: Option<String>,
    /// Only those for which a model of this tier was asked. With `model`, one attempt has to be both.
    pub tier: Option<Tier>,
}

/// Whose requests are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerFilter {
    /// Those that showed no key.
    NoKey,
    /// Those that showed the key of this name.
    Key(String),
}

impl RequestFilter {
    /// Returns whether a request is listed.
    pub fn passes(&self, request: &Settlement) -> bool {
        let same_caller = |caller: &CallerFilter| match caller {
            CallerFilter::NoKey => request.caller.is_none(),
            CallerFilter::Key(name) => request.caller.as_deref() == Some(name.as_str()),
        };
        self.request_id.is_none_or(|id| id == request.request_id)
            && self.range.is_none_or(|range| range.contains(request.arrived_unix_ms))
            && self.task.as_ref().is_none_or(|task| request.task.as_ref() == Some(task))
            && self.outcome.is_none_or(|outcome| outcome == request.outcome)
            && self.caller.as_ref().is_none_or(same_caller)
            && (!self.asks_for_attempts()
                || request.attempts.iter().any(|attempt| self.passes_attempt(attempt)))
    }

    /// Returns whether requests without a matching attempt are left out.
    pub const fn asks_for_attempts(&self) -> bool {
        self.model.is_some() || self.tier.is_some()
    }

    fn passes_attempt(&self, attempt: &AttemptRecord) -> bool {
        self.model.as_ref().is_none_or(|model| *attempt.model == **model)
            && self.tier.is_none_or(|tier| attempt.tier == tier)
    }
}

/// A place in the list of requests. It stays good while requests are added and the oldest are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(
    /// The number of a request, in the order in which requests were settled.
    pub u64,
);

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is not a cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a place in a list of requests: take the one that came with the page before")]
pub struct ParseCursorError(pub String);

impl std::str::FromStr for Cursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ParseCursorError(text.chars().take(80).collect());
        text.parse().map(Self).map_err(|_| bad())
    }
}

/// One page of requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestPage {
    /// The requests, last settled first.
    pub requests: Vec<Settlement>,
    /// Where the next page begins; `None` when this is the last.
    pub next: Option<Cursor>,
}
