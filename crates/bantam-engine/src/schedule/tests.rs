//! Tests of the scheduler with a scripted model. Its logits are a hash of the adapter and all tokens so far, and its
//! pages store these hashes, so a page that is reused with the wrong history fails a test at once.

mod interleaving;
mod limits;
mod threads;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::adapters::LoadedAdapter;
use super::core::Core;
use super::model::{ModelShape, StepModel, StepSpan};
use super::options::SchedulerOptions;
use super::reply::{Reply, ReplyReceiver, WakeSignal, reply_channel};
use super::request::*;
use super::scoring::Scoring;
use super::sequence::{Sequence, Work};
use crate::prefix::{PAGE_TOKENS, PrefixScope, pages_for};

pub(super) const VOCABULARY: usize = 31;
/// The token on which the model returns an error.
pub(super) const ERROR: u32 = 29;
/// The token on which the model panics.
pub(super) const PANIC: u32 = 30;

/// Returns the hash of a history that ends with `token`, from the hash of what precedes it.
fn next_hash(before: u64, token: u32) -> u64 {
    let mixed =
        (before ^ u64::from(token).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 29)
}

fn first_hash(adapter: Option<&u64>) -> u64 {
    adapter.map_or(1, |adapter| next_hash(2, *adapter as u32))
}

fn row(hash: u64) -> Vec<f32> {
    (0..VOCABULARY as u32).map(|token| (next_hash(hash, token) >> 40) as f32 / 4e6).collect()
}

/// Returns the logits after these tokens, computed directly and without pages.
pub(super) fn row_after(adapter: Option<u64>, tokens: &[u32]) -> Vec<f32> {
    row(tokens.iter().fold(first_hash(adapter.as_ref()), |hash, token| next_hash(hash, *token)))
}

#[derive(Debug, thiserror::Error)]
#[error("the scripted error token")]
pub(super) struct ScriptedError;

/// A span of a step as the model saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) tokens: usize,
    pub(super) start: usize,
}

#[derive(Default)]
pub(super) struct Script {
    pub(super) steps: Mutex<Vec<Vec<Seen>>>,
    pub(super) copies_fail: AtomicBool,
}

pub(super) struct ScriptedModel {
    shape: ModelShape,
    /// For each page, the hash after each of its tokens.
    pages: Vec<[u64; PAGE_TOKENS]>,
    script: Arc<Script>,
    logits: Vec<f32>,
}

impl ScriptedModel {
    pub(super) fn new(pages: usize) -> (Self, Arc<Script>) {
        let script = Arc::new(Script::default());
        let shape = ModelShape { vocabulary: VOCABULARY, context: 4096, pages };
        let model = Self {
            shape,
            pages: vec![[0; PAGE_TOKENS]; pages],
            script: Arc::clone(&script),
            logits: Vec::new(),
        };
        (model, script)
    }
}

impl StepModel for ScriptedModel {
    type Adapter = u64;
    type Error = ScriptedError;

    fn shape(&self) -> ModelShape {
        self.shape
    }

    fn forward(&mut self, spans: &[StepSpan<'_, u64>]) -> Result<&mut [f32], ScriptedError> {
        let seen = spans.iter().map(|span| Seen { tokens: span.tokens.len(), start: span.start });
        self.script.steps.lock().unwrap().push(seen.collect());
        self.logits.clear();
        let mut written = HashSet::new();
        for span in spans {
            assert_eq!(span.pages.len(), pages_for(span.start + span.tokens.len()).max(span.pages.len()));
            assert!(!span.tokens.contains(&PANIC), "scripted panic");
            if span.tokens.contains(&ERROR) {
                return Err(ScriptedError);
            }
            let mut hash = match span.start {
                0 => first_hash(span.adapter),
                start => {
                    self.pages[span.pages[(start - 1) / PAGE_TOKENS] as usize][(start - 1) % PAGE_TOKENS]
                }
            };
            for (index, token) in span.tokens.iter().enumerate() {
                hash = next_hash(hash, *token);
                let position = span.start + index;
                let slot = (span.pages[position / PAGE_TOKENS], position % PAGE_TOKENS);
                assert!(written.insert(slot), "two spans of a step write to the same slot");
                self.pages[slot.0 as usize][slot.1] = hash;
                if span.logits.rows(span.tokens.len()).contains(&index) {
                    self.logits.extend(row(hash));
                }
            }
        }
        Ok(&mut self.logits)
    }

    fn copy_page(&mut self, from: u32, to: u32) {
        assert!(!self.script.copies_fail.load(Ordering::Relaxed), "scripted panic in copy_page");
        self.pages[to as usize] = self.pages[from as usize];
    }
}

/// Chooses the most likely token, sometimes with two tokens that must follow it, and ends when it is token 3.
pub(super) fn pick(logits: &mut [f32]) -> Result<Choice, ChooserError> {
    let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as u32 % 29;
    let tokens =
        if best.is_multiple_of(5) { vec![best, (best + 1) % 29, (best + 7) % 29] } else { vec![best] };
    Ok(Choice { tokens, text: format!("<{best}>"), is_over: best == 3 })
}

/// Chooses the most likely token and never ends.
pub(super) fn pick_one(logits: &mut [f32]) -> Result<Choice, ChooserError> {
    let tokens = pick(logits)?.tokens[..1].to_vec();
    Ok(Choice { tokens, text: String::new(), is_over: false })
}

/// Returns what [`pick`] generates when no other request runs.
pub(super) fn generated_alone(adapter: Option<u64>, prompt: &[u32], tokens_max: usize) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    loop {
        let choice = pick(&mut row_after(adapter, &tokens)).unwrap();
        tokens.extend(choice.tokens);
        if choice.is_over || tokens.len() >= prompt.len() + tokens_max {
            tokens.truncate(prompt.len() + tokens_max);
            return tokens.split_off(prompt.len());
        }
    }
}

