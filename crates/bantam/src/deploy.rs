//! From a validated configuration to what the gateway serves: upstreams, students, certificates.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bantam_config::{Config, Env, ModelSource};
use bantam_gateway::{AdmissionLimits, Deployment, Rung, Task, TokenRatio};
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions};
use bantam_privacy::{DictionaryTerm, PrivacyPolicy, Scanner, ScannerConfig};
use bantam_remote::{Auth, Dialect, Engine, RemoteModel, Upstream, UpstreamSettings};
use bantam_route::RungKind;
use bantam_server::{Guard, GuardSettings, ServerSettings};
use bantam_student::Bases;
use bantam_types::{Price, TaskKind, TaskName, UsdPerMillion};
use bantam_wire::DecodeLimits;

mod decoders;
mod encoders;
mod local;
mod memory;
mod residents;
mod stored;
mod students;

use crate::failure::Failure;
pub(crate) use decoders::{hash as decoder_hash, open_decoder, read_decoder, task_decoder};
pub(crate) use local::LocalModels;
pub(crate) use memory::Memory;
pub(crate) use residents::{Present, Resident, preloads};
pub(crate) use students::{
    Here, certificate_path, check_writer, decoder, load_student, read_schema, shape, tagger, unusable,
};

/// Models by the name that callers say.
type Rungs = BTreeMap<Arc<str>, Arc<Rung>>;

/// Builds everything that `config` names. `previous` lends what was learned about its tasks, and `memory` keeps what
/// is loaded, for all who stand on it and over reloads.
pub(crate) fn deployment(
    config: &Config,
    env: &dyn Env,
    previous: Option<&Deployment>,
    memory: &Memory,
) -> Result<(Deployment, LocalModels), Failure> {
    let (models, local) = models(config, env, memory)?;
    let here = Here { memory, local: &local };
    let mut tasks = BTreeMap::new();
    for (name, task) in &config.tasks {
        let known = previous.and_then(|previous| previous.tasks.get(name));
        let tokens = known.map_or_else(|| Arc::new(TokenRatio::default()), |known| Arc::clone(&known.tokens));
        tasks.insert(name.clone(), Arc::new(build_task(name, task, &models, here, tokens)?));
    }
    let templates = config
        .tasks
        .iter()
        .flat_map(|(name, task)| task.templates.iter().map(|template| (*template, name.clone())));
    let templates: HashMap<_, _> = templates.collect();
    let auto_ladder =
        config.routing.ladder.iter().filter_map(|name| models.get(name.as_str()).cloned()).collect();
    let baseline = config.routing.baseline.as_ref().and_then(|name| config.models.get(name)?.price.clone());
    let deployment = Deployment {
        scanner: scanner(config)?,
        policy: PrivacyPolicy { mid_max: config.privacy.mid, frontier_max: config.privacy.frontier },
        decode_limits: DecodeLimits {
            json_depth_max: config.server.json_depth_max,
            messages_max: DecodeLimits::MESSAGES_MAX,
        },
        models,
        tasks,
        templates,
        auto_ladder,
        auto_names: config.routing.auto_names.iter().cloned().collect(),
        baseline: baseline.map(Arc::new),
    };
    Ok((deployment, local))
}

fn scanner(config: &Config) -> Result<Scanner, Failure> {
    let dictionary = config
        .privacy
        .dictionary
        .iter()
        .map(|entry| DictionaryTerm { term: entry.term.clone(), label: entry.label })
        .collect();
    Scanner::new(&ScannerConfig { dictionary })
        .map_err(|error| Failure::from_error("cannot build the privacy scanner", &error))
}

fn models(config: &Config, env: &dyn Env, memory: &Memory) -> Result<(Rungs, LocalModels), Failure> {
    let mut upstreams = BTreeMap::new();
    for (name, upstream) in &config.upstreams {
        let settings = upstream_settings(upstream, env)?;
        let built = Upstream::new(settings)
            .and_then(|built| match upstream.kind {
                Some(kind) => built.with_engine(engine(kind)),
                None => Ok(built),
            })
            .map_err(|error| Failure::from_error(format!("cannot use the upstream `{name}`"), &error))?;
        upstreams.insert(name.as_str(), Arc::new(built));
    }
    let mut models = BTreeMap::new();
    for (name, model) in &config.models {
        let ModelSource::Upstream { upstream, name: called } = &model.source else { continue };
        let Some(upstream) = upstreams.get(upstream.as_str()) else { continue };
        let rung = Arc::new(remote_rung(name, model, upstream, called)?);
        models.insert(Arc::clone(&rung.name), rung);
    }
    let (rungs, local) = local::rungs(config, memory)?;
    models.extend(rungs.into_iter().map(|rung| (Arc::clone(&rung.name), Arc::new(rung))));
    Ok((models, local))
}

fn remote_rung(
    name: &str,
    model: &bantam_config::Model,
    upstream: &Arc<Upstream>,
    called: &str,
) -> Result<Rung, Failure> {
    let backend = RemoteModel::new(Arc::clone(upstream), called.to_owned(), model.tier)
        .map_err(|error| Failure::from_error(format!("cannot use the model `{name}`"), &error))?;
    Ok(Rung {
        name: name.into(),
        model: called.into(),
        tier: model.tier,
        kind: RungKind::Model,
        context_tokens: model.context_tokens,
        price: model.price.clone().map(Arc::new),
        gate: None,
        backend: Arc::new(backend),
    })
}

/// Returns the engine that an upstream is said to be; nothing where it is to be found out.
const fn engine(kind: bantam_config::EngineKind) -> Option<Engine> {
    match kind {
        bantam_config::EngineKind::Auto => None,
        bantam_config::EngineKind::Ollama => Some(Engine::Ollama),
        bantam_config::EngineKind::LlamaServer => Some(Engine::LlamaServer),
        bantam_config::EngineKind::LlamaCppPython => Some(Engine::LlamaCppPython),
        bantam_config::EngineKind::Vllm => Some(Engine::Vllm),
    }
}

