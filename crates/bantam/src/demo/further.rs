//! What the demo's further tasks share: their traffic, their story, their line in the table.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use bantam_config::{Config, Task};
use bantam_eval::{Claim, save_certificate};
use bantam_ledger::UsageRow;
use bantam_route::Certificate;
use bantam_student::normalised;
use bantam_types::{TaskName, Tier};

use super::desk::Turn;
use super::load::{Asking, Measured, replay};
use super::random::{Random, hash_text};
use super::stage::{Known, Stage};
use super::story::{Narrator, fold, usage_since};
use crate::failure::{Failure, Outcome};

/// One in so many of the replay is sent to the frontier alone.
const BASELINE_STEP: usize = 48;
const CONCURRENCY: usize = 32;

/// A task's traffic.
pub(crate) struct Traffic {
    /// What is recorded and learned from.
    pub(crate) teach: Vec<Turn>,
    /// What is replayed.
    pub(crate) replay: Vec<Turn>,
}

impl Traffic {
    /// Returns so many drawn messages; equal seeds give equal ones, and none that is taught is replayed.
    pub(crate) fn drawn(
        (teach, replay): (usize, usize),
        turn: fn(&mut Random) -> Turn,
        random: &mut Random,
    ) -> Self {
        let teach: Vec<Turn> = (0..teach).map(|_| turn(random)).collect();
        let taught: HashSet<String> = teach.iter().map(|turn| normalised(&turn.text)).collect();
        let mut unseen = Vec::with_capacity(replay);
        while unseen.len() < replay {
            let next = turn(random);
            if !taught.contains(&normalised(&next.text)) {
                unseen.push(next);
            }
        }
        Self { teach, replay: unseen }
    }

    /// Returns all messages.
    pub(crate) fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.teach.iter().chain(&self.replay)
    }
}

/// A task beside the classification.
pub(crate) struct Further<'t> {
    pub(crate) name: &'static str,
    /// What a right answer is.
    pub(crate) right: &'static str,
    /// What the application tells a model to do.
    pub(crate) instructions: &'static str,
    pub(crate) traffic: &'t Traffic,
    /// When its answers are recorded, and when it has a student.
    pub(crate) acts: [Known; 2],
}

/// What a lesson came to.
pub(crate) struct Lesson {
    /// Recorded answers that were learned from.
    pub(crate) rows: u64,
    /// Why nothing was certified, if nothing was.
    pub(crate) uncertified: Option<String>,
}

/// A task's line in the table.
pub(crate) struct TaskRow {
    pub(crate) name: &'static str,
    /// What a right answer is.
    pub(crate) right: &'static str,
    pub(crate) before: Measured,
    pub(crate) after: Measured,
    pub(crate) before_usage: UsageRow,
    pub(crate) after_usage: UsageRow,
    pub(crate) lesson: Lesson,
}

impl TaskRow {
    /// Returns the share of requests that the task's student answered.
    pub(crate) fn local_share(&self) -> f64 {
        self.after_usage.answered_share(Tier::Local)
    }
}

/// Tells a task's story: before, `lesson` from recorded answers, after.
pub(crate) async fn tell(
    stage: &Stage,
    task: &Further<'_>,
    narrator: &Narrator,
    lesson: impl AsyncFnOnce() -> Result<Lesson, Failure>,
) -> Result<TaskRow, Failure> {
    let Further { name, right, instructions, traffic, acts: [recorded, taught] } = *task;
    let ask = |model: String| Asking { model, instructions: instructions.to_owned() };
    let own = ask(format!("task/{name}"));
    let (_, from_ms) = usage_since(stage, i64::MIN)?;
    let some: Vec<Turn> = traffic.replay.iter().step_by(BASELINE_STEP).cloned().collect();
    let what = format!("`{name}`, all to the frontier");
    let before = measured(stage, &ask("simulated-frontier".to_owned()), some, narrator, &what).await?;
    let (before_usage, _) = usage_since(stage, from_ms)?;
    stage.enter(recorded).await?;
    let bar = narrator.bar(&format!("recording the frontier's answers for `{name}`"));
    let sent = replay(stage.address, &own, &Arc::new(traffic.teach.clone()), 256, &bar).await;
    bar.finish_and_clear();
    sent.map_err(|error| Failure::from_error("the replay broke", &error))?;
    fold(stage)?;
    let lesson = lesson().await?;
    stage.enter(taught).await?;
    let (_, until_ms) = usage_since(stage, from_ms)?;
    let step = if lesson.uncertified.is_none() { 1 } else { BASELINE_STEP };
    let all: Vec<Turn> = traffic.replay.iter().step_by(step).cloned().collect();
    let after = measured(stage, &own, all, narrator, &format!("`{name}`, through Bantam")).await?;
    let (after_usage, _) = usage_since(stage, until_ms)?;
    Ok(TaskRow { name, right, before, after, before_usage, after_usage, lesson })
}

async fn measured(
    stage: &Stage,
    asking: &Asking,
    turns: Vec<Turn>,
    narrator: &Narrator,
    what: &str,
) -> Result<Measured, Failure> {
    let bar = narrator.bar(what);
    let result = replay(stage.address, asking, &Arc::new(turns), CONCURRENCY, &bar).await;
    bar.finish_and_clear();
    let result = result.map_err(|error| Failure::from_error("the replay broke", &error))?;
    narrator.say(&format!(
        "{what}, {CONCURRENCY} at a time: p50 {:.1} ms, {:.1} % of answers right",
        result.p50_ms,
        100.0 * result.accuracy()
    ));
    Ok(result)
}

/// Returns whether the simulated frontier errs on a message, as it does on a share `error` of all: decided once, by the
/// seed.
pub(crate) fn errs(turn: &Turn, seed: u64, error: f64) -> bool {
    ((hash_text(seed, &turn.text) >> 11) as f64 / (1_u64 << 53) as f64) < error
}

/// Returns a task as the stage's configuration has it.
pub(crate) fn named<'c>(config: &'c Config, name: &str) -> Result<(TaskName, &'c Task), Failure> {
    let name: TaskName = name.parse().map_err(|error| Failure::from_error("cannot name the task", &error))?;
    match config.tasks.get(&name) {
        Some(task) => Ok((name, task)),
        None => Err(Failure::new(Outcome::Failed, "the demo's task is gone")),
    }
}

/// Returns what is to be proved of a task's student.
pub(crate) fn claim(task: TaskName, error_max: f64) -> Claim {
    Claim {
        task,
        error_max,
        confidence: 0.95,
        truth: "simulated-frontier's recorded answers".to_owned(),
        proved_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }
}

/// Puts the certificate beside the student at `path`, or says why there is none.
pub(crate) fn certified(
    rows: u64,
    proved: Result<Certificate, Failure>,
    path: &Path,
    narrator: &Narrator,
) -> Result<Lesson, Failure> {
    match proved {
        Ok(certificate) => {
            save_certificate(&certificate, &path.with_extension("certificate.json"))
                .map_err(|error| Failure::from_error("cannot write the certificate", &error))?;
            Ok(Lesson { rows, uncertified: None })
        }
        Err(failure) => {
            narrator.say(failure.message());
            Ok(Lesson { rows, uncertified: Some(failure.message().to_owned()) })
        }
    }
}
