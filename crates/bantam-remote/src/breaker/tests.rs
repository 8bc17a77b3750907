use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Opens a breaker by failures at `now`.
fn open(breaker: &mut Breaker, now: Instant) {
    for _ in 0..FAILURES_MAX {
        fail(breaker, now);
    }
}

/// Makes a call that fails.
fn fail(breaker: &mut Breaker, now: Instant) {
    let admission = breaker.admit(now).unwrap();
    breaker.failed(admission, now, None);
}

/// Returns how long after `now` the breaker takes calls again, in seconds.
fn pause_s(breaker: &Breaker, now: Instant) -> u64 {
    (0..10_000).find(|second| breaker.is_available(now + Duration::from_secs(*second))).unwrap()
}

#[test]
fn opens_after_five_failures_probes_once_and_doubles_its_pause() {
    let mut breaker = Breaker::default();
    let start = Instant::now();
    open(&mut breaker, start);
    assert_eq!(pause_s(&breaker, start), 30);
    let later = start + OPEN_BASE;
    let probe = breaker.admit(later).unwrap();
    assert!(breaker.admit(later).is_none(), "a second probe beside the first");
    breaker.failed(probe, later, None);
    assert_eq!(pause_s(&breaker, later), 60);
    let later = later + OPEN_BASE * 2;
    let probe = breaker.admit(later).unwrap();
    breaker.succeeded(probe);
    open(&mut breaker, later);
    assert_eq!(pause_s(&breaker, later), 30, "a success forgets the openings");
}

#[test]
fn calls_in_flight_at_the_opening_neither_lengthen_nor_end_the_pause() {
    let mut breaker = Breaker::default();
    let start = Instant::now();
    let mut in_flight: Vec<Admission> = (0..30).map(|_| breaker.admit(start).unwrap()).collect();
    let late = in_flight.split_off(25);
    for admission in in_flight {
        breaker.failed(admission, start, None);
    }
    assert_eq!(pause_s(&breaker, start), 30);
    // A call that began before the outage and goes well says nothing about what came after.
    let mut late = late.into_iter();
    breaker.succeeded(late.next().unwrap());
    breaker.began(&late.next().unwrap());
    assert_eq!(pause_s(&breaker, start), 30);
    // Nor does such a call stand for the probe.
    let later = start + OPEN_BASE;
    let probe = breaker.admit(later).unwrap();
    breaker.ended(late.next().unwrap());
    assert!(breaker.admit(later).is_none(), "a second probe beside the first");
    breaker.failed(late.next().unwrap(), later, None);
    breaker.succeeded(probe);
    assert!(breaker.is_available(later));
}

#[test]
fn an_upstream_that_asks_for_a_longer_pause_gets_it_up_to_the_longest() {
    for (asked_s, pause) in [(1, 30), (90, 90), (1_000_000, 600)] {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..FAILURES_MAX {
            let admission = breaker.admit(now).unwrap();
            breaker.failed(admission, now, Some(Duration::from_secs(asked_s)));
        }
        assert_eq!(pause_s(&breaker, now), pause, "{asked_s}");
    }
}

#[test]
fn a_cancelled_probe_lets_the_next_one_through() {
    let mut breaker = Breaker::default();
    let start = Instant::now();
    open(&mut breaker, start);
    let later = start + OPEN_BASE;
    let probe = breaker.admit(later).unwrap();
    breaker.ended(probe);
    assert!(breaker.admit(later).is_some());
}

#[test]
fn a_stream_that_begins_ends_a_probe_and_forgets_neither_failures_nor_openings() {
    let mut breaker = Breaker::default();
    let mut now = Instant::now();
    for pause in [30, 60, 120, 240, 480, 600, 600] {
        for number in 0..FAILURES_MAX {
            let stream = breaker.admit(now).unwrap();
            breaker.began(&stream);
            assert!(breaker.is_available(now), "call {number} has begun well");
            breaker.failed(stream, now, None);
        }
        assert_eq!(pause_s(&breaker, now), pause);
        now += Duration::from_secs(pause);
    }
}

