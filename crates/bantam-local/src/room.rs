//! Many models in one memory: loaded on demand, kept for a while, and evicted by recency where the budget is too small
//! for all, but never while they are in use.
//!
//! A [`Room`] has a [`Place`] for every model that may be loaded. A caller takes a [`Lease`], which waits until the model
//! is loaded and keeps it in memory until it is dropped. Loading and unloading happen on threads of their own, so that
//! the other models keep answering.
//!
//! Callers who need memory that is not free wait in line. For the first in line, unused models are unloaded, the one
//! unused for longest first; if that does not free enough, the models in use that were idle for longest take no new
//! users until their present users are done. So no caller waits forever behind a stream of requests for other models,
//! and since a user holds one lease and waits for none, no two can wait for each other.
//!
//! A model in use may grow, by what is free and by what unused models take, while nobody waits in line.
//!
//! **Invariant:** what is in memory, on its way in and on its way out fits the budget, as far as estimates are right.
//! Only a model that grows may begin to use the memory of one that is just leaving.

mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bantam_engine::Clock;
use bantam_types::with_causes;
use tokio::sync::Notify;

use state::{ClaimResult, EvictedModel, State};

/// What can be kept in a [`Room`].
pub trait Resident: Send + Sync + 'static {
    /// Returns how many bytes of memory it takes.
    fn bytes(&self) -> u64;

    /// Returns whether it has failed for good, so that it must be loaded again.
    fn has_failed(&self) -> bool;

    /// Stops its work on other threads and waits until that has ended. It is no longer in use.
    fn end_blocking(&self);
}

/// How long a model stays in memory after its last request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// For this long.
    For(Duration),
    /// Until its memory is needed.
    Always,
}

/// Loads a model; called on a thread that may block.
type Loader<M> = dyn Fn() -> Result<M, Box<dyn std::error::Error + Send + Sync>> + Send + Sync;

/// Why there is no lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// It does not fit even alone.
    #[error("it needs {needed} bytes and the budget is {budget}")]
    NeverFits {
        /// Bytes that it needs.
        needed: u64,
        /// Bytes of all models.
        budget: u64,
    },
    /// The other models were in use until the deadline.
    #[error("its {needed} bytes did not become free in time: all other models are in use")]
    NoRoom {
        /// Bytes that it needs.
        needed: u64,
    },
    /// It was not loaded in time.
    #[error("it was not loaded in time")]
    Late,
    /// Loading it failed.
    #[error("it could not be loaded, and is tried again in {} s: {reason}", .retry_in.as_secs())]
    Failed {
        /// Why, as the loader says it.
        reason: Arc<str>,
        /// How long until it may be loaded again.
        retry_in: Duration,
    },
}

/// A model could not be unloaded because it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{leases} requests still use it")]
pub struct StillUsed {
    /// How many requests use it.
    pub leases: usize,
}

/// A model in memory, and how it is used.
#[derive(Debug)]
pub struct Occupant<M> {
    /// The key of its place.
    pub key: Arc<str>,
    /// Whether it is loaded.
    pub state: OccupantState,
    /// Bytes of memory that it takes.
    pub bytes: u64,
    /// Requests that use it or wait for it to be loaded.
    pub leases: usize,
    /// When it is unloaded if nobody asks for it; `None` while it has users, and where it stays loaded.
    pub expires: Option<Instant>,
    /// The model, while it is loaded. Holding it is not a lease: drop it soon.
    pub model: Option<Arc<M>>,
}

/// Whether a model is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OccupantState {
    /// Being loaded.
    Loading,
    /// In memory.
    Loaded,
    /// Being unloaded.
    Leaving,
}

/// A memory budget and the models in it. Clones are the same room.
pub struct Room<M: Resident>(Arc<Shared<M>>);

struct Shared<M: Resident> {
    state: Mutex<State<M>>,
    /// Something that a caller may be waiting for has happened.
    changed: Notify,
    /// The last user of a model has left.
    idle: Notify,
    wait_max: Duration,
    clock: Clock,
}

