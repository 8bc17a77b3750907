//! The protocol of parallel regions: publishing, claiming, finishing, sleeping.
//!
//! The state is one word: the region's number and the number of unclaimed chunks. A claim is a compare-and-swap that
//! subtracts one, so it succeeds only while the region is current and has a chunk left. A thread with an unfinished
//! chunk keeps the region, and with it the caller's stack frame, alive. A worker that comes late fails to claim and
//! has touched nothing but this module's own atomics.

use std::any::Any;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::thread::{Thread, current, park};
use std::time::{Duration, Instant};

/// How long a worker polls for the next region before it sleeps: slightly longer than the gaps within a forward pass,
/// far shorter than a time slice.
const WORKER_POLL: Duration = Duration::from_micros(40);
/// How long a caller polls for its last chunk before it sleeps.
const CALLER_POLL: Duration = Duration::from_micros(40);
/// Polls between two readings of the clock.
const POLLS_PER_CLOCK_READ: u32 = 16;

/// The payload of a chunk's panic.
pub(super) type Payload = Box<dyn Any + Send>;

/// The chunks of one call of `run`, on the caller's stack.
pub(super) struct Job<'b> {
    body: &'b (dyn Fn(usize, usize) + Sync),
    chunks: u32,
    panic: Mutex<Option<Payload>>,
}

impl<'b> Job<'b> {
    pub(super) fn new(body: &'b (dyn Fn(usize, usize) + Sync), chunks: u32) -> Self {
        Self { body, chunks, panic: Mutex::new(None) }
    }

    /// Returns the payload of the first panic.
    pub(super) fn into_panic(self) -> Option<Payload> {
        self.panic.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn call(&self, thread: usize, chunk: u32) {
        // The region's panic is propagated, so no caller sees what the chunk left unfinished.
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.body)(thread, chunk as usize)));
        if let Err(payload) = outcome {
            let mut first = self.panic.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            first.get_or_insert(payload);
        }
    }
}

/// A value on its own cache line, because other threads write its neighbours.
#[repr(align(128))]
struct OwnCacheLine<T>(T);

/// The state that a pool's threads share.
pub(super) struct Shared {
    /// Region number << 32 | unclaimed chunks. Region numbers wrap; to mistake one region for another, a worker would
    /// have to sleep within one claim through 2^32 regions.
    state: OwnCacheLine<AtomicU64>,
    /// Number of finished chunks of the region.
    ended: OwnCacheLine<AtomicU32>,
    /// The current region. Dangling between regions; dereferenced only while one of its chunks is claimed.
    job: AtomicPtr<Job<'static>>,
    /// Number of workers that sleep or are about to.
    sleepers: AtomicUsize,
    is_asleep: Vec<AtomicBool>,
    is_stopping: AtomicBool,
    caller_sleeps: AtomicBool,
    caller: Mutex<Option<Thread>>,
}

