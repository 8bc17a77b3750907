//! `bantam serve`: the gateway, its reloads and its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bantam_config::Config;
use bantam_gateway::Gateway;
use bantam_ledger::{Ledger, TimeRange};
use tokio::net::TcpListener;

use crate::deploy::{self, LocalModels, Memory, Present};
use crate::failure::Failure;
use crate::output;
use crate::settings::{Globals, ProcessEnv};

/// How often files are looked at for changes.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) fn run(globals: &Globals) -> Result<(), Failure> {
    start_log();
    let config = globals.load()?;
    let runtime = super::runtime(config.server.threads)?;
    runtime.block_on(async {
        // Before anybody is told that it runs: whoever is told may ask it to stop.
        let stop = stop_signal()?;
        let running = start(globals, &config).await?;
        if !globals.quiet {
            output::note(format!(
                "bantam {} is serving on http://{}",
                env!("CARGO_PKG_VERSION"),
                running.address
            ));
        }
        running.until(stop).await
    })
}

/// A gateway that is listening.
pub(crate) struct Running {
    /// Where it listens.
    pub(crate) address: std::net::SocketAddr,
    /// The gateway itself.
    pub(crate) gateway: Arc<Gateway>,
    /// Its ledger.
    pub(crate) ledger: Arc<Ledger>,
    listener: TcpListener,
    guard: bantam_server::Guard,
    settings: bantam_server::ServerSettings,
    globals: Globals,
    config: Config,
    memory: Arc<Memory>,
    present: Arc<Present>,
}

/// Builds everything and binds the port; nothing is answered before [`Running::until`].
pub(crate) async fn start(globals: &Globals, config: &Config) -> Result<Running, Failure> {
    let memory = Arc::new(Memory::new(config));
    let (deployment, models) = deploy::deployment(config, &ProcessEnv, None, &memory)?;
    let ledger = Arc::new(deploy::open_ledger(config)?);
    let known =
        ledger.reader().ok().and_then(|reader| reader.templates(TimeRange::ALL).ok()).unwrap_or_default();
    let gateway =
        Gateway::new(deployment, Arc::clone(&ledger), deploy::admission(config), deploy::id_seed()?);
    gateway.learn_templates(known.iter().map(|found| found.record.template));
    let gateway = Arc::new(gateway);
    preload(&models).await?;
    let present = Arc::new(Present::new(models, Arc::clone(&gateway)));
    let bind = config.server.bind;
    let listener = TcpListener::bind(bind).await.map_err(|error| {
        Failure::from_error(format!("cannot listen on {bind}"), &error)
            .hint("another program may have the port: choose one with --set server.bind=127.0.0.1:PORT")
    })?;
    let address = listener.local_addr().map_err(|error| Failure::from_error("cannot listen", &error))?;
    Ok(Running {
        address,
        gateway,
        ledger,
        guard: deploy::guard(config, &ProcessEnv, address)?,
        settings: deploy::server_settings(config),
        listener,
        globals: globals.clone(),
        config: config.clone(),
        memory,
        present,
    })
}

/// Loads the models that are to be there before the first request.
async fn preload(models: &LocalModels) -> Result<(), Failure> {
    for (name, backend) in deploy::preloads(models) {
        backend.preload().await.map_err(|error| {
            Failure::from_error(format!("cannot load the model `{name}`"), &error)
                .hint("leave `preload` out to load it when it is asked for, or give it room: local.memory")
        })?;
    }
    Ok(())
}

impl Running {
    /// Serves until `stop`, then drains, then brings the ledger to rest.
    pub(crate) async fn until(self, stop: impl Future<Output = ()>) -> Result<(), Failure> {
        let room = self.memory.room().clone();
        let tending = tokio::spawn(async move { room.tend().await });
        let holdings = (self.memory, Arc::clone(&self.present));
        let watching = tokio::spawn(watch(self.globals, self.config, Arc::clone(&self.gateway), holdings));
        let served =
            bantam_server::serve(self.listener, self.gateway, self.guard, self.settings, self.present, stop)
                .await;
        watching.abort();
        tending.abort();
        self.ledger.close().map_err(|error| Failure::from_error("cannot close the ledger", &error))?;
        served.map_err(|error| Failure::from_error("the server stopped", &error))
    }
}

/// Looks for changed files and deploys what is good; what is not is refused and the old stays.
async fn watch(
    globals: Globals,
    config: Config,
    gateway: Arc<Gateway>,
    (memory, present): (Arc<Memory>, Arc<Present>),
) {
    let mut watched = watched_files(&globals, &config);
    let mut seen = stamps(&watched);
    let mut serving = config;
    let serving_quietly = globals.quiet;
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        let now = stamps(&watched);
        if now == seen {
            continue;
        }
        seen = now;
        let (globals, previous, memory) = (globals.clone(), gateway.deployment(), Arc::clone(&memory));
        // Reading students from disk would hold up the requests of this thread.
        let built = tokio::task::spawn_blocking(move || {
            let config = globals.load()?;
            let (deployment, models) = deploy::deployment(&config, &ProcessEnv, Some(&previous), &memory)?;
            Ok::<_, Failure>((globals, config, deployment, models))
        });
        match built.await {
            Ok(Ok((globals, config, deployment, models))) => {
                gateway.deploy(deployment);
                let preloads = deploy::preloads(&models);
                present.replace(models);
                tokio::spawn(async move {
                    for (_, backend) in preloads {
                        // Its log says why it could not be loaded.
                        let _ = backend.preload().await;
                    }
                });
                let settled_at_start = config.server != serving.server || config.ledger != serving.ledger;
                if settled_at_start && !globals.quiet {
                    output::note("warning: changes of [server] and [ledger] take effect at the next start");
                }
                watched = watched_files(&globals, &config);
                seen = stamps(&watched);
                serving = config;
                tracing::info!("the configuration was reloaded");
                if !serving_quietly {
                    output::note("the configuration was reloaded");
                }
            }
            Ok(Err(failure)) => {
                output::failure(&failure, false);
                output::note("the changed configuration was refused; the one before stays in force");
            }
            Err(_) => {
                output::note("the changed configuration could not be read; the one before stays in force");
            }
        }
    }
}

fn watched_files(globals: &Globals, config: &Config) -> Vec<PathBuf> {
    let tasks = config.tasks.values();
    let files = tasks.flat_map(|task| [task.student.clone(), deploy::certificate_path(task)]);
    std::iter::once(globals.config_path()).chain(files.flatten()).collect()
}

/// Returns when each file changed last and how large it is.
fn stamps(files: &[PathBuf]) -> Vec<Option<(SystemTime, u64)>> {
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(stamp).collect()
}

/// Listens from now on for the signals that ask for an end, and returns what is ready when one came.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen =
        |kind| signal(kind).map_err(|error| Failure::from_error("cannot listen for signals", &error));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Starts the log: warnings and errors to standard error, more with `RUST_LOG`.
pub(crate) fn start_log() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_env_var(crate::environment::RUST_LOG.name)
        .with_default_directive(tracing::Level::WARN.into())
        .from_env_lossy();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
