//! Which models are in the room, how many use each, and which are evicted: decisions without waiting or threads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{KeepAlive, LeaseError, Loader, Occupant, OccupantState, PlaceKey, Resident};

/// The first pause after a load that failed; each further failure doubles it.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Everything that the room's lock protects.
pub(super) struct State<M: Resident> {
    pub(super) budget: u64,
    slots: BTreeMap<Arc<str>, Slot<M>>,
    /// The callers who wait for memory, the next to be served in front.
    line: VecDeque<u64>,
    next_ticket: u64,
    /// Counts uses; every slot has the number of its last one.
    uses: u64,
}

struct Slot<M: Resident> {
    /// The bytes that it takes: estimated before it is loaded, its own count from then on.
    bytes: u64,
    /// The bytes that it was given since it was loaded.
    grown: u64,
    load: Arc<Loader<M>>,
    phase: Phase<M>,
    leases: usize,
    used: u64,
    /// How long it stays loaded while it is unused.
    keep: KeepAlive,
    /// When its last user left.
    idle_since: Option<Instant>,
    /// Its memory is being freed for another model: callers who ask for it wait in line.
    is_going: bool,
    /// How many callers wait for it to be unloaded: new users wait until it was.
    stops: usize,
    failure: Option<Failure>,
    failures: u32,
    place: Weak<PlaceKey<M>>,
}

enum Phase<M> {
    Absent,
    Loading,
    Loaded(Arc<M>),
    Leaving,
}

#[derive(Clone, Debug)]
struct Failure {
    reason: Arc<str>,
    until: Instant,
}

/// An evicted model: to be dropped on a thread that may block, and then reported as gone.
pub(super) struct EvictedModel<M> {
    pub(super) key: Arc<str>,
    pub(super) model: Arc<M>,
}

/// What came of asking for a model.
pub(super) enum ClaimResult<M> {
    /// It is being used: ask [`State::model`] for it.
    Yes,
    /// The same, and the caller has to load it.
    Load(Arc<Loader<M>>),
    /// Not yet: ask again after something has changed.
    Wait,
}

impl<M: Resident> State<M> {
    pub(super) fn new(budget: u64) -> Self {
        Self { budget, slots: BTreeMap::new(), line: VecDeque::new(), next_ticket: 0, uses: 0 }
    }

    /// Returns the place of a key, if any holder of it is left.
    pub(super) fn place(&self, key: &str) -> Option<Arc<PlaceKey<M>>> {
        self.slots.get(key)?.place.upgrade()
    }

    /// Makes a slot for a key, or adds a holder to the one that exists.
    pub(super) fn put(
        &mut self,
        place: &Arc<PlaceKey<M>>,
        bytes: u64,
        keep: KeepAlive,
        load: Arc<Loader<M>>,
    ) {
        let slot = self.slots.entry(Arc::clone(&place.key)).or_insert_with(|| Slot {
            bytes,
            grown: 0,
            load: Arc::clone(&load),
            phase: Phase::Absent,
            leases: 0,
            used: 0,
            keep,
            idle_since: None,
            is_going: false,
            stops: 0,
            failure: None,
            failures: 0,
            place: Weak::new(),
        });
        slot.place = Arc::downgrade(place);
        (slot.load, slot.keep) = (load, keep);
    }

    /// Forgets a key whose last holder is gone, and returns what was loaded.
    pub(super) fn forget(&mut self, key: &str) -> Option<EvictedModel<M>> {
        // The place may have been taken again meanwhile.
        let slot = self.slots.get_mut(key).filter(|slot| slot.place.strong_count() == 0)?;
        if matches!(slot.phase, Phase::Absent) {
            self.slots.remove(key);
            return None;
        }
        self.evict(key)
    }