/// A model's place in a room; clones are the same place. When the last is dropped, the model is unloaded.
pub struct Place<M: Resident>(Arc<PlaceKey<M>>);

pub(crate) struct PlaceKey<M: Resident> {
    key: Arc<str>,
    room: Arc<Shared<M>>,
}

/// The right to use a model, which stays in memory as long as this is held.
pub struct Lease<M: Resident> {
    model: Arc<M>,
    _claim: Claim<M>,
}

impl<M: Resident> Room<M> {
    /// Returns an empty room of `budget` bytes. Callers without a deadline wait for memory at most `wait_max`.
    pub fn new(budget: u64, wait_max: Duration, clock: Clock) -> Self {
        let state = Mutex::new(State::new(budget));
        Self(Arc::new(Shared { state, changed: Notify::new(), idle: Notify::new(), wait_max, clock }))
    }

    /// Returns the place of `key`, and makes it if it is missing: for a model that `load` loads, that will take about
    /// `bytes` bytes, and that stays loaded for `keep` while it is unused.
    pub fn place<L>(&self, key: &str, bytes: u64, keep: KeepAlive, load: L) -> Place<M>
    where
        L: Fn() -> Result<M, Box<dyn std::error::Error + Send + Sync>> + Send + Sync + 'static,
    {
        let mut state = self.0.lock();
        let place = state
            .place(key)
            .unwrap_or_else(|| Arc::new(PlaceKey { key: key.into(), room: Arc::clone(&self.0) }));
        state.put(&place, bytes, keep, Arc::new(load));
        drop(state);
        // How long it stays may have changed.
        self.0.idle.notify_one();
        Place(place)
    }

    /// Returns what is in memory now, in the order of keys.
    pub fn occupants(&self) -> Vec<Occupant<M>> {
        self.0.lock().occupants()
    }

    /// Returns the bytes that models may take, and the bytes that they take.
    pub fn budget_and_used(&self) -> (u64, u64) {
        let state = self.0.lock();
        (state.budget, state.used())
    }

    /// Changes the budget. Models in memory stay until another needs their memory.
    pub fn set_budget(&self, bytes: u64) {
        self.0.lock().budget = bytes;
        self.0.changed.notify_waiters();
    }

    /// Unloads models whose time has expired. Returns when to do so again, if anything is left to expire.
    pub fn expire(&self) -> Option<Instant> {
        let mut evicted = Vec::new();
        let next = self.0.lock().expire((self.0.clock)(), &mut evicted);
        self.0.unload_in_background(evicted);
        next
    }

    /// Unloads models whenever their time has expired; it never returns.
    pub async fn tend(&self) {
        loop {
            let became_idle = self.0.idle.notified();
            match self.expire() {
                Some(next) => {
                    let left = next.saturating_duration_since((self.0.clock)());
                    let _ = tokio::time::timeout(left, became_idle).await;
                }
                None => became_idle.await,
            }
        }
    }
}

impl<M: Resident> Place<M> {
    /// Returns the key.
    pub fn key(&self) -> &Arc<str> {
        &self.0.key
    }

    /// Returns the model and how it is used, if it is in memory.
    pub fn occupant(&self) -> Option<Occupant<M>> {
        self.0.room.lock().occupant(&self.0.key)
    }

    /// Gives the model, which is loaded, up to `wanted` more bytes: a multiple of `unit`. Unused models are unloaded for it.
    /// Returns how many bytes that are; none while others wait for memory. They are its own until it is unloaded.
    pub fn grow(&self, wanted: u64, unit: u64) -> u64 {
        let room = &self.0.room;
        let mut evicted = Vec::new();
        let given = room.lock().grow(&self.0.key, (wanted, unit), &mut evicted);
        room.unload_in_background(evicted);
        given
    }

    /// Returns whether the last load failed and the next one will not be tried yet.
    pub fn is_failing(&self) -> bool {
        let room = &self.0.room;
        room.lock().is_failing(&self.0.key, (room.clock)())
    }

