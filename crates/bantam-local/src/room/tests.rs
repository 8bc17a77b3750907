use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking::Gate;

use super::*;

/// Something that stays shut until it is opened.
mod parking {
    use std::sync::{Condvar, Mutex};

    #[derive(Default)]
    pub(super) struct Gate(Mutex<bool>, Condvar);

    impl Gate {
        pub(super) fn open(&self) {
            *self.0.lock().unwrap() = true;
            self.1.notify_all();
        }

        pub(super) fn pass(&self) {
            let mut is_open = self.0.lock().unwrap();
            while !*is_open {
                is_open = self.1.wait(is_open).unwrap();
            }
        }
    }
}

/// A model that knows its name, and whether it is gone.
struct Fake {
    name: &'static str,
    bytes: u64,
    world: Arc<World>,
}

impl Resident for Fake {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn has_failed(&self) -> bool {
        self.world.broken.lock().unwrap().contains(self.name)
    }

    fn end_blocking(&self) {
        self.world.broken.lock().unwrap().remove(self.name);
        self.world.inside.lock().unwrap().retain(|name| *name != self.name);
    }
}

#[derive(Default)]
struct World {
    inside: Mutex<Vec<&'static str>>,
    broken: Mutex<HashSet<&'static str>>,
    loads: AtomicUsize,
    /// Milliseconds that the clock is ahead.
    ahead: AtomicUsize,
}

impl World {
    fn room(self: &Arc<Self>, budget: u64) -> Room<Fake> {
        let (world, begun) = (Arc::clone(self), Instant::now());
        let clock =
            Arc::new(move || begun + Duration::from_millis(world.ahead.load(Ordering::Relaxed) as u64));
        Room::new(budget, Duration::from_secs(20), clock)
    }

    fn place(self: &Arc<Self>, room: &Room<Fake>, name: &'static str, bytes: u64) -> Place<Fake> {
        let world = Arc::clone(self);
        room.place(name, bytes, KeepAlive::For(Duration::from_secs(60)), move || {
            world.loads.fetch_add(1, Ordering::Relaxed);
            world.inside.lock().unwrap().push(name);
            Ok(Fake { name, bytes, world: Arc::clone(&world) })
        })
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::Relaxed)
    }

    fn pass(&self, time: Duration) {
        self.ahead.fetch_add(time.as_millis() as usize, Ordering::Relaxed);
    }
}

fn inside(room: &Room<Fake>) -> Vec<String> {
    let occupants = room.occupants().into_iter();
    occupants
        .filter(|occupant| occupant.state != OccupantState::Leaving)
        .map(|occupant| occupant.key.to_string())
        .collect()
}

async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came to be");
}

#[tokio::test]
async fn a_model_is_loaded_when_somebody_asks_and_only_once() {
    let world = Arc::new(World::default());
    let room = world.room(100);
    let place = world.place(&room, "a", 10);
    assert!(room.occupants().is_empty() && world.loads() == 0);
    let all = (0..8).map(|_| place.lease(None));
    let leases = futures_util::future::try_join_all(all).await.unwrap();
    assert_eq!((world.loads(), room.occupants()[0].leases, leases[0].name), (1, 8, "a"));
    assert_eq!(room.budget_and_used(), (100, 10));
    drop(leases);
    assert_eq!(room.occupants()[0].leases, 0);
    place.lease(None).await.unwrap();
    assert_eq!(world.loads(), 1);
}

#[tokio::test]
async fn the_one_unused_for_longest_makes_room() {
    let world = Arc::new(World::default());
    let room = world.room(25);
    let [a, b, c] = ["a", "b", "c"].map(|name| world.place(&room, name, 10));
    for place in [&a, &b, &a, &c] {
        place.lease(None).await.unwrap();
    }
    assert_eq!(inside(&room), ["a", "c"]);
    b.lease(None).await.unwrap();
    assert_eq!((inside(&room), world.loads()), (vec!["b".to_owned(), "c".to_owned()], 4));
    until(|| world.inside.lock().unwrap().len() == 2).await;
}

#[tokio::test]
async fn what_is_used_stays_and_who_waits_gets_its_room_when_the_user_is_done() {
    let world = Arc::new(World::default());
    let room = world.room(15);
    let [a, b] = ["a", "b"].map(|name| world.place(&room, name, 10));
    let held = a.lease(None).await.unwrap();
    let soon = (room.0.clock)() + Duration::from_millis(50);
    let error = b.lease(Some(soon)).await.unwrap_err();
    assert_eq!(error, LeaseError::NoRoom { needed: 10 });
    assert_eq!((held.name, inside(&room)), ("a", vec!["a".to_owned()]));
    let other = b.clone();
    let waiting = tokio::spawn(async move { other.lease(None).await.map(|lease| lease.name) });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiting.is_finished());
    drop(held);
    assert_eq!(waiting.await.unwrap().unwrap(), "b");
    assert_eq!(inside(&room), ["b"]);
}

