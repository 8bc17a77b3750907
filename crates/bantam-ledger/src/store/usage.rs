//! Adds up usage: exact integers, summed by the database, put together here.
//!
//! Four passes over the same rows in one read transaction: what belongs to requests, what belongs to
//! attempts, reasons, and durations in order. Each groups by the same key; see
//! [`UsageRow`] for which attempt a request is counted with.

use std::collections::BTreeMap;

use bantam_types::{Template, Tier, Usd};
use rusqlite::{Connection, Row};

use super::query::for_rows;
use super::row::{count, get, name, named, reason};
use crate::error::{DatabaseError, QueryError};
use crate::usage::{GroupBy, GroupKey, Latency, TimeRange, UsageRow};

type Rows = BTreeMap<GroupKey, UsageRow>;

/// Requests with the attempt that decided each.
const REQUESTS: &str = "requests r LEFT JOIN attempts a ON a.seq = r.seq AND a.ordinal = r.decided_by \
     WHERE r.arrived_ms >= ?1 AND r.arrived_ms < ?2";
/// Attempts with the request of each.
const ATTEMPTS: &str =
    "requests r JOIN attempts a ON a.seq = r.seq WHERE r.arrived_ms >= ?1 AND r.arrived_ms < ?2";
/// Whether a request can be compared with the baseline.
const COMPARED: &str = "(r.baseline_pico IS NOT NULL AND r.unpriced = 0)";

/// Returns the usage in `range`, one row a group, in the order of the keys.
pub(super) fn usage(
    connection: &mut Connection,
    range: TimeRange,
    by: GroupBy,
) -> Result<Vec<UsageRow>, QueryError> {
    let transaction = connection.transaction().map_err(DatabaseError::when("begin to read"))?;
    let mut pass = Pass { connection: &transaction, range, by, rows: Rows::new() };
    if by == GroupBy::None {
        pass.rows.insert(GroupKey::All, UsageRow::empty(GroupKey::All));
    }
    pass.add_requests()?;
    pass.add_attempts()?;
    pass.add_escalations()?;
    pass.add_latencies()?;
    Ok(pass.rows.into_values().collect())
}

struct Pass<'c> {
    connection: &'c Connection,
    range: TimeRange,
    by: GroupBy,
    rows: Rows,
}

impl Pass<'_> {
    fn add_requests(&mut self) -> Result<(), QueryError> {
        let (key, baseline) = (key_sql(self.by), sums(&format!("iif({COMPARED}, r.baseline_pico, 0)")));
        let sql = format!(
            "SELECT {key}, count(*), sum(r.outcome = 'answered'), sum(r.outcome = 'refused'), \
             sum(r.outcome = 'failed'), sum(r.outcome = 'cancelled'), \
             sum(r.outcome = 'answered' AND ifnull(a.tier = 'local', 0)), \
             sum(r.outcome = 'answered' AND ifnull(a.tier = 'mid', 0)), \
             sum(r.outcome = 'answered' AND ifnull(a.tier = 'frontier', 0)), \
             sum(r.unpriced > 0), sum({COMPARED}), \
             sum(NOT {COMPARED} AND (r.attempts > 0 OR r.baseline_pico IS NOT NULL)), \
             max(r.arrived_ms), {baseline} FROM {REQUESTS} GROUP BY 1"
        );
        self.for_groups(&sql, |group, row| {
            group.requests = count(row, 1)?;
            group.answered = count(row, 2)?;
            group.refused = count(row, 3)?;
            group.failed = count(row, 4)?;
            group.cancelled = count(row, 5)?;
            group.answered_by_tier = [count(row, 6)?, count(row, 7)?, count(row, 8)?];
            group.requests_unpriced = count(row, 9)?;
            group.savings.requests = count(row, 10)?;
            group.savings.excluded_requests = count(row, 11)?;
            group.last_arrival_unix_ms = get(row, 12)?;
            group.savings.baseline = money(row, 13)?;
            Ok(())
        })
    }

    fn add_attempts(&mut self) -> Result<(), QueryError> {
        let key = key_sql(self.by);
        let [input, cached, output, spend] =
            ["a.tokens_in", "a.tokens_cached", "a.tokens_out", "a.cost_pico"].map(sums);
        let compared = sums(&format!("iif({COMPARED}, a.cost_pico, 0)"));
        let excluded = sums(&format!("iif({COMPARED}, 0, a.cost_pico)"));
        let sql = format!(
            "SELECT {key}, count(*), count(*) - count(a.tokens_in), count(*) - count(a.cost_pico), \
             {input}, {cached}, {output}, {spend}, {compared}, {excluded} FROM {ATTEMPTS} GROUP BY 1"
        );
        self.for_groups(&sql, |group, row| {
            group.attempts = count(row, 1)?;
            group.attempts_uncounted = count(row, 2)?;
            group.attempts_unpriced = count(row, 3)?;
            group.tokens.input = tokens(row, 4)?;
            group.tokens.cached_input = tokens(row, 6)?;
            group.tokens.output = tokens(row, 8)?;
            group.spend = money(row, 10)?;
            group.savings.spend = money(row, 12)?;
            group.savings.excluded_spend = money(row, 14)?;
            Ok(())
        })
    }

    fn add_escalations(&mut self) -> Result<(), QueryError> {
        let key = key_sql(self.by);
        let sql = format!(
            "SELECT {key}, a.reason, count(*) FROM {ATTEMPTS} AND a.reason IS NOT NULL GROUP BY 1, 2"
        );
        self.for_groups(&sql, |group, row| {
            group.escalations.insert(name(row, 1, "reason", reason)?, count(row, 2)?);
            Ok(())
        })
    }

    /// Walks the durations of each group in order and picks those of the two ranks: exact, and no
    /// more memory than the database's sorter takes, which spills to disk.
    fn add_latencies(&mut self) -> Result<(), QueryError> {
        let key = key_sql(self.by);
        let sql =
            format!("SELECT {key}, r.duration_us FROM {REQUESTS} AND r.outcome = 'answered' ORDER BY 1, 2");
        let (mut rank, mut last) = (0, None);
        self.for_groups(&sql, |group, row| {
            if last.as_ref() != Some(&group.key) {
                (rank, last) = (0, Some(group.key.clone()));
            }
            rank += 1;
            let duration_us = count(row, 1)?;
            let latency = group.latency.get_or_insert(Latency { p50_us: 0, p95_us: 0 });
            if rank == nearest_rank(group.answered, 50) {
                latency.p50_us = duration_us;
            }
            if rank == nearest_rank(group.answered, 95) {
                latency.p95_us = duration_us;
            }
            Ok(())
        })
    }

    fn for_groups(
        &mut self,
        sql: &str,
        mut each: impl FnMut(&mut UsageRow, &Row<'_>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let range = (self.range.from_unix_ms, self.range.until_unix_ms);
        for_rows(self.connection, sql, range, |row| {
            let key = group_key(self.by, row)?;
            let group = self.rows.entry(key).or_insert_with_key(|key| UsageRow::empty(key.clone()));
            each(group, row)
        })
    }
}

