//! What requests did and cost, added up.

use std::collections::BTreeMap;
use std::sync::Arc;

use bantam_types::{
    AttemptOutcome, AttemptRecord, EscalationReason, RequestOutcome, Settlement, TaskName, Template, Tier,
    TokenUsage, Usd,
};

use crate::{Histogram, TemplateRecord};

/// A span of time: from its first millisecond up to, and without, its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The first, milliseconds since the Unix epoch.
    pub from_unix_ms: i64,
    /// The first that no longer belongs to it.
    pub until_unix_ms: i64,
}

impl TimeRange {
    /// All time.
    pub const ALL: Self = Self { from_unix_ms: i64::MIN, until_unix_ms: i64::MAX };

    /// Returns whether a time belongs to it.
    pub const fn contains(&self, unix_ms: i64) -> bool {
        self.from_unix_ms <= unix_ms && unix_ms < self.until_unix_ms
    }
}

/// By what usage is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// Not at all.
    None,
    /// By the request's task.
    Task,
    /// By the request's prompt template.
    Template,
    /// By the attempt's tier.
    Tier,
    /// By the attempt's model.
    Model,
    /// By the key that the caller showed.
    Caller,
    /// By the path that was asked.
    Endpoint,
    /// By the UTC day of the request's arrival.
    Day,
}

impl GroupBy {
    /// Every grouping.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::Task,
        Self::Template,
        Self::Tier,
        Self::Model,
        Self::Caller,
        Self::Endpoint,
        Self::Day,
    ];

    /// Returns the grouping's name: what each row is about.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "all",
            Self::Task => "task",
            Self::Template => "template",
            Self::Tier => "tier",
            Self::Model => "model",
            Self::Caller => "caller",
            Self::Endpoint => "endpoint",
            Self::Day => "day",
        }
    }
}

/// What a row of usage is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKey {
    /// Everything.
    All,
    /// One task; `None` for requests without one.
    Task(Option<TaskName>),
    /// One template; `None` for requests without one.
    Template(Option<Template>),
    /// One tier; `None` for requests for which no backend was asked.
    Tier(Option<Tier>),
    /// One model; `None` for requests for which no backend was asked.
    Model(Option<Arc<str>>),
    /// The name of one key; `None` for requests without a key.
    Caller(Option<Arc<str>>),
    /// One path; `None` for requests from before paths were kept.
    Endpoint(Option<Arc<str>>),
    /// One day, counted from 1970-01-01, in UTC.
    Day(i64),
}

impl std::fmt::Display for GroupKey {
    /// Writes what stands in a table: a name, a day as `YYYY-MM-DD`, or `-`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Task(Some(task)) => task.fmt(f),
            Self::Template(Some(template)) => template.fmt(f),
            Self::Tier(Some(tier)) => tier.fmt(f),
            Self::Model(Some(name)) | Self::Caller(Some(name)) | Self::Endpoint(Some(name)) => {
                f.write_str(name)
            }
            Self::Task(None)
            | Self::Template(None)
            | Self::Tier(None)
            | Self::Model(None)
            | Self::Caller(None)
            | Self::Endpoint(None) => f.write_str("-"),
            Self::Day(day) => match date_of(*day) {
                Some(date) => date.fmt(f),
                None => write!(f, "day {day}"),
            },
        }
    }
}

/// Returns the date of a day; `None` far outside of the years that people count.
fn date_of(day: i64) -> Option<jiff::civil::Date> {
    jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().try_days(day).ok()?).ok()
}

/// A model on its tier: what an attempt ran on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rung {
    /// The tier.
    pub tier: Tier,
    /// The model, as its backend names it.
    pub model: Arc<str>,
}

/// Returns the place of the attempt that decided how the request ended: the accepted one, else the last.
pub fn deciding_attempt(attempts: &[AttemptRecord]) -> Option<usize> {
    let accepted = attempts.iter().position(|attempt| attempt.outcome == AttemptOutcome::Accepted);
    accepted.or(attempts.len().checked_sub(1))
}