    /// Waits until the model is in memory, loading it if needed, and uses it. Callers who ask meanwhile share the load.
    ///
    /// # Errors
    /// [`LeaseError`]: it cannot be loaded, or not by the deadline.
    pub async fn lease(&self, deadline: Option<Instant>) -> Result<Lease<M>, LeaseError> {
        let room = &self.0.room;
        let begun = (room.clock)();
        let until = deadline.unwrap_or(begun + room.wait_max);
        let mut stand = LineTicket { room, ticket: None };
        let claim = loop {
            let mut changed = std::pin::pin!(room.changed.notified());
            changed.as_mut().enable();
            if let Some(claim) = self.claim(&mut stand)? {
                break claim;
            }
            let left = until.saturating_duration_since((room.clock)());
            if left.is_zero() || tokio::time::timeout(left, changed).await.is_err() {
                return Err(LeaseError::NoRoom { needed: room.lock().bytes_of(&self.0.key) });
            }
        };
        drop(stand);
        loop {
            let mut changed = std::pin::pin!(room.changed.notified());
            changed.as_mut().enable();
            let found = room.lock().model(&self.0.key, (room.clock)())?;
            if let Some(model) = found {
                return Ok(Lease { model, _claim: claim });
            }
            // A load ends by itself; only callers with a deadline leave before.
            let Some(deadline) = deadline else {
                changed.await;
                continue;
            };
            let left = deadline.saturating_duration_since((room.clock)());
            if left.is_zero() || tokio::time::timeout(left, changed).await.is_err() {
                return Err(LeaseError::Late);
            }
        }
    }

    fn claim(&self, stand: &mut LineTicket<'_, M>) -> Result<Option<Claim<M>>, LeaseError> {
        let room = &self.0.room;
        let mut evicted = Vec::new();
        let now = (room.clock)();
        let claimed = room.lock().claim(&self.0.key, &mut stand.ticket, now, &mut evicted);
        room.unload_in_background(evicted);
        let claim = || Claim { place: Arc::clone(&self.0) };
        Ok(match claimed? {
            ClaimResult::Wait => None,
            ClaimResult::Yes => Some(claim()),
            ClaimResult::Load(load) => {
                let claim = claim();
                room.load(&self.0.key, load);
                // The next in line may be served.
                room.changed.notify_waiters();
                Some(claim)
            }
        })
    }

    /// Unloads the model once it is unused, and waits for that until the deadline; callers who ask for it meanwhile wait
    /// too. Returns whether it was in memory.
    ///
    /// # Errors
    /// [`StillUsed`]: it is in use at the deadline. It stays, and may be used again.
    pub async fn unload(&self, deadline: Instant) -> Result<bool, StillUsed> {
        let room = &self.0.room;
        if !room.lock().stop(&self.0.key) {
            room.lock().stop_over(&self.0.key);
            return Ok(false);
        }
        let _stopping = PendingUnload { place: self };
        loop {
            let mut changed = std::pin::pin!(room.changed.notified());
            changed.as_mut().enable();
            let mut evicted = Vec::new();
            let left_over = room.lock().stop_step(&self.0.key, &mut evicted);
            room.unload_in_background(evicted);
            let Some(leases) = left_over else { return Ok(true) };
            let left = deadline.saturating_duration_since((room.clock)());
            if left.is_zero() || tokio::time::timeout(left, changed).await.is_err() {
                return Err(StillUsed { leases });
            }
        }
    }
}

impl<M: Resident> Shared<M> {
    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads a model on a thread of its own.
    fn load(self: &Arc<Self>, key: &Arc<str>, load: Arc<Loader<M>>) {
        let loading = Loading { room: Arc::clone(self), key: Arc::clone(key), is_told: false };
        let begun = std::thread::Builder::new().name("bantam-load".to_owned()).spawn(move || {
            let begun = Instant::now();
            let result = load().map_err(|error| Arc::<str>::from(with_causes(&*error)));
            match &result {
                Ok(model) => {
                    let (ms, bytes) = (begun.elapsed().as_millis(), model.bytes());
                    tracing::info!(model = %loading.key, ms, bytes, "a model was loaded");
                }
                Err(reason) => tracing::error!(model = %loading.key, %reason, "a model could not be loaded"),
            }
            loading.tell(result);
        });
        if let Err(error) = begun {
            // The closure is dropped unused, which tells the callers who wait.
            tracing::error!(model = %key, %error, "no thread to load a model on");
        }
    }