#[tokio::test]
async fn nobody_waits_for_ever_behind_a_stream_of_requests_for_another() {
    let world = Arc::new(World::default());
    let room = world.room(10);
    let [a, b] = ["a", "b"].map(|name| world.place(&room, name, 10));
    let mut held = a.lease(None).await.unwrap();
    let waiting = tokio::spawn(async move { b.lease(None).await.map(|lease| lease.name) });
    tokio::time::sleep(Duration::from_millis(20)).await;
    // The next request for `a` comes before the last has ended, for ever.
    let again = a.clone();
    let stream = tokio::spawn(async move {
        for _ in 0..3 {
            let next = again.lease(None);
            tokio::pin!(next);
            let first = tokio::time::timeout(Duration::from_millis(20), &mut next).await;
            held = match first {
                Ok(lease) => lease.unwrap(),
                Err(_) => {
                    drop(held);
                    next.await.unwrap()
                }
            };
        }
    });
    assert_eq!(waiting.await.unwrap().unwrap(), "b");
    stream.await.unwrap();
}

#[tokio::test]
async fn what_nobody_asks_for_goes_after_its_time_unless_it_is_to_stay() {
    let world = Arc::new(World::default());
    let room = world.room(100);
    let a = world.place(&room, "a", 10);
    let made = Arc::clone(&world);
    let b = room.place("b", 10, KeepAlive::Always, move || {
        Ok(Fake { name: "b", bytes: 10, world: Arc::clone(&made) })
    });
    let held = a.lease(None).await.unwrap();
    b.lease(None).await.unwrap();
    world.pass(Duration::from_secs(120));
    assert_eq!(room.expire(), None, "one is used, the other stays");
    drop(held);
    let next = room.expire().unwrap();
    assert_eq!(next, (room.0.clock)() + Duration::from_secs(60));
    world.pass(Duration::from_secs(59));
    room.expire();
    assert_eq!(inside(&room), ["a", "b"]);
    world.pass(Duration::from_secs(1));
    assert_eq!(room.expire(), None);
    assert_eq!(inside(&room), ["b"]);
}

#[tokio::test]
async fn the_tender_sends_models_away_in_time() {
    let world = Arc::new(World::default());
    let room = Room::new(10, Duration::from_secs(5), Arc::new(Instant::now));
    let made = Arc::clone(&world);
    let place = room.place("a", 10, KeepAlive::For(Duration::from_millis(30)), move || {
        Ok(Fake { name: "a", bytes: 10, world: Arc::clone(&made) })
    });
    let tended = room.clone();
    let tender = tokio::spawn(async move { tended.tend().await });
    drop(place.lease(None).await.unwrap());
    until(|| room.occupants().is_empty()).await;
    tender.abort();
}

#[tokio::test]
async fn what_can_never_fit_is_refused_at_once_with_both_numbers() {
    let world = Arc::new(World::default());
    let room = world.room(10);
    let place = world.place(&room, "a", 11);
    assert_eq!(place.lease(None).await.unwrap_err(), LeaseError::NeverFits { needed: 11, budget: 10 });
    room.set_budget(11);
    place.lease(None).await.unwrap();
}

#[tokio::test]
async fn a_load_that_failed_is_not_tried_again_at_every_request() {
    let world = Arc::new(World::default());
    let room = world.room(10);
    let counted = Arc::clone(&world);
    let place =
        room.place("a", 10, KeepAlive::Always, move || match counted.loads.fetch_add(1, Ordering::Relaxed) {
            0 => Err("the disk is gone".into()),
            1 => panic!("worse"),
            _ => Ok(Fake { name: "a", bytes: 10, world: Arc::clone(&counted) }),
        });
    let Err(LeaseError::Failed { reason, retry_in }) = place.lease(None).await else { panic!("loaded") };
    assert_eq!((&*reason, retry_in), ("the disk is gone", Duration::from_secs(5)));
    assert!(place.is_failing());
    place.lease(None).await.unwrap_err();
    assert_eq!(world.loads(), 1);
    world.pass(Duration::from_secs(5));
    assert!(!place.is_failing());
    let Err(LeaseError::Failed { reason, retry_in }) = place.lease(None).await else { panic!("loaded") };
    assert!(reason.contains("panic") && retry_in == Duration::from_secs(10), "{reason} {retry_in:?}");
    world.pass(Duration::from_secs(10));
    place.lease(None).await.unwrap();
    assert_eq!(world.loads(), 3);
}