/// What a group of requests did and cost. All sums stop at the largest value that they can hold.
///
/// **How a request with several attempts is split over tiers or models.** What belongs to an attempt (its tokens, cost,
/// escalation) is counted where that attempt ran. What belongs to the request (its outcome, latency, baseline) is
/// counted where its *deciding* attempt ran: the accepted one, else the last. So the rows of every grouping add up to
/// the row of [`GroupBy::None`], exactly, and a tier that drafts what another tier answers shows its true, negative
/// saving.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests.
    pub requests: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Of these, refused before a backend was asked.
    pub refused: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Of these, given up by the caller.
    pub cancelled: u64,
    /// Answered requests by the tier that answered, in the order of [`Tier::ALL`].
    pub answered_by_tier: [u64; 3],
    /// Attempts, the discarded, failed and cancelled ones included.
    pub attempts: u64,
    /// The tokens of all attempts whose backend counted them.
    pub tokens: TokenUsage,
    /// Attempts whose backend did not count tokens.
    pub attempts_uncounted: u64,
    /// What all priced attempts cost.
    pub spend: Usd,
    /// Attempts without a cost. They are not free: `spend` is too low by what they cost.
    pub attempts_unpriced: u64,
    /// Requests with such an attempt.
    pub requests_unpriced: u64,
    /// What was saved.
    pub savings: Savings,
    /// Time from arrival to the last byte of answered requests.
    pub latency: Histogram,
    /// Attempts that were not accepted, by reason.
    pub escalations: BTreeMap<EscalationReason, u64>,
    /// When the group's last request arrived, milliseconds since the Unix epoch.
    pub last_arrival_unix_ms: Option<i64>,
}

/// What was saved against the baseline, over the requests for which that can be said.
///
/// A request is compared when all its attempts have a cost and it has a baseline; every attempt counts, accepted or not.
/// All others are excluded, and said to be, so that an unpriced attempt can never look like a saving. A request without
/// attempts and without a baseline costs nothing and saves nothing, and is in neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Savings {
    /// Requests compared.
    pub requests: u64,
    /// What they would have cost at the baseline.
    pub baseline: Usd,
    /// What they did cost.
    pub spend: Usd,
    /// Requests excluded.
    pub excluded_requests: u64,
    /// What is known of their cost.
    pub excluded_spend: Usd,
}

impl Savings {
    /// Returns the baseline less the cost, negative when Bantam cost more.
    pub const fn saved(&self) -> Usd {
        self.baseline.saturating_sub(self.spend)
    }
}

impl Usage {
    /// Adds what belongs to a request as a whole.
    pub fn add_request(&mut self, request: &Settlement) {
        bump(&mut self.requests, 1);
        let deciding = deciding_attempt(&request.attempts).and_then(|at| request.attempts.get(at));
        match request.outcome {
            RequestOutcome::Answered => {
                bump(&mut self.answered, 1);
                let tiers = Tier::ALL.into_iter().zip(&mut self.answered_by_tier);
                let answered_by = deciding.map(|attempt| attempt.tier);
                tiers.filter(|(tier, _)| Some(*tier) == answered_by).for_each(|(_, count)| bump(count, 1));
                self.latency.record(request.duration_us);
            }
            RequestOutcome::Refused => bump(&mut self.refused, 1),
            RequestOutcome::Failed => bump(&mut self.failed, 1),
            RequestOutcome::Cancelled => bump(&mut self.cancelled, 1),
        }
        let is_unpriced = request.attempts.iter().any(|attempt| attempt.cost.is_none());
        bump(&mut self.requests_unpriced, is_unpriced.into());
        match request.baseline_cost {
            Some(baseline) if !is_unpriced => {
                bump(&mut self.savings.requests, 1);
                self.savings.baseline = self.savings.baseline.saturating_add(baseline);
            }
            None if request.attempts.is_empty() => {}
            _ => bump(&mut self.savings.excluded_requests, 1),
        }
        self.last_arrival_unix_ms = self.last_arrival_unix_ms.max(Some(request.arrived_unix_ms));
    }

