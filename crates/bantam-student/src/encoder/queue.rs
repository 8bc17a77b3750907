//! A thread that computes embeddings for all callers that wait.
//!
//! A server's own threads must not compute for milliseconds, and a batch costs less than its texts one by one. So
//! requests go into a bounded queue, and one thread takes what is there, at most a batch at a time. A request whose
//! caller has left is skipped. Taggers need the states of all tokens of a text; those are computed text by text,
//! because they are too large to gain from a batch.
//!
//! A panic fails only the requests of its batch: the work goes on with fresh working memory. After
//! [`PANICS_IN_A_ROW_MAX`] batches in a row that panicked, the thread ends and the queue is unavailable.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::task::{Context, Poll};

use bantam_backend::BackendFault;
use tokio::sync::oneshot;

use super::base::{BATCH_TEXTS_MAX, BaseScratch};

/// The most requests that may wait; at a millisecond each, the last waits no longer than a model would take.
const WAITING_MAX: usize = 512;
/// After this many batches in a row that panicked, the thread is not restarted.
const PANICS_IN_A_ROW_MAX: u32 = 3;

/// Why a request was not queued.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum QueueError {
    /// Too many requests wait already.
    Full,
    /// The thread could not be started, or has panicked too often.
    Unavailable,
}

impl QueueError {
    /// Returns what the gateway is told.
    pub(crate) const fn fault(self) -> BackendFault {
        match self {
            Self::Full => BackendFault::Busy,
            Self::Unavailable => BackendFault::BreakerOpen,
        }
    }
}

/// The numbers that a queued request is waiting for.
#[derive(Debug)]
pub(crate) struct PendingEmbedding(oneshot::Receiver<Vec<f32>>);

impl Future for PendingEmbedding {
    /// `None` if the request's batch panicked or the thread ended first.
    type Output = Option<Vec<f32>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(Result::ok)
    }
}

/// A request to the thread.
#[derive(Debug)]
pub(super) enum EmbedRequest {
    /// Compute the vector of a text.
    Vector(String),
    /// Compute the states of all tokens of a sequence.
    States(Vec<u32>),
}

struct Job {
    request: EmbedRequest,
    reply: oneshot::Sender<Vec<f32>>,
}

/// The queue to the thread, which ends when the queue is dropped.
#[derive(Debug)]
pub(super) struct EmbedQueue {
    jobs: SyncSender<Job>,
    is_available: Arc<AtomicBool>,
}

impl EmbedQueue {
    /// Starts the thread. `answer` returns the numbers for each request of a batch.
    pub(super) fn start(
        answer: impl Fn(&[EmbedRequest], &mut BaseScratch) -> Vec<Vec<f32>> + Send + 'static,
    ) -> Self {
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let is_available = Arc::new(AtomicBool::new(true));
        let is_working = Arc::clone(&is_available);
        let thread = std::thread::Builder::new().name("bantam-encoder".to_owned());
        let started = thread.spawn(move || {
            work(&waiting, &answer);
            // Before `waiting` is dropped, so that callers who lose their requests see why.
            is_working.store(false, Ordering::Release);
        });
        if started.is_err() {
            is_available.store(false, Ordering::Release);
        }
        Self { jobs, is_available }
    }

    /// Returns false once the thread has ended.
    pub(super) fn is_available(&self) -> bool {
        self.is_available.load(Ordering::Acquire)
    }

    /// Queues a request.
    ///
    /// # Errors
    /// [`QueueError`] if too many requests wait, or the thread has ended.
    pub(super) fn push(&self, request: EmbedRequest) -> Result<PendingEmbedding, QueueError> {
        let (reply, embedding) = oneshot::channel();
        self.jobs.try_send(Job { request, reply }).map_err(|error| match error {
            TrySendError::Full(_) => QueueError::Full,
            TrySendError::Disconnected(_) => QueueError::Unavailable,
        })?;
        Ok(PendingEmbedding(embedding))
    }
}

