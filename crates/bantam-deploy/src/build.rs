//! Everything that a configuration names, opened and put together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bantam_config::{Config, Env};
use bantam_gateway::{AdmissionLimits, Deployment, Rung, Task, TokenRatio};
use bantam_privacy::{DictionaryTerm, PrivacyPolicy, Scanner, ScannerConfig};
use bantam_types::{Price, TaskKind, TaskName};
use bantam_wire::DecodeLimits;

use crate::error::DeployError;
use crate::files::FilesRead;
use crate::local::{self, LocalModels};
use crate::memory::ModelMemory;
use crate::students::{self, ModelAccess};
use crate::upstreams;
use crate::warning::DeployWarning;

/// Models by the name that callers use.
type Rungs = BTreeMap<Arc<str>, Arc<Rung>>;

/// What a deployment is built from.
#[derive(Clone, Copy)]
pub struct Inputs<'i> {
    /// The configuration.
    pub config: &'i Config,
    /// Where the keys of upstreams are looked up.
    pub env: &'i dyn Env,
    /// The deployment before this one, which lends what was learned about its tasks.
    pub previous: Option<&'i Deployment>,
    /// What is loaded, and stays so.
    pub memory: &'i ModelMemory,
    /// Where every file is noted before it is read.
    pub files: &'i FilesRead,
}

/// A deployment, and what is known beside it.
pub struct Built {
    /// What the gateway serves.
    pub deployment: Deployment,
    /// The models in this process.
    pub models: LocalModels,
    /// What people should know about it.
    pub warnings: Vec<DeployWarning>,
}

/// Opens everything that the configuration names.
///
/// # Errors
/// When something cannot be used. The files that were read until then are noted all the same.
pub fn build_deployment(inputs: Inputs<'_>) -> Result<Built, DeployError> {
    let Inputs { config, env, previous, memory, files } = inputs;
    let (local, served) = local::rungs(config, memory, files)?;
    let rungs = upstreams::rungs(config, env, files, memory.requests())?.into_iter().chain(local);
    let models: Rungs = rungs.map(|rung| (Arc::clone(&rung.name), Arc::new(rung))).collect();
    let access = ModelAccess { memory, local: &served };
    let (mut tasks, mut warnings) = (BTreeMap::new(), Vec::new());
    for (name, task) in &config.tasks {
        let known = previous.and_then(|previous| previous.tasks.get(name));
        let tokens = known.map_or_else(|| Arc::new(TokenRatio::default()), |known| Arc::clone(&known.tokens));
        let student = students::rung(name, task, access, files)?;
        let (student, odd) = match student {
            Some(student) => (Some((student.rung, student.labels)), student.warnings),
            None => (None, Vec::new()),
        };
        warnings.extend(odd);
        tasks.insert(name.clone(), Arc::new(build_task(name, task, &models, student, tokens)));
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
            vendor_fields: config
                .upstreams
                .values()
                .flat_map(|upstream| upstream.wire.fields.clone())
                .collect(),
        },
        models,
        tasks,
        templates,
        auto_ladder,
        auto_names: config.routing.auto_names.iter().cloned().collect(),
        forwarded_headers: forwarded_headers(config),
        keep_prompt_previews: config.ledger.keep_prompt_previews,
        baseline: baseline.map(Arc::new),
    };
    Ok(Built { deployment, models: served, warnings })
}

/// Returns the headers of callers that any upstream gets.
fn forwarded_headers(config: &Config) -> BTreeSet<String> {
    config.upstreams.values().flat_map(|upstream| upstream.wire.forward_headers.clone()).collect()
}

/// Returns how many requests a gateway works on at once, and how many wait.
pub const fn admission(config: &Config) -> AdmissionLimits {
    AdmissionLimits {
        running_max: config.server.concurrent_requests_max,
        waiting_max: config.server.queue_requests_max,
    }
}

/// Returns the models of a configuration that run in this process, without its upstreams and tasks.
///
/// # Errors
/// When one of them cannot be used.
pub fn local_models(config: &Config, memory: &ModelMemory) -> Result<LocalModels, DeployError> {
    let files = FilesRead::begin(std::time::SystemTime::now());
    Ok(local::rungs(config, memory, &files)?.1)
}

fn scanner(config: &Config) -> Result<Scanner, DeployError> {
    let terms = config.privacy.dictionary.iter();
    let dictionary =
        terms.map(|entry| DictionaryTerm { term: entry.term.clone(), label: entry.label }).collect();
    Ok(Scanner::new(&ScannerConfig { dictionary })?)
}

fn build_task(
    name: &TaskName,
    task: &bantam_config::Task,
    models: &Rungs,
    student: Option<(Arc<Rung>, Vec<Arc<str>>)>,
    tokens: Arc<TokenRatio>,
) -> Task {
    let mut labels: Vec<Arc<str>> = task.labels.iter().map(|label| label.as_str().into()).collect();
    if let (Some((_, own)), true) = (&student, labels.is_empty()) {
        labels.clone_from(own);
    }
    let ladder = task.ladder.iter().filter_map(|rung| match rung {
        bantam_config::Rung::Student => student.as_ref().map(|(rung, _)| Arc::clone(rung)),
        bantam_config::Rung::Model(name) => models.get(name.as_str()).cloned(),
    });
    let ladder = ladder.collect();
    Task {
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
    }
}

/// Returns a task's system message: its own, or one that is made from its labels.
pub fn instructions(task: &bantam_config::Task, labels: &[Arc<str>]) -> String {
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

/// What a model in this process charges.
pub(crate) fn free() -> Price {
    Price::free("local")
}
