//! Adapters by name: loaded when first asked for, given up when there is no room and nobody uses them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Numbers adapters, so that two that were loaded under one name are never taken for each other.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// An adapter in memory. Requests hold it while they wait and run, so it lives as long as it is used.
#[derive(Debug)]
pub struct LoadedAdapter<A> {
    id: u64,
    bytes: usize,
    adapter: A,
}

impl<A> LoadedAdapter<A> {
    /// Returns an adapter that takes `bytes` bytes of memory, under a number that no other has.
    pub fn new(adapter: A, bytes: usize) -> Self {
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), bytes, adapter }
    }

    /// Returns its number, which keys what was computed with it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns what is added to the model's weights.
    pub fn adapter(&self) -> &A {
        &self.adapter
    }
}

/// Why an adapter could not be loaded, as the loader says it.
pub type AdapterSource = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no adapter.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// It could not be loaded.
    #[error("load adapter `{name}`")]
    Load {
        /// Which adapter.
        name: String,
        /// Why.
        #[source]
        source: AdapterSource,
    },
    /// It does not fit beside those that are in use.
    #[error(
        "adapter `{name}` of {bytes} bytes does not fit: {used} adapters of {used_bytes} bytes are in use, and \
         {adapters_max} of {bytes_max} bytes fit"
    )]
    NoRoom {
        /// Which adapter.
        name: String,
        /// Its bytes.
        bytes: usize,
        /// Adapters that are in use.
        used: usize,
        /// Their bytes.
        used_bytes: usize,
        /// Most adapters.
        adapters_max: usize,
        /// Most bytes of all adapters.
        bytes_max: usize,
    },
}

/// How many adapters may be in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdapterLimits {
    /// Most adapters.
    pub adapters_max: usize,
    /// Most bytes of all adapters.
    pub bytes_max: usize,
}

/// Returns an adapter and its bytes for a name.
type Loader<A> = dyn Fn(&str) -> Result<(A, usize), AdapterSource> + Send + Sync;

/// The adapters in memory, by name.
pub struct AdapterRegistry<A> {
    load: Box<Loader<A>>,
    limits: AdapterLimits,
    shelf: Mutex<Shelf<A>>,
    /// One lock for each name that is being loaded, so that nobody loads what another is loading.
    loading: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

struct Shelf<A> {
    adapters: HashMap<String, (Arc<LoadedAdapter<A>>, u64)>,
    now: u64,
}

impl<A> std::fmt::Debug for AdapterRegistry<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdapterRegistry")
            .field("limits", &self.limits)
            .field("adapters", &self.len())
            .finish_non_exhaustive()
    }
}

impl<A> AdapterRegistry<A> {
    /// Returns an empty registry that loads with `load`, which returns an adapter and the bytes it takes.
    pub fn new<L>(limits: AdapterLimits, load: L) -> Self
    where
        L: Fn(&str) -> Result<(A, usize), AdapterSource> + Send + Sync + 'static,
    {
        let shelf = Mutex::new(Shelf { adapters: HashMap::new(), now: 0 });
        Self { load: Box::new(load), limits, shelf, loading: Mutex::default() }
    }

    /// Returns the adapter of that name, loading it if it is not in memory, which may take a while and reads files.
    ///
    /// Whoever asks for the same name meanwhile waits for it. To make room, those go that were not used for longest
    /// and that nobody holds.
    pub fn get(&self, name: &str) -> Result<Arc<LoadedAdapter<A>>, AdapterError> {
        if let Some(found) = self.shelf.lock().find(name) {
            return Ok(found);
        }
        let turn = Arc::clone(self.loading.lock().entry(name.to_owned()).or_default());
        let mine = turn.lock();
        // Whoever had the turn before may have loaded it.
        let found = self.shelf.lock().find(name);
        let answer = found.map_or_else(|| self.load(name), Ok);
        drop(mine);
        // The map and this call hold the last two shares: nobody else waits for this turn.
        let mut loading = self.loading.lock();
        if Arc::strong_count(&turn) <= 2 {
            loading.remove(name);
        }
        answer
    }

    /// Returns the adapter of that name if it is in memory, and marks it as used. Waits for nothing, so that async
    /// code may call it.
    pub fn find(&self, name: &str) -> Option<Arc<LoadedAdapter<A>>> {
        self.shelf.lock().find(name)
    }

    /// Returns the names of all adapters in memory with their bytes, in no order.
    pub fn list(&self) -> Vec<(String, usize)> {
        let shelf = self.shelf.lock();
        shelf.adapters.iter().map(|(name, (adapter, _))| (name.clone(), adapter.bytes)).collect()
    }

    /// Loads the adapter of that name again and serves it from now on; requests that run keep the one they have.
    pub fn reload(&self, name: &str) -> Result<Arc<LoadedAdapter<A>>, AdapterError> {
        self.load(name)
    }

    /// Gives up the adapter of that name; requests that run keep it. Returns whether it was in memory.
    pub fn remove(&self, name: &str) -> bool {
        self.shelf.lock().adapters.remove(name).is_some()
    }

    /// Returns how many adapters are in memory, without those that only requests still hold.
    pub fn len(&self) -> usize {
        self.shelf.lock().adapters.len()
    }