    /// Tries to become a user of a model. `ticket` is the caller's place in the line for memory, made when needed.
    pub(super) fn claim(
        &mut self,
        key: &Arc<str>,
        ticket: &mut Option<u64>,
        now: Instant,
        evicted: &mut Vec<EvictedModel<M>>,
    ) -> Result<ClaimResult<M>, LeaseError> {
        let budget = self.budget;
        let Some(slot) = self.slots.get_mut(key) else { return Ok(ClaimResult::Wait) };
        if slot.stops > 0 {
            return Ok(ClaimResult::Wait);
        }
        match &slot.phase {
            Phase::Loading => return Ok(self.use_slot(key)),
            Phase::Leaving => return Ok(ClaimResult::Wait),
            Phase::Loaded(model) if model.has_failed() => {
                if slot.leases == 0 {
                    evicted.extend(self.evict(key));
                }
                return Ok(ClaimResult::Wait);
            }
            Phase::Loaded(_) if !slot.is_going => return Ok(self.use_slot(key)),
            Phase::Loaded(_) => {
                self.line_up(ticket);
                return Ok(ClaimResult::Wait);
            }
            Phase::Absent => {}
        }
        if let Some(failure) = slot.failure.as_ref().filter(|failure| now < failure.until) {
            let retry_in = failure.until.saturating_duration_since(now);
            return Err(LeaseError::Failed { reason: Arc::clone(&failure.reason), retry_in });
        }
        let (needed, load) = (slot.bytes, Arc::clone(&slot.load));
        if needed > budget {
            return Err(LeaseError::NeverFits { needed, budget });
        }
        if self.line_up(ticket) != 0 || !self.make_room(needed, evicted) {
            return Ok(ClaimResult::Wait);
        }
        if let Some(ticket) = ticket.take() {
            self.leave_line(ticket);
        }
        if let Some(slot) = self.slots.get_mut(key) {
            slot.phase = Phase::Loading;
            slot.failure = None;
        }
        self.use_slot(key);
        Ok(ClaimResult::Load(load))
    }

    /// Counts a use.
    fn use_slot(&mut self, key: &str) -> ClaimResult<M> {
        self.uses += 1;
        if let Some(slot) = self.slots.get_mut(key) {
            slot.leases += 1;
            slot.used = self.uses;
        }
        ClaimResult::Yes
    }

    /// Returns a model that is in use; nothing while it is being loaded, and an error if that failed.
    pub(super) fn model(&self, key: &str, now: Instant) -> Result<Option<Arc<M>>, LeaseError> {
        let Some(slot) = self.slots.get(key) else { return Ok(None) };
        match (&slot.phase, &slot.failure) {
            (Phase::Loaded(model), _) => Ok(Some(Arc::clone(model))),
            (_, Some(failure)) => {
                let retry_in = failure.until.saturating_duration_since(now);
                Err(LeaseError::Failed { reason: Arc::clone(&failure.reason), retry_in })
            }
            _ => Ok(None),
        }
    }

    /// Ends a use. Returns whether the model is unused now.
    pub(super) fn release(&mut self, key: &str, now: Instant) -> bool {
        let Some(slot) = self.slots.get_mut(key) else { return false };
        slot.idle_since = Some(now);
        slot.leases = slot.leases.saturating_sub(1);
        slot.leases == 0
    }

    /// Returns the bytes that a model takes, or would take.
    pub(super) fn bytes_of(&self, key: &str) -> u64 {
        self.slots.get(key).map_or(0, |slot| slot.bytes)
    }

    /// Notes how a load ended. Returns the model if its place is gone meanwhile.
    pub(super) fn loaded(
        &mut self,
        key: &str,
        result: Result<M, Arc<str>>,
        now: Instant,
    ) -> Option<EvictedModel<M>> {
        let slot = self.slots.get_mut(key)?;
        slot.idle_since = Some(now);
        match result {
            Ok(model) => {
                (slot.bytes, slot.grown) = (model.bytes(), 0);
                slot.phase = Phase::Loaded(Arc::new(model));
                (slot.failure, slot.failures) = (None, 0);
            }
            Err(reason) => {
                let pause = PAUSE_MIN.saturating_mul(1 << slot.failures.min(10)).min(PAUSE_MAX);
                slot.phase = Phase::Absent;
                slot.failure = Some(Failure { reason, until: now + pause });
                slot.failures += 1;
            }
        }
        self.forget(key)
    }

