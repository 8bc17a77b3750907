//! One budget for what requests and answers hold in memory.
//!
//! What is counted is what is there: a body counts as it arrives, not as it is announced. Once the budget is used up, what
//! would need more waits or is refused; nothing that is there already is thrown away.
//!
//! A quarter of the budget is for small things only. Few large bodies use up the rest, and many of them that never end
//! would otherwise leave nothing for everyone else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

/// What is larger is large.
const SMALL_BYTES: usize = 256 << 10;

/// A number of bytes that many share.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    all: Counter,
    /// Those of all that are held by what is large.
    large: Counter,
    waiting: AtomicUsize,
    given_back: Notify,
}

#[derive(Debug)]
struct Counter {
    used: AtomicUsize,
    max: usize,
}

/// There is no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory for requests and answers is used up")]
pub struct MemoryUsedUp;

impl Counter {
    const fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    fn take(&self, bytes: usize) -> bool {
        // Where more is there than there is room for, what needs nothing is not in the way.
        if bytes == 0 {
            return true;
        }
        let used = self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
            used.checked_add(bytes).filter(|used| *used <= self.max)
        });
        used.is_ok()
    }

    fn take_anyway(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::SeqCst);
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
    }
}

impl MemoryBudget {
    /// Returns a budget of that many bytes.
    pub fn new(bytes: usize) -> Self {
        let shared = Shared {
            all: Counter::new(bytes),
            large: Counter::new(bytes - bytes / 4),
            waiting: AtomicUsize::new(0),
            given_back: Notify::new(),
        };
        Self(Arc::new(shared))
    }

    /// Returns a budget that is never used up.
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// Returns how many bytes it has in all.
    pub fn bytes(&self) -> usize {
        self.0.all.max
    }

    /// Returns how many bytes are held.
    pub fn used(&self) -> usize {
        self.0.all.used.load(Ordering::SeqCst)
    }

    /// Returns what holds nothing yet and can grow.
    pub fn hold(&self) -> HeldMemory {
        HeldMemory { budget: self.clone(), bytes: 0 }
    }

    /// Counts `bytes`, which are there, until they are dropped.
    pub fn count(&self, bytes: Bytes) -> Bytes {
        let mut held = self.hold();
        held.set(bytes.len());
        held.until_dropped(bytes)
    }
}

/// A part of a budget; it is given back when this is dropped.
#[derive(Debug)]
pub struct HeldMemory {
    budget: MemoryBudget,
    bytes: usize,
}

