//! Models that run in this process: their headers checked at the start, their weights loaded when somebody asks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bantam_config::{Config, Model, ModelSource};
use bantam_engine::Adapter;
use bantam_gateway::Rung;
use bantam_local::{AdapterFile, KeepAlive, LocalModel, LocalModelOptions, ModelSurvey, Place, RoomBackend};
use bantam_route::RungKind;
use bantam_store::{ModelName, Store};
use bantam_student::is_encoder;
use bantam_types::Tier;

use crate::build::free;
use crate::decoders;
use crate::encoders;
use crate::error::{DeployError, ModelError, ModelErrorKind};
use crate::files::FilesRead;
use crate::identity::identity;
use crate::memory::ModelMemory;
use crate::served::ServedModel;

/// Tokens whose keys and values a model keeps at first, where the configuration does not say.
const KV_TOKENS: usize = 16_384;
/// The fewest that a model is opened with: it has to hold a short conversation.
const KV_TOKENS_MIN: usize = 256;

/// The models of this process by name.
pub type LocalModels = BTreeMap<Arc<str>, ServedModel>;

/// A model that runs here: one of the configuration, or a task's student.
pub(crate) struct ModelEntry<'c> {
    pub(crate) name: Cow<'c, str>,
    /// The most tokens of a request, where the configuration says.
    pub(crate) context_tokens: Option<u64>,
    pub(crate) path: Cow<'c, Path>,
    /// How many tokens' keys and values it keeps; as many as requests need where that is left open.
    pub(crate) kv_tokens: Option<usize>,
    pub(crate) adapter: Option<Cow<'c, Path>>,
    pub(crate) keep: KeepAlive,
    pub(crate) preload: bool,
    /// Whether the weights, laid out for this machine, are kept in a file beside the model.
    pub(crate) keeps_layout: bool,
}

/// One file as all the models that name it use it.
struct SharedModel<'c> {
    path: Cow<'c, Path>,
    identity: Arc<str>,
    survey: ModelSurvey,
    /// The most tokens whose keys and values somebody asked for, if anybody did.
    kv_tokens: Option<usize>,
    /// Whether somebody left that open.
    grows: bool,
    keep: KeepAlive,
    keeps_layout: bool,
    adapter_bytes: usize,
}

/// Returns all models of `config` that run in this process. Those of one file share one model in memory, with the
/// most tokens and the longest stay that any of them asks for.
pub(crate) fn rungs(
    config: &Config,
    memory: &ModelMemory,
    files: &FilesRead,
) -> Result<(Vec<Rung>, LocalModels), DeployError> {
    let store = Store::open(&config.store.path);
    let (mut rungs, mut entries) = (Vec::new(), Vec::new());
    for (name, model) in &config.models {
        let Some(entry) = entry((name, model), &store, files)? else { continue };
        files.before(&entry.path);
        if is_encoder(&entry.path) {
            rungs.push(encoders::rung(name, &entry.path, memory.bases())?);
        } else {
            entries.push(entry);
        }
    }
    entries.extend(decoders::entries(config, files)?);
    for entry in &entries {
        files.before(&entry.path);
        entry.adapter.iter().for_each(|adapter| files.before(adapter));
    }
    let (found, models) = serve(&entries, memory.budget(config), memory)?;
    // Callers name a task, not its student.
    rungs.extend(found.into_iter().filter(|rung| config.models.contains_key(&*rung.name)));
    Ok((rungs, models))
}

