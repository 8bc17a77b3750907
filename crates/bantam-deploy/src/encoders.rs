//! Encoders that callers ask for vectors.

use std::path::Path;
use std::sync::Arc;

use bantam_gateway::Rung;
use bantam_route::RungKind;
use bantam_student::{BasePrecision, Bases, EmbeddingBackend};
use bantam_types::Tier;

use crate::build::free;
use crate::error::{ModelError, ModelErrorKind};

/// Opens an encoder for callers to name. Students on the same base share it.
pub(crate) fn rung(name: &str, folder: &Path, bases: &Bases) -> Result<Rung, ModelError> {
    let base =
        bases.open(folder, BasePrecision::Int8).map_err(|error| ModelErrorKind::from(error).of(name))?;
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
