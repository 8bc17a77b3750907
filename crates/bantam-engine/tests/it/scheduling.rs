//! Decoders under the scheduler: concurrent requests do not change a request's logits.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use bantam_engine::{
    Adapter, Choice, Chooser, ChooserError, Decoder, DecoderModel, DecoderPrecision, DecoderScratch,
    Generate, Generation, LoadedAdapter, LogitRows, PrefixScope, RequestBase, Scheduler, SchedulerOptions,
    Score, ScorePath, Span,
};
use bantam_kernels::Pool;

use crate::decoder::stories::{CONTINUATIONS, model};
use crate::decoder::support::{NAMES, fixture, open, open_f32, run};
use crate::support::pools;

type Loaded = Option<Arc<LoadedAdapter<Adapter>>>;

fn start(decoder: &Arc<Decoder>, pool: Pool, pages: usize, step_tokens: usize) -> Scheduler<Adapter> {
    let options = SchedulerOptions {
        step_tokens,
        step_tokens_decoding: step_tokens,
        ..SchedulerOptions::new(Arc::new(Instant::now))
    };
    Scheduler::start(DecoderModel::new(Arc::clone(decoder), Arc::new(pool), pages), options).unwrap()
}

fn asked(adapter: &Loaded, prompt: &[u32]) -> RequestBase<Adapter> {
    RequestBase {
        task: Arc::from("t"),
        adapter: adapter.clone(),
        prompt: prompt.to_vec(),
        deadline: None,
        scope: PrefixScope::default(),
    }
}

/// Chooses the likeliest token and records all logits that it receives.
struct Recorder(Arc<Mutex<Vec<f32>>>);

impl Chooser for Recorder {
    fn choose(&mut self, logits: &mut [f32]) -> Result<Choice, ChooserError> {
        self.0.lock().unwrap().extend_from_slice(logits);
        let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as u32;
        Ok(Choice { tokens: vec![best], text: String::new(), is_over: false })
    }
}

/// A running generation and the logits that its chooser received.
struct Recorded(Generation, Arc<Mutex<Vec<f32>>>);

impl Recorded {
    fn begin(scheduler: &Scheduler<Adapter>, adapter: &Loaded, prompt: &[u32], tokens_max: usize) -> Self {
        let rows = Arc::default();
        let chooser = Box::new(Recorder(Arc::clone(&rows)));
        let request = Generate { asked: asked(adapter, prompt), tokens_max, chooser };
        Self(scheduler.generate(request).unwrap(), rows)
    }

    /// Returns the tokens, the logits and how many tokens of the prompt were cached.
    fn end(self) -> (Vec<u32>, Vec<f32>, usize) {
        let (tokens, report) = self.0.collect_blocking().unwrap();
        let rows = std::mem::take(&mut *self.1.lock().unwrap());
        (tokens, rows, report.timings.cached_tokens)
    }
}

/// Returns the logits that a chooser receives for this answer when the decoder runs the tokens without a scheduler.
fn rows_alone(decoder: &Decoder, pool: &Pool, adapter: &Loaded, prompt: &[u32], answer: &[u32]) -> Vec<f32> {
    let all = [prompt, &answer[..answer.len() - 1]].concat();
    let adapter = adapter.as_ref().map(|adapter| adapter.adapter());
    let logits = run(decoder, pool, &[(&all, adapter)], &[all.len()]);
    logits[0][(prompt.len() - 1) * decoder.config().vocabulary..].to_vec()
}

/// Runs all prompts together twice, so that prefixes are cached the second time.
fn check(decoder: &Arc<Decoder>, pool: fn() -> Pool, requests: &[(Loaded, Vec<u32>)], pages: usize) {
    let scheduler = start(decoder, pool(), pages, 48);
    for round in 0..2 {
        let running: Vec<Recorded> = requests
            .iter()
            .map(|(adapter, prompt)| Recorded::begin(&scheduler, adapter, prompt, 9))
            .collect();
        for ((adapter, prompt), recorded) in requests.iter().zip(running) {
            let (tokens, rows, cached) = recorded.end();
            assert!(rows == rows_alone(decoder, &Pool::with_isa(1, pool().isa()), adapter, prompt, &tokens));
            assert!(round == 0 || pages < 64 || cached == prompt.len() - 1, "{cached} of {}", prompt.len());
        }
    }
    assert_eq!(scheduler.statistics().preemptions > 0, pages < 16);
}