/// Returns models as rungs and as what is served. Those of one file share one model in memory.
pub(crate) fn serve(
    entries: &[ModelEntry<'_>],
    budget: u64,
    memory: &ModelMemory,
) -> Result<(Vec<Rung>, LocalModels), ModelError> {
    let mut shared: BTreeMap<Arc<str>, SharedModel<'_>> = BTreeMap::new();
    for entry in entries {
        add(entry, &mut shared, memory).map_err(|kind| kind.of(&entry.name))?;
    }
    let (mut rungs, mut models) = (Vec::new(), LocalModels::new());
    let mut places = BTreeMap::new();
    for entry in entries {
        let Some(model) = shared.get(&*identity(&entry.path)) else { continue };
        let least = model.kv_tokens.unwrap_or(KV_TOKENS_MIN);
        if let Some(misfit) = model.survey.misfit(least, model.adapter_bytes, budget) {
            return Err(ModelErrorKind::TooLarge(misfit).of(&entry.name));
        }
        let tokens = kv_tokens(model, budget);
        let place = places.entry(&model.identity).or_insert_with(|| place(model, tokens, memory));
        let (rung, served) = rung(entry, model, tokens, place);
        models.insert(Arc::clone(&rung.name), served);
        rungs.push(rung);
    }
    memory.room().set_budget(budget);
    Ok((rungs, models))
}

/// Adds what an entry asks of its file to what others ask of it.
fn add<'c>(
    entry: &ModelEntry<'c>,
    shared: &mut BTreeMap<Arc<str>, SharedModel<'c>>,
    memory: &ModelMemory,
) -> Result<(), ModelErrorKind> {
    let identity: Arc<str> = identity(&entry.path).into();
    let model = match shared.get_mut(&identity) {
        Some(model) => model,
        None => {
            let model = SharedModel {
                path: entry.path.clone(),
                identity: Arc::clone(&identity),
                survey: memory.survey(&identity, &entry.path)?,
                kv_tokens: None,
                grows: false,
                keep: entry.keep,
                keeps_layout: entry.keeps_layout,
                adapter_bytes: 0,
            };
            shared.entry(identity).or_insert(model)
        }
    };
    model.kv_tokens = model.kv_tokens.max(entry.kv_tokens);
    model.grows |= entry.kv_tokens.is_none();
    model.keep = longer(model.keep, entry.keep);
    if let Some(path) = &entry.adapter {
        model.adapter_bytes += adapter_bytes(entry, path, &model.survey)?;
    }
    check_context(entry, &model.survey)
}

fn entry<'c>(
    (name, model): (&'c String, &'c Model),
    store: &Store,
    files: &FilesRead,
) -> Result<Option<ModelEntry<'c>>, ModelError> {
    let (path, kv_tokens, adapter, keep_alive, preload) = match &model.source {
        ModelSource::Upstream { .. } => return Ok(None),
        ModelSource::File { path, kv_tokens, adapter, keep_alive, preload } => {
            (Cow::Borrowed(&**path), kv_tokens, adapter, keep_alive, preload)
        }
        ModelSource::Stored { name: called, kv_tokens, adapter, keep_alive, preload } => {
            files.before(&store.manifests());
            let path = stored(store, called).map_err(|kind| kind.of(name))?;
            (Cow::Owned(path), kv_tokens, adapter, keep_alive, preload)
        }
    };
    let keep = match keep_alive {
        bantam_config::KeepAlive::For(time) => KeepAlive::For(*time),
        bantam_config::KeepAlive::Always => KeepAlive::Always,
    };
    Ok(Some(ModelEntry {
        name: Cow::Borrowed(name),
        context_tokens: model.context_tokens,
        path,
        kv_tokens: *kv_tokens,
        adapter: adapter.as_deref().map(Cow::Borrowed),
        keep,
        preload: *preload,
        keeps_layout: true,
    }))
}

/// Returns what the engine opens for a model that the store calls `called`; never another in its place.
fn stored(store: &Store, called: &str) -> Result<std::path::PathBuf, ModelErrorKind> {
    let name: ModelName = called.parse()?;
    Ok(store.resolve(&name)?.path)
}

fn longer(one: KeepAlive, other: KeepAlive) -> KeepAlive {
    match (one, other) {
        (KeepAlive::For(one), KeepAlive::For(other)) => KeepAlive::For(one.max(other)),
        _ => KeepAlive::Always,
    }
}

/// Checks an adapter's headers against its model, and returns the bytes that it will take.
fn adapter_bytes(entry: &ModelEntry<'_>, path: &Path, survey: &ModelSurvey) -> Result<usize, ModelErrorKind> {
    let survey = Adapter::survey(path, survey.config()).map_err(|source| {
        let (trained_on, model) = (trained_on(path), entry.path.clone().into_owned());
        ModelErrorKind::Adapter { source: Box::new(source), trained_on, model }
    })?;
    Ok(survey.bytes)
}

