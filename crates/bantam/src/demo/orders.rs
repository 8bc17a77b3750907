//! The demo's second task: messages about orders, and what stands in them as JSON.

use std::sync::Arc;

use bantam_eval::{Claim, expected_answers, save_certificate, unseen_by};
use bantam_ledger::UsageRow;
use bantam_student::{ExpectedRow, SlotExample, answer_json};
use bantam_types::{TaskName, Tier};
use serde_json::{Value, json};

use super::desk::Turn;
use super::load::{Asking, Measured, replay};
use super::random::{Random, hash_text};
use super::stage::{Act, Stage};
use super::story::{Narrator, fold, usage_since};
use super::words::{CITIES, ORDER_SAYS, PRODUCTS};
use crate::commands::certify::prove_objects;
use crate::commands::student::extract::{cannot_learn, learn, rows_of_answers};
use crate::commands::student::recorded;
use crate::deploy::{bases, shape, tagger};
use crate::failure::Failure;

/// What the application tells a model to do.
const INSTRUCTIONS: &str = "Read the message. Answer with a JSON object of its order, product, count, day and city, and \
    nothing else; leave out what is not there.";
const TEACH: usize = 3600;
const REPLAY: usize = 2880;
/// One in so many of the replay is sent to the frontier alone.
const BASELINE_STEP: usize = 48;
/// How often the simulated frontier forgets a value.
const ERROR: f64 = 0.002;
const CONCURRENCY: usize = 32;

/// The task's traffic.
pub(crate) struct Orders {
    /// What is recorded and learned from.
    pub(crate) teach: Vec<Turn>,
    /// What is replayed.
    pub(crate) replay: Vec<Turn>,
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
    /// What was learned from.
    pub(crate) rows: u64,
    /// Why nothing was certified, if nothing was.
    pub(crate) uncertified: Option<String>,
}

impl TaskRow {
    /// Returns the share of requests that the task's student answered.
    pub(crate) fn local_share(&self) -> f64 {
        self.after_usage.answered_share(Tier::Local)
    }
}

impl Orders {
    /// Returns generated messages; equal seeds give equal ones, and none that is taught is replayed.
    pub(crate) fn generated(random: &mut Random) -> Self {
        let teach: Vec<Turn> = (0..TEACH).map(|_| turn(random)).collect();
        let taught: std::collections::HashSet<String> =
            teach.iter().map(|turn| bantam_student::normalised(&turn.text)).collect();
        let mut replay = Vec::with_capacity(REPLAY);
        while replay.len() < REPLAY {
            let next = turn(random);
            if !taught.contains(&bantam_student::normalised(&next.text)) {
                replay.push(next);
            }
        }
        Self { teach, replay }
    }

    /// Returns what the simulated frontier says to each message: the truth, or now and then all of it but one value.
    pub(crate) fn answers(&self, seed: u64) -> impl Iterator<Item = (&str, String)> {
        self.teach.iter().chain(&self.replay).map(move |turn| {
            let truth = turn.truth.as_deref().unwrap_or_default();
            let draw = hash_text(seed ^ 2, &turn.text);
            let errs = ((draw >> 11) as f64 / (1_u64 << 53) as f64) < ERROR;
            let mut said: Value = serde_json::from_str(truth).unwrap_or_default();
            if let Some(members) = said.as_object_mut().filter(|members| errs && members.len() > 1)
                && let Some(forgotten) = members.keys().next_back().cloned()
            {
                members.remove(&forgotten);
            }
            (turn.text.as_str(), said.to_string())
        })
    }
}

fn turn(random: &mut Random) -> Turn {
    let order = format!("A-{}", 1000 + random.below(9000));
    let (product, city) = (random.pick(PRODUCTS), random.pick(CITIES));
    let count = 2 + random.below(11);
    let words = ["two", "three", "four", "five", "six"];
    let count_said = words
        .get(count - 2)
        .filter(|_| random.chance(0.5))
        .map_or_else(|| count.to_string(), |word| (*word).to_owned());
    let (day, month) = (1 + random.below(28), 1 + random.below(12));
    let names = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let name = names.get(month - 1).copied().unwrap_or_default();
    let date_said = match random.below(3) {
        0 => format!("{day} {name} 2027"),
        1 => format!("{name} {day}, 2027"),
        _ => format!("{day}.{month}.2027"),
    };
    let says = random.pick(ORDER_SAYS);
    let mut truth = serde_json::Map::new();
    let values = [
        ("order", order.clone(), json!(order)),
        ("product", product.to_owned(), json!(product)),
        ("count", count_said, json!(count)),
        ("day", date_said, json!(format!("2027-{month:02}-{day:02}"))),
        ("city", city.to_owned(), json!(city)),
    ];
    let mut text = says.to_owned();
    for (name, said, value) in values {
        let gap = format!("{{{name}}}");
        if text.contains(&gap) {
            text = text.replace(&gap, &said);
            truth.insert(name.to_owned(), value);
        }
    }
    Turn { text, truth: Some(Value::Object(truth).to_string()), mistakable_for: None, sensitive: false }
}

/// The schema of the answers.
pub(crate) fn schema() -> Value {
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "order": { "type": "string", "pattern": "^A-[0-9]{4}$" },
            "product": { "type": "string" },
            "count": { "type": "integer", "minimum": 1 },
            "day": { "type": "string", "format": "date" },
            "city": { "type": "string" }
        }
    })
}

/// Returns the task's name.
pub(crate) fn task() -> Result<TaskName, Failure> {
    "order".parse().map_err(|error| Failure::from_error("cannot name the task", &error))
}

