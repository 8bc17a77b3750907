//! The thread that runs the model, and the handle through which everybody talks to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::answers::{Generation, PendingScores};
use super::core::Core;
use super::mail::{Bell, Inlet, mail};
use super::model::{ModelShape, StepModel};
use super::options::SchedulerOptions;
use super::request::{Asked, Generate, Score, ScorePath, SubmitError};
use super::scoring::Scoring;
use super::sequence::{Sequence, Work, said};
use super::statistics::SchedulerStatistics;
use crate::prefix::{PAGE_TOKENS, pages_for};

/// Longest sleep while requests are there, whatever is said to wake the thread.
const NAP: Duration = Duration::from_millis(100);

/// A handle to a model that runs requests of many callers together. Clones are cheap and talk to the same model.
///
/// No method waits for the model but those that say so, so all may be called from async code. When the last handle
/// is dropped, the thread finishes what it was given and ends.
pub struct Scheduler<A>(Arc<Owner<A>>);

struct Owner<A>(Arc<Shared<A>>);

impl<A> Drop for Owner<A> {
    fn drop(&mut self) {
        self.0.close(ShutDown { refuses_waiting: false, by: None });
    }
}

/// How to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutDown {
    /// Whether requests that have not begun fail, rather than being finished too.
    pub refuses_waiting: bool,
    /// When everything that is left fails.
    pub by: Option<Instant>,
}

struct Shared<A> {
    inbox: Mutex<Inbox<A>>,
    ended: Condvar,
    bell: Arc<Bell>,
    shape: ModelShape,
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
    /// Starts a thread that runs a model. Fails where the system gives no thread.
    pub fn start<M: StepModel<Adapter = A>>(model: M, options: SchedulerOptions) -> std::io::Result<Self> {
        let options = options.sane();
        let inbox = Inbox {
            arrivals: Vec::new(),
            next_id: 0,
            closing: None,
            has_ended: false,
            failure: None,
            statistics: SchedulerStatistics::default(),
        };
        let shared = Arc::new(Shared {
            inbox: Mutex::new(inbox),
            ended: Condvar::new(),
            bell: Arc::default(),
            shape: model.shape(),
            options,
        });
        let worker = Arc::clone(&shared);
        std::thread::Builder::new().name("bantam-scheduler".to_owned()).spawn(move || worker.live(model))?;
        Ok(Self(Arc::new(Owner(shared))))
    }

    /// Returns the model's limits.
    pub fn shape(&self) -> ModelShape {
        self.0.0.shape
    }

    /// Queues a generation.
    pub fn generate(&self, request: Generate<A>) -> Result<Generation, SubmitError> {
        let Generate { asked, tokens_max, chooser } = request;
        let shared = &self.0.0;
        if tokens_max == 0 {
            return Err(SubmitError::Nothing { missing: "tokens_max" });
        }
        shared.check(&asked, tokens_max, pages_for(asked.prompt.len().saturating_add(tokens_max)))?;
        shared.submit(asked, Work::Generate { chooser, tokens_max }).map(Generation)
    }

    /// Queues a request for scores.
    pub fn score(&self, request: Score<A>) -> Result<PendingScores, SubmitError> {
        let Score { asked, paths } = request;
        let shared = &self.0.0;
        shared.check_paths(&asked, &paths)?;
        shared.submit(asked, Work::Score(Scoring::new(paths))).map(PendingScores)
    }

    /// Returns what happened until the last step.
    pub fn statistics(&self) -> SchedulerStatistics {
        let inbox = self.0.0.inbox.lock();
        SchedulerStatistics { waiting: inbox.waiting(), ..inbox.statistics }
    }

    /// Returns what the scheduler's thread said when it failed, if it did. All requests fail then.
    pub fn failure(&self) -> Option<String> {
        self.0.0.inbox.lock().failure.clone()
    }

    /// Takes no more requests and ends. Said again, the stricter of both holds.
    pub fn shut_down(&self, how: ShutDown) {
        self.0.0.close(how);
    }

    /// Blocks until the thread has ended, which it does after [`Scheduler::shut_down`].
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

    /// Returns how many requests wait, for whatever: those whose readers are too slow must not pile up either.
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
        self.bell.ring();
    }

    /// Returns why a request could never run, if it could not.
    fn check(&self, asked: &Asked<A>, more: usize, needed: usize) -> Result<(), SubmitError> {
        let ModelShape { vocabulary, context, pages } = self.shape;
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
        known(&asked.prompt, vocabulary)
    }

    fn check_paths(&self, asked: &Asked<A>, paths: &[ScorePath]) -> Result<(), SubmitError> {
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
        // A branch shares the whole pages of the prompt, and has own ones from the last, partial one on.
        let branch = if longest == 0 { 0 } else { pages_for(prompt % PAGE_TOKENS + longest) };
        self.check(asked, longest, pages_for(prompt) + branch)?;
        let vocabulary = self.shape.vocabulary;
        paths
            .iter()
            .try_for_each(|path| known(&path.tokens, vocabulary).and_then(|()| known(&path.next, vocabulary)))
    }

    fn submit(&self, asked: Asked<A>, work: Work) -> Result<Inlet, SubmitError> {
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
        let (outbox, inlet) = mail(Arc::clone(&self.bell), self.options.unread_max);
        let id = inbox.next_id;
        inbox.next_id += 1;
        inbox.arrivals.push(Sequence::new(id, asked, work, outbox, submitted));
        drop(inbox);
        self.bell.ring();
        Ok(inlet)
    }
}

impl<A: Send + Sync + 'static> Shared<A> {
    /// Runs a model until the end, and says so, however it comes.
    fn live<M: StepModel<Adapter = A>>(&self, model: M) {
        // What is dropped on the way out tells its callers that there will be no answer.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.work(Core::new(model, self.options.clone()))));
        let mut inbox = self.inbox.lock();
        if let Err(payload) = outcome {
            inbox.failure = Some(said(payload.as_ref()));
        }
        inbox.closing.get_or_insert(ShutDown { refuses_waiting: true, by: None });
        inbox.has_ended = true;
        let left = std::mem::take(&mut inbox.arrivals);
        drop(inbox);
        drop(left);
        self.ended.notify_all();
    }

    fn work<M: StepModel<Adapter = A>>(&self, mut core: Core<M>) {
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
                let nap = (!is_empty).then_some(now + NAP);
                let by = closing.and_then(|closing| closing.by);
                let deadline = core.state.next_deadline();
                self.bell.wait(deadline.into_iter().chain(nap).chain(by).min());
            }
        }
    }
}

fn known(tokens: &[u32], vocabulary: usize) -> Result<(), SubmitError> {
    match tokens.iter().copied().find(|token| *token as usize >= vocabulary) {
        Some(token) => Err(SubmitError::UnknownToken { token, vocabulary }),
        None => Ok(()),
    }
}
