//! The demo's gateway: a configuration file that changes, and the real gateway behind it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bantam_books::{BooksReader, TimeRange, Usage};
use bantam_config::Config;
use bantam_gateway::Gateway;
use bantam_scenario::{Application, ReplayFigures, SimulatedFrontier, orders, replay, replies};
use bantam_simulate::SimulatedUpstream;
use bantam_types::Template;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::narrator::Narrator;
use crate::books::{OpenBooks, unreadable};
use crate::commands::serve;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupts;
use crate::settings::Globals;

/// How long the running gateway may take to notice a changed file.
const RELOAD_PATIENCE: Duration = Duration::from_secs(20);
/// The task that classifies.
pub(super) const INTENT: &str = "intent";

/// A running gateway in a folder of its own, in front of a simulated frontier model.
pub(super) struct DemoGateway {
    folder: PathBuf,
    globals: Globals,
    base_url: String,
    labels: Vec<String>,
    pub(super) address: SocketAddr,
    gateway: Arc<Gateway>,
    books: OpenBooks,
    serving: JoinHandle<Result<(), Failure>>,
    stop: oneshot::Sender<()>,
    _upstream: SimulatedUpstream,
}

/// How far each task has come; nothing of those that the configuration does not name yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TaskStages {
    /// The task that was discovered in the traffic, by its template.
    pub(super) intent: Option<(Template, TaskStage)>,
    /// The task that extracts.
    pub(super) order: Option<TaskStage>,
    /// The task that writes.
    pub(super) reply: Option<TaskStage>,
}

/// How far a task has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskStage {
    /// Its answers are recorded.
    Recorded,
    /// It has a student.
    Taught,
}

impl DemoGateway {
    /// Starts the simulated frontier model and a gateway in front of it, with everything in `folder`.
    pub(super) async fn start(
        folder: &Path,
        frontier: &Arc<SimulatedFrontier>,
        labels: Vec<String>,
        globals: &Globals,
    ) -> Result<Self, Failure> {
        let upstream = frontier
            .start()
            .await
            .map_err(|error| Failure::from_error("cannot start the simulated frontier", &error))?;
        let base_url = upstream.base_url();
        let globals = globals.with_config(folder.join("bantam.toml"));
        std::fs::write(folder.join("order.schema.json"), orders::schema().to_string())
            .map_err(|error| Failure::from_error("cannot write the demo's schema", &error))?;
        write_config(&globals, &config_text(&base_url, &labels, None))?;
        let running = serve::prepare(&globals)?.listen().await?;
        let (address, gateway, books) =
            (running.address, Arc::clone(&running.gateway), running.books.clone());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(running.until(async { drop(stopped.await) }));
        let folder = folder.to_owned();
        Ok(Self {
            folder,
            globals,
            base_url,
            labels,
            address,
            gateway,
            books,
            serving,
            stop,
            _upstream: upstream,
        })
    }

    /// Returns where the student of a task is.
    pub(super) fn student_path(&self, task: &str) -> PathBuf {
        self.folder.join(if task == orders::NAME {
            "order.tagger".to_owned()
        } else {
            format!("{task}.student")
        })
    }