/// Tells the task's story: before, lessons from recorded answers, a certificate, after.
pub(crate) async fn tell(
    stage: &Stage,
    orders: &Orders,
    template: bantam_types::Template,
    error_max: f64,
    narrator: &Narrator,
) -> Result<TaskRow, Failure> {
    let ask = |model: &str| Asking { model: model.to_owned(), instructions: INSTRUCTIONS.to_owned() };
    let (_, from_ms) = usage_since(stage, i64::MIN)?;
    let some: Vec<Turn> = orders.replay.iter().step_by(BASELINE_STEP).cloned().collect();
    let before =
        measured(stage, &ask("simulated-frontier"), some, narrator, "orders, all to the frontier").await?;
    let (before_usage, _) = usage_since(stage, from_ms)?;
    stage.enter(Act::OrdersRecorded(template)).await?;
    let bar = narrator.bar("recording the frontier's JSON");
    let sent = replay(stage.address, &ask("task/order"), &Arc::new(orders.teach.clone()), 256, &bar).await;
    bar.finish_and_clear();
    sent.map_err(|error| Failure::from_error("the replay broke", &error))?;
    fold(stage)?;
    let (rows, uncertified) = lesson(stage, error_max, narrator).await?;
    stage.enter(Act::OrdersTaught(template)).await?;
    let (_, until_ms) = usage_since(stage, from_ms)?;
    let step = if uncertified.is_none() { 1 } else { BASELINE_STEP };
    let all: Vec<Turn> = orders.replay.iter().step_by(step).cloned().collect();
    let after = measured(stage, &ask("task/order"), all, narrator, "orders, through Bantam").await?;
    let (after_usage, _) = usage_since(stage, until_ms)?;
    Ok(TaskRow {
        name: "order",
        right: "whole object",
        before,
        after,
        before_usage,
        after_usage,
        rows,
        uncertified,
    })
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
        "{what}, {CONCURRENCY} at a time: p50 {:.1} ms, {:.1} % of objects right",
        result.p50_ms,
        100.0 * result.accuracy()
    ));
    Ok(result)
}

/// Learns a tagger from the recorded answers and certifies it; returns how many rows taught, and why there is no
/// certificate, if there is none.
async fn lesson(
    stage: &Stage,
    error_max: f64,
    narrator: &Narrator,
) -> Result<(u64, Option<String>), Failure> {
    let config = stage.config()?;
    let name = task()?;
    let Some(task) = config.tasks.get(&name) else {
        return Err(Failure::new(crate::failure::Outcome::Failed, "the demo's task is gone"));
    };
    let schema = stage.order_schema_path();
    let shaped = shape(&schema, None)?;
    let answers = recorded(&config.ledger.path, &name, false)?;
    let (rows, _) = rows_of_answers(&answers, &shaped);
    let (count, path) = (rows.len() as u64, stage.order_student_path());
    let started = std::time::Instant::now();
    let student = train(rows).await?;
    narrator.say(&format!(
        "learned a tagger from {count} recorded answers in {:.1} s (F1 {:.1} % on rows it has not seen)",
        started.elapsed().as_secs_f64(),
        100.0 * student.describe().report.held_out_f1
    ));
    student.save(&path).map_err(|error| Failure::from_error("cannot save the student", &error))?;
    let served = bantam_config::Task { schema: Some(schema), ..task.clone() };
    let student = tagger(&path, &served, &bases(0))?;
    let kept = recorded(&config.ledger.path, &name, true)?.into_iter().map(|row| ExpectedRow::Answer {
        answer: answer_json(&row.label).unwrap_or_default(),
        text: row.text,
    });
    let evidence = expected_answers(kept.collect(), student.shape());
    let evidence = unseen_by(|text| student.tagger().has_seen(text), &evidence);
    let claim = Claim {
        task: name,
        error_max,
        confidence: 0.95,
        truth: "simulated-frontier's recorded answers".to_owned(),
        proved_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    };
    match prove_objects(&claim, &student, &evidence) {
        Ok((certificate, _)) => {
            save_certificate(&certificate, &path.with_extension("certificate.json"))
                .map_err(|error| Failure::from_error("cannot write the certificate", &error))?;
            Ok((count, None))
        }
        Err((failure, _)) => {
            narrator.say(failure.message());
            Ok((count, Some(failure.message().to_owned())))
        }
    }
}

async fn train(rows: Vec<SlotExample>) -> Result<bantam_student::LinearTagger, Failure> {
    // Training would hold up the gateway's own threads.
    let trained = tokio::task::spawn_blocking(move || learn(&rows, 7, None, &mut |_| {})).await;
    let trained = trained.map_err(|error| Failure::from_error("training broke", &error))?;
    trained.map_err(|error| cannot_learn(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_what_their_truth_says() {
        let orders = Orders::generated(&mut Random::new(4));
        let slots: Vec<String> = ["order", "product", "count", "day", "city"].map(str::to_owned).to_vec();
        let shape = bantam_extract::Shape::new(&schema(), &slots).unwrap();
        for turn in orders.teach.iter().take(500) {
            let truth = turn.truth.as_deref().unwrap();
            let row = bantam_student::slots_of_answer(&turn.text, truth, &shape);
            assert!(row.is_ok_and(|row| !row.spans.is_empty()), "{} {truth}", turn.text);
        }
        let wrong = orders.answers(3).zip(orders.teach.iter().chain(&orders.replay));
        let wrong = wrong.filter(|((_, said), turn)| Some(said.as_str()) != turn.truth.as_deref()).count();
        assert!((3..40).contains(&wrong), "{wrong}");
    }
}
