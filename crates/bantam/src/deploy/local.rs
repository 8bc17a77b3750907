//! Models that run in this process.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use bantam_gateway::Rung;
use bantam_kernels::Pool;
use bantam_local::{LocalBackend, LocalModel, LocalModelOptions, OpenModelErrorKind};
use bantam_route::RungKind;
use bantam_student::{BasePrecision, Bases, EmbeddingBackend};
use bantam_types::Tier;

use super::free;
use crate::failure::{Failure, Outcome};

/// Returns the threads that models run on; 0 is one a core.
pub(super) fn pool(threads: usize) -> Arc<Pool> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Arc::new(Pool::new(if threads == 0 { cores } else { threads }))
}

/// Names a file as it is now, so that a reload opens only what has changed: its name, and a checksum of its place,
/// size and time.
pub(super) fn identity(path: &Path) -> String {
    let about = std::fs::metadata(path).ok();
    let time = about.as_ref().and_then(|about| about.modified().ok()?.duration_since(UNIX_EPOCH).ok());
    let size = about.map_or(0, |about| about.len());
    let text = format!("{} {size} {}", path.display(), time.unwrap_or_default().as_nanos());
    // FNV-1a: nothing here is secret, and nobody gains from two files of one name.
    let sum = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    format!("{name}@{:012x}", sum >> 16)
}

/// Opens an encoder for callers who ask for vectors. Students on the same base share it.
pub(super) fn encoder_rung(name: &str, folder: &Path, bases: &Bases) -> Result<Rung, Failure> {
    let base = bases.open(folder, BasePrecision::Int8).map_err(|error| {
        Failure::from_error(format!("cannot use the model `{name}`"), &error)
            .hint(error.kind.hint())
            .outcome(Outcome::ModelMissing)
    })?;
    let weights = &base.identity().weights_sha256;
    let model = format!("{}@{}", base.identity().name, weights.get(..12).unwrap_or_default());
    let backend = EmbeddingBackend::new(base, name.to_owned());
    Ok(Rung {
        name: name.into(),
        model: model.into(),
        tier: Tier::Local,
        kind: RungKind::Model,
        // The limit is for each text; the backend counts them.
        context_tokens: None,
        price: Some(Arc::new(free())),
        gate: None,
        backend: Arc::new(backend),
    })
}

/// Opens a model for callers and ladders to name.
pub(super) fn rung(
    name: &str,
    model: &bantam_config::Model,
    (path, identity, kv_tokens): (&Path, &str, usize),
    pool: &Arc<Pool>,
) -> Result<Rung, Failure> {
    let options = LocalModelOptions {
        name: identity.into(),
        kv_tokens,
        keeps_layout: true,
        template: None,
        pool: Arc::clone(pool),
        clock: Arc::new(Instant::now),
    };
    let opened = LocalModel::open(path, &options).map_err(|error| {
        let missing = matches!(error.kind, OpenModelErrorKind::Missing);
        let failure = Failure::from_error(format!("cannot use the model `{name}`"), &error);
        let outcome = if missing { Outcome::ModelMissing } else { Outcome::Failed };
        failure
            .outcome(outcome)
            .hint("give a GGUF file, or a folder with config.json, safetensors and tokenizer.json")
    })?;
    let context = opened.scheduler().shape().context as u64;
    Ok(Rung {
        name: name.into(),
        model: identity.into(),
        tier: Tier::Local,
        kind: RungKind::Model,
        context_tokens: Some(model.context_tokens.map_or(context, |tokens| tokens.min(context))),
        price: Some(Arc::new(free())),
        gate: None,
        backend: Arc::new(LocalBackend::new(Arc::new(opened))),
    })
}
