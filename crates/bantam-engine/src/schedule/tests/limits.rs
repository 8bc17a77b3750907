//! Tests of exhausted resources and failures.

use std::time::Duration;

use super::*;

fn long_prompt(seed: u32, tokens: usize) -> Vec<u32> {
    (0..tokens as u32).map(|index| (index * 7 + seed) % 28).collect()
}

#[test]
fn a_long_prompt_is_split_into_chunks_while_other_requests_continue() {
    let options = SchedulerOptions { step_tokens: 64, step_tokens_decoding: 20, ..options() };
    let mut bench = Bench::new(100, options);
    let talker =
        bench.submit(asked("a", &[1, 2]), Work::Generate { chooser: Box::new(pick_one), tokens_max: 60 });
    bench.step();
    let before = bench.step_tokens().len();
    let long = bench.submit(asked("b", &long_prompt(0, 200)), generation(1));
    bench.run();
    let steps = bench.script.steps.lock().unwrap().clone();
    let during = &steps[before..before + 11];
    assert!(
        during.iter().all(|step| step.len() == 2 && step.iter().map(|seen| seen.tokens).sum::<usize>() <= 20)
    );
    assert_eq!(read(long).unwrap().0.len(), 1);
    assert_eq!(read(talker).unwrap().1.reason, FinishReason::Length);
}

#[test]
fn a_task_with_many_prompts_does_not_block_another() {
    let options = SchedulerOptions { step_tokens: 128, ..options() };
    let mut bench = Bench::new(400, options);
    let mut greedy: Vec<ReplyReceiver> = (0..20)
        .map(|seed| {
            bench.score(asked("greedy", &[&[seed], &*long_prompt(seed, 200)].concat()), &[path(&[], &[1])])
        })
        .collect();
    let modest = bench.score(asked("modest", &long_prompt(3, 100)), &[path(&[], &[1])]);
    bench.run();
    // The modest task gets half of each step, so 100 tokens take two steps.
    assert_eq!(read_scores(modest).timings.steps, 2);
    let steps = bench.script.steps.lock().unwrap().clone();
    assert!(steps[1].iter().any(|seen| seen.start == 64 && seen.tokens == 36), "{:?}", steps[1]);
    greedy.drain(..).for_each(|receiver| drop(read_scores(receiver)));
}

#[test]
fn a_request_whose_caller_left_is_dropped_at_the_next_step() {
    let mut bench = Bench::new(20, options());
    let (running, waiting) = (bench.submit(asked("a", &[1, 2]), generation(500)), {
        bench.step();
        bench.submit(asked("a", &[1, 3]), generation(5))
    });
    drop((running, waiting));
    assert!(!bench.step());
    assert!(bench.core.state.is_empty());
    assert_eq!(bench.core.state.statistics().cancelled, 2);
    bench.check_pages();
}

#[test]
fn a_slow_reader_pauses_only_its_own_generation_and_loses_its_pages_when_others_need_them() {
    let options = SchedulerOptions { unread_max: 3, cached_pages_max: 0, ..options() };
    let mut bench = Bench::new(4, options);
    let slow_prompt = long_prompt(1, 33);
    let slow = bench.submit(asked("a", &slow_prompt), generation(20));
    bench.run();
    assert!((3..=9).contains(&bench.core.state.running[&0].generated()));
    let other_prompt = long_prompt(2, 30);
    let other = bench.submit(asked("b", &other_prompt), generation(2));
    bench.run();
    assert_eq!(read(other).unwrap().0, generated_alone(None, &other_prompt, 2));
    assert_eq!(bench.core.state.statistics().preemptions, 1);
    let (reader, mut slow) = (std::sync::mpsc::channel(), slow);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while let Some(reply) = slow.wait() {
                reader.0.send(reply).unwrap();
            }
        });
        let mut tokens = Vec::new();
        loop {
            bench.step();
            match reader.1.recv_timeout(Duration::from_millis(1)) {
                Ok(Reply::Chosen(chosen)) => tokens.extend(chosen.tokens),
                Ok(Reply::Generated(report)) => {
                    assert_eq!(report.timings.preemptions, 1);
                    break;
                }
                Ok(reply) => panic!("{reply:?}"),
                Err(_) => {}
            }
        }
        assert_eq!(tokens, generated_alone(None, &slow_prompt, 20));
    });
}

