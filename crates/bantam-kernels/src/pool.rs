//! A thread pool that divides the chunks of one parallel region at a time.
//!
//! A transformer's forward pass has dozens of parallel regions of tens of microseconds, each followed by a join.
//! Pools made for coarse work pay a wake-up for each region; spin barriers are fast until one core is taken away, and
//! then all threads spin for a whole time slice. Here threads claim chunks one at a time from a counter, so a thread
//! that is not running delays nothing: the caller does the chunks itself, and waits at most for chunks that other
//! threads have started. Waiting spins for some microseconds and then parks, which also lets the scheduler move a
//! preempted thread to the idle core.

mod region;

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Thread};

use crate::isa::Isa;
use region::{Job, Payload, Shared};

/// Most threads of a pool.
pub const THREADS_MAX: usize = 256;

/// A fixed set of threads, and the instruction set of their kernels.
///
/// The caller's thread always takes part, so a pool of one thread starts none and costs nothing. Many threads may use
/// one pool: while one call has the workers, other calls run on their own thread only.
pub struct Pool {
    isa: Isa,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Whether a call is using the workers.
    is_busy: AtomicBool,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("isa", &self.isa)
            .field("threads", &self.threads())
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// Returns a pool of `threads` threads, including the caller's, with the best instruction set.
    ///
    /// `threads` is clamped to 1..=[`THREADS_MAX`]. If the system provides fewer threads, the pool has fewer.
    pub fn new(threads: usize) -> Self {
        Self::with_isa(threads, Isa::best())
    }

    /// Returns a pool whose kernels use the instruction set `isa`.
    pub fn with_isa(threads: usize, isa: Isa) -> Self {
        let wanted = threads.clamp(1, THREADS_MAX) - 1;
        let shared = Arc::new(Shared::new(wanted));
        let mut workers = Vec::with_capacity(wanted);
        for index in 0..wanted {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("bantam-pool-{}", index + 1));
            match thread.spawn(move || shared.work(index)) {
                Ok(worker) => workers.push(worker),
                Err(_) => break,
            }
        }
        Self { isa, shared, workers, is_busy: AtomicBool::new(false) }
    }

    /// Returns the number of threads, including the caller's.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Returns the instruction set of the kernels.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Calls `body(thread, chunk)` once for each chunk in `0..chunks` and returns when all calls have ended.
    ///
    /// `thread` is below [`Pool::threads`], and no two calls of `body` with the same `thread` overlap within one
    /// `run`. Chunks start in no particular order. A nested call from within `body` runs on that thread only.
    ///
    /// # Panics
    /// Propagates a panic of `body`, after all other chunks have ended.
    pub fn run<B: Fn(usize, usize) + Sync>(&self, chunks: usize, body: B) {
        let alone = chunks <= 1 || self.workers.is_empty() || chunks > u32::MAX as usize;
        if alone || self.is_busy.swap(true, Ordering::Acquire) {
            (0..chunks).for_each(|chunk| body(0, chunk));
            return;
        }
        let panic = self.run_shared(chunks as u32, &body);
        self.is_busy.store(false, Ordering::Release);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }

    fn run_shared(&self, chunks: u32, body: &(dyn Fn(usize, usize) + Sync)) -> Option<Payload> {
        let job = Job::new(body, chunks);
        // SAFETY: `is_busy` makes this the only region of the pool, and `job` lives until `finish` has returned,
        // which is when every chunk has ended; nothing in between unwinds, because the chunks' panics are caught.
        unsafe { self.shared.publish(&job) };
        self.wake(chunks as usize - 1);
        self.shared.process_chunks(0);
        self.shared.finish(&job);
        job.into_panic()
    }

    /// Wakes as many sleeping workers as there are chunks for.
    fn wake(&self, chunks: usize) {
        if self.shared.has_sleepers() {
            for (index, worker) in self.workers.iter().enumerate().take(chunks) {
                self.shared.wake(index, worker.thread());
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop();
        self.workers.iter().map(JoinHandle::thread).for_each(Thread::unpark);
        for worker in self.workers.drain(..) {
            // Workers catch the panics of their chunks, so there is no error to handle here.
            drop(worker.join());
        }
    }
}
