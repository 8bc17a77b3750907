//! `bantam usage`: what was spent, what it would have cost, what was saved.

use bantam_admin::{day_start, dollars_text, milliseconds_text};
use bantam_books::{GroupBy, TimeRange, Usage};
use bantam_types::Tier;

use crate::books::{open_reader, unreadable};
use crate::cli::{UsageArgs, UsageBy};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

pub(crate) fn run(args: &UsageArgs, globals: &Globals) -> Result<(), Failure> {
    let config = globals.load()?;
    let reader = open_reader(&config.ledger.path)?;
    let start = |day: &Option<String>, open: i64| day.as_deref().map_or(Ok(open), start_of);
    let range = TimeRange {
        from_unix_ms: start(&args.from, i64::MIN)?,
        until_unix_ms: start(&args.until, i64::MAX)?,
    };
    let by = match args.by {
        None => GroupBy::None,
        Some(UsageBy::Task) => GroupBy::Task,
        Some(UsageBy::Tier) => GroupBy::Tier,
        Some(UsageBy::Model) => GroupBy::Model,
        Some(UsageBy::Caller) => GroupBy::Caller,
        Some(UsageBy::Endpoint) => GroupBy::Endpoint,
        Some(UsageBy::Day) => GroupBy::Day,
    };
    let found = super::runtime(1)?.block_on(bantam_admin::usage(&*reader, range, by));
    let found = found.map_err(|error| unreadable(&error))?;
    if globals.json {
        return output::json(&found.report());
    }
    let with_total = |headings: &[&str], cells: fn(&Usage) -> Vec<String>| {
        let heading = [found.by.as_str()].into_iter().chain(headings.iter().copied());
        let mut lines = vec![heading.map(str::to_owned).collect()];
        let line = |name: String, usage: &Usage| [vec![name], cells(usage)].concat();
        lines.extend(found.rows.iter().map(|row| line(row.key.to_string(), &row.usage)));
        if found.rows.len() > 1 {
            lines.extend(found.total.iter().map(|total| line("total".to_owned(), &total.usage)));
        }
        lines
    };
    let costs = ["requests", "refused", "failed", "unpriced", "spend", "baseline", "saved"];
    output::table(&with_total(&costs, cost_cells)).iter().for_each(output::line);
    output::line("");
    let answers = ["local", "mid", "frontier", "p50", "p95"];
    output::table(&with_total(&answers, answer_cells)).iter().for_each(output::line);
    let remarks = found.remarks();
    if !remarks.is_empty() {
        output::line("");
    }
    remarks.iter().for_each(output::line);
    Ok(())
}

fn start_of(day: &str) -> Result<i64, Failure> {
    day_start(day).map_err(|error| {
        Failure::new(Outcome::Usage, error.to_string()).hint("write days as YYYY-MM-DD, such as 2026-11-21")
    })
}

/// Counts and money. What is compared with the baseline stands beside it, so that the three amounts add up.
fn cost_cells(usage: &Usage) -> Vec<String> {
    let Usage { requests, refused, failed, requests_unpriced, savings, .. } = usage;
    let counts = [requests, refused, failed, requests_unpriced].map(u64::to_string);
    let amounts = [savings.spend, savings.baseline, savings.saved()].map(dollars_text);
    counts.into_iter().chain(amounts).collect()
}

/// Who answered, and how fast.
fn answer_cells(usage: &Usage) -> Vec<String> {
    let shares = Tier::ALL.map(|tier| format!("{:.1} %", 100.0 * usage.answered_share(tier)));
    shares.into_iter().chain([50, 95].map(|percent| latency_cell(usage, percent))).collect()
}

/// Returns a percentile of the latency for people.
pub(super) fn latency_cell(usage: &Usage, percent: u8) -> String {
    usage.latency.percentile(percent).map_or_else(|| "-".to_owned(), milliseconds_text)
}