    /// Notes that an evicted model is gone.
    pub(super) fn gone(&mut self, key: &str) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        (slot.phase, slot.grown) = (Phase::Absent, 0);
        if slot.place.strong_count() == 0 {
            self.slots.remove(key);
        }
    }

    /// Evicts unused models whose time has expired. Returns when to look again.
    pub(super) fn expire(&mut self, now: Instant, evicted: &mut Vec<EvictedModel<M>>) -> Option<Instant> {
        let idle = self.slots.iter().filter(|(_, slot)| slot.is_idle());
        let idle = idle.filter_map(|(key, slot)| Some((Arc::clone(key), slot.expires()?)));
        let idle: Vec<(Arc<str>, Instant)> = idle.collect();
        let (due, later): (Vec<_>, Vec<_>) = idle.into_iter().partition(|(_, when)| *when <= now);
        evicted.extend(due.iter().filter_map(|(key, _)| self.evict(key)));
        later.into_iter().map(|(_, when)| when).min()
    }

    /// Asks for a model to be unloaded: it takes no new users until [`Self::stop_over`]. Returns whether it is there.
    pub(super) fn stop(&mut self, key: &str) -> bool {
        let Some(slot) = self.slots.get_mut(key) else { return false };
        slot.stops += 1;
        !matches!(slot.phase, Phase::Absent)
    }

    /// Evicts a model that is to be unloaded, if it is unused. Returns its number of users, or nothing once it is gone.
    pub(super) fn stop_step(&mut self, key: &str, evicted: &mut Vec<EvictedModel<M>>) -> Option<usize> {
        let slot = self.slots.get(key)?;
        if matches!(slot.phase, Phase::Absent) {
            return None;
        }
        let leases = slot.leases;
        if slot.is_idle() {
            evicted.extend(self.evict(key));
        }
        Some(leases)
    }

    pub(super) fn stop_over(&mut self, key: &str) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.stops = slot.stops.saturating_sub(1);
        }
    }

    /// Returns whether the last load failed and the next one will not be tried yet.
    pub(super) fn is_failing(&self, key: &str, now: Instant) -> bool {
        let failure = self.slots.get(key).and_then(|slot| slot.failure.as_ref());
        failure.is_some_and(|failure| now < failure.until)
    }

    /// Returns what is in memory, or on its way in or out.
    pub(super) fn occupants(&self) -> Vec<Occupant<M>> {
        self.slots.keys().filter_map(|key| self.occupant(key)).collect()
    }

    /// Returns a model that is in memory, or on its way in or out.
    pub(super) fn occupant(&self, key: &str) -> Option<Occupant<M>> {
        let (key, slot) = self.slots.get_key_value(key)?;
        let (state, model) = match &slot.phase {
            Phase::Absent => return None,
            Phase::Loading => (OccupantState::Loading, None),
            Phase::Loaded(model) => (OccupantState::Loaded, Some(Arc::clone(model))),
            Phase::Leaving => (OccupantState::Leaving, None),
        };
        let (expires, leases) = (slot.expires(), slot.leases);
        Some(Occupant { key: Arc::clone(key), state, bytes: slot.taken(), leases, expires, model })
    }

    /// Returns the bytes that are taken.
    pub(super) fn used(&self) -> u64 {
        let taken = self.slots.values().filter(|slot| !matches!(slot.phase, Phase::Absent));
        taken.map(Slot::taken).sum()
    }

    /// Gives a loaded model up to `wanted` more bytes, a multiple of `unit`, and returns how many: what is free, and what
    /// unused models take, which leave as far as needed. Whoever waits in line comes first.
    pub(super) fn grow(
        &mut self,
        key: &str,
        (wanted, unit): (u64, u64),
        evicted: &mut Vec<EvictedModel<M>>,
    ) -> u64 {
        let is_loaded = self.slots.get(key).is_some_and(|slot| matches!(slot.phase, Phase::Loaded(_)));
        if !is_loaded || !self.line.is_empty() {
            return 0;
        }
        let mut free = self.budget.saturating_sub(self.used());
        let idle = self.slots.iter().filter(|(other, slot)| slot.is_idle() && &***other != key);
        let mut idle: Vec<_> =
            idle.map(|(other, slot)| (slot.used, Arc::clone(other), slot.taken())).collect();
        idle.sort();
        for (_, other, bytes) in idle {
            if free >= wanted {
                break;
            }
            free = free.saturating_add(bytes);
            evicted.extend(self.evict(&other));
        }
        let given = wanted.min(free) / unit.max(1) * unit;
        if let Some(slot) = self.slots.get_mut(key) {
            slot.grown += given;
        }
        given
    }

    /// Returns how many are before the caller in the line for memory, which it joins if needed.
    fn line_up(&mut self, ticket: &mut Option<u64>) -> usize {
        let mine = *ticket.get_or_insert_with(|| {
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            self.line.push_back(ticket);
            ticket
        });
        self.line.iter().position(|ticket| *ticket == mine).unwrap_or(0)
    }

    /// Leaves the line. Memory that was freed for the first in line is for those behind it.
    pub(super) fn leave_line(&mut self, ticket: u64) {
        if self.line.front() == Some(&ticket) {
            self.slots.values_mut().for_each(|slot| slot.is_going = false);
        }
        self.line.retain(|other| *other != ticket);
    }

    /// Returns whether `needed` bytes are free. If not, evicts unused models, the one unused for longest first, and keeps
    /// new users from models in use, as far as needed.
    fn make_room(&mut self, needed: u64, evicted: &mut Vec<EvictedModel<M>>) -> bool {
        let used = self.used();
        if used.saturating_add(needed) <= self.budget {
            return true;
        }
        let leaving = self.slots.values().filter(|slot| matches!(slot.phase, Phase::Leaving));
        let leaving: u64 = leaving.map(Slot::taken).sum();
        let mut missing = (used - leaving).saturating_add(needed).saturating_sub(self.budget);
        let mut loaded: Vec<(bool, u64, Arc<str>, u64)> = self
            .slots
            .iter()
            .filter(|(_, slot)| matches!(slot.phase, Phase::Loaded(_)))
            .map(|(key, slot)| (slot.leases > 0, slot.used, Arc::clone(key), slot.taken()))
            .collect();
        loaded.sort();
        for (is_used, _, key, bytes) in loaded {
            if missing == 0 {
                break;
            }
            missing = missing.saturating_sub(bytes);
            if !is_used {
                evicted.extend(self.evict(&key));
            } else if let Some(slot) = self.slots.get_mut(&key) {
                slot.is_going = true;
            }
        }
        false
    }

    fn evict(&mut self, key: &str) -> Option<EvictedModel<M>> {
        let (key, _) = self.slots.get_key_value(key)?;
        let key = Arc::clone(key);
        let slot = self.slots.get_mut(&key)?;
        match std::mem::replace(&mut slot.phase, Phase::Leaving) {
            Phase::Loaded(model) => Some(EvictedModel { key, model }),
            other => {
                slot.phase = other;
                None
            }
        }
    }
}

impl<M: Resident> Slot<M> {
    /// Returns the bytes that it takes, those included that it was given since it was loaded.
    const fn taken(&self) -> u64 {
        self.bytes + self.grown
    }

    fn is_idle(&self) -> bool {
        self.leases == 0 && matches!(self.phase, Phase::Loaded(_))
    }

    /// Returns when it is unloaded if nobody uses it again.
    fn expires(&self) -> Option<Instant> {
        match self.keep {
            KeepAlive::For(time) => self.idle_since?.checked_add(time),
            KeepAlive::Always => None,
        }
    }
}
