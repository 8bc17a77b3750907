//! One thread that embeds for everybody who waits.
//!
//! A server's own threads must not compute for milliseconds, and a batch costs less than its texts alone: so
//! requests put their text into a bounded queue, and one thread takes what is there, at most a batch, over and over.
//! A text whose caller has left is not embedded. Taggers want the states of all tokens of their text, each text's alone:
//! they are too many to be worth a batch.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::base::{BATCH_TEXTS_MAX, BaseScratch, Core};

/// Texts that may wait; at a millisecond each, the last waits no longer than a model would take.
const WAITING_MAX: usize = 512;

/// Too many texts wait already.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// Numbers to come.
#[derive(Debug)]
pub(crate) struct Embedding(oneshot::Receiver<Vec<f32>>);

impl Future for Embedding {
    /// None when the thread ended before it came to this text.
    type Output = Option<Vec<f32>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(Result::ok)
    }
}

/// The way to the thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct EmbedQueue {
    jobs: SyncSender<Job>,
}

/// What somebody waits for.
#[derive(Debug)]
pub(super) enum Wanted {
    /// The vector of a text.
    Vector(String),
    /// The states of all tokens of a sequence.
    States(Vec<u32>),
}

struct Job {
    wanted: Wanted,
    reply: oneshot::Sender<Vec<f32>>,
}

impl EmbedQueue {
    /// Starts the thread. Where the system gives none, every push is refused.
    pub(super) fn start(core: &Arc<Core>) -> Self {
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let core = Arc::clone(core);
        let thread = std::thread::Builder::new().name("bantam-encoder".to_owned());
        // Without the thread `waiting` is dropped, and nothing can be sent.
        drop(thread.spawn(move || work(&core, &waiting)));
        Self { jobs }
    }

    pub(super) fn push(&self, wanted: Wanted) -> Result<Embedding, QueueFull> {
        let (reply, embedding) = oneshot::channel();
        self.jobs.try_send(Job { wanted, reply }).map_err(|_| QueueFull)?;
        Ok(Embedding(embedding))
    }
}

fn work(core: &Core, waiting: &Receiver<Job>) {
    let mut scratch = BaseScratch::default();
    let mut batch: Vec<Job> = Vec::with_capacity(BATCH_TEXTS_MAX);
    while let Ok(first) = waiting.recv() {
        batch.push(first);
        batch.extend(waiting.try_iter().take(BATCH_TEXTS_MAX - 1));
        batch.retain(|job| !job.reply.is_closed());
        let texts = batch.iter().filter_map(|job| match &job.wanted {
            Wanted::Vector(text) => Some(text.as_str()),
            Wanted::States(_) => None,
        });
        let mut vectors = core.embed(texts, &mut scratch).to_vec().into_iter();
        for Job { wanted, reply } in batch.drain(..) {
            let numbers = match wanted {
                Wanted::Vector(_) => vectors.by_ref().take(core.width()).collect(),
                Wanted::States(ids) => core.states(&ids, &mut scratch).to_vec(),
            };
            // The caller may have left meanwhile.
            drop(reply.send(numbers));
        }
    }
}