#[tokio::test]
async fn a_load_goes_on_when_who_asked_first_has_left() {
    let world = Arc::new(World::default());
    let room = world.room(10);
    let (gate, made) = (Arc::new(Gate::default()), Arc::clone(&world));
    let shut = Arc::clone(&gate);
    let place = room.place("a", 10, KeepAlive::Always, move || {
        shut.pass();
        Ok(Fake { name: "a", bytes: 10, world: Arc::clone(&made) })
    });
    let soon = Some((room.0.clock)() + Duration::from_millis(30));
    assert_eq!(place.lease(soon).await.unwrap_err(), LeaseError::Late);
    assert_eq!((room.occupants()[0].state, room.occupants()[0].leases), (OccupantState::Loading, 0));
    gate.open();
    place.lease(None).await.unwrap();
}

#[tokio::test]
async fn a_model_that_has_failed_is_loaded_anew() {
    let world = Arc::new(World::default());
    let room = world.room(10);
    let place = world.place(&room, "a", 10);
    place.lease(None).await.unwrap();
    world.broken.lock().unwrap().insert("a");
    place.lease(None).await.unwrap();
    assert_eq!(world.loads(), 2);
}

#[tokio::test]
async fn unloading_waits_for_users_and_says_how_many_there_are() {
    let world = Arc::new(World::default());
    let room = world.room(10);
    let place = world.place(&room, "a", 10);
    let soon = || (room.0.clock)() + Duration::from_millis(30);
    assert_eq!(place.unload(soon()).await, Ok(false));
    let held = place.lease(None).await.unwrap();
    assert_eq!(place.unload(soon()).await, Err(StillUsed { leases: 1 }));
    drop(place.lease(None).await.unwrap());
    let (other, later) = (place.clone(), (room.0.clock)() + Duration::from_secs(10));
    let unloading = tokio::spawn(async move { other.unload(later).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(held);
    assert_eq!(unloading.await.unwrap(), Ok(true));
    assert!(room.occupants().is_empty());
    place.lease(None).await.unwrap();
    assert_eq!(world.loads(), 2);
}

#[tokio::test]
async fn a_place_keeps_its_model_while_anybody_holds_it() {
    let world = Arc::new(World::default());
    let room = world.room(10);
    let first = world.place(&room, "a", 10);
    let lease = first.lease(None).await.unwrap();
    let second = world.place(&room, "a", 10);
    drop(first);
    drop(lease);
    second.lease(None).await.unwrap();
    assert_eq!(world.loads(), 1);
    drop(second);
    until(|| room.occupants().is_empty() && world.inside.lock().unwrap().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_ask_for_more_than_fits_all_get_what_they_asked_for() {
    let world = Arc::new(World::default());
    let room = world.room(25);
    let names = ["a", "b", "c", "d", "e", "f"];
    let places = names.map(|name| world.place(&room, name, 10));
    let mut tasks = Vec::new();
    for task in 0..8_usize {
        let (places, world, room) = (places.clone(), Arc::clone(&world), room.clone());
        tasks.push(tokio::spawn(async move {
            for round in 0..40 {
                let which = (task * 7 + round * 5 + round / 3) % names.len();
                let lease = places[which].lease(None).await.unwrap();
                assert_eq!(lease.name, names[which]);
                let (budget, used) = room.budget_and_used();
                assert!(used <= budget && world.inside.lock().unwrap().contains(&names[which]));
                tokio::task::yield_now().await;
                assert!(world.inside.lock().unwrap().contains(&names[which]), "it went in mid-request");
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_model_grows_by_what_is_free_and_by_what_unused_models_leave() {
    let world = Arc::new(World::default());
    let room = world.room(100);
    let (a, b) = (world.place(&room, "a", 40), world.place(&room, "b", 30));
    assert_eq!(a.grow(10, 10), 0, "it is not loaded");
    let used = a.lease(None).await.unwrap();
    drop(b.lease(None).await.unwrap());
    assert_eq!(a.grow(25, 10), 20, "20 of 30 are whole units");
    assert_eq!(room.budget_and_used(), (100, 90));
    assert_eq!(a.grow(40, 10), 40, "b is unused, and leaves");
    until(|| inside(&room) == ["a"]).await;
    assert_eq!(a.occupant().unwrap().bytes, 100);
    assert_eq!(a.grow(10, 10), 0);
    drop(used);
    assert!(a.unload(Instant::now() + Duration::from_secs(9)).await.unwrap());
    let again = a.lease(None).await.unwrap();
    assert_eq!(a.occupant().unwrap().bytes, 40, "a model begins anew when it is loaded");
    drop(again);
}

#[tokio::test]
async fn a_model_does_not_grow_before_those_who_wait_in_line() {
    let world = Arc::new(World::default());
    let room = world.room(100);
    let (a, b) = (world.place(&room, "a", 40), world.place(&room, "b", 70));
    let used = a.lease(None).await.unwrap();
    let waiting = tokio::spawn({
        let b = b.clone();
        async move { b.lease(None).await.map(drop) }
    });
    while a.grow(10, 10) > 0 {
        tokio::task::yield_now().await;
    }
    drop(used);
    waiting.await.unwrap().unwrap();
}
