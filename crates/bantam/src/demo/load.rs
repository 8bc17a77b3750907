//! The load: many applications at a time, each asking for the next answer when it has one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bantam_eval::{nearest_rank, wilson};
use bantam_simulate::Client;
use bantam_student::is_same_answer;
use indicatif::ProgressBar;
use parking_lot::Mutex;
use serde_json::json;

use super::desk::Turn;

/// How the applications ask.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    /// What they name as `model`.
    pub(crate) model: String,
    /// Their instructions for labelling.
    pub(crate) instructions: String,
}

/// The instructions of open-ended work.
const OPEN_INSTRUCTIONS: &str = "You are a helpful colleague at the support desk of an online shop.";

/// What one request turned out to be.
#[derive(Clone, Debug)]
struct Outcome {
    latency_ms: f64,
    answered: bool,
    correct: Option<bool>,
}

/// What a replay measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) concurrency: usize,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) graded: u64,
    pub(crate) correct: u64,
}

impl Measured {
    /// Returns the accuracy; a refused request counts as wrong.
    pub(crate) fn accuracy(&self) -> f64 {
        self.correct as f64 / self.graded.max(1) as f64
    }

    /// Returns its 95 % interval (Wilson).
    pub(crate) fn interval(&self) -> (f64, f64) {
        wilson(self.correct, self.graded)
    }
}

/// Replays `turns` at `concurrency` and measures as the applications see it.
pub(crate) async fn replay(
    address: SocketAddr,
    asking: &Asking,
    turns: &Arc<Vec<Turn>>,
    concurrency: usize,
    progress: &ProgressBar,
) -> std::io::Result<Measured> {
    progress.set_length(turns.len() as u64);
    progress.set_position(0);
    let next = Arc::new(AtomicUsize::new(0));
    let outcomes = Arc::new(Mutex::new(Vec::with_capacity(turns.len())));
    let started = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..concurrency.min(turns.len()) {
        let (turns, next, outcomes) = (Arc::clone(turns), Arc::clone(&next), Arc::clone(&outcomes));
        let (asking, progress) = (asking.clone(), progress.clone());
        workers.spawn(async move {
            let mut client = Client::connect(address).await?;
            while let Some(turn) = turns.get(next.fetch_add(1, Ordering::Relaxed)) {
                let outcome = ask(&mut client, &asking, turn).await?;
                outcomes.lock().push(outcome);
                progress.inc(1);
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

async fn ask(client: &mut Client, asking: &Asking, turn: &Turn) -> std::io::Result<Outcome> {
    let system = if turn.truth.is_some() { &asking.instructions } else { OPEN_INSTRUCTIONS };
    let body = json!({
        "model": asking.model,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": turn.text}],
    })
    .to_string();
    let started = Instant::now();
    let answer = client.post("/v1/chat/completions", &body).await?;
    let latency_ms = started.elapsed().as_secs_f64() * 1000.0;
    let answered = answer.status == 200;
    let said = answer.json();
    let said = said["choices"][0]["message"]["content"].as_str();
    let correct =
        turn.truth.as_ref().map(|truth| answered && said.is_some_and(|said| is_same_answer(said, truth)));
    Ok(Outcome { latency_ms, answered, correct })
}

fn summarise(outcomes: &[Outcome], concurrency: usize, elapsed: f64) -> Measured {
    let mut latencies: Vec<f64> = outcomes.iter().map(|outcome| outcome.latency_ms).collect();
    latencies.sort_by(f64::total_cmp);
    Measured {
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
