//! The demo's tasks besides the classification: one that extracts, one that writes.

use bantam_books::Usage;
use bantam_scenario::{Application, Message, ReplayFigures, Traffic, orders, replies};
use bantam_teach::{StudentKind, TaskFacts, TrainingRequest};
use bantam_types::{Cancel, TaskKind, Tier};

use super::gateway::{DemoGateway, TaskStages};
use super::narrator::Narrator;
use super::teaching::{TaughtTask, TeachingPlan, teach};
use crate::failure::Failure;

/// Every this many of the replay is sent to the frontier model alone.
const BASELINE_STEP: usize = 48;
const CONCURRENCY: usize = 32;
const TEACH_CONCURRENCY: usize = 256;

/// A task besides the classification.
pub(super) struct FurtherTask<'t> {
    /// What a right answer is.
    right: &'static str,
    /// What the application tells a model to do.
    instructions: &'static str,
    traffic: &'t Traffic,
    plan: TeachingPlan,
}

/// What the demo measured of such a task.
pub(super) struct FurtherFigures {
    pub(super) name: &'static str,
    /// What a right answer is.
    pub(super) right: &'static str,
    pub(super) before: ReplayFigures,
    pub(super) after: ReplayFigures,
    pub(super) before_usage: Usage,
    pub(super) after_usage: Usage,
    pub(super) taught: TaughtTask,
}

impl FurtherFigures {
    /// Returns the share of requests that the task's student answered.
    pub(super) fn local_share(&self) -> f64 {
        self.after_usage.answered_share(Tier::Local)
    }
}

impl<'t> FurtherTask<'t> {
    /// Returns the task that extracts, with a tagger over words.
    pub(super) fn orders(gateway: &DemoGateway, traffic: &'t Traffic, error_max: f64) -> Self {
        let (task, schema) = (orders::NAME, Some(orders::schema()));
        let facts = TaskFacts {
            kind: TaskKind::Extract,
            labels: Vec::new(),
            instructions: None,
            schema: schema.clone(),
        };
        let request = TrainingRequest {
            task: Some(facts),
            ..TrainingRequest::new(StudentKind::Tagger, gateway.student_path(task))
        };
        let plan = TeachingPlan { task, request, labels: Vec::new(), schema, evidence: None, error_max };
        Self { right: "whole object", instructions: orders::INSTRUCTIONS, traffic, plan }
    }

    /// Returns the task that writes, with a decoder from nothing. A larger one takes longer to find what it is to copy.
    pub(super) fn replies(gateway: &DemoGateway, traffic: &'t Traffic, error_max: f64) -> Self {
        let request = TrainingRequest {
            instructions: Some("Reply.".to_owned()),
            size: Some(150_000),
            batch_rows: Some(4),
            rate: Some(0.002),
            epochs: Some(12),
            held_out: Some(0.05),
            ..TrainingRequest::new(StudentKind::Decoder, gateway.student_path(replies::NAME))
        };
        let plan = TeachingPlan {
            task: replies::NAME,
            request,
            labels: Vec::new(),
            schema: None,
            evidence: None,
            error_max,
        };
        Self { right: "same text", instructions: replies::INSTRUCTIONS, traffic, plan }
    }

    /// Shows the task: before, a student from recorded answers, after. `stages` are those of all tasks when this one is
    /// recorded, and when it has its student.
    pub(super) async fn show(
        self,
        gateway: &DemoGateway,
        [recorded, with_student]: [TaskStages; 2],
        (cancel, narrator): (&Cancel, Narrator),
    ) -> Result<FurtherFigures, Failure> {
        let Self { right, instructions, traffic, plan } = self;
        let name = plan.task;
        let application = |model: String| Application { model, instructions: instructions.to_owned() };
        let own = application(format!("task/{name}"));
        let (_, from_ms) = gateway.usage_since(i64::MIN).await?;
        let frontier = application("simulated-frontier".to_owned());
        let what = format!("`{name}`, all to the frontier");
        let before = measured(gateway, &frontier, traffic, BASELINE_STEP, (narrator, &what)).await?;
        let (before_usage, _) = gateway.usage_since(from_ms).await?;
        gateway.enter(recorded).await?;
        let what = format!("recording the frontier's answers for `{name}`");
        gateway.replay(&own, traffic.teach.clone(), TEACH_CONCURRENCY, (narrator, &what)).await?;
        let taught = teach(gateway, plan, cancel, narrator).await?;
        gateway.enter(with_student).await?;
        let (_, until_ms) = gateway.usage_since(from_ms).await?;
        let step = if taught.certified.is_ok() { 1 } else { BASELINE_STEP };
        let what = format!("`{name}`, through Bantam");
        let after = measured(gateway, &own, traffic, step, (narrator, &what)).await?;
        let (after_usage, _) = gateway.usage_since(until_ms).await?;
        Ok(FurtherFigures { name, right, before, after, before_usage, after_usage, taught })
    }
}