    /// Returns whether no adapter is in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn load(&self, name: &str) -> Result<Arc<LoadedAdapter<A>>, AdapterError> {
        let (adapter, bytes) =
            (self.load)(name).map_err(|source| AdapterError::Load { name: name.to_owned(), source })?;
        let mut shelf = self.shelf.lock();
        let before = shelf.adapters.remove(name);
        if let Err(error) = shelf.make_room(name, bytes, self.limits) {
            shelf.adapters.extend(before.map(|entry| (name.to_owned(), entry)));
            return Err(error);
        }
        let loaded = Arc::new(LoadedAdapter::new(adapter, bytes));
        shelf.now += 1;
        let now = shelf.now;
        shelf.adapters.insert(name.to_owned(), (Arc::clone(&loaded), now));
        Ok(loaded)
    }
}

impl<A> Shelf<A> {
    fn find(&mut self, name: &str) -> Option<Arc<LoadedAdapter<A>>> {
        self.now += 1;
        let (adapter, used) = self.adapters.get_mut(name)?;
        *used = self.now;
        Some(Arc::clone(adapter))
    }

    /// Gives up adapters until one of `bytes` bytes fits. Gives up none if it would not fit even so.
    fn make_room(&mut self, name: &str, bytes: usize, limits: AdapterLimits) -> Result<(), AdapterError> {
        let in_use = || self.adapters.values().filter(|(adapter, _)| Arc::strong_count(adapter) > 1);
        let (used, used_bytes) =
            (in_use().count(), in_use().map(|(adapter, _)| adapter.bytes).sum::<usize>());
        let AdapterLimits { adapters_max, bytes_max } = limits;
        if used >= adapters_max || bytes_max.saturating_sub(used_bytes) < bytes {
            let name = name.to_owned();
            return Err(AdapterError::NoRoom { name, bytes, used, used_bytes, adapters_max, bytes_max });
        }
        loop {
            let all: usize = self.adapters.values().map(|(adapter, _)| adapter.bytes).sum();
            if self.adapters.len() < adapters_max && bytes_max.saturating_sub(all) >= bytes {
                return Ok(());
            }
            let unused = self.adapters.iter().filter(|(_, (adapter, _))| Arc::strong_count(adapter) == 1);
            let oldest = unused.min_by_key(|(_, (_, used))| *used).map(|(name, _)| name.clone());
            // What is in use fits beside the new one, so there is something to give up.
            let Some(oldest) = oldest else { return Ok(()) };
            self.adapters.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn registry(adapters_max: usize, bytes_max: usize) -> AdapterRegistry<String> {
        AdapterRegistry::new(AdapterLimits { adapters_max, bytes_max }, |name: &str| {
            let bytes = name.split('-').nth(1).ok_or("no such file")?.parse()?;
            Ok((name.to_owned(), bytes))
        })
    }

    #[test]
    fn an_adapter_is_loaded_once_and_the_one_unused_for_longest_makes_room() {
        let registry = registry(2, 100);
        let first = registry.get("a-10").unwrap().id();
        assert_eq!(registry.get("a-10").unwrap().id(), first);
        registry.get("b-10").unwrap();
        registry.get("a-10").unwrap();
        registry.get("c-10").unwrap();
        assert_eq!((registry.len(), registry.get("a-10").unwrap().id()), (2, first));
        assert!(!registry.remove("b-10") && registry.remove("c-10"));
        assert!(registry.find("b-10").is_none() && registry.find("a-10").is_some());
        assert_eq!(registry.list(), [("a-10".to_owned(), 10)]);
    }

    #[test]
    fn bytes_count_and_what_is_in_use_stays() {
        let registry = registry(9, 100);
        let held = registry.get("a-60").unwrap();
        registry.get("b-40").unwrap();
        let error = registry.get("c-50").unwrap_err().to_string();
        assert_eq!(
            error,
            "adapter `c-50` of 50 bytes does not fit: 1 adapters of 60 bytes are in use, and 9 of 100 bytes fit"
        );
        assert_eq!(registry.len(), 2);
        drop(held);
        registry.get("c-50").unwrap();
        assert_eq!(registry.len(), 2);
        assert!(matches!(registry.get("d").unwrap_err(), AdapterError::Load { .. }));
    }

    #[test]
    fn a_reload_serves_the_new_one_while_the_old_one_is_used() {
        let registry = registry(1, 100);
        let old = registry.get("a-10").unwrap();
        let new = registry.reload("a-10").unwrap();
        assert!(old.id() != new.id() && old.adapter() == new.adapter());
        assert_eq!(registry.get("a-10").unwrap().id(), new.id());
    }

    #[test]
    fn many_who_ask_at_once_wait_for_one_load() {
        let loads = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&loads);
        let limits = AdapterLimits { adapters_max: 4, bytes_max: 4 };
        let registry = AdapterRegistry::new(limits, move |_: &str| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(20));
            Ok(((), 1))
        });
        std::thread::scope(|scope| {
            (0..8).for_each(|_| drop(scope.spawn(|| registry.get("a").unwrap())));
        });
        assert_eq!(loads.load(Ordering::Relaxed), 1);
        assert!(registry.loading.lock().is_empty());
    }
}
