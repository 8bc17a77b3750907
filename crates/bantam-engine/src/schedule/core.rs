//! The scheduler without its thread: everything that happens between two steps of the model.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::adapters::LoadedAdapter;
use super::fair_queue::FairQueue;
use super::model::{ModelShape, StepModel, StepSpan};
use super::options::SchedulerOptions;
use super::pace::Pace;
use super::plan::PlannedSpan;
use super::request::RequestError;
use super::sequence::{Sequence, Work, panic_message};
use super::statistics::SchedulerStatistics;
use crate::prefix::{Page, PagePool, PrefixCache};

/// A model and all its requests.
pub(super) struct Core<M: StepModel> {
    model: M,
    pub(super) state: SchedulerState<M::Adapter>,
}

/// The scheduler's state between two steps.
pub(super) struct SchedulerState<A> {
    pub(super) shape: ModelShape,
    pub(super) options: SchedulerOptions,
    pub(super) pool: PagePool,
    pub(super) cache: PrefixCache,
    /// Requests that have not started.
    pub(super) queue: FairQueue<Sequence<A>>,
    /// Requests that had started and lost their pages.
    pub(super) parked: BTreeMap<u64, Sequence<A>>,
    /// Requests that have pages, oldest first.
    pub(super) running: BTreeMap<u64, Sequence<A>>,
    /// Pages to copy before the next step: source and target.
    pub(super) copies: Vec<(Page, Page)>,
    /// Adapters that may have cached prefixes.
    pub(super) adapters: HashMap<u64, Weak<LoadedAdapter<A>>>,
    pub(super) statistics: SchedulerStatistics,
    pub(super) pace: Pace,
}

impl<M: StepModel> Core<M> {
    pub(super) fn new(model: M, options: SchedulerOptions) -> Self {
        let shape = model.shape();
        let state = SchedulerState {
            shape,
            pool: PagePool::new(shape.pages.min(options.first_pages)),
            cache: PrefixCache::new(options.cached_pages_max),
            queue: FairQueue::new(),
            parked: BTreeMap::new(),
            running: BTreeMap::new(),
            copies: Vec::new(),
            adapters: HashMap::new(),
            statistics: SchedulerStatistics::default(),
            pace: Pace::default(),
            options,
        };
        Self { model, state }
    }

    /// Plans the next step. Returns no spans if nothing can run until a request arrives, a reader reads, or a
    /// deadline passes. The spans must run before the next call.
    pub(super) fn plan(&mut self) -> Vec<PlannedSpan> {
        let now = (self.state.options.clock)();
        self.state.sweep(now);
        let items = self.state.plan();
        for (from, to) in self.state.copies.drain(..) {
            self.model.copy_page(from.id(), to.id());
        }
        self.state.begin(&items, now);
        items
    }

    /// Runs the spans in one pass. If it fails, runs each request alone, so that only the faulty ones fail.
    pub(super) fn run(&mut self, items: &[PlannedSpan]) {
        if items.is_empty() {
            return;
        }
        let begun = (self.state.options.clock)();
        match forward(&mut self.model, &self.state, items) {
            Ok(logits) => {
                let took = (self.state.options.clock)().saturating_duration_since(begun);
                self.state.pace.learn(items.iter().map(|item| item.tokens.len()).sum(), took);
                self.state.settle(items, logits);
            }
            Err(error) => {
                let is_alone = items.iter().all(|item| Some(item.id) == items.first().map(|first| first.id));
                if let (true, Some(item)) = (is_alone, items.first()) {
                    self.state.fail(item.id, error);
                } else {
                    items.chunk_by(|a, b| a.id == b.id).for_each(|alone| self.run(alone));
                }
            }
        }
    }
}

impl<A> SchedulerState<A> {
    /// Queues a request.
    pub(super) fn accept(&mut self, sequence: Sequence<A>) {
        let task = Arc::clone(&sequence.task);
        if let Some(adapter) = &sequence.adapter {
            self.adapters.entry(adapter.id()).or_insert_with(|| Arc::downgrade(adapter));
        }
        self.queue.push(&task, sequence);
    }

