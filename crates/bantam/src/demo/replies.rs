//! The demo's task that writes: messages to the desk, and the short reply that confirms what happens next.

use std::time::Instant;

use super::desk::Turn;
use super::further::{Lesson, Traffic, certified, claim, errs, named};
use super::random::Random;
use super::stage::Stage;
use super::story::Narrator;
use super::topics::{DAYS, TOPICS};
use super::words::{CITIES, CLOSERS, OPENERS, PRODUCTS};
use crate::cli::TrainArgs;
use crate::commands::certify::prove_texts;
use crate::commands::student::decoder::{Subject, learn, rows};
use crate::commands::student::recorded;
use crate::deploy::{Memory, decoder_hash, open_decoder};
use crate::failure::Failure;

/// The task's name.
pub(crate) const NAME: &str = "reply";
/// What the application tells a model to do.
pub(crate) const INSTRUCTIONS: &str = "Reply to the message in one or two short sentences of the shop's own: say what happens next, with the product, \
    number, city and day that the message asks for.";
const TEACH: usize = 4000;
const REPLAY: usize = 1440;
/// How often the simulated frontier names another product.
const ERROR: f64 = 0.002;
/// How the student is trained. A larger one takes longer to find what it is to copy.
const TRAINING: &str = "--task reply --kind decoder --instructions Reply. --size 150k --batch 4 --rate 0.002 --epochs 12 \
    --held-out 0.05";

/// Returns generated messages.
pub(crate) fn generated(random: &mut Random) -> Traffic {
    Traffic::drawn((TEACH, REPLAY), turn, random)
}

/// Returns what the simulated frontier says to a message: the reply, or now and then one about another product.
pub(crate) fn answer(turn: &Turn, seed: u64) -> String {
    let truth = turn.truth.clone().unwrap_or_default();
    if !errs(turn, seed ^ 3, ERROR) {
        return truth;
    }
    let others = PRODUCTS.iter().zip(PRODUCTS.iter().cycle().skip(1));
    let named = others.into_iter().find(|(product, _)| truth.contains(**product));
    named.map_or_else(|| truth.clone(), |(product, other)| truth.replace(product, other))
}

fn turn(random: &mut Random) -> Turn {
    let city = random.pick(CITIES);
    let others: Vec<&str> = CITIES.iter().copied().filter(|other| *other != city).collect();
    let gaps = [
        ("{order}", format!("A-{}", 1000 + random.below(9000))),
        ("{product}", random.pick(PRODUCTS).to_owned()),
        ("{count}", (2 + random.below(8)).to_string()),
        ("{city}", city.to_owned()),
        ("{old}", random.pick(&others).to_owned()),
        ("{day}", random.pick(DAYS).to_owned()),
    ];
    let fill = |text: &str| gaps.iter().fold(text.to_owned(), |text, (gap, value)| text.replace(gap, value));
    let topic = random.below(TOPICS.len());
    let (says, reply) = TOPICS.get(topic).map_or((&[][..], ""), |topic| (topic.says, topic.reply));
    let text = format!("{}{}{}", random.pick(OPENERS), fill(random.pick(says)), random.pick(CLOSERS));
    Turn { text, truth: Some(fill(reply)), mistakable_for: None, sensitive: false }
}

/// Trains a decoder from nothing on the recorded answers and certifies it.
pub(crate) async fn lesson(stage: &Stage, error_max: f64, narrator: &Narrator) -> Result<Lesson, Failure> {
    taught(stage, TRAINING, error_max, narrator).await
}