impl HeldMemory {
    /// Returns how many bytes are held.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Grows to `bytes` in all, if there is room.
    ///
    /// # Errors
    /// When there is not; then it holds what it held.
    pub fn try_grow_to(&mut self, bytes: usize) -> Result<(), MemoryUsedUp> {
        let Some(more) = bytes.checked_sub(self.bytes) else { return Ok(()) };
        let shared = &self.budget.0;
        let more_large = large(bytes) - large(self.bytes);
        if !shared.large.take(more_large) {
            return Err(MemoryUsedUp);
        }
        if !shared.all.take(more) {
            shared.large.give_back(more_large);
            return Err(MemoryUsedUp);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Grows to `bytes` in all, and waits for room as long as it is polled.
    pub async fn grow_to(&mut self, bytes: usize) {
        if self.try_grow_to(bytes).is_ok() {
            return;
        }
        let budget = self.budget.clone();
        let _waiting = Waiting::begin(&budget.0.waiting);
        loop {
            let mut given_back = std::pin::pin!(budget.0.given_back.notified());
            given_back.as_mut().enable();
            if self.try_grow_to(bytes).is_ok() {
                return;
            }
            given_back.await;
        }
    }

    /// Holds `bytes` from now on, whether there is room or not: they are there.
    pub fn set(&mut self, bytes: usize) {
        let shared = Arc::clone(&self.budget.0);
        let (before, large_before) = (self.bytes, large(self.bytes));
        shared.all.take_anyway(bytes.saturating_sub(before));
        shared.large.take_anyway(large(bytes).saturating_sub(large_before));
        self.bytes = bytes;
        self.give_back(before.saturating_sub(bytes), large_before.saturating_sub(large(bytes)));
    }

    /// Returns `bytes` so that what is held is given back when the last part of them is dropped.
    pub fn until_dropped(self, bytes: Bytes) -> Bytes {
        if self.bytes == 0 {
            return bytes;
        }
        Bytes::from_owner(HeldBytes { bytes, _held: self })
    }

    fn give_back(&self, bytes: usize, of_large: usize) {
        let shared = &self.budget.0;
        shared.all.give_back(bytes);
        shared.large.give_back(of_large);
        if bytes > 0 && shared.waiting.load(Ordering::SeqCst) > 0 {
            shared.given_back.notify_waiters();
        }
    }
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.give_back(self.bytes, large(self.bytes));
    }
}

/// Returns how many of `bytes` count as large.
const fn large(bytes: usize) -> usize {
    if bytes > SMALL_BYTES { bytes } else { 0 }
}

/// Counts one that waits, also when it gives up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Bytes and what they take of a budget.
struct HeldBytes {
    bytes: Bytes,
    _held: HeldMemory,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const MIB: usize = 1 << 20;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_is_held_is_counted_and_given_back() {
        let budget = MemoryBudget::new(4 * MIB);
        let mut held = budget.hold();
        for bytes in [0, 10, MIB, MIB, 3 * MIB] {
            held.try_grow_to(bytes).unwrap();
            assert_eq!((held.bytes(), budget.used()), (bytes, bytes));
        }
        assert_eq!(held.try_grow_to(4 * MIB), Err(MemoryUsedUp));
        assert_eq!(budget.used(), 3 * MIB, "what is refused takes nothing");
        held.try_grow_to(5).unwrap();
        assert_eq!(budget.used(), 3 * MIB, "growing never shrinks");
        held.set(7);
        assert_eq!(budget.used(), 7);
        held.set(9 * MIB);
        assert_eq!(budget.used(), 9 * MIB, "what is there counts, whatever the budget");
        drop(held);
        assert_eq!(budget.used(), 0);
        budget.hold().try_grow_to(3 * MIB).unwrap();
    }

    #[test]
    fn what_is_large_leaves_a_quarter_to_what_is_small() {
        let budget = MemoryBudget::new(8 * MIB);
        let mut large = budget.hold();
        large.try_grow_to(6 * MIB).unwrap();
        assert!(budget.hold().try_grow_to(MIB).is_err());
        let mut small: Vec<HeldMemory> = (0..8).map(|_| budget.hold()).collect();
        for held in &mut small {
            held.try_grow_to(SMALL_BYTES).unwrap();
        }
        assert!(budget.hold().try_grow_to(1).is_err());
        assert!(small[0].try_grow_to(SMALL_BYTES + 1).is_err(), "what grows large is large");
        drop(large);
        small[0].try_grow_to(SMALL_BYTES + 1).unwrap();
        drop(small);
        assert_eq!(budget.used(), 0);
        assert_eq!(budget.0.large.used.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn who_waits_gets_what_is_given_back_and_who_gives_up_leaves_nothing() {
        let budget = MemoryBudget::new(MIB);
        let mut first = budget.hold();
        first.try_grow_to(MIB / 2).unwrap();
        let (mut second, mut third) = (budget.hold(), budget.hold());
        let mut waiting = Box::pin(second.grow_to(3 * MIB / 4));
        let mut leaving = Box::pin(third.grow_to(3 * MIB / 4));
        assert!(poll(waiting.as_mut()).is_pending() && poll(leaving.as_mut()).is_pending());
        drop(leaving);
        drop(first);
        assert!(poll(waiting.as_mut()).is_ready());
        drop(waiting);
        assert_eq!((budget.used(), budget.0.waiting.load(Ordering::SeqCst)), (3 * MIB / 4, 0));
    }

    #[test]
    fn bytes_hold_their_part_until_the_last_slice_of_them_is_gone() {
        let budget = MemoryBudget::new(MIB);
        let bytes = budget.count(Bytes::from_static(b"0123456789"));
        let slice = bytes.slice(3..5);
        drop(bytes);
        assert_eq!((&*slice, budget.used()), (&b"34"[..], 10));
        drop(slice);
        assert_eq!(budget.used(), 0);
    }
}
