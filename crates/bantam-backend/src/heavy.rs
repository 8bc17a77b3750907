//! Work that would hold up everyone else on a thread that runs futures: reading, scanning and writing large bodies.

use std::sync::{Arc, LazyLock};

use tokio::sync::Semaphore;

/// The fewest bytes that are heavy work. What is smaller is done within a millisecond, sooner than another thread would
/// begin.
pub const HEAVY_BYTES: usize = 64 << 10;

/// How much of it the process does at a time: one core is left to everything else.
static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Arc::new(Semaphore::new(cores.saturating_sub(1).max(1)))
});

/// Does `work` on a thread where it may take its time, and as few of its kind at once as the machine has cores. A caller
/// that leaves stops waiting; what has begun is finished, and what it returns is dropped.
///
/// # Panics
/// When `work` does.
pub async fn heavy<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // The semaphore is never closed.
    let place = Arc::clone(&PLACES).acquire_owned().await.ok();
    let working = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    });
    match working.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and with it whoever waits here.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn no_more_than_the_places_work_at_a_time_and_others_go_on_meanwhile() {
        static WORKING: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let places = PLACES.available_permits();
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(std::sync::Mutex::new(gate));
        let work = || {
            let gate = Arc::clone(&gate);
            tokio::spawn(heavy(move || {
                MOST.fetch_max(WORKING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.lock().unwrap().recv().unwrap();
                WORKING.fetch_sub(1, Ordering::SeqCst);
            }))
        };
        let working: Vec<_> = (0..places + 3).map(|_| work()).collect();
        while WORKING.load(Ordering::SeqCst) < places {
            // This runs on the only thread of futures, while all that is heavy waits.
            tokio::task::yield_now().await;
        }
        for _ in 0..places + 3 {
            release.send(()).unwrap();
        }
        for work in working {
            work.await.unwrap();
        }
        assert_eq!(MOST.load(Ordering::SeqCst), places);
    }

    #[tokio::test]
    async fn a_panic_is_the_callers() {
        let panicked = tokio::spawn(heavy(|| panic!("a fault of the work")));
        assert!(panicked.await.unwrap_err().is_panic());
        assert_eq!(heavy(|| 7).await, 7);
    }
}
