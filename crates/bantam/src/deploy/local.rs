//! Models that run in this process: their headers checked at the start, their weights loaded when somebody asks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use bantam_config::{Config, ModelSource};
use bantam_engine::Adapter;
use bantam_gateway::Rung;
use bantam_local::{
    AdapterFile, KeepAlive, LocalModel, LocalModelOptions, ModelSurvey, OpenModelErrorKind, Place,
    RoomBackend,
};
use bantam_route::RungKind;
use bantam_store::Store;
use bantam_student::is_encoder;
use bantam_types::Tier;

use super::{Memory, Resident, decoders, encoders, free, stored};
use crate::failure::{Failure, Outcome};

/// The models of this process by name.
pub(crate) type LocalModels = BTreeMap<Arc<str>, Resident>;

/// One file as all the models that name it use it.
struct Base<'c> {
    path: Cow<'c, Path>,
    identity: Arc<str>,
    survey: ModelSurvey,
    kv_tokens: usize,
    keep: KeepAlive,
    keeps_layout: bool,
    adapter_bytes: usize,
}

/// A model that runs here: of the configuration, or a task's student.
pub(super) struct Entry<'c> {
    pub(super) name: Cow<'c, str>,
    /// The most tokens of a request, where the configuration says it.
    pub(super) context_tokens: Option<u64>,
    pub(super) path: Cow<'c, Path>,
    pub(super) kv_tokens: usize,
    pub(super) adapter: Option<Cow<'c, Path>>,
    pub(super) keep: KeepAlive,
    pub(super) preload: bool,
    /// Whether the weights, laid out, are kept in a file beside the model.
    pub(super) keeps_layout: bool,
}

/// Returns all models of `config` that run in this process. Those of one file share one model in memory, with the
/// most tokens and the longest stay that any of them asks for.
pub(super) fn rungs(config: &Config, memory: &Memory) -> Result<(Vec<Rung>, LocalModels), Failure> {
    let store = Store::open(&config.store.path);
    let (mut rungs, mut entries) = (Vec::new(), Vec::new());
    for (name, model) in &config.models {
        let Some(entry) = entry((name, model), &store)? else { continue };
        if is_encoder(&entry.path) {
            rungs.push(encoders::rung(name, &entry.path, memory.bases())?);
        } else {
            entries.push(entry);
        }
    }
    entries.extend(decoders::entries(config)?);
    let (found, residents) = residents(&entries, memory.budget(config), memory)?;
    // Callers name a task, not its student.
    rungs.extend(found.into_iter().filter(|rung| config.models.contains_key(&*rung.name)));
    Ok((rungs, residents))
}

