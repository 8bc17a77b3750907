//! Runs jobs on a few threads, with results that do not depend on their number.

use std::sync::{Mutex, PoisonError, mpsc};

/// Runs `work` once for every job on at most `threads` threads and returns the results in the jobs' order.
///
/// Messages that jobs send while they run are passed to `on_message` on the calling thread, so it needs no lock.
pub(crate) fn run<J: Send, R: Send, M: Send>(
    threads: usize,
    jobs: Vec<J>,
    work: impl Fn(J, &mut dyn FnMut(M)) -> R + Sync,
    on_message: &mut dyn FnMut(M),
) -> Vec<R> {
    let threads = threads.clamp(1, jobs.len().max(1));
    let count = jobs.len();
    let queue = Mutex::new(jobs.into_iter().enumerate());
    let results: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(count));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let sender = sender.clone();
            let (next, results, work) = (&next, &results, &work);
            scope.spawn(move || {
                while let Some((index, job)) = next() {
                    // A missing receiver is not a reason to stop.
                    let result = work(job, &mut |message| drop(sender.send(message)));
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
        drop(sender);
        receiver.iter().for_each(on_message);
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_runs_once_and_results_keep_their_order() {
        for threads in [0, 1, 2, 7] {
            let mut heard = 0;
            let work = |job: u32, send: &mut dyn FnMut(u32)| {
                send(job);
                job * 2
            };
            let results = run(threads, (0..20).collect(), work, &mut |job| heard += job);
            assert_eq!(results, (0..20).map(|job| job * 2).collect::<Vec<_>>());
            assert_eq!(heard, 190);
        }
        assert!(run(2, Vec::<u32>::new(), |_, _: &mut dyn FnMut(u32)| 1, &mut |_| {}).is_empty());
    }
}
