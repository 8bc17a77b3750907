//! Applications that ask a gateway, many at a time, each for the next answer when it has one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bantam_eval::{nearest_rank, wilson};
use bantam_simulate::Client;
use bantam_student::is_same_answer;
use parking_lot::Mutex;
use serde_json::json;

use crate::desk::Message;

/// An application that asks a gateway.
#[derive(Clone, Debug)]
pub struct Application {
    /// What it names as `model`.
    pub model: String,
    /// Its instructions; open-ended messages have others.
    pub instructions: String,
}

/// The instructions of open-ended work.
const OPEN_INSTRUCTIONS: &str = "You are a helpful colleague at the support desk of an online shop.";

/// What one request turned out to be.
#[derive(Clone, Debug)]
struct Answered {
    latency_ms: f64,
    answered: bool,
    correct: Option<bool>,
}

/// What a replay measured.
#[derive(Clone, Debug, Default)]
pub struct ReplayFigures {
    /// Requests at a time.
    pub concurrency: usize,
    /// Requests in all.
    pub requests: u64,
    /// Requests that got no answer.
    pub refused: u64,
    /// The median time of an answer, in milliseconds.
    pub p50_ms: f64,
    /// The 95th percentile.
    pub p95_ms: f64,
    /// Requests a second.
    pub requests_per_second: f64,
    /// Requests whose right answer is known.
    pub graded: u64,
    /// Of these, those that were answered rightly.
    pub correct: u64,
}

impl ReplayFigures {
    /// Returns the accuracy; a refused request counts as wrong.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.graded.max(1) as f64
    }

    /// Returns its 95 % interval (Wilson).
    pub fn interval(&self) -> (f64, f64) {
        wilson(self.correct, self.graded)
    }
}

/// Sends `messages` to the gateway at `address`, `concurrency` at a time, and measures as the applications see it.
/// `on_answer` hears of every answer.
///
/// # Errors
/// When the gateway cannot be reached or ends a connection.
pub async fn replay(
    address: SocketAddr,
    application: &Application,
    messages: &Arc<Vec<Message>>,
    concurrency: usize,
    on_answer: &Arc<dyn Fn() + Send + Sync>,
) -> std::io::Result<ReplayFigures> {
    let next = Arc::new(AtomicUsize::new(0));
    let outcomes = Arc::new(Mutex::new(Vec::with_capacity(messages.len())));
    let started = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..concurrency.min(messages.len()) {
        let (messages, next, outcomes) = (Arc::clone(messages), Arc::clone(&next), Arc::clone(&outcomes));
        let (application, on_answer) = (application.clone(), Arc::clone(on_answer));
        workers.spawn(async move {
            let mut client = Client::connect(address).await?;
            while let Some(message) = messages.get(next.fetch_add(1, Ordering::Relaxed)) {
                let outcome = ask(&mut client, &application, message).await?;
                outcomes.lock().push(outcome);
                on_answer();
            }
            Ok::<_, std::io::Error>(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.map_err(std::io::Error::other)??;
    }
    let elapsed = started.elapsed().as_secs_f64();
    let outcomes = std::mem::take(&mut *outcomes.lock());
    Ok(summarise(&outcomes, concurrency, elapsed))
}

async fn ask(client: &mut Client, application: &Application, message: &Message) -> std::io::Result<Answered> {
    let system = if message.truth.is_some() { &application.instructions } else { OPEN_INSTRUCTIONS };
    let body = json!({
        "model": application.model,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": message.text}],
    })
    .to_string();
    let started = Instant::now();
    let answer = client.post("/v1/chat/completions", &body).await?;
    let latency_ms = started.elapsed().as_secs_f64() * 1000.0;
    let answered = answer.status == 200;
    let said = answer.json();
    let said = said["choices"][0]["message"]["content"].as_str();
    let correct =
        message.truth.as_ref().map(|truth| answered && said.is_some_and(|said| is_same_answer(said, truth)));
    Ok(Answered { latency_ms, answered, correct })
}

fn summarise(outcomes: &[Answered], concurrency: usize, elapsed: f64) -> ReplayFigures {
    let mut latencies: Vec<f64> = outcomes.iter().map(|outcome| outcome.latency_ms).collect();
    latencies.sort_by(f64::total_cmp);
    ReplayFigures {
        concurrency,
        requests: outcomes.len() as u64,
        refused: outcomes.iter().filter(|outcome| !outcome.answered).count() as u64,
        p50_ms: nearest_rank(&latencies, 0.5).unwrap_or_default(),
        p95_ms: nearest_rank(&latencies, 0.95).unwrap_or_default(),
        requests_per_second: outcomes.len() as f64 / elapsed.max(1e-9),
        graded: outcomes.iter().filter(|outcome| outcome.correct.is_some()).count() as u64,
        correct: outcomes.iter().filter(|outcome| outcome.correct == Some(true)).count() as u64,
    }
}
