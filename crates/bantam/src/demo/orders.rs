//! The demo's task that extracts: messages about orders, and what stands in them as JSON.

use bantam_eval::{expected_answers, unseen_by};
use bantam_student::SlotExample;
use serde_json::{Value, json};

use super::desk::Turn;
use super::further::{Lesson, Traffic, certified, claim, errs, named};
use super::random::Random;
use super::stage::Stage;
use super::story::Narrator;
use super::words::{CITIES, ORDER_SAYS, PRODUCTS};
use crate::commands::certify::{answer_row, prove_objects};
use crate::commands::student::extract::{cannot_learn, learn, rows_of_answers};
use crate::commands::student::recorded;
use crate::deploy::{bases, shape, tagger};
use crate::failure::Failure;

/// The task's name.
pub(crate) const NAME: &str = "order";
/// What the application tells a model to do.
pub(crate) const INSTRUCTIONS: &str = "Read the message. Answer with a JSON object of its order, product, count, day and city, and \
    nothing else; leave out what is not there.";
const TEACH: usize = 3600;
const REPLAY: usize = 2880;
/// How often the simulated frontier forgets a value.
const ERROR: f64 = 0.002;

/// Returns generated messages.
pub(crate) fn generated(random: &mut Random) -> Traffic {
    Traffic::drawn((TEACH, REPLAY), turn, random)
}

/// Returns what the simulated frontier says to a message: the truth, or now and then all of it but one value.
pub(crate) fn answer(turn: &Turn, seed: u64) -> String {
    let truth = turn.truth.as_deref().unwrap_or_default();
    let mut said: Value = serde_json::from_str(truth).unwrap_or_default();
    if let Some(members) = said.as_object_mut().filter(|members| members.len() > 1)
        && errs(turn, seed ^ 2, ERROR)
        && let Some(forgotten) = members.keys().next_back().cloned()
    {
        members.remove(&forgotten);
    }
    said.to_string()
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

/// Learns a tagger from the recorded answers and certifies it.
pub(crate) async fn lesson(stage: &Stage, error_max: f64, narrator: &Narrator) -> Result<Lesson, Failure> {
    let config = stage.config()?;
    let (name, task) = named(&config, NAME)?;
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
    let kept = recorded(&config.ledger.path, &name, true)?.into_iter().map(answer_row);
    let evidence = expected_answers(kept.collect(), student.shape());
    let evidence = unseen_by(|text| student.tagger().has_seen(text), &evidence);
    let proved = prove_objects(&claim(name, error_max), &student, &evidence);
    let proved = proved.map(|(certificate, _)| certificate).map_err(|(failure, _)| failure);
    certified(count, proved, &path, narrator)
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
        let orders = generated(&mut Random::new(4));
        let slots: Vec<String> = ["order", "product", "count", "day", "city"].map(str::to_owned).to_vec();
        let shape = bantam_extract::Shape::new(&schema(), &slots).unwrap();
        for turn in orders.teach.iter().take(500) {
            let truth = turn.truth.as_deref().unwrap();
            let row = bantam_student::slots_of_answer(&turn.text, truth, &shape);
            assert!(row.is_ok_and(|row| !row.spans.is_empty()), "{} {truth}", turn.text);
        }
        let wrong = orders.turns().filter(|turn| Some(answer(turn, 3)) != turn.truth).count();
        assert!((3..40).contains(&wrong), "{wrong}");
    }
}
