//! A decoder: prefill, decode by batch, adapters, and labels scored behind a cached beginning.

mod adapters;
mod lengths;
mod mixed;
mod schema;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_engine::{
    Adapter, Decoder, DecoderModel, DecoderOptions, DecoderPrecision, DecoderScratch, LogitRows, PrefixScope,
    RequestBase, Scheduler, SchedulerOptions, Score, ScorePath, Span,
};
use bantam_kernels::{KvStore, PAGE_TOKENS, Pool};
use bantam_types::Cancel;

use crate::case::{Case, time};
use crate::memory::resident_mb;
use crate::report::Measured;
use crate::tokens::Tokens;
use crate::{MachineLimits, MeasureError, SpeedEvent, SpeedRequest};
use adapters::adapters;
use lengths::{CONTEXT_MIN, Lengths};

/// Sequences of a batch.
const BATCH: usize = 8;
/// Labels that are scored; each is one token.
const LABELS: u32 = 8;
/// How often each case is timed, where nothing is said, and at least.
const TIMES: usize = 15;
const TIMES_MIN: usize = 2;
/// How long a request may take.
const REQUEST_MAX: Duration = Duration::from_secs(600);

pub(crate) fn measure(
    request: &SpeedRequest,
    (pool, limits): (&Arc<Pool>, &MachineLimits),
    on_event: &mut dyn FnMut(SpeedEvent),
    cancel: &Cancel,
) -> Result<Measured, MeasureError> {
    let cache = Decoder::cache_path(&request.model);
    let options = DecoderOptions { precision: DecoderPrecision::Quantised, cache: Some(cache.clone()) };
    let open = || Decoder::open(&request.model, &options, pool).map_err(Box::new);
    if !cache.exists() {
        on_event(SpeedEvent::LayingOut { path: cache.clone() });
        drop(open()?);
    }
    let begun = Instant::now();
    let decoder = Arc::new(open()?);
    let context = decoder.config().positions;
    if context < CONTEXT_MIN {
        return Err(MeasureError::ShortContext { context, least: CONTEXT_MIN });
    }
    let lengths = Lengths::fitting(context);
    let tokens_max = (lengths.behind + lengths.prefill).min(context);
    let times = request.times.unwrap_or(TIMES).max(TIMES_MIN);
    let mut bench = Bench {
        kv: decoder.new_kv(BATCH * pages(tokens_max)),
        lengths,
        tokens_max,
        tokens: Tokens::new(decoder.config().vocabulary),
        scratch: DecoderScratch::default(),
        limits,
        weight_bytes: std::fs::metadata(&cache).ok().map(|file| file.len()),
        times,
        decoder: &decoder,
        pool,
        cancel,
    };
    bench.step(1, 0, 1, &[])?;
    let load = begun.elapsed();
    let mut cases =
        vec![bench.prefill()?, bench.decode("decode-1", 1, &[])?, bench.decode("decode-8", BATCH, &[])?];
    let several = adapters(&decoder, BATCH)?;
    cases.push(bench.decode("decode-8-adapters", BATCH, &several)?);
    drop(bench);
    let (scored, resident_mb) = score(&decoder, pool, (times, lengths), cancel)?;
    cases.push(scored);
    let mut notes: Vec<String> = lengths.note(context).into_iter().collect();
    let ratios = match schema::measure((&request.model, pool), times, context, cancel)? {
        Ok((measured, ratios)) => {
            cases.extend(measured);
            ratios
        }
        Err(reason) => {
            notes.push(format!("answers under a schema are not measured: {reason}"));
            Vec::new()
        }
    };
    if !request.adapters.is_empty() {
        on_event(SpeedEvent::MixedLoad { adapters: request.adapters.clone() });
    }
    let mixed = mixed::measure((&decoder, pool), &request.adapters, (times, lengths), cancel)?;
    let lengths = Some(lengths.report());
    Ok(Measured { kind: kind(&decoder), load, resident_mb, cases, ratios, mixed, lengths, notes })
}

fn kind(decoder: &Decoder) -> String {
    let config = decoder.config();
    format!("decoder of {} layers of {}, {} tokens", config.layers, config.hidden, config.vocabulary)
}

/// Returns the multiplications of a token in the layers, without attention.
fn products(decoder: &Decoder) -> usize {
    let config = decoder.config();
    let attention = config.hidden * 2 * (config.query_width() + config.kv_width());
    config.layers * (attention + 3 * config.hidden * config.intermediate)
}

fn pages(tokens: usize) -> usize {
    tokens.div_ceil(PAGE_TOKENS)
}

struct Bench<'d> {
    decoder: &'d Decoder,
    pool: &'d Pool,
    kv: KvStore,
    scratch: DecoderScratch,
    tokens: Tokens,
    limits: &'d MachineLimits,
    /// Bytes of the weights as laid out, all of which each step reads.
    weight_bytes: Option<u64>,
    times: usize,
    lengths: Lengths,
    /// Tokens of a sequence at most.
    tokens_max: usize,
    cancel: &'d Cancel,
}

