//! Threads that share out the chunks of one region at a time.
//!
//! A transformer's forward pass is dozens of parallel regions of tens of microseconds with a meeting point after
//! each. Pools made for coarse work pay a wake-up for each; spin barriers are fast until one core is taken away,
//! and then everybody spins for a whole time slice. Here chunks are claimed one at a time from a counter, so a
//! thread that is not running holds nothing up: the caller does the chunks itself, and waits at most for a chunk
//! that another thread has begun. Waiting spins for some microseconds and then parks, which also lets the
//! scheduler bring a preempted thread over to the idle core.

mod region;

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Thread};

use crate::isa::Isa;
use region::{Job, Payload, Shared};

/// Most threads that a pool has.
pub const THREADS_MAX: usize = 256;

/// A fixed set of threads and the instructions that their kernels use.
///
/// The caller's thread always takes part, so a pool of one starts no thread and costs nothing. One pool may be
/// used from many threads: while one call has the workers, others run on their own thread alone.
pub struct Pool {
    isa: Isa,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Whether a call has the workers now.
    is_taken: AtomicBool,
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
    /// Returns a pool of `threads` threads, the caller's included, with the best instructions there are.
    ///
    /// `threads` is brought into 1..=[`THREADS_MAX`]. Where the system gives fewer threads the pool has fewer.
    pub fn new(threads: usize) -> Self {
        Self::with_isa(threads, Isa::best())
    }

    /// Returns a pool whose kernels use the instructions of `isa`.
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
        Self { isa, shared, workers, is_taken: AtomicBool::new(false) }
    }

    /// Returns how many threads take part, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Returns the instructions that kernels use here.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Calls `body(thread, chunk)` once for each chunk in `0..chunks` and returns when all have ended.
    ///
    /// `thread` is below [`Pool::threads`], and no two calls of `body` with the same `thread` overlap within one
    /// `run`. Chunks begin in no certain order. Called from within `body`, it runs on that thread alone.
    ///
    /// # Panics
    /// With the panic of `body`, after all other chunks have ended.
    pub fn run<B: Fn(usize, usize) + Sync>(&self, chunks: usize, body: B) {
        let alone = chunks <= 1 || self.workers.is_empty() || chunks > u32::MAX as usize;
        if alone || self.is_taken.swap(true, Ordering::Acquire) {
            (0..chunks).for_each(|chunk| body(0, chunk));
            return;
        }
        let panic = self.share(chunks as u32, &body);
        self.is_taken.store(false, Ordering::Release);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }

    fn share(&self, chunks: u32, body: &(dyn Fn(usize, usize) + Sync)) -> Option<Payload> {
        let job = Job::new(body, chunks);
        // SAFETY: `is_taken` makes this the only region of the pool, and `job` lives until `finish` has returned,
        // which is when every chunk has ended; nothing between the two unwinds, because chunks' panics are kept.
        unsafe { self.shared.publish(&job) };
        self.wake(chunks as usize - 1);
        self.shared.take_part(0);
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
            // Workers catch what their chunks throw, so there is nothing to hear here.
            drop(worker.join());
        }
    }
}
