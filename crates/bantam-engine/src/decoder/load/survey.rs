//! What a model's headers say, without reading its weights.

use std::path::Path;

use bantam_kernels::{KvShape, Packing};

use super::{LoadDecoderError, LoadDecoderErrorKind as Kind, Reader, open_parts, plans};
use crate::decoder::plan::Plan;
use crate::decoder::{Decoder, DecoderConfig, DecoderPrecision};

/// What is known of a decoder before it is opened: enough to say whether it fits.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderSurvey {
    /// What it is made of.
    pub config: DecoderConfig,
    /// What a token's keys and values will take.
    pub kv_shape: KvShape,
    /// Bytes that its linear layers will take as they are laid out.
    pub weight_bytes: usize,
    /// Bytes that they would take if the file held all of them in 4 bits (Q4_0).
    pub int4_bytes: usize,
}

impl Decoder {
    /// Reads and checks a model's headers: configuration, names, shapes and types of all linear layers and of the
    /// embeddings. Weights are not read, so it takes milliseconds, however large the model is; norms, biases and the
    /// numbers themselves are left for [`Decoder::open`] to check.
    pub fn survey(
        path: impl AsRef<Path>,
        precision: DecoderPrecision,
    ) -> Result<DecoderSurvey, LoadDecoderError> {
        let path = path.as_ref();
        survey(path, precision).map_err(|kind| LoadDecoderError { path: path.to_owned(), kind })
    }
}

fn survey(path: &Path, precision: DecoderPrecision) -> Result<DecoderSurvey, Kind> {
    let (config, naming, file) = open_parts(path)?;
    let reader = Reader { config: &config, file: &file, naming };
    reader.check_embeddings()?;
    let packed = |plan: &Plan, packing: Packing| {
        packing.packed_bytes(plan.outputs(), plan.inputs).unwrap_or(usize::MAX)
    };
    let (mut weight_bytes, mut int4_bytes) = (0_usize, 0_usize);
    for plan in plans(&config, naming) {
        let packing = reader.packing(&plan)?;
        let bytes = match precision {
            DecoderPrecision::Quantised => packed(&plan, packing),
            DecoderPrecision::F32 => {
                plan.outputs().saturating_mul(plan.inputs).saturating_mul(size_of::<f32>())
            }
        };
        weight_bytes = weight_bytes.saturating_add(bytes);
        int4_bytes = int4_bytes.saturating_add(packed(&plan, Packing::Int4));
    }
    let kv_shape = config.kv_shape(precision);
    Ok(DecoderSurvey { config, kv_shape, weight_bytes, int4_bytes })
}
