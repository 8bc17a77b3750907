//! `bantam usage`: what was spent, what it would have cost, what was saved.

use bantam_ledger::{GroupBy, LedgerReader, TimeRange, UsageRow};
use bantam_types::{Tier, Usd};
use serde_json::{Value, json};

use crate::cli::{UsageArgs, UsageBy};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

pub(crate) fn run(args: &UsageArgs, globals: &Globals) -> Result<(), Failure> {
    let config = globals.load()?;
    let reader = open_reader(&config)?;
    let range = TimeRange {
        from_unix_ms: args.from.as_deref().map_or(Ok(i64::MIN), day_start)?,
        until_unix_ms: args.until.as_deref().map_or(Ok(i64::MAX), day_start)?,
    };
    let (by, heading) = match args.by {
        None => (GroupBy::None, "all"),
        Some(UsageBy::Task) => (GroupBy::Task, "task"),
        Some(UsageBy::Tier) => (GroupBy::Tier, "tier"),
        Some(UsageBy::Model) => (GroupBy::Model, "model"),
        Some(UsageBy::Day) => (GroupBy::Day, "day"),
    };
    let query =
        |by| reader.usage(range, by).map_err(|error| Failure::from_error("cannot read the ledger", &error));
    let rows = query(by)?;
    let total = query(GroupBy::None)?.pop();
    if globals.json {
        let body = json!({
            "by": heading,
            "rows": rows.iter().map(row_json).collect::<Vec<_>>(),
            "total": total.as_ref().map(row_json),
        });
        output::line(body.to_string());
        return Ok(());
    }
    let mut lines = vec![
        [
            heading, "requests", "local", "mid", "frontier", "spend", "baseline", "saved", "unpriced", "p50",
            "p95",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    lines.extend(rows.iter().map(row_cells));
    if rows.len() > 1 {
        lines.extend(total.as_ref().map(|total| {
            let mut cells = row_cells(total);
            if let Some(name) = cells.first_mut() {
                "total".clone_into(name);
            }
            cells
        }));
    }
    output::table(&lines).iter().for_each(output::line);
    if let Some(total) = &total {
        explain(total);
    }
    Ok(())
}

/// Opens the configured ledger for reading, also while a gateway writes it.
pub(crate) fn open_reader(config: &bantam_config::Config) -> Result<LedgerReader, Failure> {
    let path = &config.ledger.path;
    LedgerReader::open(path).map_err(|error| {
        Failure::from_error(format!("cannot read the ledger {}", path.display()), &error)
            .hint("it is made when `bantam serve` runs for the first time")
    })
}

fn explain(total: &UsageRow) {
    let savings = &total.savings;
    if savings.requests > 0 {
        output::line(format!(
            "saved {} of {} on {} compared requests, after everything Bantam spent on them",
            dollars(savings.saved()),
            dollars(savings.baseline),
            savings.requests
        ));
    }
    if savings.excluded_requests > 0 {
        output::line(format!(
            "{} requests are left out of savings: they have an unpriced attempt or no baseline",
            savings.excluded_requests
        ));
    }
    if !total.escalations.is_empty() {
        let reasons = total.escalations.iter().map(|(reason, count)| format!("{reason} {count}"));
        output::line(format!("not accepted: {}", reasons.collect::<Vec<_>>().join(", ")));
    }
}

fn row_cells(row: &UsageRow) -> Vec<String> {
    let share = |tier| format!("{:.1} %", 100.0 * row.answered_share(tier));
    let latency = |pick: fn(&bantam_ledger::Latency) -> u64| {
        row.latency.as_ref().map_or_else(|| "-".to_owned(), |latency| milliseconds(pick(latency)))
    };
    vec![
        row.key.to_string(),
        row.requests.to_string(),
        share(Tier::Local),
        share(Tier::Mid),
        share(Tier::Frontier),
        dollars(row.spend),
        dollars(row.savings.baseline),
        dollars(row.savings.saved()),
        format!("{:.1} %", 100.0 * row.unpriced_share()),
        latency(|latency| latency.p50_us),
        latency(|latency| latency.p95_us),
    ]
}

fn row_json(row: &UsageRow) -> Value {
    let tiers =
        Tier::ALL.iter().zip(row.answered_by_tier).map(|(tier, count)| (tier.to_string(), count.into()));
    let escalations = row.escalations.iter().map(|(reason, count)| (reason.to_string(), (*count).into()));
    json!({
        "key": row.key.to_string(),
        "requests": row.requests,
        "answered": row.answered,
        "refused": row.refused,
        "failed": row.failed,
        "cancelled": row.cancelled,
        "answered_by_tier": tiers.collect::<serde_json::Map<String, Value>>(),
        "attempts": row.attempts,
        "input_tokens": row.tokens.input,
        "cached_input_tokens": row.tokens.cached_input,
        "output_tokens": row.tokens.output,
        "attempts_uncounted": row.attempts_uncounted,
        "spend_usd": row.spend.to_string(),
        "attempts_unpriced": row.attempts_unpriced,
        "requests_unpriced": row.requests_unpriced,
        "unpriced_share": row.unpriced_share(),
        "savings": {
            "requests": row.savings.requests,
            "baseline_usd": row.savings.baseline.to_string(),
            "spend_usd": row.savings.spend.to_string(),
            "saved_usd": row.savings.saved().to_string(),
            "excluded_requests": row.savings.excluded_requests,
        },
        "p50_ms": row.latency.as_ref().map(|latency| latency.p50_us as f64 / 1000.0),
        "p95_ms": row.latency.as_ref().map(|latency| latency.p95_us as f64 / 1000.0),
        "escalations": escalations.collect::<serde_json::Map<String, Value>>(),
    })
}

/// Returns an amount for people: four decimals, more for the very small.
pub(crate) fn dollars(amount: Usd) -> String {
    let dollars = amount.as_dollars();
    let decimals = if dollars != 0.0 && dollars.abs() < 0.01 { 6 } else { 4 };
    let sign = if dollars < 0.0 { "-" } else { "" };
    format!("{sign}${:.decimals$}", dollars.abs())
}

/// Returns microseconds as milliseconds for people.
pub(crate) fn milliseconds(us: u64) -> String {
    let ms = us as f64 / 1000.0;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

fn day_start(day: &str) -> Result<i64, Failure> {
    let date: jiff::civil::Date = day.parse().map_err(|_| {
        Failure::new(Outcome::Usage, format!("`{day}` is no day"))
            .hint("write days as YYYY-MM-DD, such as 2026-11-21")
    })?;
    let midnight = date
        .to_zoned(jiff::tz::TimeZone::UTC)
        .map_err(|error| Failure::from_error(format!("cannot count to {day}"), &error))?;
    Ok(midnight.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_amounts_keep_their_digits() {
        assert_eq!(dollars(Usd::from_picodollars(1_250_000)), "$0.000001");
        assert_eq!(dollars(Usd::from_picodollars(-2_500_000_000_000)), "-$2.5000");
        assert_eq!(dollars(Usd::ZERO), "$0.0000");
    }

    #[test]
    fn a_day_is_its_midnight_in_utc() {
        assert_eq!(day_start("1970-01-02").unwrap(), 86_400_000);
        assert!(day_start("tomorrow").is_err());
    }
}
