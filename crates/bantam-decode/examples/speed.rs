//! Measures the cost of a token: `cargo run --release -p bantam-decode --example speed`.
//!
//! Times sampling and masks for vocabularies of 49,152 and 151,936 tokens: real ones (SmolLM2 and Qwen2.5) if the
//! shared data has them, random words otherwise.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a tool for development"
)]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bantam_decode::{
    Constraint, Forcing, Generation, GenerationConfig, Grammar, GrammarLimits, Grammars, JsonLayout, Sampler,
    SamplingConfig, TokenTable,
};
use serde_json::{Value, json};

fn main() {
    for (name, size) in [("smollm2/tokenizer.json", 49_152), ("qwen2.5/vocab.json", 151_936)] {
        let start = Instant::now();
        let table = Arc::new(table(name, size));
        let read = start.elapsed();
        let start = Instant::now();
        let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
        println!("\n{} tokens: table {read:.0?}, trie and slices {:.0?}", table.len(), start.elapsed());
        sampling(&table);
        masks(&table, &grammars);
        ratio(&table, &grammars);
        endings(&table, &grammars);
    }
}

type Change = fn(&mut SamplingConfig);

fn sampling(table: &TokenTable) {
    let rows: Vec<Vec<f32>> = (0..8).map(|seed| row(table.len(), seed)).collect();
    let cases: [(&str, Change); 7] = [
        ("greedy", |config| config.temperature = 0.0),
        ("greedy, 20 alternatives", |config| (config.temperature, config.alternatives) = (0.0, 20)),
        ("temperature 1", |_| ()),
        ("top_k 50", |config| config.top_k = 50),
        ("top_k 50, top_p 0.9, min_p 0.05", |config| {
            (config.top_k, config.top_p, config.min_p) = (50, 0.9, 0.05);
        }),
        ("top_p 0.95", |config| config.top_p = 0.95),
        ("greedy, penalties", |config| (config.temperature, config.frequency_penalty) = (0.0, 0.3)),
    ];
    for (name, change) in cases {
        let mut config = SamplingConfig { temperature: 1.0, ..SamplingConfig::greedy() };
        change(&mut config);
        let mut sampler = Sampler::new(config, &[]).unwrap();
        sampler.record(3);
        let times = (0..200).map(|index| {
            let start = Instant::now();
            black_box(sampler.choose(&rows[index % rows.len()], None).unwrap());
            start.elapsed().as_secs_f64() * 1e6
        });
        let (median, p99) = quantiles(times.collect());
        println!("  sample, {name:34} median {median:7.0} us, p99 {p99:7.0} us");
    }
}

/// Times each mask along random answers chosen by a seeded generator.
fn masks(table: &Arc<TokenTable>, grammars: &Grammars) {
    for (name, grammar) in grammars_to_measure() {
        let start = Instant::now();
        let compiled = grammars.compile(&grammar).unwrap();
        let compiling = start.elapsed();
        let (mut times, mut first, mut accepts) = (Vec::new(), Vec::new(), Vec::new());
        for seed in 0..30 {
            let start = Instant::now();
            let mut constraint = compiled.start();
            let starting = start.elapsed().as_secs_f64() * 1e6;
            first.push(starting);
            let mut bits = seed * 7 + 1;
            for _ in 0..120 {
                let start = Instant::now();
                let mask = constraint.mask().unwrap();
                times.push(start.elapsed().as_secs_f64() * 1e6);
                bits = splitmix(bits);
                let index = bits as usize % mask.count();
                let token = mask.tokens().nth(index).unwrap();
                if table.is_end(token) {
                    break;
                }
                let start = Instant::now();
                constraint.accept(token).unwrap();
                accepts.push(start.elapsed().as_secs_f64() * 1e6);
                if constraint.is_finished() {
                    break;
                }
            }
        }
        let count = times.len();
        let ((median, p99), (accept, _), (start, _)) =
            (quantiles(times), quantiles(accepts), quantiles(first));
        println!(
            "  mask, {name:20} compile {compiling:8.1?}, start {start:6.0} us, mask median {median:6.1} us, \
             p99 {p99:7.1} us over {count}; accept median {accept:4.1} us"
        );
    }
}