#[test]
fn a_slow_reader_does_not_keep_a_slot_that_another_request_needs() {
    let mut bench = Bench::new(40, SchedulerOptions { unread_max: 1, running_max: 1, ..options() });
    let slow = bench.submit(asked("a", &[1]), Work::Generate { chooser: Box::new(pick_one), tokens_max: 9 });
    bench.run();
    let quick = bench.submit(asked("a", &[2]), Work::Generate { chooser: Box::new(pick_one), tokens_max: 1 });
    bench.run();
    assert_eq!(read(quick).unwrap().1.tokens, 1);
    assert_eq!(bench.core.state.statistics().preempted, 1);
    drop(slow);
    bench.run();
    assert!(bench.core.state.is_empty());
}

#[test]
fn when_pages_run_out_the_youngest_request_is_recomputed_and_all_answers_stay_the_same() {
    let mut bench = Bench::new(8, SchedulerOptions { unread_max: 100, ..options() });
    let prompts: Vec<Vec<u32>> = (0..3).map(|seed| long_prompt(seed, 20)).collect();
    let receivers: Vec<ReplyReceiver> = prompts
        .iter()
        .map(|prompt| {
            bench.submit(asked("a", prompt), Work::Generate { chooser: Box::new(pick_one), tokens_max: 60 })
        })
        .collect();
    bench.run();
    let reports: Vec<(Vec<u32>, GenerationReport)> =
        receivers.into_iter().map(|receiver| read(receiver).unwrap()).collect();
    assert!(bench.core.state.statistics().preemptions > 0);
    assert_eq!(reports[0].1.timings.preemptions, 0);
    for ((tokens, _), prompt) in reports.iter().zip(&prompts) {
        let mut history = prompt.clone();
        for token in tokens {
            assert_eq!(*token, pick(&mut row_after(None, &history)).unwrap().tokens[0]);
            history.push(*token);
        }
        assert_eq!(tokens.len(), 60);
    }
    bench.check_pages();
}

#[test]
fn a_failing_step_fails_only_the_requests_that_cause_it() {
    let mut bench = Bench::new(40, options());
    let good = bench.submit(asked("a", &[1, 2, 3]), generation(8));
    let error = bench.submit(asked("a", &[1, 2, ERROR]), generation(8));
    let panic = bench.submit(asked("b", &[1, PANIC]), generation(8));
    let scored = bench.score(asked("c", &[5]), &[path(&[1], &[1]), path(&[ERROR], &[1])]);
    bench.run();
    assert_eq!(read(good).unwrap().0, generated_alone(None, &[1, 2, 3], 8));
    assert!(matches!(read(error).unwrap_err(), RequestError::Model(_)));
    assert!(
        matches!(read(panic).unwrap_err(), RequestError::ModelPanicked { message } if message == "scripted panic")
    );
    assert!(matches!(read(scored).unwrap_err(), RequestError::Model(_)));
    assert_eq!(bench.core.state.statistics().failed, 3);
    bench.check_pages();
}

#[test]
fn a_misbehaving_chooser_fails_only_its_own_request() {
    fn check(chooser: fn(&mut [f32]) -> Result<Choice, ChooserError>, expected: &str) {
        let mut bench = Bench::new(8, options());
        let bad =
            bench.submit(asked("a", &[1]), Work::Generate { chooser: Box::new(chooser), tokens_max: 5 });
        let good = bench.submit(asked("a", &[2]), generation(5));
        bench.run();
        assert_eq!(read(bad).unwrap_err().to_string(), expected);
        assert_eq!(read(good).unwrap().0, generated_alone(None, &[2], 5));
        bench.check_pages();
    }
    fn choice(tokens: Vec<u32>) -> Choice {
        Choice { tokens, text: String::new(), is_over: false }
    }
    check(|_| Ok(choice(vec![])), "the chooser chose no token after 0 tokens");
    check(|_| Err("no grammar".into()), "the chooser failed after 0 tokens");
    check(|_| panic!("no idea"), "the chooser panicked: no idea");
    check(|_| Ok(choice(vec![4, 31])), "the chooser chose token 31, outside the vocabulary of 31");
}

