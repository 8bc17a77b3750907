//! `bantam serve`: the gateway, its reloads and its end.

use std::sync::Arc;
use std::time::Duration;

use bantam_backend::MemoryBudget;
use bantam_config::Config;
use bantam_deploy::{Loaded, Reload, Reloader, ServedModels, preloads};
use bantam_gateway::{FinishedRequest, Gateway, Observer, Observers};
use bantam_server::{Guard, GuardSettings, ServerSettings};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::books::{OpenBooks, unreadable};
use crate::deploy::{LocalModels, admission, id_seed};
use crate::failure::Failure;
use crate::output;
use crate::settings::{Globals, ProcessEnv};

/// How often files are looked at for changes.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) fn run(globals: &Globals) -> Result<(), Failure> {
    start_log();
    let prepared = prepare(globals)?;
    let runtime = super::runtime(prepared.loaded.config.server.threads)?;
    runtime.block_on(async {
        // Before anybody is told that it runs: whoever is told may ask it to stop.
        let stop = stop_signal()?;
        let running = prepared.listen().await?;
        if !globals.quiet {
            let version = env!("CARGO_PKG_VERSION");
            output::note(format!("bantam {version} is serving on http://{}", running.address));
        }
        running.until(stop).await
    })
}

/// A deployment that is ready to be served.
pub(crate) struct Prepared {
    loaded: Loaded,
    reloader: Reloader,
    globals: Globals,
}

/// Reads the configuration and opens everything that it names.
pub(crate) fn prepare(globals: &Globals) -> Result<Prepared, Failure> {
    let read = globals.deployment_source()?.read()?;
    globals.warn(&read.config);
    let (loaded, reloader) = read.build()?;
    globals.warn_of(&loaded.built.warnings);
    Ok(Prepared { loaded, reloader, globals: globals.clone() })
}

/// A gateway that is listening.
pub(crate) struct Running {
    /// Where it listens.
    pub(crate) address: std::net::SocketAddr,
    /// The gateway itself.
    pub(crate) gateway: Arc<Gateway>,
    /// Its books.
    pub(crate) books: OpenBooks,
    listener: TcpListener,
    guard: Guard,
    settings: ServerSettings,
    globals: Globals,
    reloader: Reloader,
    models: Arc<ServedModels>,
}

impl Prepared {
    /// Opens the books and binds the port; nothing is answered before [`Running::until`].
    pub(crate) async fn listen(self) -> Result<Running, Failure> {
        let Self { loaded: Loaded { config, built }, reloader, globals } = self;
        let books = OpenBooks::open(&config)?;
        let known = books.reader()?.template_records().await.map_err(|error| unreadable(&error))?;
        let gateway = Gateway::new(built.deployment, books.books(), admission(&config), id_seed()?);
        let gateway = gateway.observed_by(observers()?).keeping_alive(config.server.stream_keep_alive);
        gateway.learn_templates(known.iter().map(|record| record.template));
        let gateway = Arc::new(gateway);
        preload(&built.models).await?;
        let models = Arc::new(ServedModels::new(built.models, Arc::clone(&gateway)));
        let bind = config.server.bind;
        let listener = TcpListener::bind(bind).await.map_err(|error| {
            Failure::from_error(format!("cannot listen on {bind}"), &error)
                .hint("another program may have the port: choose one with --set server.bind=127.0.0.1:PORT")
        })?;
        let address = listener.local_addr().map_err(|error| Failure::from_error("cannot listen", &error))?;
        let settings = server_settings(&config, reloader.memory().requests().clone());
        let guard = guard(&config, address)?;
        Ok(Running { address, gateway, books, listener, guard, settings, globals, reloader, models })
    }
}

/// Loads the models that are to be there before the first request.
async fn preload(models: &LocalModels) -> Result<(), Failure> {
    for (name, backend) in preloads(models) {
        backend.preload().await.map_err(|error| {
            Failure::from_error(format!("cannot load the model `{name}`"), &error)
                .hint("leave `preload` out to load it when it is asked for, or give it room: local.memory")
        })?;
    }
    Ok(())
}

impl Running {
    /// Serves until `stop`, then drains, then brings the books to rest.
    pub(crate) async fn until(self, stop: impl Future<Output = ()>) -> Result<(), Failure> {
        let room = self.reloader.memory().room().clone();
        let tending = tokio::spawn(async move { room.tend().await });
        let reloader = Arc::new(Mutex::new(self.reloader));
        let watch = Watch {
            reloader,
            gateway: Arc::clone(&self.gateway),
            models: Arc::clone(&self.models),
            globals: self.globals,
        };
        let watching = tokio::spawn(watch.run());
        let served =
            bantam_server::serve(self.listener, self.gateway, self.guard, self.settings, self.models, stop)
                .await;
        watching.abort();
        tending.abort();
        let books = self.books;
        let closed = tokio::task::spawn_blocking(move || books.close()).await;
        closed.map_err(|error| Failure::from_error("cannot close the ledger", &error))??;
        served.map_err(|error| Failure::from_error("the server stopped", &error))
    }
}