impl Shared {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            state: OwnCacheLine(AtomicU64::new(0)),
            ended: OwnCacheLine(AtomicU32::new(0)),
            job: AtomicPtr::new(null_mut()),
            sleepers: AtomicUsize::new(0),
            is_asleep: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            is_stopping: AtomicBool::new(false),
            caller_sleeps: AtomicBool::new(false),
            caller: Mutex::new(None),
        }
    }

    /// Makes `job` the current region.
    ///
    /// # Safety
    /// No other region is current, and `job` outlives the return of `finish`.
    pub(super) unsafe fn publish(&self, job: &Job<'_>) {
        let region = (self.state.0.load(Ordering::Relaxed) >> 32).wrapping_add(1);
        self.ended.0.store(0, Ordering::Relaxed);
        self.job.store((&raw const *job).cast_mut().cast(), Ordering::Relaxed);
        // Pairs with the claim: a thread that claims a chunk sees `job` and `ended`. Sequentially consistent, so that
        // either the publisher sees a sleeper or the sleeper sees the region.
        self.state.0.store(region << 32 | u64::from(job.chunks), Ordering::SeqCst);
    }

    /// Claims and processes chunks of the current region until none is left.
    pub(super) fn process_chunks(&self, thread: usize) {
        let mut done = 0;
        let mut job: Option<&Job<'_>> = None;
        while let Some(left) = self.claim() {
            // SAFETY: a chunk of the current region is claimed but not yet counted as ended, so `finish` has not
            // returned and the job is alive. The claim acquired what `publish` wrote. The job stays the same through
            // the loop, because these chunks are counted only after it.
            let job = *job.get_or_insert_with(|| unsafe { &*self.job.load(Ordering::Relaxed) });
            job.call(thread, job.chunks - left);
            done += 1;
        }
        let Some(job) = job else { return };
        let chunks = job.chunks;
        // From here on the job may no longer exist.
        if self.ended.0.fetch_add(done, Ordering::SeqCst) + done == chunks
            && self.caller_sleeps.load(Ordering::SeqCst)
        {
            let caller = self.caller.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            caller.iter().for_each(Thread::unpark);
        }
    }

    /// Claims a chunk and returns how many were left before, or `None` if none was.
    fn claim(&self) -> Option<u32> {
        let mut state = self.state.0.load(Ordering::Relaxed);
        while state as u32 != 0 {
            let claim =
                self.state.0.compare_exchange_weak(state, state - 1, Ordering::Acquire, Ordering::Relaxed);
            match claim {
                Ok(_) => return Some(state as u32),
                Err(now) => state = now,
            }
        }
        None
    }

    /// Waits until every chunk of `job` has ended.
    pub(super) fn finish(&self, job: &Job<'_>) {
        let is_over = || self.ended.0.load(Ordering::SeqCst) == job.chunks;
        if poll(is_over, CALLER_POLL) {
            return;
        }
        *self.caller.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(current());
        self.caller_sleeps.store(true, Ordering::SeqCst);
        // Either this thread sees the final count, or the thread that counted last sees the sleeper.
        while !is_over() {
            park();
        }
        self.caller_sleeps.store(false, Ordering::SeqCst);
    }

    /// The main loop of a worker.
    pub(super) fn work(&self, index: usize) {
        while !self.is_stopping.load(Ordering::Relaxed) {
            if poll(|| self.has_chunks(), WORKER_POLL) {
                self.process_chunks(index + 1);
            } else {
                self.sleep(index);
            }
        }
    }

    fn has_chunks(&self) -> bool {
        self.state.0.load(Ordering::SeqCst) as u32 != 0
    }

    fn sleep(&self, index: usize) {
        self.is_asleep[index].store(true, Ordering::SeqCst);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        // Either this thread sees the new region, or its publisher sees the sleeper.
        if !self.has_chunks() && !self.is_stopping.load(Ordering::SeqCst) {
            park();
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        self.is_asleep[index].store(false, Ordering::SeqCst);
    }

    pub(super) fn has_sleepers(&self) -> bool {
        fence(Ordering::SeqCst);
        self.sleepers.load(Ordering::Relaxed) != 0
    }

    pub(super) fn wake(&self, index: usize, worker: &Thread) {
        // Waking the same sleep twice would waste a system call.
        if self.is_asleep[index].swap(false, Ordering::SeqCst) {
            worker.unpark();
        }
    }

    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
    }
}

/// Polls a condition for as long as that is cheaper than sleeping. Returns whether it became true.
fn poll(has_happened: impl Fn() -> bool, at_most: Duration) -> bool {
    if has_happened() {
        return true;
    }
    let begin = Instant::now();
    loop {
        for _ in 0..POLLS_PER_CLOCK_READ {
            spin_loop();
            if has_happened() {
                return true;
            }
        }
        if begin.elapsed() > at_most {
            return false;
        }
    }
}