async fn taught(
    stage: &Stage,
    training: &'static str,
    error_max: f64,
    narrator: &Narrator,
) -> Result<Lesson, Failure> {
    let config = stage.config()?;
    let (name, _) = named(&config, NAME)?;
    let rows = recorded(&config.ledger.path, &name, false)?;
    let kept = recorded(&config.ledger.path, &name, true)?;
    let (count, path) = (rows.len() as u64, stage.reply_student_path());
    let started = Instant::now();
    let out = path.clone();
    // Training would hold up the gateway's own threads.
    let student = apart(move || {
        let args = TrainArgs::of_words(training)
            .map_err(|error| Failure::from_error("cannot read how to train", &error))?;
        learn(&args, &Subject::default(), (rows::recorded(&rows, false), &out))
    });
    let student = student.await?;
    let report = &student.report;
    narrator.say(&format!(
        "trained a decoder of {} numbers from nothing on {count} recorded answers in {:.1} s ({:.1} % of {} replies it has \
         not seen are the same)",
        report.parameters,
        started.elapsed().as_secs_f64(),
        100.0 * report.exact_match.unwrap_or_default(),
        report.asked_rows
    ));
    let claim = claim(name, error_max);
    let folder = path.clone();
    let proved = apart(move || {
        let memory = Memory::with_threads(0);
        let rows: Vec<_> = kept.into_iter().filter(|row| !student.seen.contains(&row.text)).collect();
        let hash = decoder_hash(&student, &folder, None, &memory)?;
        let asked = open_decoder(NAME, (&student, &folder), None, &memory)?;
        prove_texts(&claim, (&asked, &hash), &rows, &[], &mut |_| {})
    });
    certified(count, proved.await, &path, narrator)
}

/// Runs what takes long on a thread of its own.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::from_error("training broke", &error))?
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bantam_types::Tier;

    use super::*;
    use crate::cli::GlobalArgs;
    use crate::demo::frontier::{Frontier, Skill};
    use crate::demo::further::{Further, TaskRow, tell};
    use crate::demo::stage::{Known, Step};
    use crate::settings::Globals;

    #[test]
    fn replies_say_what_the_message_says_and_the_frontier_errs_now_and_then() {
        let traffic = generated(&mut Random::new(4));
        for turn in traffic.turns() {
            let reply = turn.truth.as_deref().unwrap();
            assert!(!turn.text.contains('{') && !reply.contains('{'), "{turn:?}");
            let values = [PRODUCTS, CITIES, DAYS].concat();
            let said: Vec<&str> = values.into_iter().filter(|value| reply.contains(value)).collect();
            assert!(!said.is_empty() && said.iter().all(|value| turn.text.contains(value)), "{turn:?}");
        }
        let wrong: Vec<_> = traffic.turns().filter(|turn| Some(answer(turn, 3)) != turn.truth).collect();
        assert!((2..30).contains(&wrong.len()), "{}", wrong.len());
    }

    /// A message that is replied to by its product, whatever its number.
    fn easy(random: &mut Random) -> Turn {
        let (product, number) = (random.pick(&["kettle", "lamp", "tent", "desk"]), random.below(9000));
        let (text, truth) = (format!("{product} {number}"), Some(format!("We send a {product}.")));
        Turn { text, truth, mistakable_for: None, sensitive: false }
    }

    async fn told(training: &'static str) -> TaskRow {
        let traffic = Traffic::drawn((500, 96), easy, &mut Random::new(6));
        let skill = Skill { plain_error: 0.0, ambiguous_error: 0.0 };
        let turns: Vec<Turn> = traffic.turns().cloned().collect();
        let frontier = Arc::new(Frontier::new(&turns, &[], skill, 6));
        let globals = GlobalArgs { config: None, set: Vec::new(), json: false, quiet: true, offline: false };
        let globals = Globals::new(globals);
        let stage = Stage::start(&frontier, Vec::new(), &globals).await.unwrap();
        let acts = [Step::Recorded, Step::Taught].map(|step| Known { reply: Some(step), ..Known::default() });
        let traffic = &traffic;
        let task = Further { name: NAME, right: "same text", instructions: INSTRUCTIONS, traffic, acts };
        let narrator = Narrator::new(&globals);
        let row = tell(&stage, &task, &narrator, async || taught(&stage, training, 0.1, &narrator).await);
        let row = row.await.unwrap();
        stage.close().await.unwrap();
        row
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_certified_is_answered_here() {
        let row =
            told("--task reply --kind decoder --instructions Reply. --size 100k --rate 0.002 --epochs 8")
                .await;
        assert_eq!(row.lesson.uncertified, None);
        assert!(row.local_share() > 0.5, "{}", row.local_share());
        assert!(row.after.accuracy() > 0.85 && row.after.requests == 96, "{:?}", row.after);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_not_certified_goes_up_and_the_table_says_why() {
        let row =
            told("--task reply --kind decoder --instructions Reply. --size 100k --rate 0.00001 --epochs 1")
                .await;
        assert!(row.lesson.uncertified.is_some_and(|why| why.contains("not certifiable")));
        assert_eq!((row.after_usage.answered_share(Tier::Local), row.after.accuracy()), (0.0, 1.0));
    }
}
