//! The thread that runs the model, and the callers' handle to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::answers::{Generation, PendingScores};
use super::core::Core;
use super::model::{ModelShape, StepModel};
use super::options::SchedulerOptions;
use super::reply::{ReplyReceiver, WakeSignal, reply_channel};
use super::request::{Generate, RequestBase, Score, ScorePath, SubmitError};
use super::scoring::Scoring;
use super::sequence::{Sequence, Work, panic_message};
use super::statistics::SchedulerStatistics;
use crate::prefix::{PAGE_TOKENS, PagePool, pages_for};

/// Longest sleep of the thread while there are requests, as a safety net for missed wake-ups.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// A handle to a model that batches requests of many callers. Clones are cheap and refer to the same model.
///
/// Only the methods whose names say so block, so all others may be called from async code. When the last handle is
/// dropped, the thread finishes the remaining requests and ends.
pub struct Scheduler<A>(Arc<Owner<A>>);

struct Owner<A>(Arc<Shared<A>>);

impl<A> Drop for Owner<A> {
    fn drop(&mut self) {
        self.0.close(ShutDown { refuses_waiting: false, by: None });
    }
}

/// How to shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutDown {
    /// Whether requests that have not started fail instead of being finished.
    pub refuses_waiting: bool,
    /// When all remaining requests fail.
    pub by: Option<Instant>,
}

struct Shared<A> {
    inbox: Mutex<Inbox<A>>,
    ended: Condvar,
    signal: Arc<WakeSignal>,
    shape: ModelShape,
    pool: PagePool,
    options: SchedulerOptions,
}

struct Inbox<A> {
    arrivals: Vec<Sequence<A>>,
    next_id: u64,
    closing: Option<ShutDown>,
    has_ended: bool,
    failure: Option<String>,
    statistics: SchedulerStatistics,
}

impl<A> Clone for Scheduler<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A> std::fmt::Debug for Scheduler<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scheduler").field("shape", &self.0.0.shape).finish_non_exhaustive()
    }
}

impl<A: Send + Sync + 'static> Scheduler<A> {
    /// Starts a thread that runs a model. Fails if the system cannot create a thread.
    pub fn start<M: StepModel<Adapter = A>>(model: M, options: SchedulerOptions) -> std::io::Result<Self> {
        let options = options.clamped();
        let inbox = Inbox {
            arrivals: Vec::new(),
            next_id: 0,
            closing: None,
            has_ended: false,
            failure: None,
            statistics: SchedulerStatistics::default(),
        };
        let core = Core::new(model, options.clone());
        let shared = Arc::new(Shared {
            inbox: Mutex::new(inbox),
            ended: Condvar::new(),
            signal: Arc::default(),
            shape: core.state.shape,
            pool: core.state.pool.clone(),
            options,
        });
        let worker = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("bantam-scheduler".to_owned())
            .spawn(move || worker.run_thread(core))?;
        Ok(Self(Arc::new(Owner(shared))))
    }

    /// Returns the model's limits.
    pub fn shape(&self) -> ModelShape {
        self.0.0.shape
    }

    /// Returns the number of KV cache pages that may be used; at most [`ModelShape::pages`].
    pub fn usable_pages(&self) -> usize {
        self.0.0.pool.usable()
    }

    /// Lets `pages` pages of the KV cache be used, at most [`ModelShape::pages`]. There are never fewer than before.
    pub fn grow(&self, pages: usize) {
        let shared = &self.0.0;
        shared.pool.grow(pages.min(shared.shape.pages));
        shared.signal.notify();
    }

    /// Submits a generation.
    pub fn generate(&self, request: Generate<A>) -> Result<Generation, SubmitError> {
        let Generate { asked, tokens_max, chooser } = request;
        let shared = &self.0.0;
        if tokens_max == 0 {
            return Err(SubmitError::Nothing { missing: "tokens_max" });
        }
        shared.check(&asked, tokens_max, pages_for(asked.prompt.len().saturating_add(tokens_max)))?;
        shared.submit(asked, Work::Generate { chooser, tokens_max }).map(Generation)
    }

    /// Submits a request for scores.
    pub fn score(&self, request: Score<A>) -> Result<PendingScores, SubmitError> {
        let Score { asked, paths } = request;
        let shared = &self.0.0;
        shared.check_paths(&asked, &paths)?;
        shared.submit(asked, Work::Score(Scoring::new(paths))).map(PendingScores)
    }

    /// Returns the statistics as of the last step.
    pub fn statistics(&self) -> SchedulerStatistics {
        let inbox = self.0.0.inbox.lock();
        SchedulerStatistics { waiting: inbox.waiting(), ..inbox.statistics }
    }

    /// Returns the panic message of the scheduler's thread, if it panicked. All requests fail then.
    pub fn failure(&self) -> Option<String> {
        self.0.0.inbox.lock().failure.clone()
    }

    /// Accepts no more requests and shuts down. If called again, the stricter settings apply.
    pub fn shut_down(&self, how: ShutDown) {
        self.0.0.close(how);
    }

    /// Blocks until the thread has ended, which happens after [`Scheduler::shut_down`].
    pub fn wait_ended_blocking(&self) {
        let shared = &self.0.0;
        let mut inbox = shared.inbox.lock();
        while !inbox.has_ended {
            shared.ended.wait(&mut inbox);
        }
    }
}

impl<A> Inbox<A> {
    fn waiting(&self) -> usize {
        self.statistics.waiting + self.arrivals.len()
    }

