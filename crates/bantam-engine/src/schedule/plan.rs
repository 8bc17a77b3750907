//! Plans a step: next tokens first, then branches of scores, then prompts in turns.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::core::SchedulerState;
use super::fair_queue::FairQueue;
use super::sequence::Sequence;
use crate::decoder::LogitRows;
use crate::prefix::PAGE_TOKENS;

/// Most rows of logits for branches in a step. Each row has one logit per token of the vocabulary.
const BRANCH_ROWS_MAX: usize = 64;

/// One span of a planned step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedSpan {
    pub(super) id: u64,
    /// The index of the request's branch; `None` for the request's own tokens.
    pub(super) branch: Option<usize>,
    /// The range of the request's or the branch's tokens.
    pub(super) tokens: Range<usize>,
    pub(super) wanted: LogitRows,
}

impl<A> SchedulerState<A> {
    /// Returns the spans of the next step, grouped by request. All have their pages.
    pub(super) fn plan(&mut self) -> Vec<PlannedSpan> {
        let decoding: Vec<u64> = ids(&self.running, Sequence::is_decoding);
        let budget = self.step_tokens(!decoding.is_empty());
        let mut items = Vec::new();
        self.plan_decoding(&decoding, budget, &mut items);
        self.plan_branches(budget, &mut items);
        let left = budget.saturating_sub(tokens_of(&items));
        self.plan_prefill(left, &mut items);
        items
    }

    /// Adds the next tokens of generating requests, oldest first. If a grammar forces many tokens, they are cut so
    /// that all together take at most half of the step.
    fn plan_decoding(&mut self, ids: &[u64], budget: usize, items: &mut Vec<PlannedSpan>) {
        let share = (budget / 2 / ids.len().max(1)).max(1);
        for id in ids {
            let Some(sequence) = self.running.get(id) else { continue };
            let (start, all, task) = (sequence.computed, sequence.tokens.len(), Arc::clone(&sequence.task));
            let end = all.min(start + share);
            if self.make_room(*id, end, items) {
                self.queue.charge(&task, end - start);
                items.push(PlannedSpan {
                    id: *id,
                    branch: None,
                    tokens: start..end,
                    wanted: last(start..end, all),
                });
            }
        }
    }

    /// Adds branches of scores, oldest request first. At least one always runs, so that none waits forever.
    fn plan_branches(&mut self, budget: usize, items: &mut Vec<PlannedSpan>) {
        let mut left = budget.saturating_sub(tokens_of(items));
        let mut rows = 0;
        let mut is_first = true;
        let scoring = ids(&self.running, |sequence| sequence.is_scoring() && !sequence.is_prefilling());
        for id in scoring {
            let Some(sequence) = self.running.get_mut(&id) else { continue };
            let task = Arc::clone(&sequence.task);
            let Some(scoring) = sequence.scoring() else { continue };
            let branches: Vec<(usize, usize)> =
                scoring.branches.iter().map(|branch| (branch.tokens.len(), branch.first)).collect();
            for (index, (tokens, first)) in branches.into_iter().enumerate() {
                let is_over = tokens > left || rows + tokens - first > BRANCH_ROWS_MAX;
                if is_over && !is_first {
                    return;
                }
                if !self.make_branch_room(id, index, items) {
                    break;
                }
                is_first = false;
                left = left.saturating_sub(tokens);
                rows += tokens - first;
                self.queue.charge(&task, tokens);
                let wanted = LogitRows::From(first);
                items.push(PlannedSpan { id, branch: Some(index), tokens: 0..tokens, wanted });
            }
        }
    }

    /// Adds prompts: first preempted requests, then new ones in turns of the tasks.
    fn plan_prefill(&mut self, budget: usize, items: &mut Vec<PlannedSpan>) {
        let mut is_blocked = false;
        for id in ids(&self.parked, |sequence| !sequence.is_stalled()) {
            let Some(sequence) = self.parked.remove(&id) else { continue };
            if let Err(sequence) = self.admit(sequence) {
                self.parked.insert(id, *sequence);
                is_blocked = true;
                break;
            }
        }
        for sequence in self.running.values() {
            self.queue.keep(&sequence.task);
        }
        let mut granted = BTreeMap::new();
        let mut queue = std::mem::replace(&mut self.queue, FairQueue::new());
        queue.share(budget, |queue, task, most| {
            let Some(id) = self.prefilling(queue, task, &granted, is_blocked) else { return 0 };
            let granted = granted.entry(id).or_insert(0);
            let left = self.running.get(&id).map_or(0, |sequence| sequence.prefill - sequence.computed);
            let taken = most.min(left - *granted);
            *granted += taken;
            taken
        });
        self.queue = queue;
        for (id, tokens) in granted {
            let Some(sequence) = self.running.get(&id) else { continue };
            let range = sequence.computed..sequence.computed + tokens;
            let wanted = last(range.clone(), sequence.tokens.len());
            items.push(PlannedSpan { id, branch: None, tokens: range, wanted });
        }
    }

    /// Returns the task's request to prefill now: a running one, or else the next waiting one if it can start.
    fn prefilling(
        &mut self,
        queue: &mut FairQueue<Sequence<A>>,
        task: &Arc<str>,
        granted: &BTreeMap<u64, usize>,
        is_blocked: bool,
    ) -> Option<u64> {
        let left = |sequence: &Sequence<A>| {
            let granted = granted.get(&sequence.id).copied().unwrap_or(0);
            sequence.prefill.saturating_sub(sequence.computed + granted)
        };
        let of_task = || self.running.values().filter(|sequence| sequence.task == *task);
        if let Some(begun) = of_task().find(|sequence| left(sequence) > 0) {
            return Some(begun.id);
        }
        // Requests that wait for their readers do not count: they lose their pages when others need them.
        let active = of_task().filter(|sequence| !sequence.is_stalled()).count();
        let has_room = active < self.options.running_of_task_max();
        if is_blocked || !has_room {
            return None;
        }
        let sequence = queue.pop(task)?;
        let id = sequence.id;
        match self.admit(sequence) {
            Ok(()) => Some(id),
            Err(sequence) => {
                queue.put_back(task, *sequence);
                None
            }
        }
    }

    /// Returns the step's token limit, which allows at least one token for each generating request.
    fn step_tokens(&self, is_decoding: bool) -> usize {
        if is_decoding {
            let by_time = self.options.step_time_decoding.and_then(|time| self.pace.tokens_in(time));
            let tokens = by_time.map_or(self.options.step_tokens_decoding, |tokens| {
                tokens.clamp(PAGE_TOKENS, self.options.step_tokens.max(PAGE_TOKENS))
            });
            tokens.max(2 * self.running.len())
        } else {
            self.options.step_tokens
        }
    }
}

fn ids<A>(sequences: &BTreeMap<u64, Sequence<A>>, is_in: impl Fn(&Sequence<A>) -> bool) -> Vec<u64> {
    sequences.values().filter(|sequence| is_in(sequence)).map(|sequence| sequence.id).collect()
}

fn tokens_of(items: &[PlannedSpan]) -> usize {
    items.iter().map(|item| item.tokens.len()).sum()
}

/// Requests the last row of a span if the span ends with the last token.
fn last(span: Range<usize>, all: usize) -> LogitRows {
    if span.end == all { LogitRows::Last } else { LogitRows::None }
}
