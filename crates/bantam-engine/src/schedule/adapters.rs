//! Adapters by name: loaded on first use, evicted when room is needed and no request uses them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Numbers adapters, so that two adapters loaded under one name are never confused.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// An adapter in memory. Waiting and running requests hold it, so it lives as long as it is used.
#[derive(Debug)]
pub struct LoadedAdapter<A> {
    id: u64,
    bytes: usize,
    adapter: A,
}

impl<A> LoadedAdapter<A> {
    /// Returns an adapter that occupies `bytes` bytes, with a unique number.
    pub fn new(adapter: A, bytes: usize) -> Self {
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), bytes, adapter }
    }

    /// Returns its number, the key of everything computed with it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns the adapter itself.
    pub fn adapter(&self) -> &A {
        &self.adapter
    }
}

/// The loader's error.
pub type AdapterSource = Box<dyn std::error::Error + Send + Sync>;

/// Why an adapter is not available.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// The adapter could not be loaded.
    #[error("load adapter `{name}`")]
    Load {
        /// The adapter's name.
        name: String,
        /// The cause.
        #[source]
        source: AdapterSource,
    },
    /// The adapter does not fit beside those in use.
    #[error(
        "adapter `{name}` of {bytes} bytes does not fit; in use: {used} adapters, {used_bytes} bytes; limits: \
         {adapters_max} adapters, {bytes_max} bytes"
    )]
    NoRoom {
        /// The adapter's name.
        name: String,
        /// Its size in bytes.
        bytes: usize,
        /// Number of adapters in use.
        used: usize,
        /// Their total bytes.
        used_bytes: usize,
        /// Most adapters.
        adapters_max: usize,
        /// Most bytes of all adapters.
        bytes_max: usize,
    },
}

/// Limits on the adapters in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdapterLimits {
    /// Most adapters.
    pub adapters_max: usize,
    /// Most bytes of all adapters.
    pub bytes_max: usize,
}

/// Loads the adapter of a name; returns it with its size in bytes.
type Loader<A> = dyn Fn(&str) -> Result<(A, usize), AdapterSource> + Send + Sync;

/// The adapters in memory, by name.
pub struct AdapterRegistry<A> {
    load: Box<Loader<A>>,
    limits: AdapterLimits,
    cache: Mutex<AdapterCache<A>>,
    /// A lock for each name being loaded, so that no adapter is loaded twice at once.
    loading: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

struct AdapterCache<A> {
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
    /// Returns an empty registry that loads adapters with `load`, which returns an adapter and its size in bytes.
    pub fn new<L>(limits: AdapterLimits, load: L) -> Self
    where
        L: Fn(&str) -> Result<(A, usize), AdapterSource> + Send + Sync + 'static,
    {
        let cache = Mutex::new(AdapterCache { adapters: HashMap::new(), now: 0 });
        Self { load: Box::new(load), limits, cache, loading: Mutex::default() }
    }

    /// Returns the adapter of that name. Loads it if it is not in memory, which reads files and can take a while.
    ///
    /// Concurrent callers with the same name wait for one load. If room is needed, the least recently used adapters
    /// that no request holds are evicted.
    pub fn get(&self, name: &str) -> Result<Arc<LoadedAdapter<A>>, AdapterError> {
        if let Some(found) = self.cache.lock().find(name) {
            return Ok(found);
        }
        let name_lock = Arc::clone(self.loading.lock().entry(name.to_owned()).or_default());
        let guard = name_lock.lock();
        // The previous holder of the lock may have loaded it.
        let found = self.cache.lock().find(name);
        let answer = found.map_or_else(|| self.load(name), Ok);
        drop(guard);
        // If only the map and this call hold the lock, no other call waits for it.
        let mut loading = self.loading.lock();
        if Arc::strong_count(&name_lock) <= 2 {
            loading.remove(name);
        }
        answer
    }

    /// Returns the adapter of that name if it is in memory, and marks it as used. Never waits for a load, so async
    /// code may call it.
    pub fn find(&self, name: &str) -> Option<Arc<LoadedAdapter<A>>> {
        self.cache.lock().find(name)
    }

    /// Returns the names of all adapters in memory with their sizes in bytes, in no particular order.
    pub fn list(&self) -> Vec<(String, usize)> {
        let cache = self.cache.lock();
        cache.adapters.iter().map(|(name, (adapter, _))| (name.clone(), adapter.bytes)).collect()
    }

    /// Reloads the adapter of that name and uses it for new requests; running requests keep theirs.
    pub fn reload(&self, name: &str) -> Result<Arc<LoadedAdapter<A>>, AdapterError> {
        self.load(name)
    }

    /// Evicts the adapter of that name; running requests keep it. Returns whether it was in memory.
    pub fn remove(&self, name: &str) -> bool {
        self.cache.lock().adapters.remove(name).is_some()
    }

    /// Returns the number of adapters in memory, without those that only requests still hold.
    pub fn len(&self) -> usize {
        self.cache.lock().adapters.len()
    }

    /// Returns whether no adapter is in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn load(&self, name: &str) -> Result<Arc<LoadedAdapter<A>>, AdapterError> {
        let (adapter, bytes) =
            (self.load)(name).map_err(|source| AdapterError::Load { name: name.to_owned(), source })?;
        let mut cache = self.cache.lock();
        let before = cache.adapters.remove(name);
        if let Err(error) = cache.make_room(name, bytes, self.limits) {
            cache.adapters.extend(before.map(|entry| (name.to_owned(), entry)));
            return Err(error);
        }
        let loaded = Arc::new(LoadedAdapter::new(adapter, bytes));
        cache.now += 1;
        let now = cache.now;
        cache.adapters.insert(name.to_owned(), (Arc::clone(&loaded), now));
        Ok(loaded)
    }
}

impl<A> AdapterCache<A> {
    fn find(&mut self, name: &str) -> Option<Arc<LoadedAdapter<A>>> {
        self.now += 1;
        let (adapter, used) = self.adapters.get_mut(name)?;
        *used = self.now;
        Some(Arc::clone(adapter))
    }

    /// Evicts adapters until one of `bytes` bytes fits. Evicts none if it would not fit anyway.
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
            // The adapters in use leave enough room, so there is an unused one to evict.
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
    fn an_adapter_is_loaded_once_and_the_least_recently_used_is_evicted() {
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
    fn byte_limits_apply_and_adapters_in_use_stay() {
        let registry = registry(9, 100);
        let held = registry.get("a-60").unwrap();
        registry.get("b-40").unwrap();
        let error = registry.get("c-50").unwrap_err().to_string();
        assert_eq!(
            error,
            "adapter `c-50` of 50 bytes does not fit; in use: 1 adapters, 60 bytes; limits: 9 adapters, 100 bytes"
        );
        assert_eq!(registry.len(), 2);
        drop(held);
        registry.get("c-50").unwrap();
        assert_eq!(registry.len(), 2);
        assert!(matches!(registry.get("d").unwrap_err(), AdapterError::Load { .. }));
    }

    #[test]
    fn a_reload_serves_the_new_adapter_while_the_old_one_is_in_use() {
        let registry = registry(1, 100);
        let old = registry.get("a-10").unwrap();
        let new = registry.reload("a-10").unwrap();
        assert!(old.id() != new.id() && old.adapter() == new.adapter());
        assert_eq!(registry.get("a-10").unwrap().id(), new.id());
    }

    #[test]
    fn concurrent_callers_share_one_load() {
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
