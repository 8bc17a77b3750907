//! Tests of the scheduler on its own thread, as callers use it.

use std::time::Duration;

use super::super::{Generation, GenerationEvent, Scheduler, ShutDown};
use super::*;

fn start(pages: usize, options: SchedulerOptions) -> (Scheduler<u64>, Arc<Script>) {
    let (model, script) = ScriptedModel::new(pages);
    (Scheduler::start(model, options).unwrap(), script)
}

fn generate(
    scheduler: &Scheduler<u64>,
    prompt: &[u32],
    tokens_max: usize,
) -> Result<Generation, SubmitError> {
    let chooser = Box::new(pick);
    scheduler.generate(Generate { asked: asked("t", prompt), tokens_max, chooser })
}

/// Returns a chooser that reports each call and then waits for permission to answer.
fn gated() -> (Box<dyn Chooser>, std::sync::mpsc::Receiver<()>, std::sync::mpsc::SyncSender<()>) {
    let (asks, asked) = std::sync::mpsc::channel();
    let (open, gate) = std::sync::mpsc::sync_channel(0);
    let gate = Mutex::new(gate);
    let chooser = Box::new(move |logits: &mut [f32]| {
        asks.send(()).unwrap();
        gate.lock().unwrap().recv().unwrap();
        pick(logits)
    });
    (chooser, asked, open)
}

#[test]
fn callers_on_many_threads_get_the_answers_of_single_requests() {
    let (scheduler, _) = start(40, SchedulerOptions { waiting_max: 100, ..options() });
    std::thread::scope(|scope| {
        for caller in 0..8_u32 {
            let scheduler = scheduler.clone();
            scope.spawn(move || {
                for round in 0..10 {
                    let prompt: Vec<u32> = (0..30 + caller).map(|index| (index + round) % 28).collect();
                    let (tokens, report) =
                        generate(&scheduler, &prompt, 20).unwrap().collect_blocking().unwrap();
                    assert_eq!(tokens, generated_alone(None, &prompt, 20));
                    assert_eq!(report.tokens, tokens.len());
                    let paths = [path(&[], &[1]), path(&[1, 2], &[3])];
                    let request = Score { asked: asked("s", &prompt), paths: paths.to_vec() };
                    check_scores(
                        &scheduler.score(request).unwrap().wait_blocking().unwrap(),
                        None,
                        &prompt,
                        &paths,
                    );
                }
            });
        }
    });
    scheduler.shut_down(ShutDown { refuses_waiting: false, by: None });
    scheduler.wait_ended_blocking();
    assert_eq!(scheduler.statistics().answered, 160);
    assert!(matches!(generate(&scheduler, &[1], 1), Err(SubmitError::ShuttingDown)));
}

#[test]
fn a_full_queue_refuses_with_its_counts_and_accepts_requests_later() {
    let (scheduler, _) = start(40, SchedulerOptions { running_max: 1, waiting_max: 2, ..options() });
    let (chooser, asks, open) = gated();
    let first = scheduler.generate(Generate { asked: asked("t", &[1]), tokens_max: 1, chooser }).unwrap();
    asks.recv().unwrap();
    let waiting = [2, 3].map(|token| generate(&scheduler, &[token], 1).unwrap());
    let error = generate(&scheduler, &[4], 1).unwrap_err();
    assert_eq!(error, SubmitError::QueueFull { waiting: 2, limit: 2 });
    assert_eq!(scheduler.statistics().waiting, 2);
    open.send(()).unwrap();
    first.collect_blocking().unwrap();
    waiting.into_iter().for_each(|generation| drop(generation.collect_blocking().unwrap()));
    while let Err(SubmitError::QueueFull { .. }) = generate(&scheduler, &[4], 1) {
        std::thread::yield_now();
    }
}

#[test]
fn more_pages_can_be_used_once_they_are_allowed() {
    let (scheduler, _) = start(8, SchedulerOptions { first_pages: 2, ..options() });
    let text = "the request needs 4 pages of the KV cache, which has only 2";
    assert_eq!(generate(&scheduler, &[1; 60], 4).unwrap_err().to_string(), text);
    scheduler.grow(4);
    let running = generate(&scheduler, &[1; 60], 4).unwrap();
    scheduler.grow(100);
    assert_eq!(scheduler.usable_pages(), 8);
    let second = generate(&scheduler, &[2; 120], 8).unwrap();
    running.collect_blocking().unwrap();
    second.collect_blocking().unwrap();
}

