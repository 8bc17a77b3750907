//! The story: before, discovery, lessons, a certificate, after.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bantam_eval::{Claim, save_certificate, unseen};
use bantam_ledger::{GroupBy, TimeRange, UsageRow};
use bantam_route::Certificate;
use bantam_student::{BasePrecision, Example, Features, Student};
use bantam_types::{EscalationReason, Template};
use indicatif::{ProgressBar, ProgressStyle};

use super::desk::Turn;
use super::frontier::Frontier;
use super::further::{Further, TaskRow};
use super::load::{Asking, Measured, replay};
use super::scene::{BASELINE_STEP, Scene};
use super::stage::{Known, Stage, Step};
use super::{further, orders, replies};
use crate::cli::DemoArgs;
use crate::commands::certify::certify;
use crate::commands::student::learn::{Lesson, Wanted, learn as learn_student};
use crate::commands::student::recorded;
use crate::deploy::bases;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

/// Requests until the task must have been discovered.
const DISCOVERY: usize = 96;

/// What the story measured.
pub(crate) struct Told {
    pub(crate) baseline: Vec<Measured>,
    pub(crate) bantam: Vec<Measured>,
    pub(crate) baseline_usage: UsageRow,
    pub(crate) bantam_usage: UsageRow,
    pub(crate) sensitive_before: u64,
    pub(crate) sensitive_sent: u64,
    pub(crate) simulated_accuracy: f64,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) uncertified: Option<String>,
    pub(crate) held_out_accuracy: f64,
    pub(crate) taught_rows: u64,
    pub(crate) student_of: &'static str,
    /// What became of the tasks beside the classification.
    pub(crate) tasks: Vec<TaskRow>,
    pub(crate) seconds: f64,
}

/// Tells it.
pub(crate) async fn tell(
    scene: &Scene,
    args: &DemoArgs,
    globals: &Globals,
) -> Result<(Stage, Told), Failure> {
    let started = Instant::now();
    let narrator = Narrator::new(globals);
    let quiet = globals.quietly();
    let turns = scene.turns();
    let frontier = Frontier::new(&turns, &scene.labels, scene.skill, args.seed);
    let orders = scene.orders.iter().flat_map(further::Traffic::turns);
    let orders = orders.map(|turn| (&*turn.text, orders::answer(turn, args.seed)));
    let replies = scene.replies.iter().flat_map(further::Traffic::turns);
    let replies = replies.map(|turn| (&*turn.text, replies::answer(turn, args.seed)));
    let frontier = Arc::new(frontier.with_answers(orders.chain(replies)));
    let (right, graded) = frontier.score(&scene.replays.concat());
    let stage = Stage::start(&frontier, scene.labels.clone(), &quiet).await?;
    narrator.say(&format!(
        "A simulated frontier model answers on loopback in 600-900 ms and is right on {:.1} % of this workload.",
        100.0 * right as f64 / graded.max(1) as f64
    ));

    let mut asking = Asking { model: "simulated-frontier".to_owned(), instructions: instructions(scene) };
    let baseline = rehearse(&stage, &asking, scene, BASELINE_STEP, &narrator, "all to the frontier").await?;
    let (baseline_usage, from_ms) = usage_since(&stage, i64::MIN)?;
    let sensitive_before = frontier.take_sensitive();

    "auto".clone_into(&mut asking.model);
    stage.enter(Known::default()).await?;
    let template = discover(&stage, &asking, scene, &narrator).await?;
    let known = |step| Known { intent: Some((template, step)), ..Known::default() };
    stage.enter(known(Step::Recorded)).await?;
    let taught = lessons(&stage, &asking, scene, &narrator, args).await?;
    stage.enter(known(Step::Taught)).await?;
    frontier.take_sensitive();
    let (_, until_ms) = usage_since(&stage, from_ms)?;

    // Without a certificate everything still goes to the frontier, at its pace.
    let step = if taught.certified.is_ok() { 1 } else { BASELINE_STEP };
    let bantam = rehearse(&stage, &asking, scene, step, &narrator, "through Bantam").await?;
    let (bantam_usage, _) = usage_since(&stage, until_ms)?;
    let sensitive_sent = frontier.take_sensitive();
    let tasks = further_tasks(&stage, scene, known(Step::Taught), args.error, &narrator).await?;
    let (certificate, uncertified) = match taught.certified {
        Ok(certificate) => (Some(certificate), None),
        Err(reason) => (None, Some(reason)),
    };
    let told = Told {
        baseline,
        bantam,
        baseline_usage,
        bantam_usage,
        sensitive_before,
        sensitive_sent,
        simulated_accuracy: right as f64 / graded.max(1) as f64,
        certificate,
        uncertified,
        held_out_accuracy: taught.held_out_accuracy,
        taught_rows: taught.rows,
        student_of: taught.student_of,
        tasks,
        seconds: started.elapsed().as_secs_f64(),
    };
    tracing::debug!(calls = frontier.received(), "the simulated frontier was called");
    Ok((stage, told))
}