/// Compares the cost of an answer under a schema with an unconstrained one, without the model's own time.
fn ratio(table: &Arc<TokenTable>, grammars: &Grammars) {
    let rows: Vec<Vec<f32>> = (0..16).map(|seed| row(table.len(), seed)).collect();
    let run = |constraint: Option<Constraint>| {
        let sampling = SamplingConfig { temperature: 1.0, top_k: 50, ..SamplingConfig::greedy() };
        let config = GenerationConfig { sampling, stops: vec!["\n\n\n".to_owned()], tokens_max: 200 };
        let mut generation = Generation::new(Arc::clone(table), config, &[], constraint).unwrap();
        let (mut tokens, mut steps) = (0, 0);
        let start = Instant::now();
        while let Ok(step) = generation.next(&rows[steps % rows.len()]) {
            tokens += step.tokens.len();
            steps += 1;
            if step.is_over.is_some() {
                break;
            }
        }
        (start.elapsed().as_secs_f64() * 1e6, tokens, steps)
    };
    let many = |compiled: Option<&bantam_decode::CompiledGrammar>| {
        let runs: Vec<_> =
            (0..12).map(|_| run(compiled.map(bantam_decode::CompiledGrammar::start))).collect();
        let time: f64 = runs.iter().map(|run| run.0).sum();
        let (tokens, steps) = runs.iter().fold((0, 0), |sum, run| (sum.0 + run.1, sum.1 + run.2));
        (time / tokens as f64, tokens as f64 / steps as f64)
    };
    let (plain, _) = many(None);
    for (name, grammar) in grammars_to_measure() {
        let compiled = grammars.compile(&grammar).unwrap();
        let (constrained, each_step) = many(Some(&compiled));
        println!(
            "  answer, {name:20} {constrained:6.0} us a token, {plain:6.0} us without: ratio {:.2}; {each_step:.2} tokens a step",
            constrained / plain
        );
    }
}

/// Times what knowing the end costs: steps of answers far from their limit and of answers that run into it, against the
/// same steps without an ending.
fn endings(table: &Arc<TokenTable>, grammars: &Grammars) {
    let rows: Vec<Vec<f32>> = (0..16).map(|seed| row(table.len(), seed)).collect();
    let sampling = SamplingConfig { temperature: 1.0, top_k: 50, ..SamplingConfig::greedy() };
    for (name, grammar) in grammars_to_measure() {
        let compiled = grammars.compile(&grammar).unwrap();
        let with_end = |tokens_max: usize, steps_max: usize| {
            let mut times = Vec::new();
            for seed in 0..12 {
                let config = GenerationConfig {
                    sampling: SamplingConfig { seed, ..sampling.clone() },
                    stops: Vec::new(),
                    tokens_max,
                };
                let begun = Generation::new(Arc::clone(table), config, &[], Some(compiled.start()));
                let Ok(mut generation) = begun else { continue };
                for step in 0..steps_max {
                    let start = Instant::now();
                    let Ok(made) = generation.next(&rows[step % rows.len()]) else { break };
                    times.push(start.elapsed().as_secs_f64() * 1e6);
                    if made.is_over.is_some() {
                        break;
                    }
                }
            }
            times
        };
        let mut plain = Vec::new();
        for seed in 0..12 {
            let mut constraint = compiled.start();
            let mut sampler = Sampler::new(SamplingConfig { seed, ..sampling.clone() }, &[]).unwrap();
            for step in 0..200 {
                let start = Instant::now();
                let mask = constraint.mask().unwrap();
                let token = sampler.choose(&rows[step % rows.len()], Some(&mask)).unwrap().chosen.token;
                if table.is_end(token) {
                    break;
                }
                constraint.accept(token).unwrap();
                sampler.record(token);
                let forced = constraint.forced().unwrap();
                forced.iter().for_each(|token| sampler.record(*token));
                plain.push(start.elapsed().as_secs_f64() * 1e6);
                if constraint.is_finished() {
                    break;
                }
            }
        }
        let told = |times: Vec<f64>| {
            let mean = times.iter().sum::<f64>() / times.len().max(1) as f64;
            let (median, p99) = quantiles(times);
            format!("mean {mean:5.0}, median {median:5.0}, p99 {p99:6.0} us")
        };
        println!("  step, {name:20} without end: {}", told(plain));
        println!("  step, {name:20} far from it: {}", told(with_end(100_000, 200)));
        println!("  step, {name:20} within 60:   {}", told(with_end(60, 60)));
    }
}