    /// Returns the configuration as it is now.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        self.globals.load()
    }

    /// Changes the configuration file and waits until the running gateway has taken it over by itself.
    pub(super) async fn enter(&self, stages: TaskStages) -> Result<(), Failure> {
        let before = self.gateway.deployment();
        write_config(&self.globals, &config_text(&self.base_url, &self.labels, Some(stages)))?;
        let patience = tokio::time::timeout(RELOAD_PATIENCE, async {
            while Arc::ptr_eq(&before, &self.gateway.deployment()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        patience.await.map_err(|_| {
            Failure::new(Outcome::Failed, "the gateway did not take over its changed configuration")
        })
    }

    /// Lets an application ask, and measures what it sees.
    pub(super) async fn replay(
        &self,
        application: &Application,
        messages: Vec<bantam_scenario::Message>,
        concurrency: usize,
        (narrator, what): (Narrator, &str),
    ) -> Result<ReplayFigures, Failure> {
        let bar = narrator.bar(what, messages.len());
        let figures =
            replay(self.address, application, &Arc::new(messages), concurrency, &bar.counter()).await;
        figures.map_err(|error| Failure::from_error("the replay broke", &error))
    }

    /// Brings the books up to date and opens them for reading.
    pub(super) async fn reader(&self) -> Result<Box<dyn BooksReader>, Failure> {
        let books = self.books.clone();
        // Waiting for the database would hold up the requests of this thread.
        let opening = tokio::task::spawn_blocking(move || {
            books.catch_up()?;
            books.reader()
        });
        opening.await.map_err(|error| Failure::from_error("cannot read the ledger", &error))?
    }

    /// Returns the books' figures since `from_ms`, and the millisecond from which the next part counts.
    pub(super) async fn usage_since(&self, from_ms: i64) -> Result<(Usage, i64), Failure> {
        let reader = self.reader().await?;
        let until_ms = jiff::Timestamp::now().as_millisecond() + 1;
        let range = TimeRange { from_unix_ms: from_ms, until_unix_ms: until_ms };
        let total = reader.total(range).await.map_err(|error| unreadable(&error))?;
        // The next part must not begin in the same millisecond.
        tokio::time::sleep(Duration::from_millis(2)).await;
        Ok((total, until_ms))
    }

    /// Stops the gateway and brings the ledger to rest.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let _ = self.stop.send(());
        self.serving.await.map_err(|error| Failure::from_error("the gateway broke", &error))?
    }

    /// Leaves the gateway running until somebody interrupts it.
    pub(super) async fn serve_until_interrupted(self, interrupts: &mut Interrupts) -> Result<(), Failure> {
        interrupts.next().await;
        self.close().await
    }
}

fn write_config(globals: &Globals, text: &str) -> Result<(), Failure> {
    let path = globals.config_path();
    // Written beside and renamed: the gateway never reads half a file.
    let partial = path.with_added_extension("partial");
    std::fs::write(&partial, text)
        .and_then(|()| std::fs::rename(&partial, &path))
        .map_err(|error| Failure::from_error(format!("cannot write {}", path.display()), &error))
}

/// Returns the demo's bantam.toml: Bantam's, or the one from before it.
fn config_text(base_url: &str, labels: &[String], stages: Option<TaskStages>) -> String {
    let mut text = format!(
        "[server]\nbind = \"127.0.0.1:0\"\n\n[ledger]\npath = \"ledger.sqlite\"\n\n\
         [upstreams.simulated]\ndialect = \"openai\"\nbase_url = \"{base_url}\"\nconcurrent_requests_max = 512\n\n\
         # A simulated model at a frontier model's price.\n\
         [models.simulated-frontier]\nupstream = \"simulated\"\ntier = \"frontier\"\n\
         price = {{ input = 1.25, cached_input = 0.125, output = 10.0, as_of = \"2026-11-01\" }}\n\n\
         [routing]\nladder = [\"simulated-frontier\"]\nbaseline = \"simulated-frontier\"\n"
    );
    let Some(stages) = stages else {
        text.push_str("\n# Before Bantam, everything went out.\n[privacy]\nfrontier = \"restricted\"\n");
        return text;
    };
    // Explicit, because a gateway does not accept a reload that drops a setting of [privacy].
    text.push_str("\n[privacy]\nfrontier = \"internal\"\n");
    let mut add = |task: &str, stage: TaskStage, student: &str| {
        text.push_str(task);
        text.push_str("record = true\n");
        text.push_str(if stage == TaskStage::Taught { student } else { "" });
    };
    if let Some((template, stage)) = stages.intent {
        let labels: Vec<String> = labels.iter().map(|label| format!("{label:?}")).collect();
        let labels = labels.join(", ");
        let task = format!(
            "\n[tasks.{INTENT}]\nkind = \"classify\"\nlabels = [{labels}]\ntemplates = [\"{template}\"]\n"
        );
        add(&task, stage, "student = \"intent.student\"\n");
    }
    if let Some(stage) = stages.order {
        let student = "student = \"order.tagger\"\nschema = \"order.schema.json\"\n";
        add(&format!("\n[tasks.{}]\nkind = \"extract\"\n", orders::NAME), stage, student);
    }
    if let Some(stage) = stages.reply {
        let student = "student = \"reply.student\"\n";
        add(&format!("\n[tasks.{}]\nkind = \"rewrite\"\n", replies::NAME), stage, student);
    }
    text
}
