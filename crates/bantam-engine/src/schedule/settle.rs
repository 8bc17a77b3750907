//! Applies a step's logits to its requests.

use std::time::Instant;

use super::core::SchedulerState;
use super::plan::PlannedSpan;
use super::sequence::Work;
use crate::prefix::PAGE_TOKENS;

impl<A> SchedulerState<A> {
    /// Distributes the rows of logits, in the order of the spans, to their requests.
    pub(super) fn settle(&mut self, items: &[PlannedSpan], mut logits: &mut [f32]) {
        let now = (self.options.clock)();
        for item in items {
            let numbers = item.wanted.rows(item.tokens.len()).len() * self.shape.vocabulary;
            let Some((rows, rest)) = logits.split_at_mut_checked(numbers) else { return };
            logits = rest;
            if item.branch.is_some() {
                self.settle_branch(item.id, rows, now);
            } else {
                self.settle_own(item, rows, now);
            }
        }
    }

    fn settle_own(&mut self, item: &PlannedSpan, row: &mut [f32], now: Instant) {
        let Some(sequence) = self.running.get_mut(&item.id) else { return };
        let was_prefilling = sequence.is_prefilling();
        sequence.computed = item.tokens.end;
        let is_complete = sequence.computed == sequence.tokens.len();
        if was_prefilling {
            let whole = sequence.computed / PAGE_TOKENS * PAGE_TOKENS;
            let kept = if is_complete { sequence.computed } else { whole };
            let key = sequence.key();
            self.cache.insert(key, &sequence.tokens[..kept], &mut sequence.table);
        }
        if !is_complete {
            return;
        }
        sequence.trace.prefilled.get_or_insert(now);
        match &mut sequence.work {
            Work::Score(scoring) => {
                scoring.read_prompt(row);
                let is_over = scoring.is_over();
                sequence.trace.first.get_or_insert(now);
                if is_over {
                    self.answer(item.id, now);
                }
            }
            Work::Generate { .. } => {
                let before = sequence.tokens.len();
                let outcome = sequence.choose(row, now);
                self.statistics.tokens_generated += (sequence.tokens.len() - before) as u64;
                match outcome {
                    Ok(None) => {}
                    Ok(Some(reason)) => {
                        self.statistics.answered += 1;
                        if let Some(sequence) = self.retire(item.id) {
                            sequence.finish(reason, now);
                        }
                    }
                    Err(error) => self.fail(item.id, error),
                }
            }
        }
    }

    fn settle_branch(&mut self, id: u64, rows: &[f32], now: Instant) {
        let vocabulary = self.shape.vocabulary;
        let Some(sequence) = self.running.get_mut(&id) else { return };
        let Some(scoring) = sequence.scoring() else { return };
        if let Some(branch) = scoring.branches.pop_front() {
            scoring.read_branch(&branch, rows, vocabulary);
        }
        if scoring.is_over() {
            self.answer(id, now);
        }
    }

    fn answer(&mut self, id: u64, now: Instant) {
        self.statistics.answered += 1;
        if let Some(sequence) = self.retire(id) {
            sequence.answer(now);
        }
    }
}
