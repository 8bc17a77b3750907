//! Writes a model in a smaller type.

use std::io;
use std::path::{Path, PathBuf};

use bantam_engine::{Decoder, LoadDecoderError};
use bantam_types::Cancel;
use bantam_weights::{
    Dtype, NewValue, OpenWeightsError, PlannedTensor, TokenizerError, WriteWeightsError, quantise as numbers,
    write_gguf_planned,
};

use crate::mix::Quantisation;
use crate::original::Original;

/// The version of the block formats, as GGUF files record it.
const FORMAT_VERSION: u32 = 2;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantised {
    /// For each type: the number of tensors and their bytes, most bytes first.
    pub types: Vec<(Dtype, usize, u64)>,
    /// Bytes of the original's tensors.
    pub bytes_before: u64,
    /// Bytes of the written tensors.
    pub bytes_after: u64,
}

/// Why a model could not be quantised. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantiseModelError {
    /// The model is already quantised.
    #[error("tensor {tensor} is already quantised to {dtype}; quantising twice loses quality twice")]
    Quantised {
        /// The tensor's name.
        tensor: String,
        /// The tensor's type.
        dtype: Dtype,
    },
    /// GGUF has no name for a tensor.
    #[error("GGUF has no name for tensor {tensor}")]
    Tensor {
        /// The tensor's name.
        tensor: String,
    },
    /// GGUF cannot express a setting.
    #[error("GGUF cannot express `{what}` of config.json")]
    Setting {
        /// The setting.
        what: &'static str,
    },
    /// GGUF cannot express the tokenizer.
    #[error("the tokenizer cannot be converted: it has {what}")]
    Tokenizer {
        /// The part that cannot be converted.
        what: String,
    },
    /// A tensor holds NaN or infinity.
    #[error("tensor {tensor} contains NaN or infinity")]
    NotFinite {
        /// The tensor's name.
        tensor: String,
    },
    /// The weights cannot be read.
    #[error(transparent)]
    Open(#[from] OpenWeightsError),
    /// The model cannot run here.
    #[error(transparent)]
    Decoder(#[from] Box<LoadDecoderError>),
    /// The tokenizer cannot be loaded.
    #[error("load the tokenizer")]
    OpenTokenizer(#[from] TokenizerError),
    /// A file cannot be read.
    #[error("read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The output cannot be written.
    #[error(transparent)]
    Write(#[from] WriteWeightsError),
    /// The caller asked to stop.
    #[error("quantising was stopped")]
    Cancelled,
}

impl QuantiseModelError {
    /// Returns the next step for the user.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Quantised { .. } => {
                "quantise the original model instead: F32, F16 or BF16 in GGUF, or safetensors"
            }
            Self::NotFinite { .. } => "the file is damaged; download it again",
            Self::Write(_) => "check that the disk has enough free space",
            Self::Cancelled => "quantise it again",
            _ => "download the model as an F16 or BF16 GGUF file and quantise that",
        }
    }
}

/// Quantises the model at `source`, an unquantised GGUF file or a folder of safetensors, to the GGUF file `target`.
/// Calls `advance` with the number of weights of each finished tensor; holds one tensor in memory at a time. `cancel` is
/// checked between tensors.
///
/// # Errors
/// If the original is already quantised or GGUF cannot express it. `target` does not exist then.
pub fn quantise(
    source: &Path,
    target: &Path,
    (to, threads): (Quantisation, usize),
    advance: &mut dyn FnMut(u64),
    cancel: &Cancel,
) -> Result<Quantised, QuantiseModelError> {
    let scratch = target.parent().unwrap_or(Path::new("."));
    let original = Original::open(source, scratch)?;
    let (layers, is_tied) = (original.config.layers, original.config.is_tied);
    let planned: Vec<PlannedTensor> = original
        .tensors
        .iter()
        .map(|tensor| PlannedTensor {
            name: tensor.name.clone(),
            dtype: to.dtype(&tensor.name, &tensor.shape, layers, is_tied),
            shape: tensor.shape.clone(),
        })
        .collect();
    let texts = original.texts();
    let mut metadata = original.metadata(&texts);
    metadata.push(("general.quantization_version", NewValue::U32(FORMAT_VERSION)));
    metadata.push(("general.file_type", NewValue::U32(to.file_type())));
    let (mut tensors, mut not_finite) = (original.tensors.iter(), None);
    let written = write_gguf_planned(target, &metadata, &planned, |plan| {
        if cancel.is_cancelled() {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        let tensor = tensors.next().ok_or_else(|| io::Error::other("a tensor is missing"))?;
        let made = rows(&original, tensor, plan.dtype, threads)
            .inspect_err(|_| not_finite = Some(plan.name.clone()));
        advance(tensor.shape.iter().product::<usize>() as u64);
        made
    });
    match (written, not_finite) {
        (Err(_), _) if cancel.is_cancelled() => return Err(QuantiseModelError::Cancelled),
        (Err(_), Some(tensor)) => return Err(QuantiseModelError::NotFinite { tensor }),
        (written, _) => written?,
    };
    Decoder::inspect(target).map_err(Box::new)?;
    Ok(summary(&original, &planned))
}

fn summary(original: &Original, planned: &[PlannedTensor]) -> Quantised {
    let mut types: Vec<(Dtype, usize, u64)> = Vec::new();
    for tensor in planned {
        let bytes = tensor.dtype.bytes_of(&tensor.shape).unwrap_or_default() as u64;
        match types.iter_mut().find(|(dtype, _, _)| *dtype == tensor.dtype) {
            Some((_, count, sum)) => (*count, *sum) = (*count + 1, *sum + bytes),
            None => types.push((tensor.dtype, 1, bytes)),
        }
    }
    types.sort_by_key(|(_, _, bytes)| std::cmp::Reverse(*bytes));
    let bytes_before = original.file.tensors().map(|(_, view)| view.bytes().len() as u64).sum();
    Quantised { bytes_after: types.iter().map(|(_, _, bytes)| bytes).sum(), types, bytes_before }
}

/// Encodes a tensor in a type, with several threads sharing its rows.
fn rows(
    original: &Original,
    tensor: &crate::original::Tensor,
    dtype: Dtype,
    threads: usize,
) -> io::Result<Vec<u8>> {
    let width = tensor.shape.last().copied().unwrap_or(1);
    let rows: usize = tensor.shape.iter().rev().skip(1).product();
    let each = rows.div_ceil(threads.max(1)).max(1);
    let some = |first: usize| -> io::Result<Vec<u8>> {
        let mut row = vec![0.0; width];
        let mut bytes = Vec::new();
        for index in first..rows.min(first + each) {
            if !original.write_row(tensor, index, &mut row) {
                return Err(io::Error::other("a row is missing"));
            }
            if !row.iter().all(|number| number.is_finite()) {
                return Err(io::Error::other("a number is not finite"));
            }
            bytes.extend(numbers(dtype, &row).map_err(io::Error::other)?);
        }
        Ok(bytes)
    };
    std::thread::scope(|scope| {
        let some = &some;
        let running: Vec<_> = (0..rows).step_by(each).map(|first| scope.spawn(move || some(first))).collect();
        let mut bytes = Vec::new();
        for part in running {
            bytes.extend(part.join().unwrap_or_else(|_| Err(io::Error::other("a thread ended")))?);
        }
        Ok(bytes)
    })
}