    fn loaded(self: &Arc<Self>, key: &str, result: Result<M, Arc<str>>) {
        let leaver = self.lock().loaded(key, result, (self.clock)());
        self.unload_in_background(leaver.into_iter().collect());
    }

    /// Drops models on a thread where waiting for theirs blocks nobody, and reports when they are gone.
    fn unload_in_background(self: &Arc<Self>, evicted: Vec<EvictedModel<M>>) {
        if evicted.is_empty() {
            return;
        }
        let room = Arc::clone(self);
        let work = Arc::new(Mutex::new(evicted));
        let taken = Arc::clone(&work);
        let drop_all = move || {
            let evicted = std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner));
            for EvictedModel { key, model } in evicted {
                model.end_blocking();
                drop(model);
                tracing::info!(model = %key, "a model was unloaded");
                room.lock().gone(&key);
                room.changed.notify_waiters();
            }
        };
        if std::thread::Builder::new().name("bantam-unload".to_owned()).spawn(drop_all.clone()).is_err() {
            drop_all();
        }
    }
}

/// A load in progress: whatever happens to its thread, the callers who wait are told.
struct Loading<M: Resident> {
    room: Arc<Shared<M>>,
    key: Arc<str>,
    is_told: bool,
}

impl<M: Resident> Loading<M> {
    fn tell(mut self, result: Result<M, Arc<str>>) {
        self.is_told = true;
        self.room.loaded(&self.key, result);
        // Dropping this tells the waiting callers.
    }
}

impl<M: Resident> Drop for Loading<M> {
    fn drop(&mut self) {
        if !self.is_told {
            let reason = Err("loading it ended in a panic, or no thread was left for it".into());
            self.room.loaded(&self.key, reason);
        }
        self.room.changed.notify_waiters();
        self.room.idle.notify_one();
    }
}

/// A use of a model, counted until it is dropped.
struct Claim<M: Resident> {
    place: Arc<PlaceKey<M>>,
}

impl<M: Resident> Drop for Claim<M> {
    fn drop(&mut self) {
        let room = &self.place.room;
        let now = (room.clock)();
        if room.lock().release(&self.place.key, now) {
            room.changed.notify_waiters();
            room.idle.notify_one();
        }
    }
}

/// A place in the line for memory, left when it is dropped.
struct LineTicket<'r, M: Resident> {
    room: &'r Arc<Shared<M>>,
    ticket: Option<u64>,
}

impl<M: Resident> Drop for LineTicket<'_, M> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.room.lock().leave_line(ticket);
            self.room.changed.notify_waiters();
        }
    }
}

/// A pending request to unload a model, over when it is dropped.
struct PendingUnload<'p, M: Resident> {
    place: &'p Place<M>,
}

impl<M: Resident> Drop for PendingUnload<'_, M> {
    fn drop(&mut self) {
        let PlaceKey { key, room } = &*self.place.0;
        room.lock().stop_over(key);
        room.changed.notify_waiters();
    }
}

impl<M: Resident> Drop for PlaceKey<M> {
    fn drop(&mut self) {
        let leaver = self.room.lock().forget(&self.key);
        self.room.unload_in_background(leaver.into_iter().collect());
    }
}

impl<M: Resident> std::ops::Deref for Lease<M> {
    type Target = Arc<M>;

    fn deref(&self) -> &Arc<M> {
        &self.model
    }
}

impl<M: Resident> Clone for Room<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Resident> Clone for Place<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Resident> std::fmt::Debug for Room<M> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (budget, used) = self.budget_and_used();
        formatter.debug_struct("Room").field("budget", &budget).field("used", &used).finish_non_exhaustive()
    }
}

impl<M: Resident> std::fmt::Debug for Place<M> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Place").field(&self.0.key).finish()
    }
}

impl<M: Resident> std::fmt::Debug for Lease<M> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Lease").field(&self._claim.place.key).finish()
    }
}