#[test]
fn requests_that_can_never_run_are_refused_with_the_limit() {
    let (scheduler, _) = start(4, SchedulerOptions { step_tokens: 40, ..options() });
    let score = |prompt: usize, paths: Vec<ScorePath>| {
        scheduler.score(Score { asked: asked("t", &vec![1; prompt]), paths }).map(drop).unwrap_err()
    };
    let check = |error: SubmitError, expected: &str| assert_eq!(error.to_string(), expected);
    let text = "the request needs 5 pages of the KV cache, which has only 4";
    check(generate(&scheduler, &[1; 60], 5).unwrap_err(), text);
    generate(&scheduler, &[1; 60], 4).unwrap().collect_blocking().unwrap();
    check(score(60, vec![path(&[1], &[])]), text);
    scheduler
        .score(Score { asked: asked("t", &[1; 40]), paths: vec![path(&[1; 8], &[2])] })
        .unwrap()
        .wait_blocking()
        .unwrap();
    let text = "the prompt of 60 tokens plus 4090 more exceed the model's context of 4096";
    check(generate(&scheduler, &[1; 60], 4090).unwrap_err(), text);
    check(
        score(1, vec![path(&[], &[]), path(&[1; 41], &[])]),
        "path 1 has 41 tokens; the limit per step is 40",
    );
    check(score(1, vec![path(&[], &[31])]), "token 31 is not in the model's vocabulary of 31");
    check(score(1, vec![]), "the request is empty: paths is missing or 0");
    check(generate(&scheduler, &[], 1).unwrap_err(), "the request is empty: prompt is missing or 0");
    check(generate(&scheduler, &[1], 0).unwrap_err(), "the request is empty: tokens_max is missing or 0");
}

#[test]
fn shutdown_finishes_running_requests_and_refuses_waiting_ones() {
    let (scheduler, _) = start(40, SchedulerOptions { running_max: 1, ..options() });
    let (chooser, asks, open) = gated();
    let running = scheduler.generate(Generate { asked: asked("t", &[1]), tokens_max: 1, chooser }).unwrap();
    asks.recv().unwrap();
    let waiting = generate(&scheduler, &[2], 1).unwrap();
    scheduler.shut_down(ShutDown { refuses_waiting: true, by: None });
    open.send(()).unwrap();
    assert_eq!(running.collect_blocking().unwrap().0, generated_alone(None, &[1], 1));
    assert!(matches!(waiting.collect_blocking().unwrap_err(), RequestError::ShutDown));
    scheduler.wait_ended_blocking();
    assert!(scheduler.failure().is_none());
}

#[test]
fn shutdown_with_a_time_limit_ends_even_unread_requests() {
    let (scheduler, _) = start(40, SchedulerOptions { unread_max: 1, ..options() });
    let chooser = Box::new(pick_one);
    let unread = scheduler.generate(Generate { asked: asked("t", &[1]), tokens_max: 50, chooser }).unwrap();
    scheduler
        .shut_down(ShutDown { refuses_waiting: false, by: Some(Instant::now() + Duration::from_millis(50)) });
    scheduler.wait_ended_blocking();
    let error = unread.collect_blocking().unwrap_err();
    assert!(matches!(error, RequestError::ShutDown), "{error}");
}

#[test]
fn accepted_requests_finish_after_the_last_handle_is_dropped() {
    let (scheduler, _) = start(40, options());
    let generations = [1, 2, 3].map(|token| generate(&scheduler, &[token], 9).unwrap());
    drop(scheduler);
    for (generation, token) in generations.into_iter().zip([1, 2, 3]) {
        assert_eq!(generation.collect_blocking().unwrap().0, generated_alone(None, &[token], 9));
    }
}

#[test]
fn a_panicking_scheduler_fails_every_request_and_accepts_no_more() {
    let (scheduler, script) = start(40, options());
    generate(&scheduler, &[1; 20], 1).unwrap().collect_blocking().unwrap();
    script.copies_fail.store(true, Ordering::Relaxed);
    let failed = generate(&scheduler, &[1; 20], 1).unwrap();
    assert!(matches!(failed.collect_blocking().unwrap_err(), RequestError::Stopped));
    scheduler.wait_ended_blocking();
    assert_eq!(scheduler.failure().as_deref(), Some("scripted panic in copy_page"));
    assert_eq!(generate(&scheduler, &[1], 1).unwrap_err(), SubmitError::Stopped);
}

#[test]
fn a_future_is_woken_when_its_answer_arrives() {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let (scheduler, _) = start(40, options());
    let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    let mut generation = generate(&scheduler, &[1, 2], 12).unwrap();
    let (mut tokens, mut text) = (Vec::new(), String::new());
    loop {
        let mut next = std::pin::pin!(generation.next());
        let event = loop {
            match next.as_mut().poll(&mut context) {
                std::task::Poll::Ready(event) => break event,
                std::task::Poll::Pending => std::thread::park(),
            }
        };
        match event.unwrap().unwrap() {
            GenerationEvent::Chosen(chosen) => {
                tokens.extend(chosen.tokens);
                text.push_str(&chosen.text);
            }
            GenerationEvent::Over(report) => {
                assert!(report.timings.first <= report.timings.total);
                break;
            }
        }
    }
    assert_eq!(tokens, generated_alone(None, &[1, 2], 12));
    assert!(text.starts_with(&format!("<{}>", tokens[0])));
}