/// Returns models as rungs and as what the server shows. Those of one file share one model in memory.
pub(super) fn residents(
    entries: &[Entry<'_>],
    budget: u64,
    memory: &Memory,
) -> Result<(Vec<Rung>, LocalModels), Failure> {
    let mut bases: BTreeMap<Arc<str>, Base<'_>> = BTreeMap::new();
    for entry in entries {
        let identity: Arc<str> = identity(&entry.path).into();
        let base = match bases.get_mut(&identity) {
            Some(base) => base,
            None => {
                let survey =
                    memory.survey(&identity, &entry.path).map_err(|error| unusable(&entry.name, &error))?;
                let (kv_tokens, keep, keeps_layout) = (entry.kv_tokens, entry.keep, entry.keeps_layout);
                let (own, path) = (Arc::clone(&identity), entry.path.clone());
                let base =
                    Base { path, identity: own, survey, kv_tokens, keep, keeps_layout, adapter_bytes: 0 };
                bases.entry(identity).or_insert(base)
            }
        };
        base.kv_tokens = base.kv_tokens.max(entry.kv_tokens);
        base.keep = longer(base.keep, entry.keep);
        if let Some(path) = &entry.adapter {
            base.adapter_bytes += adapter_bytes(entry, path, &base.survey)?;
        }
        check_context(entry, &base.survey)?;
    }
    let (mut rungs, mut residents) = (Vec::new(), LocalModels::new());
    let mut places = BTreeMap::new();
    for entry in entries {
        let Some(base) = bases.get(&*identity(&entry.path)) else { continue };
        if let Some(misfit) = base.survey.misfit(base.kv_tokens, base.adapter_bytes, budget) {
            return Err(Failure::new(
                Outcome::Failed,
                format!("the model `{}` does not fit: {misfit}", entry.name),
            )
            .hint(misfit.hint()));
        }
        let place = places.entry(&base.identity).or_insert_with(|| place(base, memory));
        let (rung, resident) = rung(entry, base, place);
        residents.insert(Arc::clone(&rung.name), resident);
        rungs.push(rung);
    }
    memory.room().set_budget(budget);
    Ok((rungs, residents))
}

fn entry<'c>(
    (name, model): (&'c String, &'c bantam_config::Model),
    store: &Store,
) -> Result<Option<Entry<'c>>, Failure> {
    let (path, kv_tokens, adapter, keep_alive, preload) = match &model.source {
        ModelSource::Upstream { .. } => return Ok(None),
        ModelSource::File { path, kv_tokens, adapter, keep_alive, preload } => {
            (Cow::Borrowed(&**path), kv_tokens, adapter, keep_alive, preload)
        }
        ModelSource::Stored { name: called, kv_tokens, adapter, keep_alive, preload } => {
            (Cow::Owned(stored::place(store, name, called)?), kv_tokens, adapter, keep_alive, preload)
        }
    };
    let keep = match keep_alive {
        bantam_config::KeepAlive::For(time) => KeepAlive::For(*time),
        bantam_config::KeepAlive::Always => KeepAlive::Always,
    };
    Ok(Some(Entry {
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

fn longer(one: KeepAlive, other: KeepAlive) -> KeepAlive {
    match (one, other) {
        (KeepAlive::For(one), KeepAlive::For(other)) => KeepAlive::For(one.max(other)),
        _ => KeepAlive::Always,
    }
}

fn unusable(name: &str, error: &bantam_local::OpenModelError) -> Failure {
    let missing = matches!(error.kind, OpenModelErrorKind::Missing);
    let outcome = if missing { Outcome::ModelMissing } else { Outcome::Failed };
    Failure::from_error(format!("cannot use the model `{name}`"), error)
        .outcome(outcome)
        .hint("give a GGUF file, or a folder with config.json, safetensors and tokenizer.json")
}

/// Checks an adapter's headers against its model, and returns the bytes that it will take.
fn adapter_bytes(entry: &Entry<'_>, path: &Path, survey: &ModelSurvey) -> Result<usize, Failure> {
    let survey = Adapter::survey(path, survey.config()).map_err(|error| {
        let what = format!("cannot use the adapter of the model `{}`", entry.name);
        let failure = Failure::from_error(what, &error);
        let made_for = trained_on(path).map(|base| format!(" (it says it was trained on {base})"));
        failure.hint(format!(
            "an adapter runs on the model it was trained on alone: give that model in `file`{}, or train an adapter on \
             {}",
            made_for.unwrap_or_default(),
            entry.path.display()
        ))
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
fn check_context(entry: &Entry<'_>, survey: &ModelSurvey) -> Result<(), Failure> {
    let context = survey.context_tokens() as u64;
    match entry.context_tokens.filter(|wanted| *wanted > context) {
        None => Ok(()),
        Some(wanted) => {
            let message = format!(
                "the model `{}` is to take {wanted} tokens, but it was made for {context} at most",
                entry.name
            );
            let hint = format!("set context_tokens = {context} or less, leave it out, or use another model");
            Err(Failure::new(Outcome::Failed, message).hint(hint))
        }
    }
}

/// Returns the place of a file's model in memory.
fn place(base: &Base<'_>, memory: &Memory) -> Place<LocalModel<Adapter>> {
    let bytes = base.survey.bytes(base.kv_tokens, base.adapter_bytes);
    let (path, name, bases) =
        (base.path.clone().into_owned(), Arc::clone(&base.identity), Arc::clone(memory.bases()));
    let (kv_tokens, adapter_bytes_max, keeps_layout) =
        (base.kv_tokens, base.adapter_bytes, base.keeps_layout);
    let key = format!("{name}/{kv_tokens}/{adapter_bytes_max}");
    memory.room().place(&key, bytes, base.keep, move || {
        let options = LocalModelOptions {
            name: Arc::clone(&name),
            kv_tokens,
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
fn rung(entry: &Entry<'_>, base: &Base<'_>, place: &Place<LocalModel<Adapter>>) -> (Rung, Resident) {
    // More than its keys and values can never be held.
    let context = base.survey.context_tokens().min(base.kv_tokens) as u64;
    let context = entry.context_tokens.map_or(context, |tokens| tokens.min(context));
    let file =
        entry.adapter.as_deref().map(|path| AdapterFile { path: path.to_owned(), stamp: identity(path) });
    let model: Arc<str> = match &file {
        Some(file) => format!("{}+{}", base.identity, file.stamp).into(),
        None => Arc::clone(&base.identity),
    };
    let backend = Arc::new(RoomBackend::new(place.clone(), Arc::clone(&model), file.as_ref()));
    let resident = Resident {
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
    (rung, resident)
}

/// Names a file or folder as it is now, so that a reload opens only what has changed: its name, and a checksum of its
/// place, sizes and times.
pub(super) fn identity(path: &Path) -> String {
    let mut parts: Vec<PathBuf> = vec![path.to_owned()];
    if let Ok(entries) = std::fs::read_dir(path) {
        // A folder's own time changes with what Bantam keeps beside the weights.
        parts = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        parts.retain(|part| part.extension().is_none_or(|extension| extension != "bantam-cache"));
        parts.sort();
    }
    let mut text = path.display().to_string();
    for part in &parts {
        let about = std::fs::metadata(part).ok();
        let time = about.as_ref().and_then(|about| about.modified().ok()?.duration_since(UNIX_EPOCH).ok());
        let size = about.map_or(0, |about| about.len());
        text.push_str(&format!(" {} {size} {}", part.display(), time.unwrap_or_default().as_nanos()));
    }
    // FNV-1a: nothing here is secret, and nobody gains from two files of one name.
    let sum = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    format!("{name}@{:012x}", sum >> 16)
}