/// Tells the stories of the tasks beside the classification, one after the other.
async fn further_tasks(
    stage: &Stage,
    scene: &Scene,
    known: Known,
    error_max: f64,
    narrator: &Narrator,
) -> Result<Vec<TaskRow>, Failure> {
    let mut rows = Vec::new();
    if let Some(traffic) = &scene.orders {
        let acts = [Step::Recorded, Step::Taught].map(|step| Known { order: Some(step), ..known });
        let instructions = orders::INSTRUCTIONS;
        let task = Further { name: orders::NAME, right: "whole object", instructions, traffic, acts };
        let lesson = async || orders::lesson(stage, error_max, narrator).await;
        rows.push(further::tell(stage, &task, narrator, lesson).await?);
    }
    if let Some(traffic) = &scene.replies {
        let known = Known { order: scene.orders.is_some().then_some(Step::Taught), ..known };
        let acts = [Step::Recorded, Step::Taught].map(|step| Known { reply: Some(step), ..known });
        let instructions = replies::INSTRUCTIONS;
        let task = Further { name: replies::NAME, right: "same text", instructions, traffic, acts };
        let lesson = async || replies::lesson(stage, error_max, narrator).await;
        rows.push(further::tell(stage, &task, narrator, lesson).await?);
    }
    Ok(rows)
}

fn instructions(scene: &Scene) -> String {
    format!(
        "You sort messages to a support desk. Answer with exactly one of these labels and nothing else: {}.",
        scene.labels.join(", ")
    )
}

/// Replays the workload at each concurrency, or every `step`th request of it.
async fn rehearse(
    stage: &Stage,
    asking: &Asking,
    scene: &Scene,
    step: usize,
    narrator: &Narrator,
    what: &str,
) -> Result<Vec<Measured>, Failure> {
    let mut measured = Vec::new();
    for (turns, concurrency) in scene.replays.iter().zip(super::scene::CONCURRENCIES) {
        let part: Arc<Vec<Turn>> = Arc::new(turns.iter().step_by(step).cloned().collect());
        let bar = narrator.bar(&format!("{what}, {concurrency} at a time"));
        let result = replay(stage.address, asking, &part, concurrency, &bar).await;
        bar.finish_and_clear();
        let result = result.map_err(|error| Failure::from_error("the replay broke", &error))?;
        narrator.say(&format!(
            "{what}, {concurrency} at a time: p50 {:.1} ms, {:.0} requests a second, {:.1} % right",
            result.p50_ms,
            result.requests_per_second,
            100.0 * result.accuracy()
        ));
        measured.push(result);
    }
    Ok(measured)
}

/// Lets some traffic through until the ledger knows its template.
async fn discover(
    stage: &Stage,
    asking: &Asking,
    scene: &Scene,
    narrator: &Narrator,
) -> Result<Template, Failure> {
    let some: Arc<Vec<Turn>> = Arc::new(scene.teach.iter().take(DISCOVERY).cloned().collect());
    let bar = narrator.bar("discovering tasks in the traffic");
    let sent = replay(stage.address, asking, &some, DISCOVERY, &bar).await;
    bar.finish_and_clear();
    sent.map_err(|error| Failure::from_error("the replay broke", &error))?;
    fold(stage)?;
    let reader =
        stage.ledger.reader().map_err(|error| Failure::from_error("cannot read the ledger", &error))?;
    let found = reader
        .templates(TimeRange::ALL)
        .map_err(|error| Failure::from_error("cannot read the ledger", &error))?;
    let found = found.into_iter().find(|found| found.record.system_preview.starts_with("You sort messages"));
    let template = found
        .map(|found| found.record.template)
        .ok_or_else(|| Failure::new(Outcome::Failed, "the traffic's template was not discovered"))?;
    narrator.say(&format!("discovered a task in the traffic by its prompt: {template}"));
    Ok(template)
}

/// What the lessons came to.
struct Taught {
    certified: Result<Certificate, String>,
    held_out_accuracy: f64,
    rows: u64,
    student_of: &'static str,
}