/// Prompts, some of which share whole pages or parts of a page at the start.
fn prompts(vocabulary: u32) -> Vec<Vec<u32>> {
    let common: Vec<u32> = (0..40).map(|index| index * 11 % vocabulary).collect();
    (0..8).map(|index| [&common[..(index * 9) % 41], &[index as u32 + 3; 5]].concat()).collect()
}

#[test]
fn logits_of_all_architectures_are_bit_identical_to_single_runs_cached_or_not() {
    for name in NAMES {
        for precision in [DecoderPrecision::F32, DecoderPrecision::Quantised] {
            let decoder = Arc::new(open(fixture(name), precision));
            let requests: Vec<(Loaded, Vec<u32>)> = prompts(decoder.config().vocabulary as u32)
                .into_iter()
                .map(|prompt| (None, prompt))
                .collect();
            check(&decoder, || Pool::new(2), &requests, 128);
        }
    }
}

#[test]
fn requests_preempted_for_lack_of_pages_give_the_same_answers() {
    let decoder = Arc::new(open_f32("llama"));
    let requests: Vec<(Loaded, Vec<u32>)> =
        (0..8).map(|index| (None, vec![index + 3; 13 + index as usize])).collect();
    check(&decoder, || Pool::new(2), &requests, 7);
}

#[test]
fn logits_of_adapters_in_one_step_are_bit_identical_to_single_runs() {
    for precision in [DecoderPrecision::F32, DecoderPrecision::Quantised] {
        let decoder = Arc::new(open(fixture("llama"), precision));
        let adapter = |name: &str| {
            let adapter = Adapter::open(fixture("llama").join(name), &decoder).unwrap();
            Some(Arc::new(LoadedAdapter::new(adapter, 1)))
        };
        let adapters = [None, adapter("adapter-few"), adapter("adapter-every")];
        let prompt = prompts(60).pop().unwrap();
        let requests: Vec<(Loaded, Vec<u32>)> =
            (0..9).map(|index| (adapters[index % 3].clone(), prompt.clone())).collect();
        check(&decoder, || Pool::new(2), &requests, 128);
    }
}

#[test]
fn stories_of_many_callers_match_the_reference() {
    let Some(path) = model() else { return };
    let decoder = Arc::new(open(path, DecoderPrecision::F32));
    for pool in pools() {
        let scheduler = start(&decoder, pool, 64, 16);
        let running: Vec<Recorded> =
            (0..6).map(|index| Recorded::begin(&scheduler, &None, CONTINUATIONS[index % 2].0, 48)).collect();
        for (index, recorded) in running.into_iter().enumerate() {
            assert_eq!(recorded.end().0, CONTINUATIONS[index % 2].1);
        }
    }
}

#[test]
fn scores_are_the_log_probabilities_of_single_runs() {
    let decoder = Arc::new(open_f32("qwen3"));
    let pool = Pool::new(2);
    let vocabulary = decoder.config().vocabulary;
    let prompt: Vec<u32> = (0..21).map(|index| index * 5 % 60).collect();
    let path = |tokens: &[u32], next: &[u32]| ScorePath { tokens: tokens.to_vec(), next: next.to_vec() };
    let paths = vec![
        path(&[], &[1, 2, 3]),
        path(&[1], &[4, 5]),
        path(&[1, 4], &[6]),
        path(&[2], &[7]),
        path(&[2, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[0]),
    ];
    let scheduler = start(&decoder, Pool::new(2), 64, 512);
    for cached in [0, 20] {
        let request = Score { asked: asked(&None, &prompt), paths: paths.clone() };
        let scores = scheduler.score(request).unwrap().wait_blocking().unwrap();
        assert_eq!((scores.timings.cached_tokens, scores.timings.steps), (cached, 2));
        for (path, found) in paths.iter().zip(&scores.paths) {
            let tokens = [&prompt[..], &path.tokens].concat();
            let (mut kv, mut scratch) = (decoder.new_kv(4), DecoderScratch::default());
            let span = Span {
                tokens: &tokens,
                start: 0,
                pages: &[0, 1, 2, 3],
                adapter: None,
                logits: LogitRows::Last,
            };
            let logits = decoder.forward(&pool, &mut kv, &[span], &mut scratch).unwrap();
            let row = logits.row(0).unwrap();
            assert_eq!((row.len(), found.len()), (vocabulary, path.next.len()));
            let total = row.iter().map(|logit| f64::from(*logit).exp()).sum::<f64>().ln();
            for (token, score) in found {
                assert!((f64::from(*score) - (f64::from(row[*token as usize]) - total)).abs() < 1e-5);
            }
        }
    }
}
