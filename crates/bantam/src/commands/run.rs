//! `bantam run`: a conversation with a model on this machine.

mod talk;
mod turn;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bantam_admin::FoundModel;
use bantam_engine::{Adapter, Decoder};
use bantam_kernels::Pool;
use bantam_local::{LocalBackend, LocalModel, LocalModelOptions};
use bantam_store::{Entry, Measurement, ModelKind, Store};
use bantam_types::Price;

use crate::cli::models::RunArgs;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

/// Tokens of a conversation that are kept in memory at most, where the model could take more.
const KV_TOKENS_MAX: u64 = 8_192;
/// Tokens of an answer below which its speed says little.
const MEASURED_TOKENS_MIN: u64 = 32;

/// A conversation's model, and how fast it was.
struct Session {
    name: String,
    backend: LocalBackend<Adapter>,
    /// What the same answers would have cost elsewhere.
    baseline: Option<(String, Price)>,
    /// The fastest turn that says something about speed.
    measured: Option<Measurement>,
    threads: usize,
}

pub(crate) fn run(args: &RunArgs, globals: &Globals) -> Result<(), Failure> {
    let config = globals.load_or_default()?;
    let store = Store::open(&config.store.path);
    let (path, entry) = find(&store, &args.name)?;
    let baseline = config.routing.baseline.as_ref().and_then(|name| {
        let price = config.models.get(name)?.price.clone()?;
        Some((name.clone(), price))
    });
    let name = entry.as_ref().map_or_else(|| args.name.clone(), |entry| entry.name.to_string());
    let mut session = open(args, globals, (&path, entry.as_ref()), (name, baseline))?;
    let outcome = super::runtime(1)?.block_on(talk::talk(&mut session, args, globals));
    if let (Some(entry), Some(measured)) = (&entry, session.measured.take()) {
        // A speed that cannot be kept must not fail an answer that was given.
        let _ = store.record(entry, measured);
    }
    outcome
}

/// Returns what to open: a path where one was given, or the store's model.
fn find(store: &Store, name: &str) -> Result<(PathBuf, Option<Entry>), Failure> {
    let FoundModel { path, entry } = bantam_admin::locate_model(store, name)?;
    if let Some(entry) = entry.as_ref().filter(|entry| entry.manifest.about.kind == ModelKind::Encoder) {
        let message = format!("{} is an encoder: it turns texts into vectors, and cannot talk", entry.name);
        return Err(Failure::new(Outcome::Usage, message).hint("use it as a student's base: base = FOLDER"));
    }
    Ok((path, entry))
}

fn open(
    args: &RunArgs,
    globals: &Globals,
    (path, entry): (&Path, Option<&Entry>),
    (name, baseline): (String, Option<(String, Price)>),
) -> Result<Session, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = args.threads.unwrap_or(cores).max(1);
    if !globals.quiet && !globals.json && !Decoder::cache_path(path).exists() {
        output::note("laying out the weights for this machine, once …");
    }
    let context = entry.map_or(KV_TOKENS_MAX, |entry| entry.manifest.about.context_tokens);
    let options = LocalModelOptions {
        name: name.as_str().into(),
        kv_tokens: context.min(KV_TOKENS_MAX) as usize,
        keeps_layout: true,
        template: None,
        adapter_bytes_max: 0,
        pool: Arc::new(Pool::new(threads)),
        clock: Arc::new(Instant::now),
    };
    let opened = LocalModel::open(path, &options)
        .map_err(|error| Failure::from_error(format!("cannot use the model {name}"), &error))?;
    let backend = LocalBackend::new(Arc::new(opened));
    Ok(Session { name, backend, baseline, measured: None, threads })
}

impl Session {
    /// Keeps how fast a turn was, if it was long enough to say something and the fastest of all.
    fn note_speed(&mut self, told: &turn::Told) {
        if told.usage.output < MEASURED_TOKENS_MIN {
            return;
        }
        let read = told.usage.input.saturating_sub(told.usage.cached_input) as f64;
        let measured = Measurement {
            at_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            threads: self.threads,
            prefill_tokens_per_s: read / told.first.as_secs_f64().max(1e-9),
            decode_tokens_per_s: told.tokens_per_s(),
            by: "run".to_owned(),
        };
        let is_faster = |before: &Measurement| measured.decode_tokens_per_s > before.decode_tokens_per_s;
        if self.measured.as_ref().is_none_or(is_faster) {
            self.measured = Some(measured);
        }
    }
}