    /// Returns the number of waiting requests, including preempted ones: those with slow readers must not pile up
    /// either.
    fn all_waiting(&self) -> usize {
        self.waiting() + self.statistics.preempted
    }
}

impl<A> Shared<A> {
    fn close(&self, how: ShutDown) {
        let mut inbox = self.inbox.lock();
        let before = inbox.closing.unwrap_or(how);
        inbox.closing = Some(ShutDown {
            refuses_waiting: before.refuses_waiting || how.refuses_waiting,
            by: before.by.into_iter().chain(how.by).min(),
        });
        drop(inbox);
        self.signal.notify();
    }

    /// Refuses requests that could never run.
    fn check(&self, asked: &RequestBase<A>, more: usize, needed: usize) -> Result<(), SubmitError> {
        let ModelShape { vocabulary, context, .. } = self.shape;
        let pages = self.pool.usable();
        let prompt = asked.prompt.len();
        if prompt == 0 {
            return Err(SubmitError::Nothing { missing: "prompt" });
        }
        if prompt.saturating_add(more) > context {
            return Err(SubmitError::TooLong { prompt, more, context });
        }
        if needed > pages {
            return Err(SubmitError::TooManyPages { needed, pages });
        }
        check_tokens(&asked.prompt, vocabulary)
    }

    fn check_paths(&self, asked: &RequestBase<A>, paths: &[ScorePath]) -> Result<(), SubmitError> {
        if paths.is_empty() {
            return Err(SubmitError::Nothing { missing: "paths" });
        }
        let limit = self.options.step_tokens;
        for (path, tokens) in paths.iter().map(|path| path.tokens.len()).enumerate() {
            if tokens > limit {
                return Err(SubmitError::PathTooLong { path, tokens, limit });
            }
        }
        let (prompt, longest) =
            (asked.prompt.len(), paths.iter().map(|path| path.tokens.len()).max().unwrap_or(0));
        // A branch shares the whole pages of the prompt and has its own pages from the partial one on.
        let branch = if longest == 0 { 0 } else { pages_for(prompt % PAGE_TOKENS + longest) };
        self.check(asked, longest, pages_for(prompt) + branch)?;
        let vocabulary = self.shape.vocabulary;
        paths.iter().try_for_each(|path| {
            check_tokens(&path.tokens, vocabulary).and_then(|()| check_tokens(&path.next, vocabulary))
        })
    }

    fn submit(&self, asked: RequestBase<A>, work: Work) -> Result<ReplyReceiver, SubmitError> {
        let submitted = (self.options.clock)();
        let mut inbox = self.inbox.lock();
        if inbox.failure.is_some() {
            return Err(SubmitError::Stopped);
        }
        if inbox.closing.is_some() {
            return Err(SubmitError::ShuttingDown);
        }
        let (waiting, limit) = (inbox.all_waiting(), self.options.waiting_max);
        if waiting >= limit {
            return Err(SubmitError::QueueFull { waiting, limit });
        }
        let (replies, receiver) = reply_channel(Arc::clone(&self.signal), self.options.unread_max);
        let id = inbox.next_id;
        inbox.next_id += 1;
        inbox.arrivals.push(Sequence::new(id, asked, work, replies, submitted));
        drop(inbox);
        self.signal.notify();
        Ok(receiver)
    }
}

impl<A: Send + Sync + 'static> Shared<A> {
    /// Runs a model until shutdown, and marks the scheduler as ended even if it panics.
    fn run_thread<M: StepModel<Adapter = A>>(&self, core: Core<M>) {
        // Requests dropped by a panic report to their callers that there will be no answer.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.run_loop(core)));
        let mut inbox = self.inbox.lock();
        if let Err(payload) = outcome {
            inbox.failure = Some(panic_message(payload.as_ref()));
        }
        inbox.closing.get_or_insert(ShutDown { refuses_waiting: true, by: None });
        inbox.has_ended = true;
        let left = std::mem::take(&mut inbox.arrivals);
        drop(inbox);
        drop(left);
        self.ended.notify_all();
    }

    fn run_loop<M: StepModel<Adapter = A>>(&self, mut core: Core<M>) {
        loop {
            let mut inbox = self.inbox.lock();
            let (arrivals, closing) = (std::mem::take(&mut inbox.arrivals), inbox.closing);
            inbox.statistics.waiting += arrivals.len();
            drop(inbox);
            arrivals.into_iter().for_each(|sequence| core.state.accept(sequence));
            let now = (self.options.clock)();
            if let Some(ShutDown { refuses_waiting, by }) = closing {
                let is_time = by.is_some_and(|by| by <= now);
                if refuses_waiting || is_time {
                    core.state.refuse(is_time);
                }
            }
            let items = core.plan();
            self.inbox.lock().statistics = core.state.statistics();
            core.run(&items);
            let is_empty = core.state.is_empty();
            let mut inbox = self.inbox.lock();
            inbox.statistics = core.state.statistics();
            if closing.is_some() && is_empty && inbox.arrivals.is_empty() {
                return;
            }
            drop(inbox);
            if items.is_empty() {
                let wake_at = (!is_empty).then_some(now + SLEEP_MAX);
                let by = closing.and_then(|closing| closing.by);
                let deadline = core.state.next_deadline();
                self.signal.wait(deadline.into_iter().chain(wake_at).chain(by).min());
            }
        }
    }
}

fn check_tokens(tokens: &[u32], vocabulary: usize) -> Result<(), SubmitError> {
    match tokens.iter().copied().find(|token| *token as usize >= vocabulary) {
        Some(token) => Err(SubmitError::UnknownToken { token, vocabulary }),
        None => Ok(()),
    }
}
