//! The thread pool runs every chunk exactly once, whatever happens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bantam_kernels::Pool;

/// Runs a region and checks that each chunk ran once, on a thread of the pool.
fn check(pool: &Pool, chunks: usize) {
    let times: Vec<AtomicUsize> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
    pool.run(chunks, |thread, chunk| {
        assert!(thread < pool.threads());
        times[chunk].fetch_add(1, Ordering::Relaxed);
    });
    assert!(times.iter().all(|times| times.load(Ordering::Relaxed) == 1));
}

#[test]
fn every_chunk_runs_once_in_consecutive_regions() {
    for threads in [1, 2, 3, 8] {
        let pool = Pool::new(threads);
        assert_eq!(pool.threads(), threads);
        for region in 0..2_000 {
            check(&pool, region % 13);
        }
    }
}

#[test]
fn sleeping_workers_are_woken() {
    let pool = Pool::new(3);
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(1));
        check(&pool, 50);
    }
}

#[test]
fn a_caller_whose_last_chunk_is_slow_is_woken() {
    let pool = Pool::new(2);
    for _ in 0..20 {
        let ended = AtomicUsize::new(0);
        pool.run(2, |thread, _| {
            // The worker is slow, so that the caller sleeps before it ends.
            std::thread::sleep(Duration::from_millis(if thread == 0 { 1 } else { 3 }));
            ended.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(ended.load(Ordering::Relaxed), 2);
    }
}

#[test]
fn many_callers_share_one_pool() {
    let pool = Pool::new(3);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|region| check(&pool, region % 7)));
        }
    });
}

#[test]
fn a_nested_region_runs_on_its_own_thread() {
    let pool = Pool::new(3);
    let count = AtomicUsize::new(0);
    pool.run(8, |_, _| {
        pool.run(5, |thread, _| {
            assert_eq!(thread, 0);
            count.fetch_add(1, Ordering::Relaxed);
        });
    });
    assert_eq!(count.load(Ordering::Relaxed), 40);
}

#[test]
fn a_panic_reaches_the_caller_after_all_other_chunks_and_the_pool_survives() {
    let pool = Pool::new(3);
    for bad in 0..6 {
        let done = AtomicUsize::new(0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            pool.run(6, |_, chunk| {
                assert!(chunk != bad, "chunk {chunk} is bad");
                done.fetch_add(1, Ordering::Relaxed);
            });
        }));
        let message = outcome.unwrap_err().downcast_ref::<String>().cloned();
        assert_eq!(message, Some(format!("chunk {bad} is bad")));
        assert_eq!(done.load(Ordering::Relaxed), 5);
        check(&pool, 20);
    }
}
