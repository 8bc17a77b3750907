//! What goes on although nobody may be reading: streams have deadlines, and those who wait for them may stop reading.
//!
//! A stream is driven by its reader, which costs nothing. A reader that reads no more would then hold an upstream's place
//! for as long as it likes, because no timer inside of the stream is looked at. So everything that is under way is also
//! looked at from outside, a few times a second, by one task for the whole gateway. It ends when nothing is under way.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;

/// How often everything under way is looked at, and so how late a deadline may be kept where nobody reads.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Something under way that its reader drives, and that has to go on without it.
pub(crate) trait Live: Send + Sync {
    /// Does what is due although nobody asks for it.
    fn look(&self);
}

/// Everything under way.
#[derive(Default)]
pub(crate) struct LiveStreams {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    streams: HashMap<u64, Arc<dyn Live>>,
    /// How many were ever on the list.
    count: u64,
    is_looking: bool,
}

/// Keeps its stream on the list until it is dropped.
pub(crate) struct OnList {
    streams: Arc<LiveStreams>,
    number: u64,
}

impl LiveStreams {
    /// Looks at `live` from now on. Outside of a runtime nothing is looked at: there are no timers either.
    pub(crate) fn add(self: &Arc<Self>, live: Arc<dyn Live>) -> OnList {
        let mut list = self.list.lock();
        list.count += 1;
        let number = list.count;
        list.streams.insert(number, live);
        if !list.is_looking
            && let Ok(runtime) = Handle::try_current()
        {
            list.is_looking = true;
            let looking = Looking(Arc::downgrade(self));
            runtime.spawn(looking.run());
        }
        OnList { streams: Arc::clone(self), number }
    }

    /// Returns everything under way; with nothing, it says so and the list is not looked at any more.
    fn under_way(&self) -> Option<Vec<Arc<dyn Live>>> {
        let mut list = self.list.lock();
        list.is_looking = !list.streams.is_empty();
        list.is_looking.then(|| list.streams.values().cloned().collect())
    }
}

impl Drop for OnList {
    fn drop(&mut self) {
        let removed = self.streams.list.lock().streams.remove(&self.number);
        // What it held may take other locks as it goes.
        drop(removed);
    }
}

/// The task that looks.
struct Looking(Weak<LiveStreams>);

impl Looking {
    async fn run(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(under_way) = self.0.upgrade().and_then(|streams| streams.under_way()) else { return };
            for live in under_way {
                live.look();
            }
        }
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        // Also when a panic ends it: the next stream then starts it again.
        if let Some(streams) = self.0.upgrade()
            && std::thread::panicking()
        {
            streams.list.lock().is_looking = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Looked(AtomicU64);

    impl Live for Looked {
        fn look(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn what_is_on_the_list_is_looked_at_until_it_leaves_and_then_no_task_is_left() {
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let (streams, looked) = (Arc::<LiveStreams>::default(), Arc::<Looked>::default());
        for _ in 0..2 {
            let before = looked.0.load(Ordering::SeqCst);
            let (one, other) = (streams.add(looked.clone()), streams.add(looked.clone()));
            assert_eq!(tasks(), 1, "one task looks at everything");
            while looked.0.load(Ordering::SeqCst) < before + 4 {
                tokio::task::yield_now().await;
            }
            drop(one);
            drop(other);
            while tasks() > 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    struct Panics;

    impl Live for Panics {
        fn look(&self) {
            panic!("a fault of the stream");
        }
    }

    #[tokio::test]
    async fn a_panic_does_not_end_the_looking_for_good() {
        let streams = Arc::<LiveStreams>::default();
        let broken = streams.add(Arc::new(Panics));
        while Handle::current().metrics().num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
        drop(broken);
        let looked = Arc::<Looked>::default();
        let _listed = streams.add(looked.clone());
        while looked.0.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    }
}
