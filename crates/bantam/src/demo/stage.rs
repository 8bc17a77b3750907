//! The demo's stage: a folder, a configuration file that changes, the gateway behind it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bantam_config::Config;
use bantam_gateway::Gateway;
use bantam_ledger::Ledger;
use bantam_simulate::SimulatedUpstream;
use bantam_types::{TaskName, Template};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::frontier::Frontier;
use super::orders;
use crate::commands::serve;
use crate::failure::{Failure, Outcome};
use crate::settings::Globals;

/// How long the running gateway may take to notice a changed file.
const RELOAD_PATIENCE: Duration = Duration::from_secs(20);

/// A running gateway in a folder of its own.
pub(crate) struct Stage {
    folder: tempfile::TempDir,
    globals: Globals,
    base_url: String,
    labels: Vec<String>,
    pub(crate) address: SocketAddr,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) ledger: Arc<Ledger>,
    serving: JoinHandle<Result<(), Failure>>,
    stop: oneshot::Sender<()>,
    _upstream: SimulatedUpstream,
}

/// What Bantam knows of its tasks; nothing of those that the configuration does not name yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The task that was discovered in the traffic, by its template.
    pub(crate) intent: Option<(Template, Step)>,
    /// The task that extracts.
    pub(crate) order: Option<Step>,
    /// The task that writes.
    pub(crate) reply: Option<Step>,
}

/// How far a task has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Its answers are recorded.
    Recorded,
    /// It has a student.
    Taught,
}

impl Stage {
    /// Starts the simulated frontier and a gateway in front of it.
    pub(crate) async fn start(
        frontier: &Arc<Frontier>,
        labels: Vec<String>,
        globals: &Globals,
    ) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("bantam-demo-")
            .tempdir()
            .map_err(|error| Failure::from_error("cannot make a folder for the demo", &error))?;
        let upstream = frontier
            .start()
            .await
            .map_err(|error| Failure::from_error("cannot start the simulated frontier", &error))?;
        let base_url = upstream.base_url();
        let globals = globals.with_config(folder.path().join("bantam.toml"));
        std::fs::write(folder.path().join("order.schema.json"), orders::schema().to_string())
            .map_err(|error| Failure::from_error("cannot write the demo's schema", &error))?;
        write_config(&globals, &config_text(&base_url, &labels, None))?;
        let running = serve::prepare(&globals)?.listen().await?;
        let (address, gateway, ledger) =
            (running.address, Arc::clone(&running.gateway), Arc::clone(&running.ledger));
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(running.until(async { drop(stopped.await) }));
        Ok(Self {
            folder,
            globals,
            base_url,
            labels,
            address,
            gateway,
            ledger,
            serving,
            stop,
            _upstream: upstream,
        })
    }

    /// Returns where the demo's student is.
    pub(crate) fn student_path(&self) -> PathBuf {
        self.folder.path().join("intent.student")
    }

    /// Returns where the student of the task that extracts is.
    pub(crate) fn order_student_path(&self) -> PathBuf {
        self.folder.path().join("order.tagger")
    }

    /// Returns where the student of the task that writes is.
    pub(crate) fn reply_student_path(&self) -> PathBuf {
        self.folder.path().join("reply.student")
    }

    /// Returns where the schema of the task that extracts is.
    pub(crate) fn order_schema_path(&self) -> PathBuf {
        self.folder.path().join("order.schema.json")
    }

    /// Returns the configuration as it is now.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        self.globals.load()
    }

    /// Returns where its certificate is.
    pub(crate) fn certificate_path(&self) -> PathBuf {
        self.folder.path().join("intent.certificate.json")
    }

    /// Changes the configuration file and waits until the running gateway has taken it over by itself.
    pub(crate) async fn enter(&self, known: Known) -> Result<(), Failure> {
        let before = self.gateway.deployment();
        write_config(&self.globals, &config_text(&self.base_url, &self.labels, Some(known)))?;
        let patience = tokio::time::timeout(RELOAD_PATIENCE, async {
            while Arc::ptr_eq(&before, &self.gateway.deployment()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        patience.await.map_err(|_| {
            Failure::new(Outcome::Failed, "the gateway did not take over its changed configuration")
        })
    }

    /// Returns the task's name.
    pub(crate) fn task() -> Result<TaskName, Failure> {
        "intent".parse().map_err(|error| Failure::from_error("cannot name the task", &error))
    }

    /// Stops the gateway and brings the ledger to rest.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        let _ = self.stop.send(());
        self.serving.await.map_err(|error| Failure::from_error("the gateway broke", &error))?
    }

    /// Leaves the gateway running until somebody interrupts it.
    pub(crate) async fn serve_until_interrupted(self) -> Result<(), Failure> {
        let _ = tokio::signal::ctrl_c().await;
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
fn config_text(base_url: &str, labels: &[String], known: Option<Known>) -> String {
    let mut text = format!(
        "[server]\nbind = \"127.0.0.1:0\"\n\n[ledger]\npath = \"ledger.sqlite\"\n\n\
         [upstreams.simulated]\ndialect = \"openai\"\nbase_url = \"{base_url}\"\nconcurrent_requests_max = 512\n\n\
         # A simulated model at a frontier model's price.\n\
         [models.simulated-frontier]\nupstream = \"simulated\"\ntier = \"frontier\"\n\
         price = {{ input = 1.25, cached_input = 0.125, output = 10.0, as_of = \"2026-11-01\" }}\n\n\
         [routing]\nladder = [\"simulated-frontier\"]\nbaseline = \"simulated-frontier\"\n"
    );
    let Some(known) = known else {
        text.push_str("\n# Before Bantam, everything went out.\n[privacy]\nfrontier = \"restricted\"\n");
        return text;
    };
    // Said outright: a gateway does not take over a file that has lost a setting of [privacy].
    text.push_str("\n[privacy]\nfrontier = \"internal\"\n");
    let mut add = |task: &str, step: Step, student: &str| {
        text.push_str(task);
        text.push_str("record = true\n");
        text.push_str(if step == Step::Taught { student } else { "" });
    };
    if let Some((template, step)) = known.intent {
        let labels: Vec<String> = labels.iter().map(|label| format!("{label:?}")).collect();
        let labels = labels.join(", ");
        let task = format!(
            "\n[tasks.intent]\nkind = \"classify\"\nlabels = [{labels}]\ntemplates = [\"{template}\"]\n"
        );
        add(&task, step, "student = \"intent.student\"\n");
    }
    if let Some(step) = known.order {
        let student = "student = \"order.tagger\"\nschema = \"order.schema.json\"\n";
        add("\n[tasks.order]\nkind = \"extract\"\n", step, student);
    }
    if let Some(step) = known.reply {
        add("\n[tasks.reply]\nkind = \"rewrite\"\n", step, "student = \"reply.student\"\n");
    }
    text
}
