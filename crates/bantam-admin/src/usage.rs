//! What was spent, what it would have cost, what was saved.

use std::collections::BTreeMap;

use bantam_books::{BooksReader, GroupBy, ReadError, Savings, TimeRange, Usage, UsageRow};
use bantam_types::Tier;
use serde::Serialize;

/// What requests did and cost, by group and in all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UsageReport {
    /// By what it is split: `task`, `tier`, `model`, `caller`, `endpoint`, `day`, or `all`.
    pub by: &'static str,
    /// One row a group.
    pub rows: Vec<UsageFigures>,
    /// All groups together.
    pub total: Option<UsageFigures>,
}

/// What one group of requests did and cost. Amounts are exact decimals in US dollars.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UsageFigures {
    /// What the row is about; `-` for requests without one.
    pub key: String,
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
    /// Answered requests by the tier that answered.
    pub answered_by_tier: BTreeMap<&'static str, u64>,
    /// Attempts, those without an answer included.
    pub attempts: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Of these, from a provider's cache.
    pub cached_input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Attempts whose backend did not count tokens.
    pub attempts_uncounted: u64,
    /// What all priced attempts cost.
    pub spend_usd: String,
    /// Attempts without a cost.
    pub attempts_unpriced: u64,
    /// Requests with such an attempt.
    pub requests_unpriced: u64,
    /// The share of attempts without a cost, 0 to 1.
    pub unpriced_share: f64,
    /// What was saved.
    pub savings: SavingsFigures,
    /// Half of the answered requests took no longer, milliseconds.
    pub p50_ms: Option<f64>,
    /// 95 % of the answered requests took no longer, milliseconds.
    pub p95_ms: Option<f64>,
    /// Attempts that were not accepted, by reason.
    pub escalations: BTreeMap<&'static str, u64>,
}

/// What was saved, over the requests for which that can be said: `baseline` less `spend` is `saved`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SavingsFigures {
    /// Requests compared.
    pub requests: u64,
    /// What they would have cost at the baseline model.
    pub baseline_usd: String,
    /// What they did cost.
    pub spend_usd: String,
    /// The difference, negative when Bantam cost more.
    pub saved_usd: String,
    /// Requests without a baseline, or with an attempt of unknown cost.
    pub excluded_requests: u64,
    /// What is known of their cost.
    pub excluded_spend_usd: String,
}

impl From<&UsageRow> for UsageFigures {
    fn from(row: &UsageRow) -> Self {
        let usage = &row.usage;
        Self {
            key: row.key.to_string(),
            requests: usage.requests,
            answered: usage.answered,
            refused: usage.refused,
            failed: usage.failed,
            cancelled: usage.cancelled,
            answered_by_tier: Tier::ALL.map(Tier::as_str).into_iter().zip(usage.answered_by_tier).collect(),
            attempts: usage.attempts,
            input_tokens: usage.tokens.input,
            cached_input_tokens: usage.tokens.cached_input,
            output_tokens: usage.tokens.output,
            attempts_uncounted: usage.attempts_uncounted,
            spend_usd: usage.spend.to_string(),
            attempts_unpriced: usage.attempts_unpriced,
            requests_unpriced: usage.requests_unpriced,
            unpriced_share: usage.unpriced_share(),
            savings: (&usage.savings).into(),
            p50_ms: percentile_ms(usage, 50),
            p95_ms: percentile_ms(usage, 95),
            escalations: usage.escalations.iter().map(|(reason, count)| (reason.as_str(), *count)).collect(),
        }
    }
}

impl From<&Savings> for SavingsFigures {
    fn from(savings: &Savings) -> Self {
        Self {
            requests: savings.requests,
            baseline_usd: savings.baseline.to_string(),
            spend_usd: savings.spend.to_string(),
            saved_usd: savings.saved().to_string(),
            excluded_requests: savings.excluded_requests,
            excluded_spend_usd: savings.excluded_spend.to_string(),
        }
    }
}

/// Returns a percentile of the latency, milliseconds.
pub(crate) fn percentile_ms(usage: &Usage, percent: u8) -> Option<f64> {
    Some(usage.latency.percentile(percent)? as f64 / 1000.0)
}

/// Requests by group and in all, as they are added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRows {
    /// By what they are split.
    pub by: GroupBy,
    /// One row a group.
    pub rows: Vec<UsageRow>,
    /// All groups together.
    pub total: Option<UsageRow>,
}