/// Returns the rank, from one, of the smallest value that `percent` of `count` values do not exceed.
fn nearest_rank(count: u64, percent: u64) -> u64 {
    u64::try_from((u128::from(count) * u128::from(percent)).div_ceil(100)).unwrap_or(count)
}

fn key_sql(by: GroupBy) -> &'static str {
    match by {
        GroupBy::None => "0",
        GroupBy::Task => "r.task",
        GroupBy::Template => "r.template",
        GroupBy::Tier => "a.tier",
        GroupBy::Model => "a.model",
        // Division rounds toward zero; a day begins before its times also before 1970.
        GroupBy::Day => "(r.arrived_ms / 86400000 - (r.arrived_ms % 86400000 < 0))",
    }
}

fn group_key(by: GroupBy, row: &Row<'_>) -> Result<GroupKey, QueryError> {
    Ok(match by {
        GroupBy::None => GroupKey::All,
        GroupBy::Task => GroupKey::Task(named(get(row, 0)?, "task", |name| name.parse().ok())?),
        GroupBy::Template => {
            GroupKey::Template(get::<Option<i64>>(row, 0)?.map(|template| Template(template.cast_unsigned())))
        }
        GroupBy::Tier => GroupKey::Tier(named(get(row, 0)?, "tier", |name| name.parse::<Tier>().ok())?),
        GroupBy::Model => GroupKey::Model(get(row, 0)?),
        GroupBy::Day => GroupKey::Day(get(row, 0)?),
    })
}

/// Returns the SQL of an exact sum in two columns, upper and lower half.
///
/// `sum()` fails on overflow, and one upstream that claims 2⁶³ tokens would then make every report
/// that covers it fail for ever. Halves cannot overflow before there are 2³¹ such rows.
fn sums(column: &str) -> String {
    format!("sum({column} >> 32), sum({column} & 4294967295)")
}

/// Returns the sum whose two halves begin at a column.
fn sum(row: &Row<'_>, at: usize) -> Result<i128, QueryError> {
    let [high, low] = [at, at + 1].map(|at| get::<Option<i64>>(row, at));
    Ok((i128::from(high?.unwrap_or(0)) << 32) + i128::from(low?.unwrap_or(0)))
}

fn money(row: &Row<'_>, at: usize) -> Result<Usd, QueryError> {
    let sum = sum(row, at)?;
    let limit = if sum < 0 { i64::MIN } else { i64::MAX };
    Ok(Usd::from_picodollars(i64::try_from(sum).unwrap_or(limit)))
}

fn tokens(row: &Row<'_>, at: usize) -> Result<u64, QueryError> {
    Ok(u64::try_from(sum(row, at)?.max(0)).unwrap_or(u64::MAX))
}
