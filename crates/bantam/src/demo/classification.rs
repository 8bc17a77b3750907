//! The demo from its beginning to its figures: everything to the frontier model, a task discovered in the traffic, a
//! student taught and certified, and the same traffic through Bantam.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bantam_books::{TimeRange, Usage};
use bantam_scenario::{
    Application, CONCURRENCIES, Message, ReplayFigures, SimulatedFrontier, Traffic, Workload, orders, replies,
};
use bantam_student::{BasePrecision, Features};
use bantam_teach::{StudentKind, TrainingRequest};
use bantam_types::{Cancel, Template};

use super::further::{FurtherFigures, FurtherTask};
use super::gateway::{DemoGateway, INTENT, TaskStage, TaskStages};
use super::narrator::Narrator;
use super::teaching::{TaughtTask, TeachingPlan, teach};
use crate::books::unreadable;
use crate::cli::DemoArgs;
use crate::failure::{Failure, Outcome};
use crate::settings::Globals;

/// Requests until the task must have been discovered.
const DISCOVERY: usize = 96;
/// Every this many of the messages is sent to the frontier model alone: at 750 ms each, all would take ten minutes.
pub(super) const BASELINE_STEP: usize = 10;

/// What a demo is made of.
#[derive(Clone, Copy)]
pub(super) struct Demo<'d> {
    pub(super) workload: &'d Workload,
    pub(super) args: &'d DemoArgs,
    pub(super) globals: &'d Globals,
    pub(super) folder: &'d Path,
    pub(super) cancel: &'d Cancel,
}

/// What the demo measured.
pub(super) struct DemoFigures {
    /// The replays to the frontier model alone, and through Bantam.
    pub(super) baseline: Vec<ReplayFigures>,
    pub(super) bantam: Vec<ReplayFigures>,
    pub(super) baseline_usage: Usage,
    pub(super) bantam_usage: Usage,
    /// Requests with personal data that the frontier model got.
    pub(super) sensitive_before: u64,
    pub(super) sensitive_sent: u64,
    /// The share of this workload that the simulated model is right on.
    pub(super) simulated_accuracy: f64,
    pub(super) taught: TaughtTask,
    /// What the student looks at, in words.
    pub(super) student_of: &'static str,
    /// What became of the tasks besides the classification.
    pub(super) further: Vec<FurtherFigures>,
    pub(super) seconds: f64,
}

