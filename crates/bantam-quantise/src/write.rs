//! A model, written anew in smaller numbers.

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

/// The version of the block formats that GGUF files name.
const FORMAT_VERSION: u32 = 2;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantised {
    /// Tensors of each type, with their bytes, most bytes first.
    pub types: Vec<(Dtype, usize, u64)>,
    /// Bytes of the original's tensors.
    pub bytes_before: u64,
    /// Bytes of the tensors that were written.
    pub bytes_after: u64,
}

/// Why a model could not be quantised. Nothing was written then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantiseModelError {
    /// Numbers that are no whole ones any more.
    #[error("the tensor {tensor} is {dtype} already; quantising again loses twice")]
    Quantised {
        /// Its name.
        tensor: String,
        /// Its type.
        dtype: Dtype,
    },
    /// A tensor that GGUF has no name for.
    #[error("the tensor {tensor} has no place in a GGUF file")]
    Tensor {
        /// Its name.
        tensor: String,
    },
    /// A setting that GGUF cannot say.
    #[error("GGUF cannot say what `{what}` in config.json says")]
    Setting {
        /// The setting.
        what: &'static str,
    },
    /// A tokenizer that GGUF cannot say.
    #[error("the tokenizer cannot be converted: it has {what}")]
    Tokenizer {
        /// What of it.
        what: String,
    },
    /// A number that no type can hold.
    #[error("the tensor {tensor} holds a number that is not finite")]
    NotFinite {
        /// Its name.
        tensor: String,
    },
    /// The weights cannot be read.
    #[error(transparent)]
    Open(#[from] OpenWeightsError),
    /// The model does not run here.
    #[error(transparent)]
    Decoder(#[from] Box<LoadDecoderError>),
    /// The tokenizer cannot be used.
    #[error("use the tokenizer")]
    OpenTokenizer(#[from] TokenizerError),
    /// A file cannot be read.
    #[error("read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The result cannot be written.
    #[error(transparent)]
    Write(#[from] WriteWeightsError),
    /// The caller asked to stop.
    #[error("quantising was stopped")]
    Cancelled,
}

impl QuantiseModelError {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Quantised { .. } => "quantise the original: F32, F16, BF16 or safetensors",
            Self::NotFinite { .. } => "the file is damaged: get it again",
            Self::Write(_) => "check that the disk has room",
            Self::Cancelled => "quantise it again",
            _ => "get a GGUF file of the model in F16 or BF16 and quantise that",
        }
    }
}

/// Writes the model at `source`, a GGUF file of whole numbers or a folder of safetensors, to the GGUF file `target`.
/// `advance` is told of numbers of the original as they are done; a tensor at a time is in memory, and `cancel` is looked at
/// between two of them.
///
/// # Errors
/// If the original is quantised already or cannot be said in GGUF; `target` is not there then.
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
    let (mut places, mut broken) = (original.tensors.iter(), None);
    let written = write_gguf_planned(target, &metadata, &planned, |plan| {
        if cancel.is_cancelled() {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        let tensor = places.next().ok_or_else(|| io::Error::other("a tensor is missing"))?;
        let made =
            rows(&original, tensor, plan.dtype, threads).inspect_err(|_| broken = Some(plan.name.clone()));
        advance(tensor.shape.iter().product::<usize>() as u64);
        made
    });
    match (written, broken) {
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

/// Returns a tensor's bytes in a type; its rows are done by several threads.
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
