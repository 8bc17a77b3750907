//! Mixed load over one model with different numbers of adapters: what each costs beside one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_engine::{
    Adapter, Choice, Decoder, DecoderModel, Generate, GenerationEvent, LoadedAdapter, PrefixScope,
    RequestBase, Scheduler, SchedulerOptions, Score, ScorePath,
};
use bantam_kernels::{PAGE_TOKENS, Pool};
use bantam_types::Cancel;

use super::lengths::Lengths;
use super::{LABELS, REQUEST_MAX, adapters};
use crate::case::percentile;
use crate::memory::resident_mb;
use crate::report::MixedLoadReport;
use crate::tokens::Tokens;
use crate::{MeasureError, check};

/// How many ask at a time: half of them classify, half of them talk.
const CALLERS: usize = 16;
const ROUNDS: usize = 3;
/// Tokens whose keys and values are kept: what a model of the configuration gets unless it says otherwise.
const KV_TOKENS: usize = 16_384;

/// What a number of adapters took so far.
struct MixedLoad {
    adapters: usize,
    /// Bytes of all of them.
    bytes: usize,
    /// What the process held with them in use.
    resident_mb: Option<u64>,
    /// Requests a second, for each round.
    rates: Vec<f64>,
    /// Milliseconds of every request.
    milliseconds: Vec<f64>,
}

impl From<MixedLoad> for MixedLoadReport {
    fn from(mixed: MixedLoad) -> Self {
        Self {
            adapters: mixed.adapters,
            adapter_bytes: mixed.bytes,
            resident_mb: mixed.resident_mb,
            requests_per_s: percentile(&mixed.rates, 0.5),
            rounds: mixed.rates,
            p50_ms: percentile(&mixed.milliseconds, 0.5),
            p95_ms: percentile(&mixed.milliseconds, 0.95),
            callers: CALLERS,
        }
    }
}

/// Runs the same load for each of `counts`, in turns, so that whatever else the machine does meets all alike.
pub(super) fn measure(
    (decoder, pool): (&Arc<Decoder>, &Arc<Pool>),
    counts: &[usize],
    (times, lengths): (usize, Lengths),
    cancel: &Cancel,
) -> Result<Vec<MixedLoadReport>, MeasureError> {
    let most = counts.iter().copied().max().unwrap_or(0);
    let loaded = adapters(decoder, most)?;
    let loaded: Vec<Arc<LoadedAdapter<Adapter>>> = loaded
        .into_iter()
        .map(|adapter| {
            let bytes = adapter.bytes();
            Arc::new(LoadedAdapter::new(adapter, bytes))
        })
        .collect();
    let bytes = |count: usize| loaded.iter().take(count).map(|loaded| loaded.adapter().bytes()).sum();
    let mut all: Vec<MixedLoad> = counts
        .iter()
        .map(|count| MixedLoad {
            adapters: *count,
            bytes: bytes(*count),
            resident_mb: None,
            rates: Vec::new(),
            milliseconds: Vec::new(),
        })
        .collect();
    for round in 0..ROUNDS {
        for mixed in &mut all {
            check(cancel)?;
            // A memory of its own each time, so that no count finds what another has computed.
            let pages = KV_TOKENS / PAGE_TOKENS;
            let model = DecoderModel::new(Arc::clone(decoder), Arc::clone(pool), pages);
            let scheduler = Scheduler::start(model, SchedulerOptions::new(Arc::new(Instant::now)))
                .map_err(|error| MeasureError::Scheduler(error.to_string()))?;
            let adapters = loaded.get(..mixed.adapters).unwrap_or_default();
            let vocabulary = decoder.config().vocabulary;
            let load = Load { scheduler, adapters, vocabulary, round, times, lengths };
            // Every task's beginning is there once before time counts.
            (0..mixed.adapters).try_for_each(|task| load.classify(task, task).map(drop))?;
            let begun = Instant::now();
            mixed.milliseconds.extend(load.run()?);
            mixed.rates.push((times * CALLERS) as f64 / begun.elapsed().as_secs_f64());
            mixed.resident_mb = mixed.resident_mb.max(resident_mb());
        }
    }
    Ok(all.into_iter().map(MixedLoadReport::from).collect())
}

struct Load<'l> {
    scheduler: Scheduler<Adapter>,
    adapters: &'l [Arc<LoadedAdapter<Adapter>>],
    vocabulary: usize,
    round: usize,
    /// Requests of each caller.
    times: usize,
    lengths: Lengths,
}

impl Load<'_> {
    /// Returns how long each request took.
    fn run(&self) -> Result<Vec<f64>, MeasureError> {
        let callers: Vec<Result<Vec<f64>, MeasureError>> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS).map(|caller| scope.spawn(move || self.call(caller))).collect();
            callers.into_iter().filter_map(|caller| caller.join().ok()).collect()
        });
        Ok(callers.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn call(&self, caller: usize) -> Result<Vec<f64>, MeasureError> {
        let mut times = Vec::new();
        for request in 0..self.times {
            let number = request * CALLERS + caller;
            // Neither kind of caller keeps to some of the adapters.
            let task = (number / 2) % self.adapters.len().max(1);
            let time = match caller % 2 {
                0 => self.classify(task, number)?,
                _ => self.talk(task, number)?,
            };
            times.push(time.as_secs_f64() * 1e3);
        }
        Ok(times)
    }

    fn asked(&self, task: usize, prompt: Vec<u32>) -> RequestBase<Adapter> {
        let adapter = self.adapters.get(task).cloned();
        let deadline = Some(Instant::now() + REQUEST_MAX);
        RequestBase {
            task: format!("task {task}").into(),
            adapter,
            prompt,
            deadline,
            scope: PrefixScope::default(),
        }
    }

    /// Returns a number that no other request of this measurement has.
    fn number(&self, number: usize) -> u64 {
        (self.round * self.times * CALLERS + number) as u64 + 1
    }

    fn classify(&self, task: usize, number: usize) -> Result<Duration, MeasureError> {
        let mut prompt = Tokens::seeded(self.vocabulary, task as u64 + 1).take(self.lengths.cached);
        let seed = self.number(number) << 20;
        prompt.extend(Tokens::seeded(self.vocabulary, seed).take(self.lengths.new));
        let path = ScorePath { tokens: Vec::new(), next: (0..LABELS).collect() };
        let pending = self
            .scheduler
            .score(Score { asked: self.asked(task, prompt), paths: vec![path] })
            .map_err(|error| MeasureError::Scheduler(error.to_string()))?;
        let scores = pending.wait_blocking().map_err(|error| MeasureError::Failed(error.to_string()))?;
        Ok(scores.timings.total)
    }

    fn talk(&self, task: usize, number: usize) -> Result<Duration, MeasureError> {
        let seed = self.number(number) << 40;
        let prompt = Tokens::seeded(self.vocabulary, seed).take(self.lengths.talk);
        let chooser = Box::new(|logits: &mut [f32]| {
            let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            let tokens = vec![best.map_or(0, |(token, _)| token as u32)];
            Ok(Choice { tokens, text: String::new(), is_over: false })
        });
        let mut generation = self
            .scheduler
            .generate(Generate { asked: self.asked(task, prompt), tokens_max: self.lengths.answer, chooser })
            .map_err(|error| MeasureError::Scheduler(error.to_string()))?;
        while let Some(event) = generation.next_blocking() {
            let event = event.map_err(|error| MeasureError::Failed(error.to_string()))?;
            if let GenerationEvent::Over(report) = event {
                return Ok(report.timings.total);
            }
        }
        Ok(Duration::ZERO)
    }
}