/// Records the frontier's answers, learns a student from them and certifies it.
async fn lessons(
    stage: &Stage,
    asking: &Asking,
    scene: &Scene,
    narrator: &Narrator,
    args: &DemoArgs,
) -> Result<Taught, Failure> {
    let teach = Arc::new(scene.teach.clone());
    let bar = narrator.bar("recording the frontier's answers");
    let sent = replay(stage.address, asking, &teach, scene.teach_concurrency, &bar).await;
    bar.finish_and_clear();
    sent.map_err(|error| Failure::from_error("the replay broke", &error))?;
    fold(stage)?;
    let task = Stage::task()?;
    let ledger = stage.student_path().with_file_name("ledger.sqlite");
    let mut rows = recorded(&ledger, &task, false)?;
    let kept = recorded(&ledger, &task, true)?;
    let (evidence, truth) = match &scene.certify {
        Some(labelled) => {
            // Labelled rows certify, so every recorded answer may teach.
            rows.extend(kept);
            (labelled.clone(), "labels".to_owned())
        }
        None => (kept, "simulated-frontier's recorded answers".to_owned()),
    };
    crate::commands::student::drop_rare_labels(&mut rows);
    let wanted = wanted(args);
    let student_of = wanted.name();
    let path = stage.student_path();
    let (student, held_out_accuracy) =
        learn(rows.clone(), wanted, path, scene.scope_label(), narrator).await?;
    student
        .save(&stage.student_path())
        .map_err(|error| Failure::from_error("cannot save the student", &error))?;
    let claim = Claim {
        task,
        error_max: args.error,
        confidence: 0.95,
        truth,
        proved_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    };
    let labels: Vec<Arc<str>> = scene.labels.iter().map(|label| label.as_str().into()).collect();
    let certified = certify(&claim, &student, &unseen(&student, &evidence), &labels);
    let certified = match certified {
        Ok(certificate) => {
            save_certificate(&certificate, &stage.certificate_path())
                .map_err(|error| Failure::from_error("cannot write the certificate", &error))?;
            narrator.say(&format!(
                "certified on {} rows: from probability {:.3} on at most {} % errors among answers, 95 % sure",
                certificate.rows,
                certificate.threshold,
                100.0 * certificate.error_max
            ));
            Ok(certificate)
        }
        Err(failure) => {
            narrator.say(failure.message());
            Err(failure.message().to_owned())
        }
    };
    Ok(Taught { certified, held_out_accuracy, rows: rows.len() as u64, student_of })
}

/// Returns the kind of student that the command line asks for.
fn wanted(args: &DemoArgs) -> Wanted {
    match &args.base {
        None => Wanted::Linear,
        Some(base) => {
            Wanted::Encoder { base: base.clone(), features: Features::Joined, precision: BasePrecision::Int8 }
        }
    }
}

async fn learn(
    rows: Vec<Example>,
    wanted: Wanted,
    out: PathBuf,
    scope_label: Option<&str>,
    narrator: &Narrator,
) -> Result<(Student, f64), Failure> {
    let started = Instant::now();
    let count = rows.len();
    let out_of_scope_label = scope_label.unwrap_or("oos").to_owned();
    // Training would hold up the gateway's own threads.
    let trained = tokio::task::spawn_blocking(move || {
        let out_of_scope_label = &out_of_scope_label;
        let lesson = Lesson { rows: &rows, out_of_scope_label, seed: 7, out: &out };
        learn_student(&lesson, &wanted, &bases(0), &mut |_| {})
    });
    let trained = trained.await.map_err(|error| Failure::from_error("training broke", &error))?;
    let (student, report) = trained?;
    narrator.say(&format!(
        "learned a student from {count} recorded answers in {:.1} s (agrees with {:.1} % of answers it has not seen)",
        started.elapsed().as_secs_f64(),
        100.0 * report.held_out_accuracy
    ));
    Ok((student, report.held_out_accuracy))
}

pub(super) fn fold(stage: &Stage) -> Result<(), Failure> {
    stage.ledger.fold().map_err(|error| Failure::from_error("cannot bring the ledger up to date", &*error))
}

/// Returns the ledger's figures since `from_ms`, and the millisecond from which the next part counts.
pub(super) fn usage_since(stage: &Stage, from_ms: i64) -> Result<(UsageRow, i64), Failure> {
    fold(stage)?;
    let until_ms = jiff::Timestamp::now().as_millisecond() + 1;
    let range = TimeRange { from_unix_ms: from_ms, until_unix_ms: until_ms };
    let reader =
        stage.ledger.reader().map_err(|error| Failure::from_error("cannot read the ledger", &error))?;
    let rows = reader
        .usage(range, GroupBy::None)
        .map_err(|error| Failure::from_error("cannot read the ledger", &error))?;
    let row = rows.into_iter().next();
    let row = row.ok_or_else(|| Failure::new(Outcome::Failed, "the ledger has no figures"))?;
    // The next part must not begin in the same millisecond.
    std::thread::sleep(std::time::Duration::from_millis(2));
    Ok((row, until_ms))
}

/// Returns escalations by reason, for people and machines.
pub(crate) fn escalations(usage: &UsageRow) -> BTreeMap<EscalationReason, u64> {
    usage.escalations.clone()
}

/// Tells what happens: bars on a terminal, plain lines elsewhere.
pub(super) struct Narrator {
    silent: bool,
    bars: bool,
}

impl Narrator {
    pub(super) fn new(globals: &Globals) -> Self {
        let silent = globals.quiet;
        Self { silent, bars: !silent && output::is_terminal() }
    }

    pub(super) fn say(&self, text: &str) {
        if !self.silent {
            output::note(text);
        }
    }

    pub(super) fn bar(&self, what: &str) -> ProgressBar {
        if !self.bars {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg:44} {bar:28} {pos}/{len}  {elapsed}");
        let bar = ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_owned());
        bar
    }
}
