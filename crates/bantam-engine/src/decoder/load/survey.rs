//! Inspects a model's headers without reading its weights.

use std::path::Path;

use bantam_kernels::{KvShape, Packing};

use super::{LoadDecoderError, LoadDecoderErrorKind as Kind, Reader, linear_sources, open_parts};
use crate::decoder::naming::LinearSource;
use crate::decoder::{Decoder, DecoderConfig, DecoderPrecision};

/// What a decoder's headers reveal: enough to decide whether it fits in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderSurvey {
    /// The configuration.
    pub config: DecoderConfig,
    /// The shape of its KV cache.
    pub kv_shape: KvShape,
    /// Bytes of its packed linear layers.
    pub weight_bytes: usize,
    /// Bytes that they would need with all weights in 4 bits (Q4_0).
    pub int4_bytes: usize,
}

impl Decoder {
    /// Reads and checks a model's headers: configuration, names, shapes and types of all linear layers and the
    /// embeddings. Weights are not read, so it takes milliseconds for any size; [`Decoder::open`] checks norms,
    /// biases and the values.
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
    let packed = |linear: &LinearSource, packing: Packing| {
        packing.packed_bytes(linear.outputs(), linear.inputs).unwrap_or(usize::MAX)
    };
    let (mut weight_bytes, mut int4_bytes) = (0_usize, 0_usize);
    for linear in linear_sources(&config, naming) {
        let packing = reader.packing(&linear)?;
        let bytes = match precision {
            DecoderPrecision::Quantised => packed(&linear, packing),
            DecoderPrecision::F32 => {
                linear.outputs().saturating_mul(linear.inputs).saturating_mul(size_of::<f32>())
            }
        };
        weight_bytes = weight_bytes.saturating_add(bytes);
        int4_bytes = int4_bytes.saturating_add(packed(&linear, Packing::Int4));
    }
    let kv_shape = config.kv_shape(precision);
    Ok(DecoderSurvey { config, kv_shape, weight_bytes, int4_bytes })
}