#[test]
fn a_success_forgets_earlier_failures() {
    let mut breaker = Breaker::default();
    let now = Instant::now();
    for _ in 0..20 {
        (0..FAILURES_MAX - 1).for_each(|_| fail(&mut breaker, now));
        let admission = breaker.admit(now).unwrap();
        breaker.succeeded(admission);
    }
    assert!(breaker.is_available(now));
}

/// The breaker told by names of calls instead of generations: an opening strikes all calls in flight off the list, and the
/// probe is remembered by its name.
#[derive(Default)]
struct Model {
    listed: Vec<usize>,
    failures: u32,
    openings: u32,
    open_until_s: Option<u64>,
    probe: Option<usize>,
}

impl Model {
    fn admit(&mut self, call: usize, now_s: u64) -> bool {
        if self.open_until_s.is_some_and(|until_s| now_s < until_s || self.probe.is_some()) {
            return false;
        }
        self.probe = self.open_until_s.map(|_| call);
        self.listed.push(call);
        true
    }

    /// Takes a call off the list, if it is still there.
    fn take(&mut self, call: usize) -> bool {
        let place = self.listed.iter().position(|listed| *listed == call);
        place.map(|place| self.listed.remove(place)).is_some()
    }

    fn close(&mut self) {
        (self.open_until_s, self.probe) = (None, None);
    }

    fn end(&mut self, call: usize, outcome: Outcome, now_s: u64) {
        if !self.take(call) {
            return;
        }
        match outcome {
            Outcome::Good => {
                self.close();
                (self.failures, self.openings) = (0, 0);
            }
            Outcome::Silent if self.probe == Some(call) => self.probe = None,
            Outcome::Silent => {}
            Outcome::Bad(asked_s) => {
                self.failures += 1;
                if self.probe == Some(call) || self.failures == 5 {
                    let pause_s = (30 << self.openings.min(10)).max(asked_s).min(600);
                    self.openings += 1;
                    (self.failures, self.probe, self.open_until_s) = (0, None, Some(now_s + pause_s));
                    self.listed.clear();
                }
            }
        }
    }

    fn begin(&mut self, call: usize) {
        if self.listed.contains(&call) {
            self.close();
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Good,
    Bad(u64),
    Silent,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Admit,
    Begin(usize),
    End(usize, Outcome),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        2 => Just(Outcome::Good),
        8 => prop_oneof![3 => Just(0_u64), 1 => 0..900_u64].prop_map(Outcome::Bad),
        2 => Just(Outcome::Silent),
    ];
    let step = prop_oneof![
        6 => Just(Step::Admit),
        1 => any::<usize>().prop_map(Step::Begin),
        6 => (any::<usize>(), outcome).prop_map(|(call, outcome)| Step::End(call, outcome)),
        1 => (0..700_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn behaves_like_one_that_knows_every_call_by_name(steps in steps()) {
        let (mut breaker, mut model) = (Breaker::default(), Model::default());
        let (start, mut now_s, mut calls) = (Instant::now(), 0, 0);
        let mut in_flight: BTreeMap<usize, Admission> = BTreeMap::new();
        let pick = |in_flight: &BTreeMap<usize, Admission>, at: usize| {
            in_flight.keys().copied().nth(at.checked_rem(in_flight.len())?)
        };
        for step in steps {
            let now = start + Duration::from_secs(now_s);
            match step {
                Step::Admit => {
                    calls += 1;
                    let admission = breaker.admit(now);
                    prop_assert_eq!(admission.is_some(), model.admit(calls, now_s));
                    in_flight.extend(admission.map(|admission| (calls, admission)));
                }
                Step::Begin(at) => {
                    if let Some(call) = pick(&in_flight, at) {
                        breaker.began(&in_flight[&call]);
                        model.begin(call);
                    }
                }
                Step::End(at, outcome) => {
                    let Some(call) = pick(&in_flight, at) else { continue };
                    let admission = in_flight.remove(&call).unwrap();
                    match outcome {
                        Outcome::Good => breaker.succeeded(admission),
                        Outcome::Bad(asked_s) => breaker.failed(admission, now, Some(Duration::from_secs(asked_s))),
                        Outcome::Silent => breaker.ended(admission),
                    }
                    model.end(call, outcome, now_s);
                }
                Step::Wait(seconds) => now_s += seconds,
            }
        }
    }
}