/// What looks for changed files and deploys what is good; what is not is refused, and the old stays.
struct Watch {
    reloader: Arc<Mutex<Reloader>>,
    gateway: Arc<Gateway>,
    models: Arc<ServedModels>,
    globals: Globals,
}

impl Watch {
    async fn run(self) {
        // Without the signal, files are watched all the same.
        let mut hangup = signal(SignalKind::hangup()).ok();
        loop {
            let is_asked = tokio::select! {
                () = tokio::time::sleep(WATCH_INTERVAL) => false,
                () = hung_up(&mut hangup) => true,
            };
            let (reloader, previous) = (Arc::clone(&self.reloader), self.gateway.deployment());
            let settled_before = self.settled_at_start();
            // Reading students from disk would hold up the requests of this thread.
            let looked = tokio::task::spawn_blocking(move || {
                let mut reloader = reloader.lock();
                if is_asked {
                    reloader.confirm();
                }
                reloader.look(&previous)
            });
            match looked.await {
                Ok(Reload::Unchanged | Reload::Settling) => {}
                Ok(Reload::Loaded(loaded)) => self.deploy(*loaded, settled_before),
                Ok(Reload::Refused(refusal)) => {
                    output::failure(&(*refusal).into(), false);
                    output::note("the changed configuration was refused; the one before stays in force");
                }
                Err(_) => {
                    output::note(
                        "the changed configuration could not be read; the one before stays in force",
                    );
                }
            }
        }
    }

    /// Returns what changes only at a start.
    fn settled_at_start(&self) -> (bantam_config::Server, bantam_config::Ledger) {
        let reloader = self.reloader.lock();
        (reloader.serving().server.clone(), reloader.serving().ledger.clone())
    }

    fn deploy(&self, loaded: Loaded, before: (bantam_config::Server, bantam_config::Ledger)) {
        self.globals.warn(&loaded.config);
        self.globals.warn_of(&loaded.built.warnings);
        let Loaded { config, built } = loaded;
        self.gateway.deploy(built.deployment);
        let wanted = preloads(&built.models);
        self.models.replace(built.models);
        tokio::spawn(async move {
            for (_, backend) in wanted {
                // Its log says why it could not be loaded.
                let _ = backend.preload().await;
            }
        });
        tracing::info!("the configuration was reloaded");
        if self.globals.quiet {
            return;
        }
        if (config.server, config.ledger) != before {
            output::note("warning: changes of [server] and [ledger] take effect at the next start");
        }
        output::note("the configuration was reloaded");
    }
}

/// Is ready when somebody asks for a reload.
async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Listens from now on for the signals that ask for an end, and returns what is ready when one came.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
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

/// How many finished requests may wait for those who watch them.
const OBSERVER_PLACES: usize = 1024;

/// Returns who watches finished requests: the log, when somebody reads that much of it.
fn observers() -> Result<Observers, Failure> {
    let mut watching: Vec<Box<dyn Observer>> = Vec::new();
    if tracing::enabled!(tracing::Level::DEBUG) {
        watching.push(Box::new(RequestLog));
    }
    Observers::start(watching, OBSERVER_PLACES)
        .map_err(|error| Failure::from_error("cannot start a thread", &error))
}

/// Writes a line for each finished request into the log.
struct RequestLog;

impl Observer for RequestLog {
    fn observe(&mut self, finished: &FinishedRequest) {
        let request = &finished.settlement;
        let answered_by = bantam_books::deciding_attempt(&request.attempts)
            .and_then(|at| request.attempts.get(at))
            .map(|attempt| &*attempt.backend);
        tracing::debug!(
            request_id = %format_args!("req_{:032x}", request.request_id),
            endpoint = request.endpoint.as_deref(),
            caller = request.caller.as_deref(),
            task = request.task.as_ref().map(bantam_types::TaskName::as_str),
            outcome = request.outcome.as_str(),
            status = request.status,
            model = answered_by,
            duration_us = request.duration_us,
            "request finished"
        );
    }
}

/// Returns the guard in front of the server.
fn guard(config: &Config, bind: std::net::SocketAddr) -> Result<Guard, Failure> {
    use bantam_config::Env as _;
    let keyed = |name: &String| Some((name.clone(), ProcessEnv.get(name)?));
    let keys = config.server.api_key_envs.iter().filter_map(keyed).collect();
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| Failure::from_error("cannot get random bytes", &error))?;
    Ok(Guard::new(GuardSettings {
        bind,
        allowed_hosts: config.server.allowed_hosts.clone(),
        allowed_origins: config.server.allowed_origins.clone(),
        keys,
        secret,
    }))
}

/// Returns the server's limits.
fn server_settings(config: &Config, memory: MemoryBudget) -> ServerSettings {
    ServerSettings {
        memory,
        write_timeout: config.server.write_timeout,
        body_bytes_max: config.server.body_bytes_max,
        header_timeout: config.server.header_timeout,
        body_timeout: config.server.body_timeout,
        idle_timeout: config.server.idle_timeout,
        drain_timeout: config.server.drain_timeout,
    }
}

/// Starts the log: warnings and errors to standard error, more with `RUST_LOG`.
pub(crate) fn start_log() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_env_var(crate::environment::RUST_LOG.name)
        .with_default_directive(tracing::Level::WARN.into())
        .from_env_lossy();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
