//! Who is in the room, who uses whom, and who goes to make room: decisions without waiting and without threads.

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
    /// Those who wait for room, the first to be served in front.
    line: VecDeque<u64>,
    next_ticket: u64,
    /// Counts uses; a slot is stamped with that of its last one.
    uses: u64,
}

struct Slot<M: Resident> {
    /// What it takes: estimated before it is loaded, and as it says itself from then on.
    bytes: u64,
    load: Arc<Loader<M>>,
    phase: Phase<M>,
    leases: usize,
    used: u64,
    /// How long it stays when nobody uses it.
    keep: KeepAlive,
    /// When its last user left.
    idle_since: Option<Instant>,
    /// Its memory is being collected for another: who asks for it waits in line.
    is_going: bool,
    /// How many wait for it to be unloaded: who asks for it waits until it was.
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

/// A model that was sent away: to be dropped by a thread that may wait, and then reported as gone.
pub(super) struct Leaver<M> {
    pub(super) key: Arc<str>,
    pub(super) model: Arc<M>,
}

/// What became of asking for a model.
pub(super) enum Claimed<M> {
    /// It is being used: ask [`State::model`] for it.
    Yes,
    /// The same, and who asked has to load it.
    Load(Arc<Loader<M>>),
    /// Not yet: ask again after something has changed.
    Wait,
}

impl<M: Resident> State<M> {
    pub(super) fn new(budget: u64) -> Self {
        Self { budget, slots: BTreeMap::new(), line: VecDeque::new(), next_ticket: 0, uses: 0 }
    }

    /// Returns the place of a key, where somebody holds it.
    pub(super) fn place(&self, key: &str) -> Option<Arc<PlaceKey<M>>> {
        self.slots.get(key)?.place.upgrade()
    }