    /// Returns whether no request waits or runs.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.parked.is_empty() && self.queue.waiting() == 0
    }

    /// Fails all requests that have not started, or all requests if `is_all`.
    pub(super) fn refuse(&mut self, is_all: bool) {
        let mut refused = self.queue.remove_if(|_| true);
        if is_all {
            refused.extend(std::mem::take(&mut self.parked).into_values());
            refused.extend(std::mem::take(&mut self.running).into_values());
        }
        self.statistics.failed += refused.len() as u64;
        refused.into_iter().for_each(|sequence| sequence.fail(RequestError::ShutDown));
    }

    /// Fails a running request.
    pub(super) fn fail(&mut self, id: u64, error: RequestError) {
        if let Some(sequence) = self.running.remove(&id) {
            self.statistics.failed += 1;
            sequence.fail(error);
        }
    }

    /// Removes a request from the running ones and caches what it has computed.
    pub(super) fn retire(&mut self, id: u64) -> Option<Sequence<A>> {
        let mut sequence = self.running.remove(&id)?;
        let key = sequence.key();
        self.cache.insert(key, &sequence.tokens[..sequence.computed], &mut sequence.table);
        sequence.table.clear();
        Some(sequence)
    }

    /// Returns the counters so far and the current state.
    pub(super) fn statistics(&self) -> SchedulerStatistics {
        SchedulerStatistics {
            waiting: self.queue.waiting(),
            running: self.running.len(),
            preempted: self.parked.len(),
            free_pages: self.pool.free(),
            prefix: self.cache.statistics(),
            ..self.statistics
        }
    }

    /// Drops requests whose callers left or whose deadline passed, and what was cached for dropped adapters.
    fn sweep(&mut self, now: Instant) {
        let is_late = |sequence: &Sequence<A>| sequence.deadline.is_some_and(|deadline| deadline <= now);
        let is_out = |sequence: &Sequence<A>| sequence.replies.is_gone() || is_late(sequence);
        let mut out = self.queue.remove_if(is_out);
        let ids = |sequences: &BTreeMap<u64, Sequence<A>>| -> Vec<u64> {
            sequences.values().filter(|sequence| is_out(sequence)).map(|sequence| sequence.id).collect()
        };
        let (parked, running) = (ids(&self.parked), ids(&self.running));
        out.extend(parked.into_iter().filter_map(|id| self.parked.remove(&id)));
        out.extend(running.into_iter().filter_map(|id| self.retire(id)));
        for sequence in out {
            if sequence.replies.is_gone() {
                self.statistics.cancelled += 1;
            } else {
                self.statistics.failed += 1;
                let waited = now.saturating_duration_since(sequence.trace.submitted);
                let generated = sequence.generated();
                sequence.fail(RequestError::DeadlinePassed { waited, generated });
            }
        }
        let Self { adapters, cache, .. } = self;
        adapters.retain(|id, adapter| {
            let is_alive = adapter.strong_count() > 0;
            if !is_alive {
                cache.forget(Some(*id));
            }
            is_alive
        });
    }

    /// Returns the next deadline.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let begun = self.running.values().chain(self.parked.values());
        begun.chain(self.queue.iter()).filter_map(|sequence| sequence.deadline).min()
    }

    /// Updates the statistics for a step that is about to run, if there is one.
    fn begin(&mut self, items: &[PlannedSpan], now: Instant) {
        let Self { queue, running, parked, .. } = self;
        queue.tidy(|task| running.values().chain(parked.values()).any(|sequence| *sequence.task == *task));
        self.statistics.steps += u64::from(!items.is_empty());
        let step = self.statistics.steps;
        for item in items {
            self.statistics.tokens_computed += item.tokens.len() as u64;
            if let Some(sequence) = self.running.get_mut(&item.id) {
                sequence.trace.started.get_or_insert(now);
                sequence.count_step(step);
            }
        }
    }
}

/// Runs the spans in one pass and returns the requested rows of logits.
fn forward<'m, M: StepModel>(
    model: &'m mut M,
    state: &SchedulerState<M::Adapter>,
    items: &[PlannedSpan],
) -> Result<&'m mut [f32], RequestError> {
    let spans: Vec<StepSpan<'_, M::Adapter>> =
        items.iter().filter_map(|item| span(state.running.get(&item.id)?, item)).collect();
    let rows: usize = spans.iter().map(|span| span.logits.rows(span.tokens.len()).len()).sum();
    let expected = rows * state.shape.vocabulary;
    let run = AssertUnwindSafe(|| {
        let model = model;
        model.forward(&spans)
    });
    let logits = catch_unwind(run)
        .map_err(|payload| RequestError::ModelPanicked { message: panic_message(payload.as_ref()) })?
        .map_err(|error| RequestError::Model(Arc::new(error)))?;
    if logits.len() == expected {
        Ok(logits)
    } else {
        Err(RequestError::WrongLogits { found: logits.len(), expected })
    }
}

fn span<'a, A>(sequence: &'a Sequence<A>, item: &PlannedSpan) -> Option<StepSpan<'a, A>> {
    let adapter = sequence.adapter.as_ref().map(|adapter| adapter.adapter());
    let (tokens, start, table) = match (item.branch, &sequence.work) {
        (Some(index), Work::Score(scoring)) => {
            let branch = scoring.branches.get(index)?;
            (branch.tokens.as_slice(), sequence.prompt, &branch.table)
        }
        _ => (sequence.tokens.get(item.tokens.clone())?, item.tokens.start, &sequence.table),
    };
    Some(StepSpan { tokens, start, pages: table.ids(), adapter, logits: item.wanted })
}
