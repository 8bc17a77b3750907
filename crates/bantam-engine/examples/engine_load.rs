//! Puts a mixed load on a scheduler and prints how long callers wait.
//!
//! `cargo run --release -p bantam-engine --example engine_load -- MODEL [--adapters FILE,FILE..] [--callers N]
//! [--seconds N] [--threads N] [--busy N]`
//!
//! There are two kinds of callers. Classifiers send a prompt of 300 tokens shared by all prompts of a task plus 60 of
//! its own, and request the scores of six labels. Talkers send 100 tokens and generate 32. Every caller sends its
//! next request as soon as it has an answer. `--busy N` also starts N processes that spin.
#![allow(clippy::print_stdout, reason = "an example prints to the terminal")]

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_engine::{
    Adapter, Choice, Decoder, DecoderModel, DecoderOptions, DecoderPrecision, Generate, GenerationEvent,
    LoadedAdapter, PrefixScope, RequestBase, Scheduler, SchedulerOptions, SchedulerStatistics, Score,
    ScorePath,
};
use bantam_kernels::Pool;

type Failure = Box<dyn Error + Send + Sync>;

/// Tokens that the prompts of a task share, and tokens of each prompt's own.
const SHARED: usize = 300;
const OWN: usize = 60;
/// Tokens of a talker's prompt and of its answer.
const TALK: usize = 100;
const ANSWER: usize = 32;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("give a model file")?;
    if model == "--spin" {
        loop {
            std::hint::spin_loop();
        }
    }
    let mut settings: HashMap<String, String> = HashMap::new();
    while let Some(name) = arguments.next() {
        settings.insert(name.clone(), arguments.next().ok_or(format!("{name} needs a value"))?);
    }
    let number = |name: &str, otherwise: usize| -> Result<usize, Failure> {
        settings.get(name).map_or(Ok(otherwise), |text| Ok(text.parse()?))
    };
    let (callers, seconds) = (number("--callers", 8)?, number("--seconds", 10)?);
    let options = DecoderOptions { precision: DecoderPrecision::Quantised, cache: None };
    let pool = Arc::new(Pool::new(number("--threads", 2)?));
    let decoder = Arc::new(Decoder::open(&model, &options, &pool)?);
    let names = settings.get("--adapters").map_or(Vec::new(), |names| names.split(',').collect());
    let adapters: Vec<Option<Arc<LoadedAdapter<Adapter>>>> = if names.is_empty() {
        vec![None]
    } else {
        let load = |name: &&str| -> Result<_, Failure> {
            Ok(Some(Arc::new(LoadedAdapter::new(Adapter::open(name, &decoder)?, 0))))
        };
        names.iter().map(load).collect::<Result<_, _>>()?
    };
    let vocabulary = decoder.config().vocabulary;
    // A model with a short context gets proportionally shorter prompts.
    let positions = decoder.config().positions;
    let part = |tokens: usize| if positions < 512 { tokens * positions / 512 } else { tokens };
    let [shared, own, talk, answer] = [SHARED, OWN, TALK, ANSWER].map(part);
    let model = DecoderModel::new(decoder, pool, 2048);
    let scheduler = Scheduler::start(model, SchedulerOptions::new(Arc::new(Instant::now)))?;
    let busy = (0..number("--busy", 0)?).map(|_| spin()).collect::<Result<Vec<_>, _>>()?;
    let begin = Instant::now();
    let until = begin + Duration::from_secs(seconds as u64);
    let load = Load { scheduler: scheduler.clone(), adapters, vocabulary, shared, own, talk, answer, until };
    let load = &load;
    let all: Vec<Result<Times, Failure>> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..callers).map(|caller| scope.spawn(move || load.call(caller))).collect();
        let join = |caller: std::thread::ScopedJoinHandle<'_, Result<Times, Failure>>| {
            caller.join().map_err(|_| "a caller panicked")?
        };
        callers.into_iter().map(join).collect()
    });
    for mut process in busy {
        process.kill()?;
        process.wait()?;
    }
    let mut times = Times::default();
    for one in all {
        times.add(one?);
    }
    report(times, scheduler.statistics(), begin.elapsed().as_secs_f64());
    Ok(())
}

fn spin() -> std::io::Result<std::process::Child> {
    std::process::Command::new(std::env::current_exe()?).arg("--spin").spawn()
}

struct Load {
    scheduler: Scheduler<Adapter>,
    adapters: Vec<Option<Arc<LoadedAdapter<Adapter>>>>,
    vocabulary: usize,
    shared: usize,
    own: usize,
    talk: usize,
    answer: usize,
    until: Instant,
}

/// Waiting times of callers, in milliseconds.
#[derive(Default)]
struct Times {
    scores: Vec<f64>,
    first_tokens: Vec<f64>,
    next_tokens: Vec<f64>,
    answers: Vec<f64>,
}

