//! What is kept beside the rows so that reading stays fast, as the rows are added.

use std::hash::BuildHasher;
use std::sync::Arc;

use bantam_books::{GroupBy, GroupKey, Rung, Usage, deciding_attempt};
use bantam_types::{AttemptRecord, RequestOutcome, Settlement, TaskName, Template};
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use rusqlite::Connection;

use super::blocks::{Blocks, Combo};
use super::rollups::{Rollups, hour_of};
use super::row::Names;

/// What requests have in common that are added up together before a table is touched.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) hour: i64,
    template: Option<Template>,
    endpoint: Option<Arc<str>>,
    task: Option<TaskName>,
    caller: Option<Arc<str>>,
    outcome: RequestOutcome,
    rung: Option<Rung>,
}

impl Shape {
    /// Returns the group that the shape belongs to in a grouping.
    pub(super) fn key(&self, by: GroupBy) -> GroupKey {
        match by {
            GroupBy::None | GroupBy::Day => GroupKey::All,
            GroupBy::Task => GroupKey::Task(self.task.clone()),
            GroupBy::Template => GroupKey::Template(self.template),
            GroupBy::Tier => GroupKey::Tier(self.rung.as_ref().map(|rung| rung.tier)),
            GroupBy::Model => GroupKey::Model(self.rung.as_ref().map(|rung| Arc::clone(&rung.model))),
            GroupBy::Caller => GroupKey::Caller(self.caller.clone()),
            GroupBy::Endpoint => GroupKey::Endpoint(self.endpoint.clone()),
        }
    }

    fn of(request: &Settlement, endpoint: Option<Arc<str>>, attempt: Option<&AttemptRecord>) -> Self {
        Self {
            hour: hour_of(request.arrived_unix_ms),
            template: request.template,
            endpoint,
            task: request.task.clone(),
            caller: request.caller.clone(),
            outcome: request.outcome,
            rung: attempt.map(|attempt| Rung { tier: attempt.tier, model: Arc::clone(&attempt.model) }),
        }
    }

    /// Returns whether an attempt of a request, or a request without one, is of this shape.
    fn is_of(&self, request: &Settlement, attempt: Option<&AttemptRecord>) -> bool {
        let rung = self.rung.as_ref().map(|rung| (rung.tier, &rung.model));
        self.hour == hour_of(request.arrived_unix_ms)
            && self.template == request.template
            && self.endpoint.as_deref() == request.endpoint.as_deref()
            && self.task == request.task
            && self.caller == request.caller
            && self.outcome == request.outcome
            && rung == attempt.map(|attempt| (attempt.tier, &attempt.model))
    }

    fn combo(&self) -> Combo {
        Combo {
            task: self.task.clone(),
            caller: self.caller.clone(),
            outcome: self.outcome,
            rung: self.rung.clone(),
        }
    }
}

/// The roll-ups and the blocks, and what came since they were written last.
#[derive(Default)]
pub(super) struct Summaries {
    added: HashTable<Added>,
    hasher: DefaultHashBuilder,
    endpoints: Names,
    rollups: Rollups,
    pub(super) blocks: Blocks,
}

struct Added {
    hash: u64,
    shape: Shape,
    combo: u32,
    usage: Usage,
}

impl Summaries {
    /// With more shapes than this, what was added should be written.
    const SHAPES_MAX: usize = 8192;

    /// Adds a request that has become a row.
    pub(super) fn add(
        &mut self,
        connection: &Connection,
        seq: i64,
        request: &Settlement,
    ) -> rusqlite::Result<()> {
        self.blocks.begin(connection, seq, request.arrived_unix_ms)?;
        let deciding = deciding_attempt(&request.attempts);
        for (at, attempt) in request.attempts.iter().enumerate() {
            let usage = self.usage(connection, seq, request, Some(attempt))?;
            if deciding == Some(at) {
                usage.add_request(request);
            }
            usage.add_attempt(request, attempt);
        }
        if deciding.is_none() {
            self.usage(connection, seq, request, None)?.add_request(request);
        }
        Ok(())
    }

    /// Notes the place of a request under its shape, and returns what is added up for it.
    fn usage(
        &mut self,
        connection: &Connection,
        seq: i64,
        request: &Settlement,
        attempt: Option<&AttemptRecord>,
    ) -> rusqlite::Result<&mut Usage> {
        let Settlement { template, endpoint, task, caller, outcome, arrived_unix_ms, .. } = request;
        let rung = attempt.map(|attempt| (attempt.tier, &attempt.model));
        let hour = hour_of(*arrived_unix_ms);
        let hash = self.hasher.hash_one((hour, template, endpoint, task, caller, outcome, rung));
        let entry = self.added.entry(hash, |added| added.shape.is_of(request, attempt), |added| added.hash);
        let added = match entry {
            Entry::Occupied(added) => added.into_mut(),
            Entry::Vacant(place) => {
                let endpoint = request.endpoint.as_deref().map(|endpoint| self.endpoints.known(endpoint));
                let shape = Shape::of(request, endpoint, attempt);
                let combo = self.blocks.id(connection, shape.combo())?;
                place.insert(Added { hash, shape, combo, usage: Usage::default() }).into_mut()
            }
        };
        self.blocks.add(added.combo, seq);
        Ok(&mut added.usage)
    }

    /// Returns whether much was added since the last [`write`](Self::write).
    pub(super) fn is_large(&self) -> bool {
        self.added.len() > Self::SHAPES_MAX
    }

    /// Brings everything that was added into the tables.
    pub(super) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let added = self.added.drain().map(|added| (added.shape, added.usage));
        self.rollups.write(connection, added)?;
        self.blocks.write(connection)
    }
}