impl Bench<'_> {
    /// Runs `count` new tokens of each of `sequences`, all behind `start` others, for a row of logits each.
    fn step(
        &mut self,
        sequences: usize,
        start: usize,
        count: usize,
        adapters: &[Adapter],
    ) -> Result<(), MeasureError> {
        let each = pages(self.tokens_max);
        let tokens: Vec<Vec<u32>> = (0..sequences).map(|_| self.tokens.take(count)).collect();
        let pages: Vec<Vec<u32>> = (0..sequences)
            .map(|index| ((index * each) as u32..((index + 1) * each) as u32).collect())
            .collect();
        let spans: Vec<Span<'_>> = tokens
            .iter()
            .zip(&pages)
            .enumerate()
            .map(|(index, (tokens, pages))| Span {
                tokens,
                start,
                pages,
                adapter: adapters.get(index),
                logits: LogitRows::Last,
            })
            .collect();
        let logits = self.decoder.forward(self.pool, &mut self.kv, &spans, &mut self.scratch)?;
        // The likeliest token of each row, as greedy decoding takes it.
        let chosen: Vec<Option<usize>> = logits
            .rows()
            .map(|row| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at))
            .collect();
        std::hint::black_box(chosen);
        Ok(())
    }

    fn prefill(&mut self) -> Result<Case, MeasureError> {
        let tokens = self.lengths.prefill;
        let cancel = self.cancel;
        let milliseconds = time(self.times.div_ceil(4).max(3), cancel, || self.step(1, 0, tokens, &[]))?;
        let about = "one prompt of this many tokens, nothing cached";
        let mut case = Case { name: format!("prefill-{tokens}"), about, milliseconds, tokens, share: None };
        let operations = 2.0 * products(self.decoder) as f64 * tokens as f64;
        case.share = Some((operations / (case.percentile(0.5) / 1e3) / self.limits.int8, "the int8 peak"));
        Ok(case)
    }

    fn decode(&mut self, name: &str, batch: usize, adapters: &[Adapter]) -> Result<Case, MeasureError> {
        let (behind, most, cancel) = (self.lengths.behind, self.tokens_max, self.cancel);
        self.step(batch, 0, behind, adapters)?;
        let mut next = behind;
        let milliseconds = time(3 * self.times, cancel, || {
            // Where there is no room for more, the same positions are filled again.
            let position = next;
            next = if position + 1 < most { position + 1 } else { behind };
            self.step(batch, position, 1, adapters)
        })?;
        let about = match (batch, adapters.is_empty()) {
            (1, _) => "the next token of one sequence",
            (_, true) => "the next token of 8 sequences in one batch",
            (_, false) => "the same with 8 different adapters",
        };
        let mut case = Case { name: name.to_owned(), about, milliseconds, tokens: batch, share: None };
        if let (1, Some(bytes)) = (batch, self.weight_bytes) {
            let read = bytes as f64 / (case.percentile(0.5) / 1e3);
            case.share = Some((read / self.limits.read, "the bandwidth"));
        }
        Ok(case)
    }
}

/// Labels behind a cached beginning and a new text, through the scheduler as a gateway would ask. Returns also what
/// the process holds meanwhile.
fn score(
    decoder: &Arc<Decoder>,
    pool: &Arc<Pool>,
    (times, Lengths { cached, new, .. }): (usize, Lengths),
    cancel: &Cancel,
) -> Result<(Case, Option<u64>), MeasureError> {
    let vocabulary = decoder.config().vocabulary;
    let model = DecoderModel::new(Arc::clone(decoder), Arc::clone(pool), 4 * pages(cached + new));
    let scheduler = Scheduler::start(model, SchedulerOptions::new(Arc::new(Instant::now)))
        .map_err(|error| MeasureError::Scheduler(error.to_string()))?;
    let mut tokens = Tokens::new(vocabulary);
    let beginning = tokens.take(cached);
    let path = ScorePath { tokens: Vec::new(), next: (0..LABELS).collect() };
    let milliseconds = time(times, cancel, || {
        let prompt = beginning.iter().copied().chain(tokens.take(new)).collect();
        let deadline = Some(Instant::now() + REQUEST_MAX);
        let asked = RequestBase {
            task: "bench".into(),
            adapter: None,
            prompt,
            deadline,
            scope: PrefixScope::default(),
        };
        let pending = scheduler
            .score(Score { asked, paths: vec![path.clone()] })
            .map_err(|error| MeasureError::Scheduler(error.to_string()))?;
        pending.wait_blocking().map(|_| ()).map_err(|error| MeasureError::Failed(error.to_string()))
    })?;
    let resident_mb = resident_mb();
    let about = "8 labels behind this many cached tokens and new ones";
    let case = Case { name: format!("score-{cached}+{new}"), about, milliseconds, tokens: new, share: None };
    Ok((case, resident_mb))
}
