//! Adding requests up into groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use bantam_types::Settlement;

use crate::{GroupBy, GroupKey, Rung, TimeRange, Usage, UsageRow, deciding_attempt};

const DAY_MS: i64 = 86_400_000;

/// Adds requests up into the rows of a report.
#[derive(Debug)]
pub struct Tally {
    range: TimeRange,
    by: GroupBy,
    rows: BTreeMap<GroupKey, Usage>,
}

impl Tally {
    /// Returns a report without requests over a span of time.
    pub fn new(range: TimeRange, by: GroupBy) -> Self {
        let everything = (by == GroupBy::None).then(|| (GroupKey::All, Usage::default()));
        Self { range, by, rows: everything.into_iter().collect() }
    }

    /// Adds a request, if it arrived in the range.
    pub fn add(&mut self, request: &Settlement) {
        if !self.range.contains(request.arrived_unix_ms) {
            return;
        }
        let rung = |at: usize| {
            let attempt = request.attempts.get(at)?;
            Some(Rung { tier: attempt.tier, model: Arc::clone(&attempt.model) })
        };
        let deciding = deciding_attempt(&request.attempts).and_then(rung);
        self.row(request, deciding).add_request(request);
        for (at, attempt) in request.attempts.iter().enumerate() {
            self.row(request, rung(at)).add_attempt(request, attempt);
        }
    }

    /// Adds sums under a key that the caller knows: of requests that were added up before.
    pub fn merge(&mut self, key: GroupKey, usage: &Usage) {
        self.rows.entry(key).or_default().merge(usage);
    }

    fn row(&mut self, request: &Settlement, rung: Option<Rung>) -> &mut Usage {
        let key = match self.by {
            GroupBy::None => GroupKey::All,
            GroupBy::Task => GroupKey::Task(request.task.clone()),
            GroupBy::Template => GroupKey::Template(request.template),
            GroupBy::Tier => GroupKey::Tier(rung.map(|rung| rung.tier)),
            GroupBy::Model => GroupKey::Model(rung.map(|rung| rung.model)),
            GroupBy::Caller => GroupKey::Caller(request.caller.clone()),
            GroupBy::Endpoint => GroupKey::Endpoint(request.endpoint.as_deref().map(Arc::from)),
            GroupBy::Day => GroupKey::Day(request.arrived_unix_ms.div_euclid(DAY_MS)),
        };
        self.rows.entry(key).or_default()
    }

    /// Returns the rows in the order of their keys.
    pub fn into_rows(self) -> Vec<UsageRow> {
        self.rows.into_iter().map(|(key, usage)| UsageRow { key, usage }).collect()
    }
}
