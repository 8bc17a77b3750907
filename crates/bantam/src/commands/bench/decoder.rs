//! A decoder: prefill, decode by batch, adapters, and labels scored behind a cached beginning.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_engine::{
    Adapter, Asked, Decoder, DecoderModel, DecoderOptions, DecoderPrecision, DecoderScratch, Scheduler,
    SchedulerOptions, Score, ScorePath, Span, Wanted,
};
use bantam_kernels::{KvStore, PAGE_TOKENS, Pool};
use bantam_weights::{Dtype, NewTensor, NewValue, write_gguf};

use super::lengths::{CONTEXT_MIN, Lengths};
use super::{Case, LABELS, Limits, Measured, Tokens, mixed, resident_mb, schema, time};
use crate::cli::BenchArgs;
use crate::failure::{Failure, Outcome};
use crate::output;

const BATCH: usize = 8;
/// Rank of the adapters, on queries and values.
const RANK: usize = 8;

pub(super) fn measure(
    args: &BenchArgs,
    pool: &Arc<Pool>,
    limits: &Limits,
    is_quiet: bool,
) -> Result<Measured, Failure> {
    let cache = Decoder::cache_path(&args.model);
    let options = DecoderOptions { precision: DecoderPrecision::Quantised, cache: Some(cache.clone()) };
    let open = || {
        Decoder::open(&args.model, &options, pool)
            .map_err(|error| Failure::from_error("cannot measure the model", &error))
    };
    if !cache.exists() {
        if !is_quiet {
            output::note(format!("laying out the weights for this machine, once: {}", cache.display()));
        }
        drop(open()?);
    }
    let begin = Instant::now();
    let decoder = Arc::new(open()?);
    let context = decoder.config().positions;
    if context < CONTEXT_MIN {
        let message = format!("the model takes {context} tokens, and cases need {CONTEXT_MIN}");
        return Err(Failure::new(Outcome::Failed, message).hint("measure one with a longer context"));
    }
    let lengths = Lengths::fitting(context);
    let most = (lengths.behind + lengths.prefill).min(context);
    let mut bench = Bench {
        kv: decoder.new_kv(BATCH * pages(most)),
        lengths,
        most,
        tokens: Tokens::new(decoder.config().vocabulary),
        scratch: DecoderScratch::default(),
        limits,
        weight_bytes: std::fs::metadata(&cache).ok().map(|file| file.len()),
        times: args.times.unwrap_or(15).max(2),
        decoder: &decoder,
        pool,
    };
    bench.step(1, 0, 1, &[])?;
    let load = begin.elapsed();
    let mut cases =
        vec![bench.prefill()?, bench.decode("decode-1", 1, &[])?, bench.decode("decode-8", BATCH, &[])?];
    let adapters = adapters(&decoder, BATCH)?;
    cases.push(bench.decode("decode-8-adapters", BATCH, &adapters)?);
    let (times, kind) = (bench.times, kind(&decoder));
    drop(bench);
    let (scored, resident_mb) = score(Arc::clone(&decoder), Arc::clone(pool), times, lengths)?;
    cases.push(scored);
    let mut notes: Vec<String> = lengths.note(context).into_iter().collect();
    let ratios = match schema::measure(&args.model, pool, times, context)? {
        Ok((measured, ratios)) => {
            cases.extend(measured);
            ratios
        }
        Err(reason) => {
            notes.push(format!("answers under a schema are not measured: {reason}"));
            Vec::new()
        }
    };
    let counts: Vec<usize> = args.adapters.iter().map(|count| *count as usize).collect();
    if !counts.is_empty() && !is_quiet {
        output::note(format!("mixed load with {counts:?} adapters"));
    }
    let mixed = mixed::measure(&decoder, pool, &counts, (times, lengths))?;
    Ok(Measured { kind, load, resident_mb, cases, ratios, mixed, notes })
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
    limits: &'d Limits,
    /// Bytes of the weights as laid out, all of which each step reads.
    weight_bytes: Option<u64>,
    times: usize,
    lengths: Lengths,
    /// Tokens of a sequence at most.
    most: usize,
}

