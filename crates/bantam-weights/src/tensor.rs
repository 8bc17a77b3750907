//! The location of tensors in a file, and its checks.

use std::ops::Range;

use crate::dequantise::{self, DequantiseError};
use crate::dtype::Dtype;

/// Largest length of a tensor's name in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// A tensor of an open file: type, shape and matching bytes.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    bytes: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// Returns the storage type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Returns the dimensions, outermost first, as in safetensors and NumPy; GGUF's order is reversed.
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// Returns the raw bytes: little-endian, row after row, not aligned.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns all values as `f32`.
    ///
    /// Allocates up to eight times the tensor's bytes (four bytes for a nibble). Integers are refused: they are
    /// positions or token ids, and rounding them silently would hide a mistake.
    pub fn to_f32(&self) -> Result<Vec<f32>, DequantiseError> {
        dequantise::to_f32(self.dtype, self.bytes)
    }

    /// Returns the bytes of one row (the innermost dimension), or `None` if the row does not exist.
    pub fn row_bytes(&self, row: usize) -> Option<&'a [u8]> {
        let width = self.shape.last().copied().unwrap_or(1);
        let bytes = self.dtype.bytes_of(&[width])?;
        let start = row.checked_mul(bytes)?;
        self.bytes.get(start..start.checked_add(bytes)?)
    }

    /// Writes the values of one row as `f32`, for callers that need a few rows of a large tensor or read row by row.
    /// Returns whether the row exists; if not, `numbers` stays unchanged, and so do elements beyond the row.
    pub fn write_row(&self, row: usize, numbers: &mut [f32]) -> Result<bool, DequantiseError> {
        let Some(bytes) = self.row_bytes(row) else { return Ok(false) };
        dequantise::write_f32(self.dtype, bytes, numbers)?;
        Ok(true)
    }
}

/// The location of a tensor in its part of a file. The range was checked against the part's bytes.
#[derive(Debug)]
pub(crate) struct TensorEntry {
    pub(crate) name: Box<str>,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Box<[usize]>,
    pub(crate) range: Range<usize>,
    /// Index of the part.
    pub(crate) part: usize,
}

impl TensorEntry {
    /// Returns a view into the part's bytes.
    pub(crate) fn view<'a>(&'a self, part: &'a [u8]) -> TensorView<'a> {
        let bytes = part.get(self.range.clone()).unwrap_or_default();
        TensorView { dtype: self.dtype, shape: &self.shape, bytes }
    }
}

/// An invalid tensor description.
#[derive(Debug, thiserror::Error)]
#[error("tensor {tensor:?}")]
pub struct TensorError {
    /// Its name.
    pub tensor: Box<str>,
    /// The cause.
    #[source]
    pub kind: TensorErrorKind,
}

impl TensorError {
    pub(crate) fn new(tensor: &str, kind: TensorErrorKind) -> Self {
        Self { tensor: tensor.into(), kind }
    }
}

/// The cause of a [`TensorError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorErrorKind {
    /// The name is empty or too long.
    #[error("the name is {bytes} bytes long; it must be 1 to {NAME_BYTES_MAX}")]
    Name {
        /// Its length in bytes.
        bytes: u64,
    },
    /// Two tensors have this name.
    #[error("the name appears twice")]
    Duplicate,
    /// There are too many dimensions.
    #[error("it has {found} dimensions; the limit is {at_most}")]
    Dimensions {
        /// Number of dimensions.
        found: u64,
        /// The limit.
        at_most: u64,
    },
    /// A dimension is zero.
    #[error("dimension {dimension} is zero")]
    ZeroDimension {
        /// The dimension's index.
        dimension: usize,
    },
    /// The type is not supported.
    #[error("its type {found} is not supported")]
    UnknownType {
        /// The type, as the file names it.
        found: Box<str>,
    },
    /// A row ends inside a block.
    #[error("rows of {row} values do not fill whole blocks of {dtype}")]
    PartialBlock {
        /// Values per row.
        row: usize,
        /// The type.
        dtype: Dtype,
    },
    /// The size overflows.
    #[error("its size overflows")]
    Overflow,
    /// The data is not aligned.
    #[error("its offset {offset} is not a multiple of the alignment {alignment}")]
    Misaligned {
        /// Its offset.
        offset: u64,
        /// The alignment.
        alignment: u64,
    },
    /// The number of bytes does not match type and shape.
    #[error("it has {found} bytes; its type and shape need {expected}")]
    Size {
        /// Bytes in the file.
        found: u64,
        /// Bytes needed.
        expected: u64,
    },
    /// The data extends beyond the end of the file.
    #[error("it ends at byte {end}, beyond the {available} bytes of data")]
    OutOfFile {
        /// Where it ends.
        end: u64,
        /// Bytes of data in the file.
        available: u64,
    },
    /// Two tensors overlap.
    #[error("it overlaps {other:?}")]
    Overlap {
        /// The preceding tensor.
        other: Box<str>,
    },
    /// Unused bytes precede it.
    #[error("{bytes} bytes before it belong to no tensor")]
    Gap {
        /// Number of bytes.
        bytes: u64,
    },
}

/// Checks that tensors, with ranges inside a data section of `available` bytes, do not overlap and leave no gaps
/// except padding to `alignment`. Returns the padded end of the last one.
///
/// Gaps are refused because other content could hide in them, and no writer creates them.
pub(crate) fn check_layout(
    tensors: &[TensorEntry],
    available: usize,
    alignment: usize,
) -> Result<usize, TensorError> {
    let mut order: Vec<&TensorEntry> = tensors.iter().collect();
    order.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
    let mut end = 0usize;
    let mut before: Option<&TensorEntry> = None;
    for tensor in order {
        let wrong = |kind| TensorError::new(&tensor.name, kind);
        if tensor.range.end > available {
            let (end, available) = (tensor.range.end as u64, available as u64);
            return Err(wrong(TensorErrorKind::OutOfFile { end, available }));
        }
        if tensor.range.start < before.map_or(0, |before| before.range.end) {
            let other = before.map_or("", |before| &before.name).into();
            return Err(wrong(TensorErrorKind::Overlap { other }));
        }
        if tensor.range.start > end {
            return Err(wrong(TensorErrorKind::Gap { bytes: (tensor.range.start - end) as u64 }));
        }
        end = tensor
            .range
            .end
            .checked_next_multiple_of(alignment)
            .ok_or_else(|| wrong(TensorErrorKind::Overflow))?;
        before = Some(tensor);
    }
    Ok(end)
}

/// Returns the tensors' indices sorted by name, after checking that names are unique.
pub(crate) fn index_by_name(tensors: &[TensorEntry]) -> Result<Vec<usize>, TensorError> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_unstable_by(|&a, &b| tensors[a].name.cmp(&tensors[b].name));
    match order.windows(2).find(|pair| tensors[pair[0]].name == tensors[pair[1]].name) {
        Some(pair) => Err(TensorError::new(&tensors[pair[0]].name, TensorErrorKind::Duplicate)),
        None => Ok(order),
    }
}

/// Refuses names that are empty or too long.
pub(crate) fn check_name(name: &str) -> Result<(), TensorError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let shown: String = name.chars().take(32).collect();
        return Err(TensorError::new(&shown, TensorErrorKind::Name { bytes: name.len() as u64 }));
    }
    Ok(())
}