fn upstream_settings(upstream: &bantam_config::Upstream, env: &dyn Env) -> Result<UpstreamSettings, Failure> {
    let extra_roots_pem = upstream
        .ca_file
        .as_deref()
        .map(std::fs::read)
        .transpose()
        .map_err(|error| Failure::from_error("cannot read a `ca_file`", &error))?;
    Ok(UpstreamSettings {
        base_url: upstream.base_url.clone(),
        path: upstream.path.clone(),
        dialect: match upstream.dialect {
            bantam_config::Dialect::OpenAi => Dialect::OpenAi,
            bantam_config::Dialect::Anthropic => Dialect::Anthropic,
        },
        auth: match upstream.auth {
            bantam_config::Auth::Bearer => Auth::Bearer,
            bantam_config::Auth::ApiKey => Auth::ApiKey,
            bantam_config::Auth::XApiKey => Auth::XApiKey,
            bantam_config::Auth::None => Auth::None,
        },
        api_key: upstream.api_key_env.as_deref().and_then(|name| env.get(name)),
        extra_roots_pem,
        connect_timeout: upstream.connect_timeout,
        first_byte_timeout: upstream.first_byte_timeout,
        chunk_timeout: upstream.chunk_timeout,
        total_timeout: upstream.total_timeout,
        retries_max: upstream.retries_max,
        concurrent_requests_max: upstream.concurrent_requests_max,
        response_bytes_max: upstream.response_bytes_max,
    })
}

fn build_task(
    name: &TaskName,
    task: &bantam_config::Task,
    models: &Rungs,
    here: Here<'_>,
    tokens: Arc<TokenRatio>,
) -> Result<Task, Failure> {
    let student = students::rung(name, task, here)?;
    let mut labels: Vec<Arc<str>> = task.labels.iter().map(|label| label.as_str().into()).collect();
    if let (Some((_, own)), true) = (&student, labels.is_empty()) {
        labels.clone_from(own);
    }
    let ladder = task.ladder.iter().filter_map(|rung| match rung {
        bantam_config::Rung::Student => student.as_ref().map(|(rung, _)| Arc::clone(rung)),
        bantam_config::Rung::Model(name) => models.get(name.as_str()).cloned(),
    });
    let ladder = ladder.collect();
    Ok(Task {
        name: name.clone(),
        kind: task.kind,
        instructions: instructions(task, &labels).into(),
        labels,
        ladder,
        answer_key: task.answer_key.as_deref().map(Into::into),
        record: task.record,
        audit_share: task.audit_share,
        minimum_label: task.minimum_label,
        tokens,
    })
}

/// Returns a task's system message: its own, or one that is made of its labels.
pub(crate) fn instructions(task: &bantam_config::Task, labels: &[Arc<str>]) -> String {
    task.instructions.clone().unwrap_or_else(|| default_instructions(task, labels))
}

fn default_instructions(task: &bantam_config::Task, labels: &[Arc<str>]) -> String {
    if task.kind != TaskKind::Classify {
        return format!("Task: {}.", task.kind);
    }
    let list = labels.join(", ");
    let form = match &task.answer_key {
        Some(key) => format!("Answer with a JSON object {{\"{key}\": LABEL}} and nothing else."),
        None => "Answer with the label and nothing else.".to_owned(),
    };
    format!("Classify the user's message as exactly one of these labels: {list}. {form}")
}

/// Returns a place for the bases of encoder students, which compute on this many threads; 0 is one a core.
pub(crate) fn bases(threads: usize) -> Bases {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Bases::new(if threads == 0 { cores } else { threads })
}

/// What a student charges.
fn free() -> Price {
    let zero = UsdPerMillion::default();
    Price { input: zero, cached_input: zero, output: zero, as_of: "local".to_owned() }
}

/// Opens the ledger for writing.
pub(crate) fn open_ledger(config: &Config) -> Result<Ledger, Failure> {
    let path = &config.ledger.path;
    let shown = path.display();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| {
            Failure::from_error(format!("cannot make the folder of the ledger {shown}"), &error)
        })?;
    }
    let acknowledge = match config.ledger.acknowledge {
        bantam_config::Acknowledge::ProcessCrash => Acknowledge::ProcessCrash,
        bantam_config::Acknowledge::PowerLoss => Acknowledge::PowerLoss,
    };
    Ledger::open(path, LedgerOptions::new(acknowledge))
        .map_err(|error| Failure::from_error(format!("cannot open the ledger {shown}"), &error))
}

/// Returns the guard in front of the server.
pub(crate) fn guard(config: &Config, env: &dyn Env, bind: std::net::SocketAddr) -> Result<Guard, Failure> {
    let keys = config.server.api_key_envs.iter().filter_map(|name| env.get(name)).collect();
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
pub(crate) fn server_settings(config: &Config) -> ServerSettings {
    ServerSettings {
        body_bytes_max: config.server.body_bytes_max,
        header_timeout: config.server.header_timeout,
        body_timeout: config.server.body_timeout,
        idle_timeout: config.server.idle_timeout,
        drain_timeout: config.server.drain_timeout,
    }
}

/// Returns the limits of admission.
pub(crate) fn admission(config: &Config) -> AdmissionLimits {
    AdmissionLimits {
        running_max: config.server.concurrent_requests_max,
        waiting_max: config.server.queue_requests_max,
    }
}

/// Returns random bits that keep this process's request ids apart from others'.
pub(crate) fn id_seed() -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| Failure::from_error("cannot get random bytes", &error))
}