impl Bench<'_> {
    /// Runs `count` new tokens of each of `sequences`, all behind `start` others, for a row of logits each.
    fn step(
        &mut self,
        sequences: usize,
        start: usize,
        count: usize,
        adapters: &[Adapter],
    ) -> Result<(), Failure> {
        let each = pages(self.most);
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
                logits: Wanted::Last,
            })
            .collect();
        let logits = self
            .decoder
            .forward(self.pool, &mut self.kv, &spans, &mut self.scratch)
            .map_err(|error| Failure::from_error("the model failed", &error))?;
        // The likeliest token of each row, as greedy decoding takes it.
        let chosen: Vec<Option<usize>> = logits
            .rows()
            .map(|row| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at))
            .collect();
        std::hint::black_box(chosen);
        Ok(())
    }

    fn prefill(&mut self) -> Result<Case, Failure> {
        let tokens = self.lengths.prefill;
        let milliseconds = time(self.times.div_ceil(4).max(3), || self.step(1, 0, tokens, &[]))?;
        let mut case = Case {
            name: format!("prefill-{tokens}"),
            about: "so many tokens of one prompt, nothing cached",
            milliseconds,
            tokens,
            share: None,
        };
        let operations = 2.0 * products(self.decoder) as f64 * tokens as f64;
        case.share = Some((operations / (case.percentile(0.5) / 1e3) / self.limits.int8, "the int8 peak"));
        Ok(case)
    }

    fn decode(&mut self, name: &str, batch: usize, adapters: &[Adapter]) -> Result<Case, Failure> {
        let (behind, most) = (self.lengths.behind, self.most);
        self.step(batch, 0, behind, adapters)?;
        let mut at = behind;
        let milliseconds = time(3 * self.times, || {
            // Where there is no room for more, the same places are filled again.
            let place = at;
            at = if place + 1 < most { place + 1 } else { behind };
            self.step(batch, place, 1, adapters)
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

/// Makes adapters of random numbers, as files, and opens them as a user's would be.
pub(super) fn adapters(decoder: &Decoder, count: usize) -> Result<Vec<Adapter>, Failure> {
    let failed =
        |error: &dyn std::error::Error| Failure::from_error("cannot make adapters to measure with", error);
    let folder = tempfile::tempdir().map_err(|error| failed(&error))?;
    let config = decoder.config();
    let (queries, values) = (config.query_width(), config.kv_width());
    let mut state = 1_u64;
    let mut numbers = |count: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * 0.02
        };
        (0..count).flat_map(|_| next().to_le_bytes()).collect()
    };
    (0..count)
        .map(|index| {
            let mut tensors = Vec::new();
            for layer in 0..config.layers {
                for (name, outputs) in [("attn_q", queries), ("attn_v", values)] {
                    let name = format!("blk.{layer}.{name}.weight");
                    tensors.push((
                        format!("{name}.lora_a"),
                        [RANK, config.hidden],
                        numbers(RANK * config.hidden),
                    ));
                    tensors.push((format!("{name}.lora_b"), [outputs, RANK], numbers(outputs * RANK)));
                }
            }
            let tensors: Vec<NewTensor<'_>> = tensors
                .iter()
                .map(|(name, shape, bytes)| NewTensor { name, dtype: Dtype::F32, shape, bytes })
                .collect();
            let metadata = [
                ("general.type", NewValue::Text("adapter")),
                ("general.architecture", NewValue::Text(config.architecture.name())),
                ("adapter.type", NewValue::Text("lora")),
                ("adapter.lora.alpha", NewValue::F32(2.0 * RANK as f32)),
            ];
            let path = folder.path().join(format!("{index}.gguf"));
            write_gguf(&path, &metadata, &tensors).map_err(|error| failed(&error))?;
            Adapter::open(&path, decoder).map_err(|error| failed(&error))
        })
        .collect()
}

/// Labels behind a cached beginning and a new text, through the scheduler as a gateway would ask. Returns also what
/// the process holds meanwhile.
fn score(
    decoder: Arc<Decoder>,
    pool: Arc<Pool>,
    times: usize,
    Lengths { cached, new, .. }: Lengths,
) -> Result<(Case, Option<u64>), Failure> {
    let vocabulary = decoder.config().vocabulary;
    let model = DecoderModel::new(decoder, pool, 4 * pages(cached + new));
    let scheduler = Scheduler::start(model, SchedulerOptions::new(Arc::new(Instant::now)))
        .map_err(|error| Failure::from_error("cannot start the scheduler", &error))?;
    let mut tokens = Tokens::new(vocabulary);
    let beginning = tokens.take(cached);
    let path = ScorePath { tokens: Vec::new(), next: (0..LABELS).collect() };
    let milliseconds = time(times, || {
        let prompt = beginning.iter().copied().chain(tokens.take(new)).collect();
        let deadline = Some(Instant::now() + Duration::from_secs(600));
        let asked = Asked { task: "bench".into(), adapter: None, prompt, deadline };
        let pending = scheduler
            .score(Score { asked, paths: vec![path.clone()] })
            .map_err(|error| Failure::from_error("the scheduler refused", &error))?;
        pending.wait_blocking().map(|_| ()).map_err(|error| Failure::from_error("the model failed", &error))
    })?;
    let resident_mb = resident_mb();
    let case = Case {
        name: format!("score-{cached}+{new}"),
        about: "8 labels behind so many cached tokens and new ones",
        milliseconds,
        tokens: new,
        share: None,
    };
    Ok((case, resident_mb))
}