    /// Makes a slot for a key, or gives the one there is another holder.
    pub(super) fn put(
        &mut self,
        place: &Arc<PlaceKey<M>>,
        bytes: u64,
        keep: KeepAlive,
        load: Arc<Loader<M>>,
    ) {
        let slot = self.slots.entry(Arc::clone(&place.key)).or_insert_with(|| Slot {
            bytes,
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
    pub(super) fn forget(&mut self, key: &str) -> Option<Leaver<M>> {
        // Somebody may have taken the place anew meanwhile.
        let slot = self.slots.get_mut(key).filter(|slot| slot.place.strong_count() == 0)?;
        if matches!(slot.phase, Phase::Absent) {
            self.slots.remove(key);
            return None;
        }
        self.send_away(key)
    }

    /// Tries to become a user of a model. `ticket` is the caller's place in the line for memory, made when needed.
    pub(super) fn claim(
        &mut self,
        key: &Arc<str>,
        ticket: &mut Option<u64>,
        now: Instant,
        leavers: &mut Vec<Leaver<M>>,
    ) -> Result<Claimed<M>, LeaseError> {
        let budget = self.budget;
        let Some(slot) = self.slots.get_mut(key) else { return Ok(Claimed::Wait) };
        if slot.stops > 0 {
            return Ok(Claimed::Wait);
        }
        match &slot.phase {
            Phase::Loading => return Ok(self.use_slot(key)),
            Phase::Leaving => return Ok(Claimed::Wait),
            Phase::Loaded(model) if model.has_failed() => {
                if slot.leases == 0 {
                    leavers.extend(self.send_away(key));
                }
                return Ok(Claimed::Wait);
            }
            Phase::Loaded(_) if !slot.is_going => return Ok(self.use_slot(key)),
            Phase::Loaded(_) => {
                self.line_up(ticket);
                return Ok(Claimed::Wait);
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
        if self.line_up(ticket) != 0 || !self.make_room(needed, leavers) {
            return Ok(Claimed::Wait);
        }
        if let Some(ticket) = ticket.take() {
            self.leave_line(ticket);
        }
        if let Some(slot) = self.slots.get_mut(key) {
            slot.phase = Phase::Loading;
            slot.failure = None;
        }
        self.use_slot(key);
        Ok(Claimed::Load(load))
    }

    /// Counts a use.
    fn use_slot(&mut self, key: &str) -> Claimed<M> {
        self.uses += 1;
        if let Some(slot) = self.slots.get_mut(key) {
            slot.leases += 1;
            slot.used = self.uses;
        }
        Claimed::Yes
    }

    /// Returns the model that somebody uses; nothing while it is loaded, and why not if that failed.
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

    /// Ends a use. Returns whether nobody uses the model now.
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

    /// Says how loading ended. Returns the model where its place is gone meanwhile.
    pub(super) fn loaded(
        &mut self,
        key: &str,
        result: Result<M, Arc<str>>,
        now: Instant,
    ) -> Option<Leaver<M>> {
        let slot = self.slots.get_mut(key)?;
        slot.idle_since = Some(now);
        match result {
            Ok(model) => {
                slot.bytes = model.bytes();
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

    /// Says that a model that was sent away is gone.
    pub(super) fn gone(&mut self, key: &str) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.phase = Phase::Absent;
        if slot.place.strong_count() == 0 {
            self.slots.remove(key);
        }
    }

    /// Sends away what nobody uses and nobody has asked for in time. Returns when to look again.
    pub(super) fn expire(&mut self, now: Instant, leavers: &mut Vec<Leaver<M>>) -> Option<Instant> {
        let idle = self.slots.iter().filter(|(_, slot)| slot.is_idle());
        let idle = idle.filter_map(|(key, slot)| Some((Arc::clone(key), slot.expires()?)));
        let idle: Vec<(Arc<str>, Instant)> = idle.collect();
        let (due, later): (Vec<_>, Vec<_>) = idle.into_iter().partition(|(_, when)| *when <= now);
        leavers.extend(due.iter().filter_map(|(key, _)| self.send_away(key)));
        later.into_iter().map(|(_, when)| when).min()
    }

    /// Asks that a model is unloaded: nobody new gets it until [`Self::stop_over`]. Returns whether it is there.
    pub(super) fn stop(&mut self, key: &str) -> bool {
        let Some(slot) = self.slots.get_mut(key) else { return false };
        slot.stops += 1;
        !matches!(slot.phase, Phase::Absent)
    }

    /// Sends a model away that is to stop, if nobody uses it. Returns how many use it, or nothing once it is gone.
    pub(super) fn stop_step(&mut self, key: &str, leavers: &mut Vec<Leaver<M>>) -> Option<usize> {
        let slot = self.slots.get(key)?;
        if matches!(slot.phase, Phase::Absent) {
            return None;
        }
        let leases = slot.leases;
        if slot.is_idle() {
            leavers.extend(self.send_away(key));
        }
        Some(leases)
    }

    pub(super) fn stop_over(&mut self, key: &str) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.stops = slot.stops.saturating_sub(1);
        }
    }

    /// Returns whether the last load failed and none will be tried for a while.
    pub(super) fn is_failing(&self, key: &str, now: Instant) -> bool {
        let failure = self.slots.get(key).and_then(|slot| slot.failure.as_ref());
        failure.is_some_and(|failure| now < failure.until)
    }

    /// Returns what is in memory, or on its way in or out.
    pub(super) fn occupants(&self) -> Vec<Occupant<M>> {
        self.slots.keys().filter_map(|key| self.occupant(key)).collect()
    }

    /// Returns what is known of a model that is in memory, or on its way in or out.
    pub(super) fn occupant(&self, key: &str) -> Option<Occupant<M>> {
        let (key, slot) = self.slots.get_key_value(key)?;
        let (state, model) = match &slot.phase {
            Phase::Absent => return None,
            Phase::Loading => (OccupantState::Loading, None),
            Phase::Loaded(model) => (OccupantState::Loaded, Some(Arc::clone(model))),
            Phase::Leaving => (OccupantState::Leaving, None),
        };
        let (expires, leases) = (slot.expires(), slot.leases);
        Some(Occupant { key: Arc::clone(key), state, bytes: slot.bytes, leases, expires, model })
    }

    /// Returns the bytes that are taken.
    pub(super) fn used(&self) -> u64 {
        let taken = self.slots.values().filter(|slot| !matches!(slot.phase, Phase::Absent));
        taken.map(|slot| slot.bytes).sum()
    }

    /// Returns how many stand before the caller in the line for memory, which it joins if need be.
    fn line_up(&mut self, ticket: &mut Option<u64>) -> usize {
        let mine = *ticket.get_or_insert_with(|| {
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            self.line.push_back(ticket);
            ticket
        });
        self.line.iter().position(|ticket| *ticket == mine).unwrap_or(0)
    }

    /// Leaves the line. What the first in line has collected is for those after it.
    pub(super) fn leave_line(&mut self, ticket: u64) {
        if self.line.front() == Some(&ticket) {
            self.slots.values_mut().for_each(|slot| slot.is_going = false);
        }
        self.line.retain(|other| *other != ticket);
    }

    /// Returns whether `needed` bytes are free. If not, sends away what nobody uses, the one unused for longest
    /// first, and keeps new requests from what is in use, as far as it takes.
    fn make_room(&mut self, needed: u64, leavers: &mut Vec<Leaver<M>>) -> bool {
        let used = self.used();
        if used.saturating_add(needed) <= self.budget {
            return true;
        }
        let leaving = self.slots.values().filter(|slot| matches!(slot.phase, Phase::Leaving));
        let leaving: u64 = leaving.map(|slot| slot.bytes).sum();
        let mut missing = (used - leaving).saturating_add(needed).saturating_sub(self.budget);
        let mut loaded: Vec<(bool, u64, Arc<str>, u64)> = self
            .slots
            .iter()
            .filter(|(_, slot)| matches!(slot.phase, Phase::Loaded(_)))
            .map(|(key, slot)| (slot.leases > 0, slot.used, Arc::clone(key), slot.bytes))
            .collect();
        loaded.sort();
        for (is_used, _, key, bytes) in loaded {
            if missing == 0 {
                break;
            }
            missing = missing.saturating_sub(bytes);
            if !is_used {
                leavers.extend(self.send_away(&key));
            } else if let Some(slot) = self.slots.get_mut(&key) {
                slot.is_going = true;
            }
        }
        false
    }

    fn send_away(&mut self, key: &str) -> Option<Leaver<M>> {
        let (key, _) = self.slots.get_key_value(key)?;
        let key = Arc::clone(key);
        let slot = self.slots.get_mut(&key)?;
        match std::mem::replace(&mut slot.phase, Phase::Leaving) {
            Phase::Loaded(model) => Some(Leaver { key, model }),
            other => {
                slot.phase = other;
                None
            }
        }
    }
}

impl<M: Resident> Slot<M> {
    fn is_idle(&self) -> bool {
        self.leases == 0 && matches!(self.phase, Phase::Loaded(_))
    }

    /// Returns when it goes if nobody uses it any more.
    fn expires(&self) -> Option<Instant> {
        match self.keep {
            KeepAlive::For(time) => self.idle_since?.checked_add(time),
            KeepAlive::Always => None,
        }
    }
}
