//! Whatever runs beside a request, and however little memory there is, its answer is what it would be alone.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Arrival {
    /// Steps between the arrival before and this one.
    gap: usize,
    task: u8,
    adapter: Option<usize>,
    prompt: Vec<u32>,
    kind: Kind,
    /// After how many steps the caller leaves.
    leaves: Option<usize>,
    /// The caller reads at every so many steps.
    reads: usize,
}

#[derive(Clone, Debug)]
enum Kind {
    Generate(usize),
    Score(Vec<ScorePath>),
}

#[derive(Clone, Debug)]
struct Setting {
    pages: usize,
    step_tokens: usize,
    step_tokens_decoding: usize,
    running_max: usize,
    cached_pages_max: usize,
    unread_max: usize,
}

fn prompt() -> impl Strategy<Value = Vec<u32>> {
    let piece =
        prop_oneof![Just(vec![4; 16]), Just((0..25).collect()), prop::collection::vec(0..3_u32, 1..9)];
    prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

fn kind() -> impl Strategy<Value = Kind> {
    let path = (prop::collection::vec(0..3_u32, 0..6), prop::collection::vec(0..28_u32, 0..4))
        .prop_map(|(tokens, next)| ScorePath { tokens, next });
    prop_oneof![
        3 => (1..40_usize).prop_map(Kind::Generate),
        2 => prop::collection::vec(path, 1..9).prop_map(Kind::Score),
    ]
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let (adapter, leaves) = (prop::option::of(0..2_usize), prop::option::weighted(0.2, 0..20_usize));
    (0..4_usize, 0..3_u8, adapter, prompt(), kind(), leaves, 1..6_usize).prop_map(
        |(gap, task, adapter, prompt, kind, leaves, reads)| Arrival {
            gap,
            task,
            adapter,
            prompt,
            kind,
            leaves,
            reads,
        },
    )
}

fn setting() -> impl Strategy<Value = Setting> {
    (12..40_usize, 1..80_usize, 1..40_usize, 1..9_usize, 0..40_usize, 1..9_usize).prop_map(
        |(pages, step_tokens, step_tokens_decoding, running_max, cached_pages_max, unread_max)| Setting {
            pages,
            step_tokens,
            step_tokens_decoding,
            running_max,
            cached_pages_max,
            unread_max,
        },
    )
}

/// A caller, with what it has read so far.
struct Caller {
    arrival: Arrival,
    inlet: Option<Inlet>,
    age: usize,
    tokens: Vec<u32>,
}

impl Caller {
    /// Does what the caller does at a step. Returns whether it is done.
    fn turn(&mut self, adapters: &[Arc<LoadedAdapter<u64>>]) -> bool {
        self.age += 1;
        if self.arrival.leaves.is_some_and(|leaves| leaves < self.age) {
            self.inlet = None;
        }
        let Some(inlet) = &mut self.inlet else { return true };
        if !self.age.is_multiple_of(self.arrival.reads) {
            return false;
        }
        let waker = std::task::Waker::noop();
        let letter = inlet.poll(&mut std::task::Context::from_waker(waker));
        let adapter = self.arrival.adapter.map(|index| *adapters[index].adapter());
        match (letter, &self.arrival.kind) {
            (std::task::Poll::Pending, _) => false,
            (std::task::Poll::Ready(Some(Letter::Chosen(chosen))), _) => {
                self.tokens.extend(chosen.tokens);
                false
            }
            (std::task::Poll::Ready(Some(Letter::Generated(report))), Kind::Generate(tokens_max)) => {
                assert_eq!(self.tokens, generated_alone(adapter, &self.arrival.prompt, *tokens_max));
                assert!(report.timings.cached_tokens < self.arrival.prompt.len());
                true
            }
            (std::task::Poll::Ready(Some(Letter::Scored(scores))), Kind::Score(paths)) => {
                check_scores(&scores, adapter, &self.arrival.prompt, paths);
                true
            }
            (letter, _) => panic!("{letter:?}"),
        }
    }
}

fn simulate(arrivals: Vec<Arrival>, setting: &Setting) -> Bench {
    let options = SchedulerOptions {
        step_tokens: setting.step_tokens.max(6),
        step_tokens_decoding: setting.step_tokens_decoding,
        running_max: setting.running_max,
        cached_pages_max: setting.cached_pages_max,
        unread_max: setting.unread_max,
        ..options()
    };
    let mut bench = Bench::new(setting.pages, options);
    let adapters = [adapter(1), adapter(2)];
    let (mut arrivals, mut callers, mut since) = (VecDeque::from(arrivals), Vec::<Caller>::new(), 0);
    for _ in 0..20_000 {
        while arrivals.front().is_some_and(|next| next.gap <= since) {
            let Some(arrival) = arrivals.pop_front() else { break };
            since = 0;
            let asked = Asked {
                task: Arc::from(arrival.task.to_string()),
                adapter: arrival.adapter.map(|index| Arc::clone(&adapters[index])),
                prompt: arrival.prompt.clone(),
                deadline: None,
            };
            let inlet = match &arrival.kind {
                Kind::Generate(tokens_max) => bench.submit(asked, generation(*tokens_max)),
                Kind::Score(paths) => bench.score(asked, paths),
            };
            callers.push(Caller { arrival, inlet: Some(inlet), age: 0, tokens: Vec::new() });
        }
        since += 1;
        bench.step();
        callers.retain_mut(|caller| !caller.turn(&adapters));
        if arrivals.is_empty() && callers.is_empty() {
            bench.step();
            assert!(bench.core.state.is_empty());
            return bench;
        }
    }
    panic!("{} callers wait for ever: {:?}", callers.len(), bench.core.state.statistics());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_interleaving_answers_as_alone_and_loses_no_page(
        arrivals in prop::collection::vec(arrival(), 1..16), setting in setting(),
    ) {
        let mut bench = simulate(arrivals, &setting);
        bench.check_pages();
        let statistics = bench.core.state.statistics();
        prop_assert_eq!(statistics.failed, 0);
        prop_assert!(statistics.prefix.pages <= setting.cached_pages_max);
    }
}

#[test]
fn requests_that_come_together_compute_their_common_prefix_once() {
    let mut bench = Bench::new(64, options());
    let common: Vec<u32> = (0..100).map(|index| index % 28).collect();
    let inlets: Vec<Inlet> = (0..8)
        .map(|index| bench.submit(asked("t", &[common.as_slice(), &[index, 9]].concat()), generation(1)))
        .collect();
    bench.run();
    for (index, inlet) in inlets.into_iter().enumerate() {
        let prompt = [common.as_slice(), &[index as u32, 9]].concat();
        assert_eq!(read(inlet).unwrap().0, generated_alone(None, &prompt, 1));
    }
    // All of the first prompt, and of each other what follows the common tokens.
    assert_eq!(bench.step_tokens(), [102, 7 * 2]);
}

#[test]
fn all_paths_of_a_prompt_run_in_one_step_and_share_its_pages() {
    let mut bench = Bench::new(8, options());
    let prompt = [1_u32; 40];
    let paths = [path(&[], &[5, 6]), path(&[5], &[1]), path(&[5, 1], &[2, 3]), path(&[6], &[0])];
    let inlet = bench.score(asked("t", &prompt), &paths);
    bench.run();
    let scores = read_scores(inlet);
    check_scores(&scores, None, &prompt, &paths);
    assert_eq!((bench.step_tokens(), scores.timings.steps), (vec![40, 3], 2));
    let again = bench.score(asked("t", &prompt), &paths[..1]);
    bench.run();
    assert_eq!(read_scores(again).timings.cached_tokens, 39);
    bench.check_pages();
}