#[test]
fn a_passed_deadline_ends_running_and_waiting_requests() {
    let start = Instant::now();
    let now = Arc::new(Mutex::new(start));
    let reading = Arc::clone(&now);
    let clock: super::super::Clock = Arc::new(move || *reading.lock().unwrap());
    let mut bench = Bench::new(8, SchedulerOptions { running_max: 1, clock, ..options() });
    let late = start + Duration::from_secs(2);
    let with_deadline = |prompt: &[u32]| RequestBase { deadline: Some(late), ..asked("a", prompt) };
    let running =
        bench.submit(with_deadline(&[1]), Work::Generate { chooser: Box::new(pick_one), tokens_max: 100 });
    let waiting = bench.submit(with_deadline(&[2]), generation(1));
    (0..3).for_each(|_| assert!(bench.step()));
    *now.lock().unwrap() = late;
    bench.run();
    assert_eq!(
        read(running).unwrap_err().to_string(),
        "the deadline passed after 2s with 3 tokens generated"
    );
    assert_eq!(
        read(waiting).unwrap_err().to_string(),
        "the deadline passed after 2s with 0 tokens generated"
    );
    bench.check_pages();
}

#[test]
fn a_caller_finds_what_it_computed_itself_and_what_everybody_may_share() {
    let mut bench = Bench::new(80, options());
    let prompt = long_prompt(0, 60);
    let mut cached = |owner, shared_tokens| {
        let scope = PrefixScope { owner, shared_tokens };
        let receiver = bench.submit(RequestBase { scope, ..asked("a", &prompt) }, generation(2));
        bench.run();
        let (tokens, report) = read(receiver).unwrap();
        assert_eq!(tokens, generated_alone(None, &prompt, 2));
        report.timings.cached_tokens
    };
    // Two whole pages of the first 40 tokens are everybody's.
    assert_eq!([cached(1, 40), cached(1, 40), cached(2, 40)], [0, 59, 32]);
    assert_eq!([cached(3, 0), cached(3, 0), cached(2, 40)], [0, 59, 59]);
    bench.check_pages();
}

#[test]
fn what_is_being_computed_is_waited_for_by_its_owner_and_not_found_by_another() {
    let mut bench = Bench::new(80, SchedulerOptions { step_tokens: 16, ..options() });
    let prompt = long_prompt(0, 60);
    let with = |task: &str, owner| RequestBase {
        scope: PrefixScope { owner, shared_tokens: 0 },
        ..asked(task, &prompt)
    };
    let first = bench.submit(with("a", 1), generation(1));
    bench.step();
    let (same, other) =
        (bench.submit(with("a", 1), generation(1)), bench.submit(with("b", 2), generation(1)));
    bench.run();
    for (receiver, cached) in [(first, 0), (same, 48), (other, 0)] {
        assert_eq!(read(receiver).unwrap().1.timings.cached_tokens, cached);
    }
}

#[test]
fn adapters_share_a_step_but_not_prefixes_and_their_cached_pages_are_freed_with_them() {
    let mut bench = Bench::new(40, options());
    let prompt = long_prompt(0, 40);
    let adapters = [adapter(5), adapter(6)];
    let with = |index: Option<usize>| RequestBase {
        adapter: index.map(|index| Arc::clone(&adapters[index])),
        ..asked("a", &prompt)
    };
    let receivers = [None, Some(0), Some(1)].map(|index| bench.submit(with(index), generation(6)));
    bench.run();
    for (receiver, adapter) in receivers.into_iter().zip([None, Some(5), Some(6)]) {
        let (tokens, report) = read(receiver).unwrap();
        assert_eq!((tokens, report.timings.cached_tokens), (generated_alone(adapter, &prompt, 6), 0));
    }
    assert_eq!(bench.step_tokens()[0], 120);
    let before = bench.core.state.statistics().prefix.pages;
    drop(adapters);
    bench.step();
    assert!(bench.core.state.statistics().prefix.pages <= before.div_ceil(3) + 1);
    bench.check_pages();
}