    /// Adds what belongs to one attempt of `request`.
    pub fn add_attempt(&mut self, request: &Settlement, attempt: &AttemptRecord) {
        bump(&mut self.attempts, 1);
        match attempt.usage {
            Some(usage) => {
                self.tokens = self.tokens.plus(usage.tokens);
            }
            None => bump(&mut self.attempts_uncounted, 1),
        }
        let is_compared =
            request.baseline_cost.is_some() && request.attempts.iter().all(|attempt| attempt.cost.is_some());
        match attempt.cost {
            Some(cost) => {
                self.spend = self.spend.saturating_add(cost);
                let spend =
                    if is_compared { &mut self.savings.spend } else { &mut self.savings.excluded_spend };
                *spend = spend.saturating_add(cost);
            }
            None => bump(&mut self.attempts_unpriced, 1),
        }
        if let Some(reason) = attempt.outcome.reason() {
            bump(self.escalations.entry(reason).or_default(), 1);
        }
    }

    /// Adds the sums of another group.
    pub fn merge(&mut self, other: &Self) {
        let counts = [
            (&mut self.requests, other.requests),
            (&mut self.answered, other.answered),
            (&mut self.refused, other.refused),
            (&mut self.failed, other.failed),
            (&mut self.cancelled, other.cancelled),
            (&mut self.attempts, other.attempts),
            (&mut self.attempts_uncounted, other.attempts_uncounted),
            (&mut self.attempts_unpriced, other.attempts_unpriced),
            (&mut self.requests_unpriced, other.requests_unpriced),
            (&mut self.savings.requests, other.savings.requests),
            (&mut self.savings.excluded_requests, other.savings.excluded_requests),
        ];
        counts.into_iter().for_each(|(sum, part)| bump(sum, part));
        self.tokens = self.tokens.plus(other.tokens);
        self.answered_by_tier.iter_mut().zip(other.answered_by_tier).for_each(|(sum, part)| bump(sum, part));
        let money = [
            (&mut self.spend, other.spend),
            (&mut self.savings.baseline, other.savings.baseline),
            (&mut self.savings.spend, other.savings.spend),
            (&mut self.savings.excluded_spend, other.savings.excluded_spend),
        ];
        money.into_iter().for_each(|(sum, part)| *sum = sum.saturating_add(part));
        self.latency.merge(&other.latency);
        for (reason, count) in &other.escalations {
            bump(self.escalations.entry(*reason).or_default(), *count);
        }
        self.last_arrival_unix_ms = self.last_arrival_unix_ms.max(other.last_arrival_unix_ms);
    }

    /// Returns the share of attempts without a cost, 0 to 1.
    pub fn unpriced_share(&self) -> f64 {
        share(self.attempts_unpriced, self.attempts)
    }

    /// Returns the share of answered requests that `tier` answered, 0 to 1.
    pub fn answered_share(&self, tier: Tier) -> f64 {
        let answered = Tier::ALL.into_iter().zip(self.answered_by_tier).find(|(each, _)| *each == tier);
        share(answered.map_or(0, |(_, count)| count), self.answered)
    }
}

/// Adds to a count, which stops at the largest that it can hold: an upstream may claim any number of tokens.
const fn bump(sum: &mut u64, part: u64) {
    *sum = sum.saturating_add(part);
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// One group of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// What the row is about.
    pub key: GroupKey,
    /// What the group did and cost.
    pub usage: Usage,
}

/// A discovered template and its traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateUsage {
    /// The template.
    pub record: TemplateRecord,
    /// What its requests did and cost.
    pub usage: Usage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_as_its_date() {
        for (day, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_778, "2026-11-21"),
            (i64::MAX, "day 9223372036854775807"),
        ] {
            assert_eq!(GroupKey::Day(day).to_string(), expected);
        }
    }
}
