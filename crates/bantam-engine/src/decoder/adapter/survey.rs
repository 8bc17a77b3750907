//! What an adapter's headers say, without reading its numbers.

use std::path::Path;

use super::{Adapter, LoadAdapterError, LoadAdapterErrorKind as Kind, changes, rank_of, source};
use crate::decoder::DecoderConfig;

/// Factors are held in tiles of this many rows.
const TILE: usize = 16;

/// What is known of an adapter before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdapterSurvey {
    /// Bytes of memory that it takes, once opened.
    pub bytes: usize,
    /// Linear layers that it changes.
    pub layers: usize,
    /// The largest rank of a change.
    pub rank: usize,
}

impl Adapter {
    /// Checks by its headers that an adapter is one for decoders of `config`: format, names, shapes and ranks. Only
    /// its numbers are left for [`Adapter::open`] to check, so this takes no longer for a large adapter.
    pub fn survey(path: impl AsRef<Path>, config: &DecoderConfig) -> Result<AdapterSurvey, LoadAdapterError> {
        let path = path.as_ref();
        survey(path, config).map_err(|kind| LoadAdapterError { path: path.to_owned(), kind })
    }
}

fn survey(path: &Path, config: &DecoderConfig) -> Result<AdapterSurvey, Kind> {
    let (file, naming, scaling) = source(path, config.architecture)?;
    let changes = changes(&file, naming, config)?;
    let mut survey = AdapterSurvey { bytes: 0, layers: changes.len(), rank: 0 };
    for changed in &changes {
        let rank = rank_of(&file, changed, config, &scaling)?;
        let (outputs, inputs) = changed.target.shape(config);
        let numbers = rank.next_multiple_of(TILE) * inputs + outputs.next_multiple_of(TILE) * rank;
        survey.bytes += numbers * size_of::<f32>();
        survey.rank = survey.rank.max(rank);
    }
    Ok(survey)
}
