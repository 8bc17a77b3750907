//! What a reader may ask, and what it is told.

use std::collections::BTreeMap;

use bantam_types::{EscalationReason, RequestOutcome, TaskName, Template, Tier, TokenUsage, Usd};

use crate::entry::TemplateRecord;

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
    /// By the UTC day of the request's arrival.
    Day,
}

/// What a row of usage is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKey {
    /// Everything.
    All,
    /// One task; `None` for the requests of none.
    Task(Option<TaskName>),
    /// One template; `None` for the requests of none.
    Template(Option<Template>),
    /// One tier; `None` for requests that no backend was asked for.
    Tier(Option<Tier>),
    /// One model; `None` for requests that no backend was asked for.
    Model(Option<String>),
    /// One day, counted from 1970-01-01, in UTC.
    Day(i64),
}

/// What a group of requests did and cost.
///
/// **How a request with several attempts is split over tiers or models.** What belongs to an attempt
/// (its tokens, cost, escalation) is counted where that attempt ran. What belongs to the request
/// (its outcome, latency, baseline) is counted where its *deciding* attempt ran: the accepted one,
/// else the last. So the rows of every grouping add up to the row of [`GroupBy::None`], exactly, and
/// a tier that drafts what another tier answers shows its true, negative saving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// What the row is about.
    pub key: GroupKey,
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
    pub latency: Option<Latency>,
    /// Attempts that were not accepted, by reason.
    pub escalations: BTreeMap<EscalationReason, u64>,
    /// When the group's last request arrived, milliseconds since the Unix epoch.
    pub last_arrival_unix_ms: Option<i64>,
}

/// What was saved against the baseline, over the requests for which that can be said.
///
/// A request is compared when all its attempts have a cost and it has a baseline; every attempt
/// counts, accepted or not. All others are excluded, and said to be, so that an unpriced attempt can
/// never look like a saving. A request without attempts and without a baseline costs nothing and saves
/// nothing, and is in neither.
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

/// Percentiles by nearest rank: each is a time that a request really took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Half of the requests took no longer, microseconds.
    pub p50_us: u64,
    /// 95 % of the requests took no longer, microseconds.
    pub p95_us: u64,
}

impl UsageRow {
    /// Returns a row in which nothing happened.
    pub(crate) fn empty(key: GroupKey) -> Self {
        Self {
            key,
            requests: 0,
            answered: 0,
            refused: 0,
            failed: 0,
            cancelled: 0,
            answered_by_tier: [0; 3],
            attempts: 0,
            tokens: TokenUsage::default(),
            attempts_uncounted: 0,
            spend: Usd::ZERO,
            attempts_unpriced: 0,
            requests_unpriced: 0,
            savings: Savings::default(),
            latency: None,
            escalations: BTreeMap::new(),
            last_arrival_unix_ms: None,
        }
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

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A discovered template and its traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateUsage {
    /// The template.
    pub record: TemplateRecord,
    /// What its requests did and cost.
    pub usage: UsageRow,
}

/// Which requests are listed. The default is all.
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
}

impl std::fmt::Display for GroupKey {
    /// Writes what stands in a table: a name, a day as `YYYY-MM-DD`, or `-`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Task(Some(task)) => task.fmt(f),
            Self::Template(Some(template)) => template.fmt(f),
            Self::Tier(Some(tier)) => tier.fmt(f),
            Self::Model(Some(model)) => f.write_str(model),
            Self::Task(None) | Self::Template(None) | Self::Tier(None) | Self::Model(None) => {
                f.write_str("-")
            }
            Self::Day(day) => write_day(f, *day),
        }
    }
}

/// Writes the date of a day of the proleptic Gregorian calendar. Years are counted from March, so
/// that the leap day is the last of its year, and in cycles of 400 years, which all have the same
/// length.
fn write_day(f: &mut std::fmt::Formatter<'_>, day: i64) -> std::fmt::Result {
    const DAYS_OF_CYCLE: i64 = 146_097;
    const DAYS_TO_MARCH_0000: i64 = 719_468;
    let day = day.saturating_add(DAYS_TO_MARCH_0000);
    let (cycle, of_cycle) = (day.div_euclid(DAYS_OF_CYCLE), day.rem_euclid(DAYS_OF_CYCLE));
    let year = (of_cycle - of_cycle / 1460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year + cycle * 400 + i64::from(month <= 2);
    write!(f, "{year:04}-{month:02}-{day_of_month:02}")
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
        ] {
            assert_eq!(GroupKey::Day(day).to_string(), expected);
        }
    }
}
