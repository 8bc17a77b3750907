//! From a validated configuration to what the gateway serves: upstreams, students, certificates.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_config::{Config, Env, ModelSource};
use bantam_eval::load_certificate;
use bantam_gateway::{AdmissionLimits, Deployment, Rung, Task, TokenRatio};
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions};
use bantam_privacy::{DictionaryTerm, PrivacyPolicy, Scanner, ScannerConfig};
use bantam_remote::{Auth, Dialect, RemoteModel, Upstream, UpstreamSettings};
use bantam_route::{Gate, RungKind};
use bantam_server::{Guard, GuardSettings, ServerSettings};
use bantam_student::{Bases, LoadStudentError, LoadStudentErrorKind, Student, StudentBackend};
use bantam_types::{Price, TaskKind, TaskName, Tier, UsdPerMillion};
use bantam_wire::DecodeLimits;

mod encoders;
mod local;
mod memory;
mod residents;

use crate::failure::{Failure, Outcome};
use crate::output;
pub(crate) use local::LocalModels;
pub(crate) use memory::Memory;
pub(crate) use residents::{Present, Resident, preloads};

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
    let bases = memory.bases();
    let (models, local) = models(config, env, memory)?;
    let mut tasks = BTreeMap::new();
    for (name, task) in &config.tasks {
        let known = previous.and_then(|previous| previous.tasks.get(name));
        let tokens = known.map_or_else(|| Arc::new(TokenRatio::default()), |known| Arc::clone(&known.tokens));
        tasks.insert(name.clone(), Arc::new(build_task(name, task, &models, bases, tokens)?));
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
    bases: &Bases,
    tokens: Arc<TokenRatio>,
) -> Result<Task, Failure> {
    let student = task.student.as_deref().map(|path| student_rung(name, task, path, bases)).transpose()?;
    let mut labels: Vec<Arc<str>> = task.labels.iter().map(|label| label.as_str().into()).collect();
    if let (Some((_, student)), true) = (&student, labels.is_empty()) {
        labels = student.labels().iter().map(|label| label.as_str().into()).collect();
    }
    let ladder = task.ladder.iter().filter_map(|rung| match rung {
        bantam_config::Rung::Student => student.as_ref().map(|(rung, _)| Arc::clone(rung)),
        bantam_config::Rung::Model(name) => models.get(name.as_str()).cloned(),
    });
    let ladder = ladder.collect();
    let instructions = match &task.instructions {
        Some(instructions) => instructions.clone(),
        None => default_instructions(task, &labels),
    };
    Ok(Task {
        name: name.clone(),
        kind: task.kind,
        labels,
        ladder,
        instructions: instructions.into(),
        answer_key: task.answer_key.as_deref().map(Into::into),
        record: task.record,
        audit_share: task.audit_share,
        minimum_label: task.minimum_label,
        tokens,
    })
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

fn student_rung(
    name: &TaskName,
    task: &bantam_config::Task,
    path: &Path,
    bases: &Bases,
) -> Result<(Arc<Rung>, Arc<Student>), Failure> {
    let student = load_student(path, task.base.as_deref(), bases)?;
    let gate = gate(name, task, path, &student)?;
    let student = Arc::new(student);
    let rung = Rung {
        name: "student".into(),
        model: format!("{name}@{}", student.hash().to_hex().get(..12).unwrap_or_default()).into(),
        tier: Tier::Local,
        kind: RungKind::Student,
        context_tokens: Some(StudentBackend::CONTEXT_TOKENS),
        price: Some(Arc::new(free())),
        gate: Some(gate),
        backend: Arc::new(StudentBackend::new(Arc::clone(&student), task.answer_key.is_some())),
    };
    Ok((Arc::new(rung), student))
}

/// Reads a student's file, with the base that it stands on: the one in the folder `base`, or where training found it.
pub(crate) fn load_student(path: &Path, base: Option<&Path>, bases: &Bases) -> Result<Student, Failure> {
    Student::load(path, base, bases).map_err(|error| unusable(&error))
}

/// Says why a student cannot be used, and what to do.
pub(crate) fn unusable(error: &LoadStudentError) -> Failure {
    let hint = match &error.kind {
        LoadStudentErrorKind::Base(base) => base.kind.hint(),
        _ => "train it again: bantam student train --kind linear --data FILE.jsonl --out FILE",
    };
    Failure::from_error("cannot use the student", error).hint(hint).outcome(Outcome::ModelMissing)
}

/// Returns a place for the bases of encoder students, which compute on this many threads; 0 is one a core.
pub(crate) fn bases(threads: usize) -> Bases {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Bases::new(if threads == 0 { cores } else { threads })
}

/// Returns where a task's certificate is, or would be.
pub(crate) fn certificate_path(task: &bantam_config::Task) -> Option<PathBuf> {
    let beside = || task.student.as_ref().map(|student| student.with_extension("certificate.json"));
    task.certificate.clone().or_else(beside)
}

/// Returns from which probability on the student may answer.
fn gate(
    name: &TaskName,
    task: &bantam_config::Task,
    path: &Path,
    student: &Student,
) -> Result<Gate, Failure> {
    let certificate = certificate_path(task).filter(|path| path.exists());
    if let Some(certificate_path) = certificate {
        let shown = certificate_path.display();
        let certificate = load_certificate(&certificate_path).map_err(|error| {
            Failure::from_error(format!("cannot use the certificate {shown}"), &error)
                .hint(format!("prove it again: bantam certify {name} --error 0.02"))
        })?;
        if certificate.holds_for(name, &student.hash().to_hex()) {
            return Ok(Gate::Certified { threshold: certificate.threshold });
        }
        output::note(format!(
            "warning: the certificate {shown} is void for {}: the student or the task is another one; certify again",
            path.display()
        ));
    }
    Ok(match task.uncertified_threshold {
        Some(threshold) => Gate::Uncertified { threshold: threshold as f32 },
        None => Gate::Closed,
    })
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
