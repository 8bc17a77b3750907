//! Times llama.cpp on the cases of `bantam bench`.
//!
//! `peer-llama quantize IN OUT q8_0|q4_0|q4_k_m|q5_k_m` quantises a model; `peer-llama bench MODEL [THREADS [TIMES]]`
//! prints one JSON object with the names and units of `bantam bench MODEL --json`. Tokens are random, which costs both
//! sides the same.

use std::error::Error;
use std::ffi::CString;
use std::num::NonZeroU32;
use std::time::Instant;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;
use serde_json::{Map, Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Tokens of the prefix that all requests share.
const CACHED: usize = 300;
/// New tokens per request.
const NEW: usize = 60;
const CONTEXT: u32 = 4096;
const SEQUENCES: u32 = 10;

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut backend = LlamaBackend::init()?;
    backend.void_logs();
    match *words {
        ["quantize", from, to, kind] => quantize(from, to, kind),
        ["bench", model] => bench(&backend, model, 2, 15),
        ["bench", model, threads] => bench(&backend, model, threads.parse()?, 15),
        ["bench", model, threads, times] => bench(&backend, model, threads.parse()?, times.parse()?),
        _ => Err("usage: peer-llama quantize IN OUT KIND | bench MODEL [THREADS [TIMES]]".into()),
    }
}

fn quantize(from: &str, to: &str, kind: &str) -> Outcome<()> {
    let number = match kind {
        "q4_0" => 2,
        "q8_0" => 7,
        "q4_k_m" => 15,
        "q5_k_m" => 17,
        _ => return Err(format!("unknown quantisation {kind}").into()),
    };
    let (from, to) = (CString::new(from)?, CString::new(to)?);
    // SAFETY: the parameters are the library's own defaults, and both names outlive the call.
    let failed = unsafe {
        let mut parameters = llama_cpp_sys_2::llama_model_quantize_default_params();
        parameters.ftype = number;
        llama_cpp_sys_2::llama_model_quantize(from.as_ptr(), to.as_ptr(), &parameters)
    };
    if failed == 0 { Ok(()) } else { Err(format!("llama.cpp failed with code {failed}").into()) }
}

/// The state that all cases share.
struct Setup<'m> {
    context: LlamaContext<'m>,
    batch: LlamaBatch<'m>,
    vocabulary: u64,
    state: u64,
    times: usize,
    cases: Map<String, Value>,
}

fn bench(backend: &LlamaBackend, path: &str, threads: i32, times: usize) -> Outcome<()> {
    let begin = Instant::now();
    let model = LlamaModel::load_from_file(backend, path, &LlamaModelParams::default())?;
    let parameters = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(CONTEXT))
        .with_n_batch(2048)
        .with_n_ubatch(512)
        .with_n_seq_max(SEQUENCES)
        .with_n_threads(threads)
        .with_n_threads_batch(threads)
        .with_kv_unified(true);
    let context = model.new_context(backend, parameters)?;
    let vocabulary = u64::try_from(model.vocab().n_tokens())?;
    let batch = LlamaBatch::new(2048, SEQUENCES as i32);
    let mut setup =
        Setup { context, batch, vocabulary, state: 88_172_645_463_325_252, times, cases: Map::new() };
    let first = setup.tokens(1);
    setup.run(&first, 0, 0)?;
    setup.context.clear_kv_cache();
    let load = begin.elapsed().as_secs_f64() * 1e3;
    setup.prefill()?;
    setup.decode(1)?;
    setup.decode(8)?;
    setup.score()?;
    let answer = json!({
        "engine": "llama.cpp", "threads": threads, "model": path, "load_ms": load,
        "resident_mb": resident(), "cases": setup.cases,
    });
    println!("{answer}");
    Ok(())
}

impl Setup<'_> {
    fn tokens(&mut self, count: usize) -> Vec<LlamaToken> {
        let mut next = || {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            LlamaToken((self.state % (self.vocabulary - 3)) as i32)
        };
        (0..count).map(|_| next()).collect()
    }

    /// Runs tokens of one sequence and computes the last one's logits.
    fn run(&mut self, tokens: &[LlamaToken], start: i32, sequence: i32) -> Outcome<()> {
        self.batch.clear();
        for (index, token) in tokens.iter().enumerate() {
            self.batch.add(*token, start + index as i32, &[sequence], index + 1 == tokens.len())?;
        }
        self.context.decode(&mut self.batch)?;
        Ok(())
    }

    fn record(&mut self, case: &str, mut milliseconds: Vec<f64>) {
        milliseconds.sort_by(f64::total_cmp);
        let at = |share: f64| milliseconds[((milliseconds.len() - 1) as f64 * share).round() as usize];
        let figures = json!({ "p50_ms": at(0.5), "p99_ms": at(0.99), "times": milliseconds.len() });
        self.cases.insert(case.to_owned(), figures);
    }

    fn prefill(&mut self) -> Outcome<()> {
        let mut milliseconds = Vec::new();
        for _ in 0..self.times.div_ceil(4).max(3) {
            let tokens = self.tokens(512);
            let begin = Instant::now();
            self.run(&tokens, 0, 0)?;
            milliseconds.push(begin.elapsed().as_secs_f64() * 1e3);
            self.context.clear_kv_cache();
        }
        self.record("prefill-512", milliseconds);
        Ok(())
    }

    /// Times one step of `count` sequences with 64 cached tokens each, including the greedy choice.
    fn decode(&mut self, count: usize) -> Outcome<()> {
        for sequence in 0..count {
            let tokens = self.tokens(64);
            self.run(&tokens, 0, sequence as i32)?;
        }
        let mut milliseconds = Vec::new();
        for step in 0..3 * self.times {
            let tokens = self.tokens(count);
            let begin = Instant::now();
            self.batch.clear();
            for (sequence, token) in tokens.iter().enumerate() {
                self.batch.add(*token, 64 + step as i32, &[sequence as i32], true)?;
            }
            self.context.decode(&mut self.batch)?;
            for row in 0..count {
                std::hint::black_box(best(self.context.get_logits_ith(row as i32)));
            }
            milliseconds.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        self.context.clear_kv_cache();
        self.record(&format!("decode-{count}"), milliseconds);
        Ok(())
    }

    /// Times new tokens after a cached prefix, including the log-probabilities of the next one.
    fn score(&mut self) -> Outcome<()> {
        let prefix = self.tokens(CACHED);
        self.run(&prefix, 0, 0)?;
        let mut milliseconds = Vec::new();
        for _ in 0..self.times {
            let tokens = self.tokens(NEW);
            let begin = Instant::now();
            self.context.kv_cache_seq_cp(0, 1, None, None)?;
            self.run(&tokens, CACHED as i32, 1)?;
            std::hint::black_box(best(self.context.get_logits_ith(NEW as i32 - 1)));
            self.context.kv_cache_seq_rm(1, None, None)?;
            milliseconds.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        self.context.clear_kv_cache();
        self.record("score-300+60", milliseconds);
        Ok(())
    }
}

/// Returns the most likely token and its log-probability.
fn best(logits: &[f32]) -> (usize, f32) {
    let largest = logits.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0));
    let sum: f32 = logits.iter().map(|logit| (logit - largest.1).exp()).sum();
    (largest.0, -sum.ln())
}

/// Returns the resident memory of this process, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("");
    line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) / 1024
}
