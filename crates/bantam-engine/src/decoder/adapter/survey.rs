//! Inspects an adapter's headers without reading its weights.

use std::path::Path;

use super::{Adapter, LoadAdapterError, LoadAdapterErrorKind as Kind, adapted_layers, rank_of, source};
use crate::decoder::DecoderConfig;

/// Factors are stored in tiles of this many rows.
const TILE: usize = 16;

/// What an adapter's headers reveal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdapterSurvey {
    /// Memory of the opened adapter, in bytes.
    pub bytes: usize,
    /// Number of linear layers that it changes.
    pub layers: usize,
    /// The largest rank.
    pub rank: usize,
}

impl Adapter {
    /// Checks from its headers that an adapter fits decoders of `config`: format, names, shapes and ranks. Takes no
    /// longer for large adapters; only the values are left for [`Adapter::open`] to check.
    pub fn survey(path: impl AsRef<Path>, config: &DecoderConfig) -> Result<AdapterSurvey, LoadAdapterError> {
        let path = path.as_ref();
        survey(path, config).map_err(|kind| LoadAdapterError { path: path.to_owned(), kind })
    }
}

fn survey(path: &Path, config: &DecoderConfig) -> Result<AdapterSurvey, Kind> {
    let (file, naming, scaling) = source(path, config.architecture)?;
    let layers = adapted_layers(&file, naming, config)?;
    let mut survey = AdapterSurvey { bytes: 0, layers: layers.len(), rank: 0 };
    for adapted in &layers {
        let rank = rank_of(&file, adapted, config, &scaling)?;
        let (outputs, inputs) = adapted.target.shape(config);
        let numbers = rank.next_multiple_of(TILE) * inputs + outputs.next_multiple_of(TILE) * rank;
        survey.bytes += numbers * size_of::<f32>();
        survey.rank = survey.rank.max(rank);
    }
    Ok(survey)
}
