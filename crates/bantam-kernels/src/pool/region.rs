//! One region after the other: publishing, claiming, ending, sleeping.
//!
//! The state is one word: a region's number and how many of its chunks nobody has claimed. A claim is a
//! compare-and-swap that takes one off, so it succeeds only while the region is the current one and has a chunk
//! left; and whoever holds an unended chunk keeps the region, and with it the caller's stack frame, alive. A
//! worker that comes late fails to claim and has touched nothing of the region but this module's own atomics.

use std::any::Any;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::thread::{Thread, current, park};
use std::time::{Duration, Instant};

/// How long a worker looks for the next region before it sleeps: a little longer than the gaps within a forward
/// pass, far shorter than a time slice.
const LOOK_FOR: Duration = Duration::from_micros(40);
/// How long a caller looks for its last chunk to end before it sleeps.
const WAIT_FOR: Duration = Duration::from_micros(40);
/// Looks between two readings of the clock.
const LOOKS: u32 = 16;

/// What a chunk panicked with.
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

    /// Returns what the first chunk that panicked threw.
    pub(super) fn into_panic(self) -> Option<Payload> {
        self.panic.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn call(&self, thread: usize, chunk: u32) {
        // A region that panicked hands on its panic, so nobody sees what it left half done.
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.body)(thread, chunk as usize)));
        if let Err(payload) = outcome {
            let mut first = self.panic.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            first.get_or_insert(payload);
        }
    }
}

/// A value on a cache line of its own, because its neighbours are written by other threads.
#[repr(align(128))]
struct Lonely<T>(T);

/// What the threads of a pool share.
pub(super) struct Shared {
    /// Number of the region << 32 | unclaimed chunks. Numbers wrap; a worker would have to sleep within one
    /// claim through 2^32 regions to mistake one for another.
    state: Lonely<AtomicU64>,
    /// Chunks of the region that have ended.
    ended: Lonely<AtomicU32>,
    /// The region; dangling between regions, and read through only while a chunk of it is claimed.
    job: AtomicPtr<Job<'static>>,
    /// Workers asleep, or about to be.
    sleepers: AtomicUsize,
    is_asleep: Vec<AtomicBool>,
    is_stopping: AtomicBool,
    caller_sleeps: AtomicBool,
    caller: Mutex<Option<Thread>>,
}

impl Shared {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            state: Lonely(AtomicU64::new(0)),
            ended: Lonely(AtomicU32::new(0)),
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
        // Pairs with the claim: whoever claims a chunk sees `job` and `ended`. Sequentially consistent, so that
        // either the publisher sees a sleeper or the sleeper sees the region.
        self.state.0.store(region << 32 | u64::from(job.chunks), Ordering::SeqCst);
    }

    /// Claims and does chunks of the current region until none is left.
    pub(super) fn take_part(&self, thread: usize) {
        let mut done = 0;
        let mut job: Option<&Job<'_>> = None;
        while let Some(left) = self.claim() {
            // SAFETY: a chunk of the current region is claimed and not yet counted as ended, so `finish` has not
            // returned, and the job is alive. The claim acquired what `publish` wrote. It stays the same job
            // through the loop, because the chunks done here are counted only after it.
            let job = *job.get_or_insert_with(|| unsafe { &*self.job.load(Ordering::Relaxed) });
            job.call(thread, job.chunks - left);
            done += 1;
        }
        let Some(job) = job else { return };
        let chunks = job.chunks;
        // From here on the job may be gone.
        if self.ended.0.fetch_add(done, Ordering::SeqCst) + done == chunks
            && self.caller_sleeps.load(Ordering::SeqCst)
        {
            let caller = self.caller.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            caller.iter().for_each(Thread::unpark);
        }
    }

    /// Returns how many chunks were left before one was taken, if one was.
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
        if look(is_over, WAIT_FOR) {
            return;
        }
        *self.caller.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(current());
        self.caller_sleeps.store(true, Ordering::SeqCst);
        // Either this sees the last count, or the one who counted last sees the sleeper.
        while !is_over() {
            park();
        }
        self.caller_sleeps.store(false, Ordering::SeqCst);
    }

    /// A worker's life.
    pub(super) fn work(&self, index: usize) {
        while !self.is_stopping.load(Ordering::Relaxed) {
            if look(|| self.has_chunks(), LOOK_FOR) {
                self.take_part(index + 1);
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
        // Either this sees the new region, or its publisher sees the sleeper.
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
        // A second wake-up of the same sleep would cost a system call for nothing.
        if self.is_asleep[index].swap(false, Ordering::SeqCst) {
            worker.unpark();
        }
    }

    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
    }
}

/// Looks whether something has happened for as long as it is cheaper than sleeping.
fn look(has_happened: impl Fn() -> bool, at_most: Duration) -> bool {
    if has_happened() {
        return true;
    }
    let begin = Instant::now();
    loop {
        for _ in 0..LOOKS {
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