impl Demo<'_> {
    /// Shows everything, and leaves the gateway running.
    pub(super) async fn show(self) -> Result<(DemoGateway, DemoFigures), Failure> {
        let Self { workload, args, globals, folder, cancel } = self;
        let (begun, narrator) = (Instant::now(), Narrator::new(globals));
        let frontier = Arc::new(frontier(workload, args.seed));
        let (right, graded) = frontier.score(&workload.replays.concat());
        let simulated_accuracy = right as f64 / graded.max(1) as f64;
        let labels = workload.labels.clone();
        let gateway = DemoGateway::start(folder, &frontier, labels, &globals.quietly()).await?;
        narrator.say(&format!(
            "A simulated frontier model answers on loopback in 600-900 ms and is right on {:.1} % of this workload.",
            100.0 * simulated_accuracy
        ));

        let mut application =
            Application { model: "simulated-frontier".to_owned(), instructions: self.instructions() };
        let baseline =
            self.rehearse(&gateway, &application, BASELINE_STEP, (narrator, "all to the frontier")).await?;
        let (baseline_usage, from_ms) = gateway.usage_since(i64::MIN).await?;
        let sensitive_before = frontier.take_sensitive();

        "auto".clone_into(&mut application.model);
        gateway.enter(TaskStages::default()).await?;
        let template = self.discover(&gateway, &application, narrator).await?;
        let stages = |stage| TaskStages { intent: Some((template, stage)), ..TaskStages::default() };
        gateway.enter(stages(TaskStage::Recorded)).await?;
        let (recorded, what) = (workload.teach.clone(), "recording the frontier's answers");
        gateway.replay(&application, recorded, workload.teach_concurrency, (narrator, what)).await?;
        let (plan, student_of) = self.plan(&gateway);
        let taught = teach(&gateway, plan, cancel, narrator).await?;
        gateway.enter(stages(TaskStage::Taught)).await?;
        frontier.take_sensitive();
        let (_, until_ms) = gateway.usage_since(from_ms).await?;

        // Without a certificate everything still goes to the frontier, at its pace.
        let step = if taught.certified.is_ok() { 1 } else { BASELINE_STEP };
        let bantam = self.rehearse(&gateway, &application, step, (narrator, "through Bantam")).await?;
        let (bantam_usage, _) = gateway.usage_since(until_ms).await?;
        let sensitive_sent = frontier.take_sensitive();
        let further = self.further(&gateway, stages(TaskStage::Taught), narrator).await?;
        tracing::debug!(calls = frontier.received(), "the simulated frontier was called");
        let figures = DemoFigures {
            baseline,
            bantam,
            baseline_usage,
            bantam_usage,
            sensitive_before,
            sensitive_sent,
            simulated_accuracy,
            taught,
            student_of,
            further,
            seconds: begun.elapsed().as_secs_f64(),
        };
        Ok((gateway, figures))
    }

    fn instructions(self) -> String {
        format!(
            "You sort messages to a support desk. Answer with exactly one of these labels and nothing else: {}.",
            self.workload.labels.join(", ")
        )
    }

    /// Returns how the classifying student is taught, and what it looks at.
    fn plan(self, gateway: &DemoGateway) -> (TeachingPlan, &'static str) {
        let Self { workload, args, .. } = self;
        let (kind, student_of) = match &args.base {
            None => (StudentKind::Linear, "n-grams"),
            Some(_) => (StudentKind::Encoder, "an encoder's vectors and n-grams"),
        };
        let over_base = args.base.is_some();
        let request = TrainingRequest {
            base: args.base.clone(),
            features: over_base.then_some(Features::Joined),
            precision: over_base.then_some(BasePrecision::Int8),
            out_of_scope_label: workload.scope_label().map(str::to_owned),
            ..TrainingRequest::new(kind, gateway.student_path(INTENT))
        };
        let plan = TeachingPlan {
            task: INTENT,
            request,
            labels: workload.labels.clone(),
            schema: None,
            evidence: workload.certify.clone(),
            error_max: args.error,
        };
        (plan, student_of)
    }

    /// Replays the workload at each concurrency, or every `step`th message of it.
    async fn rehearse(
        self,
        gateway: &DemoGateway,
        application: &Application,
        step: usize,
        (narrator, what): (Narrator, &str),
    ) -> Result<Vec<ReplayFigures>, Failure> {
        let mut measured = Vec::new();
        for (messages, concurrency) in self.workload.replays.iter().zip(CONCURRENCIES) {
            let part: Vec<Message> = messages.iter().step_by(step).cloned().collect();
            let what = format!("{what}, {concurrency} at a time");
            let figures = gateway.replay(application, part, concurrency, (narrator, &what)).await?;
            narrator.say(&format!(
                "{what}: p50 {:.1} ms, {:.0} requests a second, {:.1} % right",
                figures.p50_ms,
                figures.requests_per_second,
                100.0 * figures.accuracy()
            ));
            measured.push(figures);
        }
        Ok(measured)
    }

    /// Lets some traffic through until the ledger knows its template: the one that most requests have.
    async fn discover(
        self,
        gateway: &DemoGateway,
        application: &Application,
        narrator: Narrator,
    ) -> Result<Template, Failure> {
        let some: Vec<Message> = self.workload.teach.iter().take(DISCOVERY).cloned().collect();
        gateway.replay(application, some, DISCOVERY, (narrator, "discovering tasks in the traffic")).await?;
        let reader = gateway.reader().await?;
        let found = reader.templates(TimeRange::ALL).await.map_err(|error| unreadable(&error))?;
        let most = found.into_iter().max_by_key(|found| found.usage.requests);
        let template = most
            .map(|found| found.record.template)
            .ok_or_else(|| Failure::new(Outcome::Failed, "the traffic's template was not discovered"))?;
        narrator.say(&format!("discovered a task in the traffic by its prompt: {template}"));
        Ok(template)
    }

    /// Shows the tasks besides the classification, one after the other.
    async fn further(
        self,
        gateway: &DemoGateway,
        stages: TaskStages,
        narrator: Narrator,
    ) -> Result<Vec<FurtherFigures>, Failure> {
        let Self { workload, args, cancel, .. } = self;
        let (mut figures, error_max) = (Vec::new(), args.error);
        if let Some(traffic) = &workload.orders {
            let of = |stage| TaskStages { order: Some(stage), ..stages };
            let task = FurtherTask::orders(gateway, traffic, error_max);
            figures.push(
                task.show(gateway, [of(TaskStage::Recorded), of(TaskStage::Taught)], (cancel, narrator))
                    .await?,
            );
        }
        if let Some(traffic) = &workload.replies {
            let order = workload.orders.is_some().then_some(TaskStage::Taught);
            let of = |stage| TaskStages { order, reply: Some(stage), ..stages };
            let task = FurtherTask::replies(gateway, traffic, error_max);
            figures.push(
                task.show(gateway, [of(TaskStage::Recorded), of(TaskStage::Taught)], (cancel, narrator))
                    .await?,
            );
        }
        Ok(figures)
    }
}

/// Returns the simulated model, which knows every message of a workload.
fn frontier(workload: &Workload, seed: u64) -> SimulatedFrontier {
    let known = SimulatedFrontier::new(&workload.messages(), &workload.labels, workload.skill, seed);
    let orders = workload.orders.iter().flat_map(Traffic::messages);
    let orders = orders.map(|message| (&*message.text, orders::answer(message, seed)));
    let replies = workload.replies.iter().flat_map(Traffic::messages);
    let replies = replies.map(|message| (&*message.text, replies::answer(message, seed)));
    known.with_answers(orders.chain(replies))
}