/// Returns the base that a PEFT adapter names.
fn trained_on(adapter: &Path) -> Option<String> {
    let folder = if adapter.is_dir() { adapter } else { adapter.parent()? };
    let config = std::fs::read(folder.join("adapter_config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_slice(&config).ok()?;
    let name = config["base_model_name_or_path"].as_str()?;
    Some(name.chars().filter(|symbol| !symbol.is_control()).take(120).collect())
}

/// Refuses a context that the model does not have.
fn check_context(entry: &ModelEntry<'_>, survey: &ModelSurvey) -> Result<(), ModelErrorKind> {
    let made_for = survey.context_tokens() as u64;
    match entry.context_tokens.filter(|wanted| *wanted > made_for) {
        None => Ok(()),
        Some(wanted) => Err(ModelErrorKind::Context { wanted, made_for }),
    }
}

/// Tokens whose keys and values are kept, from the start and at most.
#[derive(Clone, Copy)]
struct KvTokens {
    first: usize,
    most: usize,
}

/// Returns for how many tokens a model has memory: what was asked for, or else what the model's context can use and the
/// budget has, of which it takes little at first.
fn kv_tokens(model: &SharedModel<'_>, budget: u64) -> KvTokens {
    let fitting = model.survey.kv_tokens_within(budget, model.adapter_bytes);
    let asked = model.kv_tokens.unwrap_or(0);
    if !model.grows {
        return KvTokens { first: asked, most: asked };
    }
    let first = asked.max(KV_TOKENS.min(fitting));
    KvTokens { first, most: first.max(model.survey.context_tokens().min(fitting)) }
}

/// Returns the place of a file's model in memory.
fn place(model: &SharedModel<'_>, tokens: KvTokens, memory: &ModelMemory) -> Place<LocalModel<Adapter>> {
    let bytes = model.survey.bytes(tokens.first, model.adapter_bytes);
    let (path, name) = (model.path.clone().into_owned(), Arc::clone(&model.identity));
    let bases = Arc::clone(memory.bases());
    let KvTokens { first: kv_tokens, most: kv_tokens_max } = tokens;
    let (adapter_bytes_max, keeps_layout) = (model.adapter_bytes, model.keeps_layout);
    let key = format!("{name}/{kv_tokens}/{kv_tokens_max}/{adapter_bytes_max}");
    memory.room().place(&key, bytes, model.keep, move || {
        let options = LocalModelOptions {
            name: Arc::clone(&name),
            kv_tokens,
            kv_tokens_max,
            keeps_layout,
            template: None,
            adapter_bytes_max,
            pool: bases.pool(),
            clock: Arc::new(Instant::now),
        };
        Ok(LocalModel::open(&path, &options)?)
    })
}

/// Returns a model for callers and ladders to name.
fn rung(
    entry: &ModelEntry<'_>,
    shared: &SharedModel<'_>,
    tokens: KvTokens,
    place: &Place<LocalModel<Adapter>>,
) -> (Rung, ServedModel) {
    // A request can never have more tokens than there is room for keys and values.
    let context = shared.survey.context_tokens().min(tokens.most) as u64;
    let context = entry.context_tokens.map_or(context, |tokens| tokens.min(context));
    let file =
        entry.adapter.as_deref().map(|path| AdapterFile { path: path.to_owned(), stamp: identity(path) });
    let model: Arc<str> = match &file {
        Some(file) => format!("{}+{}", shared.identity, file.stamp).into(),
        None => Arc::clone(&shared.identity),
    };
    let backend = RoomBackend::new(place.clone(), Arc::clone(&model), file.as_ref());
    let backend = Arc::new(backend.within(usize::try_from(context).unwrap_or(usize::MAX)));
    let served = ServedModel {
        backend: Arc::clone(&backend),
        files: [Some(&*entry.path), entry.adapter.as_deref()]
            .into_iter()
            .flatten()
            .map(Path::to_owned)
            .collect(),
        model: Arc::clone(&model),
        context_tokens: context,
        preload: entry.preload,
    };
    let rung = Rung {
        name: (&*entry.name).into(),
        model,
        tier: Tier::Local,
        kind: RungKind::Model,
        context_tokens: Some(context),
        price: Some(Arc::new(free())),
        gate: None,
        backend,
    };
    (rung, served)
}