pub(super) fn scored_alone(adapter: Option<u64>, prompt: &[u32], path: &ScorePath) -> Vec<(u32, f32)> {
    let row = row_after(adapter, &[prompt, &path.tokens].concat());
    let total = row.iter().map(|logit| f64::from(*logit).exp()).sum::<f64>().ln();
    path.next.iter().map(|token| (*token, (f64::from(row[*token as usize]) - total) as f32)).collect()
}

pub(super) fn check_scores(found: &Scores, adapter: Option<u64>, prompt: &[u32], paths: &[ScorePath]) {
    assert_eq!(found.paths.len(), paths.len());
    for (found, path) in found.paths.iter().zip(paths) {
        let expected = scored_alone(adapter, prompt, path);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-5, "{found:?} {expected:?}");
        }
    }
}

pub(super) fn options() -> SchedulerOptions {
    // Step sizes that do not depend on the machine's speed.
    SchedulerOptions { step_time_decoding: None, ..SchedulerOptions::new(Arc::new(Instant::now)) }
}

pub(super) fn asked(task: &str, prompt: &[u32]) -> RequestBase<u64> {
    RequestBase {
        task: Arc::from(task),
        adapter: None,
        prompt: prompt.to_vec(),
        deadline: None,
        scope: PrefixScope::default(),
    }
}

pub(super) fn generation(tokens_max: usize) -> Work {
    Work::Generate { chooser: Box::new(pick), tokens_max }
}

/// A scheduler without a thread, so that tests control what happens between steps.
pub(super) struct Bench {
    pub(super) core: Core<ScriptedModel>,
    pub(super) script: Arc<Script>,
    signal: Arc<WakeSignal>,
    next_id: u64,
}

impl Bench {
    pub(super) fn new(pages: usize, options: SchedulerOptions) -> Self {
        let (model, script) = ScriptedModel::new(pages);
        Self { core: Core::new(model, options.clamped()), script, signal: Arc::default(), next_id: 0 }
    }

    pub(super) fn submit(&mut self, asked: RequestBase<u64>, work: Work) -> ReplyReceiver {
        let (replies, receiver) = reply_channel(Arc::clone(&self.signal), self.core.state.options.unread_max);
        let now = (self.core.state.options.clock)();
        self.core.state.accept(Sequence::new(self.next_id, asked, work, replies, now));
        self.next_id += 1;
        receiver
    }

    pub(super) fn score(&mut self, asked: RequestBase<u64>, paths: &[ScorePath]) -> ReplyReceiver {
        self.submit(asked, Work::Score(Scoring::new(paths.to_vec())))
    }

    /// Runs one step. Returns whether there was work.
    pub(super) fn step(&mut self) -> bool {
        let items = self.core.plan();
        self.core.run(&items);
        !items.is_empty()
    }

    /// Runs steps until no work is left.
    pub(super) fn run(&mut self) {
        for _ in 0..10_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the scheduler never becomes idle");
    }

    /// Panics unless all pages are free after emptying the cache.
    pub(super) fn check_pages(&mut self) {
        while self.core.state.cache.evict() {}
        assert_eq!(self.core.state.pool.free(), self.core.state.shape.pages);
    }

    /// Returns the number of tokens in each step.
    pub(super) fn step_tokens(&self) -> Vec<usize> {
        let steps = self.script.steps.lock().unwrap();
        steps.iter().map(|step| step.iter().map(|seen| seen.tokens).sum()).collect()
    }
}

/// Returns the tokens and the report of a finished generation.
pub(super) fn read(mut receiver: ReplyReceiver) -> Result<(Vec<u32>, GenerationReport), RequestError> {
    let mut tokens = Vec::new();
    loop {
        match receiver.wait() {
            Some(Reply::Chosen(chosen)) => tokens.extend(chosen.tokens),
            Some(Reply::Generated(report)) => return Ok((tokens, report)),
            Some(Reply::Failed(error)) => return Err(error),
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn read_scores(mut receiver: ReplyReceiver) -> Scores {
    match receiver.wait() {
        Some(Reply::Scored(scores)) => scores,
        other => panic!("{other:?}"),
    }
}

pub(super) fn path(tokens: &[u32], next: &[u32]) -> ScorePath {
    ScorePath { tokens: tokens.to_vec(), next: next.to_vec() }
}

pub(super) fn adapter(value: u64) -> Arc<LoadedAdapter<u64>> {
    Arc::new(LoadedAdapter::new(value, 8))
}
