//! Fair queueing of tasks: deficit round robin (Shreedhar and Varghese, 1996) over tokens.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Tokens that a task may prefill per turn.
const QUANTUM: i64 = 64;
/// Largest debt of a task for generated tokens. It bounds the task's wait once other tasks arrive.
const DEBT_MAX: i64 = 16 * QUANTUM;

/// The waiting items, with a queue per task, and the order of turns.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    tasks: HashMap<Arc<str>, TaskQueue<T>>,
    turns: VecDeque<Arc<str>>,
}

#[derive(Debug)]
struct TaskQueue<T> {
    waiting: VecDeque<T>,
    deficit: i64,
}

impl<T> FairQueue<T> {
    pub(super) fn new() -> Self {
        Self { tasks: HashMap::new(), turns: VecDeque::new() }
    }

    /// Appends an item to the queue of its task.
    pub(super) fn push(&mut self, task: &Arc<str>, item: T) {
        self.task_queue(task).waiting.push_back(item);
    }

    /// Takes the first item of a task.
    pub(super) fn pop(&mut self, task: &str) -> Option<T> {
        self.tasks.get_mut(task)?.waiting.pop_front()
    }

    /// Puts an item back at the front of its queue.
    pub(super) fn put_back(&mut self, task: &Arc<str>, item: T) {
        self.task_queue(task).waiting.push_front(item);
    }

    /// Gives a task turns even if none of its items waits.
    pub(super) fn keep(&mut self, task: &Arc<str>) {
        self.task_queue(task);
    }

    /// Charges a task for tokens outside its turns.
    pub(super) fn charge(&mut self, task: &str, tokens: usize) {
        if let Some(task_queue) = self.tasks.get_mut(task) {
            task_queue.deficit = (task_queue.deficit - tokens as i64).max(-DEBT_MAX);
        }
    }

    /// Returns the number of waiting items.
    pub(super) fn waiting(&self) -> usize {
        self.tasks.values().map(|task_queue| task_queue.waiting.len()).sum()
    }

    /// Returns all waiting items, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.tasks.values().flat_map(|task_queue| &task_queue.waiting)
    }

    /// Removes and returns the items for which `is_out` holds.
    pub(super) fn remove_if(&mut self, is_out: impl Fn(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        for task_queue in self.tasks.values_mut().filter(|task_queue| task_queue.waiting.iter().any(&is_out))
        {
            for item in std::mem::take(&mut task_queue.waiting) {
                if is_out(&item) { removed.push(item) } else { task_queue.waiting.push_back(item) }
            }
        }
        removed
    }

    /// Ends the turns of tasks with nothing waiting and nothing running.
    pub(super) fn tidy(&mut self, is_running: impl Fn(&str) -> bool) {
        let tasks = &mut self.tasks;
        self.turns.retain(|task| {
            let is_active =
                tasks.get(task).is_some_and(|task_queue| !task_queue.waiting.is_empty()) || is_running(task);
            if !is_active {
                tasks.remove(task);
            }
            is_active
        });
    }

    /// Distributes `budget` tokens in turns and returns the rest.
    ///
    /// `serve` gets a task and the most tokens it may use, and returns how many it used: 0 if the task has nothing to
    /// do or cannot continue now. A turn cut short by the budget continues next time.
    pub(super) fn share(
        &mut self,
        mut budget: usize,
        mut serve: impl FnMut(&mut Self, &Arc<str>, usize) -> usize,
    ) -> usize {
        let mut idle = 0;
        while budget > 0 && idle < self.turns.len() {
            let Some(task) = self.turns.front().cloned() else { break };
            let deficit = self.task_queue(&task).deficit;
            let mut deficit = if deficit > 0 { deficit } else { deficit + QUANTUM };
            let mut is_idle = deficit > 0;
            while deficit > 0 && budget > 0 {
                let taken = serve(self, &task, budget.min(deficit as usize));
                if taken == 0 {
                    // Unused tokens are not saved for later turns.
                    deficit = 0;
                    break;
                }
                is_idle = false;
                budget = budget.saturating_sub(taken);
                deficit -= taken as i64;
            }
            self.task_queue(&task).deficit = deficit;
            idle = if is_idle { idle + 1 } else { 0 };
            if deficit <= 0 || budget > 0 {
                self.turns.rotate_left(1);
            }
        }
        budget
    }

    fn task_queue(&mut self, task: &Arc<str>) -> &mut TaskQueue<T> {
        self.tasks.entry(Arc::clone(task)).or_insert_with(|| {
            self.turns.push_back(Arc::clone(task));
            TaskQueue { waiting: VecDeque::new(), deficit: 0 }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves items, whose values are tokens, in whole or in part, and counts the tokens of each task.
    fn serve(queue: &mut FairQueue<usize>, budget: usize) -> (HashMap<String, usize>, usize) {
        let mut had = HashMap::new();
        let left = queue.share(budget, |queue, task, most| {
            let Some(item) = queue.pop(task) else { return 0 };
            let taken = item.min(most);
            if item > taken {
                queue.put_back(task, item - taken);
            }
            *had.entry(task.to_string()).or_default() += taken;
            taken
        });
        (had, left)
    }

    #[test]
    fn tasks_get_equal_shares_however_many_items_they_queue() {
        let mut queue = FairQueue::new();
        let [many, long, few]: [Arc<str>; 3] = ["many", "long", "few"].map(Arc::from);
        (0..1000).for_each(|_| queue.push(&many, 10));
        queue.push(&long, 100_000);
        queue.push(&few, 100);
        let mut all: HashMap<String, usize> = HashMap::new();
        for _ in 0..20 {
            serve(&mut queue, 100)
                .0
                .into_iter()
                .for_each(|(task, taken)| *all.entry(task).or_default() += taken);
        }
        assert_eq!(all["few"], 100);
        assert!(all["many"].abs_diff(all["long"]) <= 2 * QUANTUM as usize, "{all:?}");
        assert_eq!(all.values().sum::<usize>(), 2000);
    }

    #[test]
    fn the_rest_of_the_budget_is_returned_and_debts_are_paid() {
        let mut queue = FairQueue::new();
        let [debtor, other]: [Arc<str>; 2] = ["debtor", "other"].map(Arc::from);
        queue.push(&debtor, 5);
        assert_eq!(serve(&mut queue, 100).1, 95);
        queue.push(&debtor, 500);
        queue.push(&other, 500);
        queue.charge("debtor", 2 * QUANTUM as usize);
        let (had, left) = serve(&mut queue, 4 * QUANTUM as usize);
        assert_eq!((had["other"], had["debtor"], left), (3 * QUANTUM as usize, QUANTUM as usize, 0));
        assert_eq!(queue.remove_if(|_| true).len(), 2);
        queue.tidy(|task| task == "other");
        assert_eq!((queue.tasks.len(), queue.turns.len(), queue.waiting()), (1, 1, 0));
    }
}