/// Answers batches until the queue is dropped or too many batches in a row have panicked.
fn work(waiting: &Receiver<Job>, answer: &impl Fn(&[EmbedRequest], &mut BaseScratch) -> Vec<Vec<f32>>) {
    let mut panics_in_a_row = 0;
    while panics_in_a_row < PANICS_IN_A_ROW_MAX {
        // A panic drops the batch, which tells its callers, and the working memory; nothing else is changed.
        let outcome =
            catch_unwind(AssertUnwindSafe(|| answer_batches(waiting, answer, &mut panics_in_a_row)));
        match outcome {
            Ok(()) => return,
            Err(_) => panics_in_a_row += 1,
        }
    }
}

/// Answers batches until the queue is dropped; resets `panics_in_a_row` after each.
fn answer_batches(
    waiting: &Receiver<Job>,
    answer: &impl Fn(&[EmbedRequest], &mut BaseScratch) -> Vec<Vec<f32>>,
    panics_in_a_row: &mut u32,
) {
    let mut scratch = BaseScratch::default();
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    while let Ok(first) = waiting.recv() {
        let batch = std::iter::once(first).chain(waiting.try_iter().take(BATCH_TEXTS_MAX - 1));
        for Job { request, reply } in batch.filter(|job| !job.reply.is_closed()) {
            requests.push(request);
            replies.push(reply);
        }
        if requests.is_empty() {
            continue;
        }
        let numbers = answer(&requests, &mut scratch);
        *panics_in_a_row = 0;
        requests.clear();
        for (reply, numbers) in replies.drain(..).zip(numbers) {
            // The caller may have left in the meantime.
            drop(reply.send(numbers));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a queue that answers a text with its length, and panics at the text `panic`.
    fn queue() -> EmbedQueue {
        EmbedQueue::start(|requests, _| {
            let lengths = requests.iter().map(|request| match request {
                EmbedRequest::Vector(text) if text == "panic" => panic!("a test asked for it"),
                EmbedRequest::Vector(text) => vec![text.len() as f32],
                EmbedRequest::States(ids) => vec![ids.len() as f32; 2],
            });
            lengths.collect()
        })
    }

    fn wait(embedding: PendingEmbedding) -> Option<Vec<f32>> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(embedding)
    }

    fn ask(queue: &EmbedQueue, text: &str) -> Option<Vec<f32>> {
        wait(queue.push(EmbedRequest::Vector(text.to_owned())).unwrap())
    }

    #[test]
    fn every_request_of_a_batch_gets_its_own_numbers() {
        let queue = queue();
        let texts = ["a", "bb", "ccc"].map(|text| EmbedRequest::Vector(text.to_owned()));
        let pending = texts.map(|request| queue.push(request).unwrap());
        let states = queue.push(EmbedRequest::States(vec![1, 2, 3, 4])).unwrap();
        assert_eq!(pending.map(wait), [Some(vec![1.0]), Some(vec![2.0]), Some(vec![3.0])]);
        assert_eq!(wait(states), Some(vec![4.0, 4.0]));
    }

    #[test]
    fn a_panic_fails_only_its_batch() {
        let queue = queue();
        for _ in 0..3 * PANICS_IN_A_ROW_MAX {
            assert_eq!(ask(&queue, "panic"), None);
            assert_eq!(ask(&queue, "four"), Some(vec![4.0]));
        }
        assert!(queue.is_available());
    }

    #[test]
    fn too_many_panics_in_a_row_make_the_queue_unavailable() {
        let queue = queue();
        for _ in 1..PANICS_IN_A_ROW_MAX {
            assert_eq!(ask(&queue, "panic"), None);
        }
        assert!(queue.is_available());
        assert_eq!(ask(&queue, "panic"), None);
        // The thread ends a moment after its last answer.
        let refusal = (0..10_000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            queue.push(EmbedRequest::Vector("four".to_owned())).err()
        });
        assert_eq!(refusal, Some(QueueError::Unavailable));
        assert!(!queue.is_available());
        assert_eq!(QueueError::Unavailable.fault().reason(), bantam_types::EscalationReason::Unavailable);
    }
}
