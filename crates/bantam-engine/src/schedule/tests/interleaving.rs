//! Tests that a request's answer does not depend on concurrent requests or on how many pages are free.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Arrival {
    /// Steps since the previous arrival.
    gap: usize,
    task: u8,
    adapter: Option<usize>,
    prompt: Vec<u32>,
    kind: Kind,
    /// Number of steps after which the caller leaves.
    leaves: Option<usize>,
    /// The caller reads a message every `reads` steps.
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

/// A caller and the tokens that it has read so far.
struct Caller {
    arrival: Arrival,
    receiver: Option<ReplyReceiver>,
    age: usize,
    tokens: Vec<u32>,
}

impl Caller {
    /// Runs the caller's part of a step. Returns whether the caller is done.
    fn turn(&mut self, adapters: &[Arc<LoadedAdapter<u64>>]) -> bool {
        self.age += 1;
        if self.arrival.leaves.is_some_and(|leaves| leaves < self.age) {
            self.receiver = None;
        }
        let Some(receiver) = &mut self.receiver else { return true };
        if !self.age.is_multiple_of(self.arrival.reads) {
            return false;
        }
        let waker = std::task::Waker::noop();
        let reply = receiver.poll(&mut std::task::Context::from_waker(waker));
        let adapter = self.arrival.adapter.map(|index| *adapters[index].adapter());
        match (reply, &self.arrival.kind) {
            (std::task::Poll::Pending, _) => false,
            (std::task::Poll::Ready(Some(Reply::Chosen(chosen))), _) => {
                self.tokens.extend(chosen.tokens);
                false
            }
            (std::task::Poll::Ready(Some(Reply::Generated(report))), Kind::Generate(tokens_max)) => {
                assert_eq!(self.tokens, generated_alone(adapter, &self.arrival.prompt, *tokens_max));
                assert!(report.timings.cached_tokens < self.arrival.prompt.len());
                true
            }
            (std::task::Poll::Ready(Some(Reply::Scored(scores))), Kind::Score(paths)) => {
                check_scores(&scores, adapter, &self.arrival.prompt, paths);
                true
            }
            (reply, _) => panic!("{reply:?}"),
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
            let asked = RequestBase {
                task: Arc::from(arrival.task.to_string()),
                adapter: arrival.adapter.map(|index| Arc::clone(&adapters[index])),
                prompt: arrival.prompt.clone(),
                deadline: None,
                scope: PrefixScope { shared_tokens: 20, owner: arrival.task.into() },
            };
            let receiver = match &arrival.kind {
                Kind::Generate(tokens_max) => bench.submit(asked, generation(*tokens_max)),
                Kind::Score(paths) => bench.score(asked, paths),
            };
            callers.push(Caller { arrival, receiver: Some(receiver), age: 0, tokens: Vec::new() });
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
    panic!("{} callers wait forever: {:?}", callers.len(), bench.core.state.statistics());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_interleaving_gives_the_answers_of_single_requests_and_leaks_no_page(
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
fn simultaneous_requests_compute_their_common_prefix_once() {
    let mut bench = Bench::new(64, options());
    let common: Vec<u32> = (0..100).map(|index| index % 28).collect();
    let receivers: Vec<ReplyReceiver> = (0..8)
        .map(|index| bench.submit(asked("t", &[common.as_slice(), &[index, 9]].concat()), generation(1)))
        .collect();
    bench.run();
    for (index, receiver) in receivers.into_iter().enumerate() {
        let prompt = [common.as_slice(), &[index as u32, 9]].concat();
        assert_eq!(read(receiver).unwrap().0, generated_alone(None, &prompt, 1));
    }
    // The whole first prompt, and the two tokens after the common prefix of each of the other seven.
    assert_eq!(bench.step_tokens(), [102, 7 * 2]);
}

#[test]
fn all_paths_of_a_prompt_run_in_one_step_and_share_the_prompts_pages() {
    let mut bench = Bench::new(8, options());
    let prompt = [1_u32; 40];
    let paths = [path(&[], &[5, 6]), path(&[5], &[1]), path(&[5, 1], &[2, 3]), path(&[6], &[0])];
    let receiver = bench.score(asked("t", &prompt), &paths);
    bench.run();
    let scores = read_scores(receiver);
    check_scores(&scores, None, &prompt, &paths);
    assert_eq!((bench.step_tokens(), scores.timings.steps), (vec![40, 3], 2));
    let again = bench.score(asked("t", &prompt), &paths[..1]);
    bench.run();
    assert_eq!(read_scores(again).timings.cached_tokens, 39);
    bench.check_pages();
}