async fn measured(
    gateway: &DemoGateway,
    application: &Application,
    traffic: &Traffic,
    step: usize,
    (narrator, what): (Narrator, &str),
) -> Result<ReplayFigures, Failure> {
    let messages: Vec<Message> = traffic.replay.iter().step_by(step).cloned().collect();
    let figures = gateway.replay(application, messages, CONCURRENCY, (narrator, what)).await?;
    narrator.say(&format!(
        "{what}, {CONCURRENCY} at a time: p50 {:.1} ms, {:.1} % of answers right",
        figures.p50_ms,
        100.0 * figures.accuracy()
    ));
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bantam_scenario::{Random, SimulatedFrontier, Skill};

    use super::*;
    use crate::cli::GlobalArgs;
    use crate::demo::gateway::TaskStage;
    use crate::settings::Globals;

    /// A message that is replied to by its product, whatever its number.
    fn easy(random: &mut Random) -> Message {
        let (product, number) = (random.pick(&["kettle", "lamp", "tent", "desk"]), random.below(9000));
        let (text, truth) = (format!("{product} {number}"), Some(format!("We send a {product}.")));
        Message { text, truth, mistakable_for: None, sensitive: false }
    }

    async fn shown(rate: f64, epochs: u32) -> FurtherFigures {
        let traffic = Traffic::drawn((500, 96), easy, &mut Random::new(6));
        let skill = Skill { plain_error: 0.0, ambiguous_error: 0.0 };
        let messages: Vec<Message> = traffic.messages().cloned().collect();
        let frontier = Arc::new(SimulatedFrontier::new(&messages, &[], skill, 6));
        let globals = GlobalArgs { config: None, set: Vec::new(), json: false, quiet: true, offline: false };
        let globals = Globals::new(globals);
        let folder = tempfile::tempdir().unwrap();
        let gateway = DemoGateway::start(folder.path(), &frontier, Vec::new(), &globals).await.unwrap();
        let stages = [TaskStage::Recorded, TaskStage::Taught]
            .map(|stage| TaskStages { reply: Some(stage), ..TaskStages::default() });
        let mut task = FurtherTask::replies(&gateway, &traffic, 0.1);
        task.plan.request = TrainingRequest {
            size: Some(100_000),
            rate: Some(rate),
            epochs: Some(epochs),
            batch_rows: None,
            held_out: None,
            ..task.plan.request
        };
        let (cancel, narrator) = (Cancel::new(), Narrator::new(&globals));
        let figures = task.show(&gateway, stages, (&cancel, narrator)).await.unwrap();
        gateway.close().await.unwrap();
        figures
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_certified_is_answered_here() {
        let figures = shown(0.002, 8).await;
        assert_eq!(figures.taught.uncertified(), None);
        assert!(figures.local_share() > 0.5, "{}", figures.local_share());
        assert!(figures.after.accuracy() > 0.85 && figures.after.requests == 96, "{:?}", figures.after);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_not_certified_goes_up_and_the_table_says_why() {
        let figures = shown(0.00001, 1).await;
        assert!(figures.taught.uncertified().is_some_and(|why| why.contains("not certifiable")));
        assert_eq!((figures.local_share(), figures.after.accuracy()), (0.0, 1.0));
    }
}