impl Times {
    fn add(&mut self, other: Self) {
        self.scores.extend(other.scores);
        self.first_tokens.extend(other.first_tokens);
        self.next_tokens.extend(other.next_tokens);
        self.answers.extend(other.answers);
    }
}

impl Load {
    /// Sends requests until time is up: even callers classify, odd callers talk.
    fn call(&self, caller: usize) -> Result<Times, Failure> {
        let mut times = Times::default();
        let mut random = Random(caller as u64 * 7919 + 1);
        while Instant::now() < self.until {
            let task = random.below(self.adapters.len());
            if caller.is_multiple_of(2) {
                self.classify(task, &mut random, &mut times)?;
            } else {
                self.talk(task, &mut random, &mut times)?;
            }
        }
        Ok(times)
    }

    fn asked(&self, task: usize, prompt: Vec<u32>) -> RequestBase<Adapter> {
        let adapter = self.adapters[task].clone();
        RequestBase {
            task: Arc::from(format!("task {task}")),
            adapter,
            prompt,
            deadline: None,
            scope: PrefixScope::default(),
        }
    }

    fn classify(&self, task: usize, random: &mut Random, times: &mut Times) -> Result<(), Failure> {
        let mut of_task = Random(task as u64 + 99);
        let mut prompt = of_task.tokens(self.shared, self.vocabulary);
        let labels: Vec<Vec<u32>> = (0..6).map(|_| of_task.tokens(2, self.vocabulary)).collect();
        prompt.extend(random.tokens(self.own, self.vocabulary));
        let root = ScorePath { tokens: vec![], next: labels.iter().map(|label| label[0]).collect() };
        let inner = labels.iter().map(|label| ScorePath { tokens: vec![label[0]], next: vec![label[1]] });
        let paths = std::iter::once(root).chain(inner).collect();
        let scores =
            self.scheduler.score(Score { asked: self.asked(task, prompt), paths })?.wait_blocking()?;
        times.scores.push(scores.timings.total.as_secs_f64() * 1e3);
        Ok(())
    }

    fn talk(&self, task: usize, random: &mut Random, times: &mut Times) -> Result<(), Failure> {
        let prompt = random.tokens(self.talk, self.vocabulary);
        let chooser = Box::new(|logits: &mut [f32]| {
            let best =
                logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(token, _)| token);
            Ok(Choice { tokens: vec![best as u32], text: String::new(), is_over: false })
        });
        let request = Generate { asked: self.asked(task, prompt), tokens_max: self.answer, chooser };
        let mut generation = self.scheduler.generate(request)?;
        let mut before: Option<Duration> = None;
        while let Some(event) = generation.next_blocking() {
            match event? {
                GenerationEvent::Chosen(chosen) => {
                    let to = if before.is_some() { &mut times.next_tokens } else { &mut times.first_tokens };
                    to.push((chosen.at - before.unwrap_or_default()).as_secs_f64() * 1e3);
                    before = Some(chosen.at);
                }
                GenerationEvent::Over(report) => times.answers.push(report.timings.total.as_secs_f64() * 1e3),
            }
        }
        Ok(())
    }
}

fn report(times: Times, statistics: SchedulerStatistics, seconds: f64) {
    let Times { scores, first_tokens, next_tokens, answers } = times;
    let counts = (scores.len(), answers.len());
    let waited =
        [("scores", scores), ("first token", first_tokens), ("next token", next_tokens), ("answer", answers)];
    for (name, mut milliseconds) in waited {
        milliseconds.sort_by(f64::total_cmp);
        let at =
            |share: f64| milliseconds.get((milliseconds.len().max(1) - 1) * (share * 100.0) as usize / 100);
        let (p50, p99) = (at(0.5).copied().unwrap_or(0.0), at(0.99).copied().unwrap_or(0.0));
        println!("{name:>12}: p50 {p50:8.1} ms, p99 {p99:8.1} ms, ratio {:.2}", p99 / p50);
    }
    let SchedulerStatistics { steps, tokens_computed, tokens_generated, prefix, preemptions, .. } =
        statistics;
    println!(
        "{:.1} classified/s, {:.1} answers/s; {:.0} tokens/s computed, {:.0}/s generated, {:.0}/s including cached; \
         {:.1} tokens a step; {:.0} % of prompts cached, {} pages cached, {} evicted, {preemptions} preempted",
        counts.0 as f64 / seconds,
        counts.1 as f64 / seconds,
        tokens_computed as f64 / seconds,
        tokens_generated as f64 / seconds,
        (tokens_computed + prefix.tokens_reused) as f64 / seconds,
        tokens_computed as f64 / steps as f64,
        100.0 * prefix.tokens_reused as f64 / prefix.tokens_asked as f64,
        prefix.pages,
        prefix.evictions,
    );
}

struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }

    fn tokens(&mut self, count: usize, vocabulary: usize) -> Vec<u32> {
        (0..count).map(|_| self.below(vocabulary) as u32).collect()
    }
}
