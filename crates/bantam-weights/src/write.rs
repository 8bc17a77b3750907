//! Writes weight files atomically and returns their hashes.

mod atomic;
mod gguf;
mod safetensors;

pub use gguf::{NewValue, PlannedTensor, write_gguf, write_gguf_planned};
pub use safetensors::write_safetensors;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::dtype::Dtype;
use crate::tensor::{self, TensorError, TensorErrorKind};

/// A tensor to write.
#[derive(Debug, Clone, Copy)]
pub struct NewTensor<'a> {
    /// The name.
    pub name: &'a str,
    /// The storage type.
    pub dtype: Dtype,
    /// The dimensions, outermost first.
    pub shape: &'a [usize],
    /// The bytes, as returned by [`crate::quantise`].
    pub bytes: &'a [u8],
}

/// Writes any file atomically and durably: whatever happens, the path has either its previous content or everything
/// that `body` wrote.
pub fn write_file(
    path: impl AsRef<Path>,
    body: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    atomic::write_unhashed(path.as_ref(), |sink| body(sink))
}

/// Why a weight file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("write the weights {}", .path.display())]
pub struct WriteWeightsError {
    /// The file.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub kind: WriteWeightsErrorKind,
}

/// The cause of a [`WriteWeightsError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteWeightsErrorKind {
    /// The file cannot be written.
    #[error("cannot write the file")]
    Write(#[from] io::Error),
    /// A tensor would be refused by readers.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A key would be refused by readers.
    #[error("the key {key:?} is empty, reserved or duplicated")]
    Key {
        /// The key.
        key: Box<str>,
    },
}

impl WriteWeightsErrorKind {
    fn at(self, path: &Path) -> WriteWeightsError {
        WriteWeightsError { path: path.to_owned(), kind: self }
    }
}

/// Applies the checks of a reader, so that no unreadable file is written.
fn check(
    tensors: &[NewTensor<'_>],
    dimensions_max: usize,
    type_exists: impl Fn(Dtype) -> bool,
) -> Result<(), TensorError> {
    for tensor in tensors {
        let wrong = |kind| TensorError::new(tensor.name, kind);
        tensor::check_name(tensor.name)?;
        if !type_exists(tensor.dtype) {
            return Err(wrong(TensorErrorKind::UnknownType { found: tensor.dtype.name().into() }));
        }
        if tensor.shape.len() > dimensions_max {
            let (found, at_most) = (tensor.shape.len() as u64, dimensions_max as u64);
            return Err(wrong(TensorErrorKind::Dimensions { found, at_most }));
        }
        let expected = tensor.dtype.bytes_of(tensor.shape).ok_or_else(|| wrong(TensorErrorKind::Overflow))?;
        if tensor.bytes.len() != expected {
            let (found, expected) = (tensor.bytes.len() as u64, expected as u64);
            return Err(wrong(TensorErrorKind::Size { found, expected }));
        }
    }
    let mut names: Vec<&str> = tensors.iter().map(|tensor| tensor.name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(TensorError::new(pair[0], TensorErrorKind::Duplicate)),
        None => Ok(()),
    }
}

/// Refuses empty and duplicate keys, and one that the format reserves.
fn check_keys<'a>(
    keys: impl Iterator<Item = &'a str>,
    reserved: Option<&str>,
) -> Result<(), WriteWeightsErrorKind> {
    let mut keys: Vec<&str> = keys.collect();
    keys.sort_unstable();
    let mut before = "";
    for key in keys {
        if key == before || Some(key) == reserved {
            return Err(WriteWeightsErrorKind::Key { key: key.into() });
        }
        before = key;
    }
    Ok(())
}