impl UsageRows {
    /// Returns the figures as programs read them.
    pub fn report(&self) -> UsageReport {
        UsageReport {
            by: self.by.as_str(),
            rows: self.rows.iter().map(UsageFigures::from).collect(),
            total: self.total.as_ref().map(UsageFigures::from),
        }
    }

    /// Returns what should be said below the tables: sums that have no column.
    pub fn remarks(&self) -> Vec<String> {
        self.total.iter().flat_map(|total| remarks(&total.usage)).collect()
    }
}

fn remarks(total: &Usage) -> Vec<String> {
    let (mut lines, savings) = (Vec::new(), &total.savings);
    if savings.requests > 0 {
        let [saved, baseline] = [savings.saved(), savings.baseline].map(crate::dollars_text);
        lines.push(format!("saved {saved} of {baseline} on {} compared requests", savings.requests));
    }
    if savings.excluded_requests > 0 {
        let (spend, requests) = (crate::dollars_text(savings.excluded_spend), savings.excluded_requests);
        lines.push(format!("spent {spend} more on {requests} requests without a baseline or a price"));
    }
    if total.cancelled > 0 {
        lines.push(format!("{} requests were given up by their callers", total.cancelled));
    }
    if !total.escalations.is_empty() {
        let reasons = total.escalations.iter().map(|(reason, count)| format!("{reason} {count}"));
        lines.push(format!("not accepted: {}", reasons.collect::<Vec<_>>().join(", ")));
    }
    lines
}

/// Returns what the requests that arrived in `range` did and cost.
///
/// # Errors
/// When the books cannot be read.
pub async fn usage(reader: &dyn BooksReader, range: TimeRange, by: GroupBy) -> Result<UsageRows, ReadError> {
    let rows = reader.usage(range, by).await?;
    let total = match by {
        GroupBy::None => rows.first().cloned(),
        _ => reader.usage(range, GroupBy::None).await?.pop(),
    };
    Ok(UsageRows { by, rows, total })
}

/// The text is not a day.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a day")]
pub struct ParseDayError(pub String);

/// Returns the first millisecond of a day in UTC, milliseconds since the Unix epoch.
///
/// # Errors
/// When it is not written as `YYYY-MM-DD`, or far outside of the years that people count.
pub fn day_start(day: &str) -> Result<i64, ParseDayError> {
    let bad = || ParseDayError(day.chars().take(80).collect());
    let date = jiff::civil::Date::strptime("%Y-%m-%d", day).map_err(|_| bad())?;
    let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| bad())?;
    Ok(midnight.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use bantam_books::conformance::requests;
    use bantam_books::{Books, MemoryBooks, block_on};

    use super::*;

    fn rows(by: GroupBy) -> UsageRows {
        let books = MemoryBooks::new();
        for request in requests(60) {
            books.settle(&request, None).unwrap().wait().unwrap();
        }
        block_on(usage(&books, TimeRange::ALL, by)).unwrap()
    }

    #[test]
    fn the_report_is_json_that_stays_as_it_is() {
        insta::assert_json_snapshot!(rows(GroupBy::Tier).report());
    }

    #[test]
    fn what_has_no_column_is_said_below() {
        insta::assert_debug_snapshot!(rows(GroupBy::None).remarks());
        assert_eq!(remarks(&Usage::default()), [""; 0]);
    }

    #[test]
    fn baseline_less_spend_is_what_was_saved_in_every_row() {
        for by in [GroupBy::None, GroupBy::Task, GroupBy::Model, GroupBy::Caller, GroupBy::Day] {
            for row in rows(by).rows {
                let savings = row.usage.savings;
                assert_eq!(savings.baseline.saturating_sub(savings.spend), savings.saved());
                let picodollars = savings.spend.picodollars() + savings.excluded_spend.picodollars();
                assert_eq!(picodollars, row.usage.spend.picodollars(), "{row:?}");
            }
        }
    }

    #[test]
    fn a_day_is_its_midnight_in_utc() {
        assert_eq!(day_start("1970-01-02"), Ok(86_400_000));
        for bad in ["tomorrow", "2026-02-30", "", "2026-11-21T00:00"] {
            assert!(day_start(bad).is_err(), "{bad}");
        }
    }
}