fn grammars_to_measure() -> Vec<(&'static str, Grammar)> {
    let invoice = json!({
        "type": "object",
        "properties": {
            "company": {"type": "string", "maxLength": 80},
            "date": {"type": "string", "format": "date"},
            "total": {"type": "number", "minimum": 0},
            "currency": {"enum": ["EUR", "USD", "GBP", "CHF"]},
            "lines": {"type": "array", "maxItems": 50, "items": {
                "type": "object",
                "properties": {"text": {"type": "string"}, "amount": {"type": "number"}, "count": {"type": "integer"}},
                "required": ["text", "amount"], "additionalProperties": false
            }}
        },
        "required": ["company", "date", "total"], "additionalProperties": false
    });
    let schema = |schema: Value| Grammar::JsonSchema { schema, layout: JsonLayout::Spaced };
    let labels = (0..150).map(|index| format!("intent_{index}_of_many")).collect();
    vec![
        ("schema, invoice", schema(invoice)),
        ("schema, any object", schema(json!({"type": "object"}))),
        ("choice of 150", Grammar::Choice(labels)),
        ("regex", Grammar::Regex("[A-Z][a-z]+(, [A-Z][a-z]+){0,9}[.]".to_owned())),
    ]
}

fn quantiles(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    (at(0.5), at(0.99))
}

fn splitmix(bits: u64) -> u64 {
    let mixed = (bits.wrapping_add(0x9E37_79B9_7F4A_7C15) ^ (bits >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ (mixed >> 31)
}

/// Returns logits shaped like a model's: most around zero, a few far above.
fn row(length: usize, seed: u64) -> Vec<f32> {
    let unit = |bits: u64| (splitmix(bits) >> 40) as f32 / (1u64 << 24) as f32;
    let logit = |index: u64| {
        let sum: f32 = (0..6).map(|part| unit(seed << 40 | part << 32 | index)).sum();
        (sum - 3.0) * 3.0 + if splitmix(index ^ seed << 20).is_multiple_of(5_000) { 12.0 } else { 0.0 }
    };
    (0..length as u64).map(logit).collect()
}

fn table(name: &str, size: usize) -> TokenTable {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    let path = std::env::var_os("BANTAM_SHARED_DATA")
        .map_or_else(beside, PathBuf::from)
        .join("tokenizers")
        .join(name);
    let mut words: Vec<Vec<u8>> = vec![Vec::new(); size];
    match std::fs::read(&path) {
        Err(_) => {
            println!("{} does not exist: using random words", path.display());
            for (index, word) in words.iter_mut().enumerate() {
                *word = match u8::try_from(index) {
                    Ok(byte) => vec![byte],
                    Err(_) => (0..2 + index % 7)
                        .map(|letter| b'a' + (splitmix((index * 16 + letter) as u64) % 26) as u8)
                        .collect(),
                };
            }
        }
        Ok(bytes) => {
            let json: Value = serde_json::from_slice(&bytes).unwrap();
            let vocabulary = json.pointer("/model/vocab").unwrap_or(&json).as_object().unwrap();
            for (text, id) in vocabulary {
                words[id.as_u64().unwrap() as usize] = text.chars().filter_map(byte_of).collect();
            }
        }
    }
    let end = size as u32 - 1;
    TokenTable::new(words, &[], &[end], Forcing::LongestMatch).unwrap()
}

/// Returns the byte that a character stands for in byte-level BPE vocabularies: printable bytes stand for themselves,
/// the others are shifted to 256 and above, in order.
fn byte_of(character: char) -> Option<u8> {
    let is_printable = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let code = u32::from(character);
    match u8::try_from(code) {
        Ok(byte) if is_printable(byte) => Some(byte),
        _ => (0..=255u8).filter(|byte| !is_printable(*byte)).nth(code.checked_sub(256)? as usize),
    }
}
