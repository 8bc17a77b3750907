//! Turns among tasks: deficit round robin (Shreedhar and Varghese, 1996) over tokens.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Tokens that a task may prefill in its turn.
const QUANTUM: i64 = 64;
/// Most that a task can owe for tokens it generated. It bounds how long it waits once others come.
const DEBT_MAX: i64 = 16 * QUANTUM;

/// What waits, a queue for each task, and whose turn it is.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    lanes: HashMap<Arc<str>, Lane<T>>,
    ring: VecDeque<Arc<str>>,
}

#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<T>,
    deficit: i64,
}

impl<T> Lanes<T> {
    pub(super) fn new() -> Self {
        Self { lanes: HashMap::new(), ring: VecDeque::new() }
    }

    /// Queues an item behind those of its task.
    pub(super) fn push(&mut self, task: &Arc<str>, item: T) {
        self.lane(task).waiting.push_back(item);
    }

    /// Takes the first item of a task.
    pub(super) fn pop(&mut self, task: &str) -> Option<T> {
        self.lanes.get_mut(task)?.waiting.pop_front()
    }

    /// Puts an item back where it was taken from.
    pub(super) fn put_back(&mut self, task: &Arc<str>, item: T) {
        self.lane(task).waiting.push_front(item);
    }

    /// Makes sure that a task has its turns though nothing of it waits.
    pub(super) fn keep(&mut self, task: &Arc<str>) {
        self.lane(task);
    }

    /// Counts tokens that a task had outside its turns.
    pub(super) fn charge(&mut self, task: &str, tokens: usize) {
        if let Some(lane) = self.lanes.get_mut(task) {
            lane.deficit = (lane.deficit - tokens as i64).max(-DEBT_MAX);
        }
    }

    /// Returns how many items wait.
    pub(super) fn waiting(&self) -> usize {
        self.lanes.values().map(|lane| lane.waiting.len()).sum()
    }

    /// Returns everything that waits, in no certain order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.lanes.values().flat_map(|lane| &lane.waiting)
    }

    /// Takes out what is not to stay.
    pub(super) fn remove_if(&mut self, is_out: impl Fn(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        for lane in self.lanes.values_mut().filter(|lane| lane.waiting.iter().any(&is_out)) {
            for item in std::mem::take(&mut lane.waiting) {
                if is_out(&item) { removed.push(item) } else { lane.waiting.push_back(item) }
            }
        }
        removed
    }

    /// Ends the turns of tasks of which nothing waits and nothing runs.
    pub(super) fn tidy(&mut self, is_running: impl Fn(&str) -> bool) {
        let lanes = &mut self.lanes;
        self.ring.retain(|task| {
            let is_there = lanes.get(task).is_some_and(|lane| !lane.waiting.is_empty()) || is_running(task);
            if !is_there {
                lanes.remove(task);
            }
            is_there
        });
    }

    /// Gives `budget` tokens out in turns and returns what is left of it.
    ///
    /// `serve` is given a task and the most tokens it may have, and returns how many it took; none if the task has
    /// nothing to do or cannot go on now. A turn that the budget has cut short goes on next time.
    pub(super) fn share(
        &mut self,
        mut budget: usize,
        mut serve: impl FnMut(&mut Self, &Arc<str>, usize) -> usize,
    ) -> usize {
        let mut idle = 0;
        while budget > 0 && idle < self.ring.len() {
            let Some(task) = self.ring.front().cloned() else { break };
            let deficit = self.lane(&task).deficit;
            let mut deficit = if deficit > 0 { deficit } else { deficit + QUANTUM };
            let mut is_idle = deficit > 0;
            while deficit > 0 && budget > 0 {
                let taken = serve(self, &task, budget.min(deficit as usize));
                if taken == 0 {
                    // What a task does not use it does not save up.
                    deficit = 0;
                    break;
                }
                is_idle = false;
                budget = budget.saturating_sub(taken);
                deficit -= taken as i64;
            }
            self.lane(&task).deficit = deficit;
            idle = if is_idle { idle + 1 } else { 0 };
            if deficit <= 0 || budget > 0 {
                self.ring.rotate_left(1);
            }
        }
        budget
    }

    fn lane(&mut self, task: &Arc<str>) -> &mut Lane<T> {
        self.lanes.entry(Arc::clone(task)).or_insert_with(|| {
            self.ring.push_back(Arc::clone(task));
            Lane { waiting: VecDeque::new(), deficit: 0 }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves items, which are tokens, whole or in part, and counts what each task had.
    fn serve(lanes: &mut Lanes<usize>, budget: usize) -> (HashMap<String, usize>, usize) {
        let mut had = HashMap::new();
        let left = lanes.share(budget, |lanes, task, most| {
            let Some(item) = lanes.pop(task) else { return 0 };
            let taken = item.min(most);
            if item > taken {
                lanes.put_back(task, item - taken);
            }
            *had.entry(task.to_string()).or_default() += taken;
            taken
        });
        (had, left)
    }

    #[test]
    fn tasks_have_equal_shares_however_many_items_they_queue() {
        let mut lanes = Lanes::new();
        let [many, long, few]: [Arc<str>; 3] = ["many", "long", "few"].map(Arc::from);
        (0..1000).for_each(|_| lanes.push(&many, 10));
        lanes.push(&long, 100_000);
        lanes.push(&few, 100);
        let mut all: HashMap<String, usize> = HashMap::new();
        for _ in 0..20 {
            serve(&mut lanes, 100)
                .0
                .into_iter()
                .for_each(|(task, taken)| *all.entry(task).or_default() += taken);
        }
        assert_eq!(all["few"], 100);
        assert!(all["many"].abs_diff(all["long"]) <= 2 * QUANTUM as usize, "{all:?}");
        assert_eq!(all.values().sum::<usize>(), 2000);
    }

    #[test]
    fn what_is_left_is_returned_and_debts_are_paid() {
        let mut lanes = Lanes::new();
        let [debtor, other]: [Arc<str>; 2] = ["debtor", "other"].map(Arc::from);
        lanes.push(&debtor, 5);
        assert_eq!(serve(&mut lanes, 100).1, 95);
        lanes.push(&debtor, 500);
        lanes.push(&other, 500);
        lanes.charge("debtor", 2 * QUANTUM as usize);
        let (had, left) = serve(&mut lanes, 4 * QUANTUM as usize);
        assert_eq!((had["other"], had["debtor"], left), (3 * QUANTUM as usize, QUANTUM as usize, 0));
        assert_eq!(lanes.remove_if(|_| true).len(), 2);
        lanes.tidy(|task| task == "other");
        assert_eq!((lanes.lanes.len(), lanes.ring.len(), lanes.waiting()), (1, 1, 0));
    }
}
