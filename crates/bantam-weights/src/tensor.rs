//! Where tensors lie in a file, and the check that they lie there rightly.

use std::ops::Range;

use crate::dequantise::{self, DequantiseError};
use crate::dtype::Dtype;

/// Bytes of a tensor's name at most.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// A tensor of an open file: its type, its shape and its bytes, which fit each other.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    bytes: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// How the numbers are stored.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The sizes, outermost first, as safetensors and NumPy say them; GGUF's order is turned round.
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// The bytes as they lie in the file: little-endian, rows one after another, of any alignment.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no numbers.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All numbers as `f32`.
    ///
    /// Allocates up to eight times the tensor's bytes (four bytes for a nibble); integers are refused, since
    /// they are positions or token ids, whose silent rounding would hide a mistake.
    pub fn to_f32(&self) -> Result<Vec<f32>, DequantiseError> {
        dequantise::to_f32(self.dtype, self.bytes)
    }

    /// The bytes of one row, the numbers of the innermost dimension; nothing where there is no such row.
    pub fn row_bytes(&self, row: usize) -> Option<&'a [u8]> {
        let width = self.shape.last().copied().unwrap_or(1);
        let bytes = self.dtype.bytes_of(&[width])?;
        let start = row.checked_mul(bytes)?;
        self.bytes.get(start..start.checked_add(bytes)?)
    }

    /// Writes the numbers of one row as `f32`, for readers that need a few rows of a large tensor, or one after
    /// the other. Returns whether there is such a row; `numbers` beyond it, or without it, stay as they are.
    pub fn write_row(&self, row: usize, numbers: &mut [f32]) -> Result<bool, DequantiseError> {
        let Some(bytes) = self.row_bytes(row) else { return Ok(false) };
        dequantise::write_f32(self.dtype, bytes, numbers)?;
        Ok(true)
    }
}

/// Where a tensor lies in its part of a file. The range was checked against the bytes it points into.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Box<str>,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Box<[usize]>,
    pub(crate) range: Range<usize>,
    /// Which of the file's parts holds it.
    pub(crate) part: usize,
}

impl Entry {
    /// The view into its part's bytes.
    pub(crate) fn view<'a>(&'a self, part: &'a [u8]) -> TensorView<'a> {
        let bytes = part.get(self.range.clone()).unwrap_or_default();
        TensorView { dtype: self.dtype, shape: &self.shape, bytes }
    }
}

/// A tensor that a file describes wrongly.
#[derive(Debug, thiserror::Error)]
#[error("tensor {tensor:?}")]
pub struct TensorError {
    /// Its name.
    pub tensor: Box<str>,
    /// What is wrong.
    #[source]
    pub kind: TensorErrorKind,
}

impl TensorError {
    pub(crate) fn new(tensor: &str, kind: TensorErrorKind) -> Self {
        Self { tensor: tensor.into(), kind }
    }
}

/// What is wrong with a tensor's description.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorErrorKind {
    /// No name, or a very long one.
    #[error("the name has {bytes} bytes; it must have 1 to {NAME_BYTES_MAX}")]
    Name {
        /// Its length.
        bytes: u64,
    },
    /// Two tensors of one name.
    #[error("the name stands twice")]
    Duplicate,
    /// More dimensions than any model has.
    #[error("it has {found} dimensions; at most {at_most} are read")]
    Dimensions {
        /// How many it has.
        found: u64,
        /// How many are read.
        at_most: u64,
    },
    /// A size of zero.
    #[error("dimension {dimension} is zero")]
    ZeroDimension {
        /// Which.
        dimension: usize,
    },
    /// A type that is not read.
    #[error("its type {found} is not read")]
    UnknownType {
        /// The type, as the file names it.
        found: Box<str>,
    },
    /// A row that ends inside a block.
    #[error("rows of {row} numbers are no whole blocks of {dtype}")]
    PartialBlock {
        /// Numbers in a row.
        row: usize,
        /// The type.
        dtype: Dtype,
    },
    /// A size that no memory holds.
    #[error("its size overflows")]
    Overflow,
    /// Data that starts off the alignment.
    #[error("its offset {offset} is no multiple of the alignment {alignment}")]
    Misaligned {
        /// Where it starts.
        offset: u64,
        /// The alignment.
        alignment: u64,
    },
    /// Fewer or more bytes than type and shape need.
    #[error("it has {found} bytes; its type and shape need {expected}")]
    Size {
        /// Bytes there are.
        found: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// Data beyond the end.
    #[error("it ends at byte {end} of {available} bytes of data")]
    OutOfFile {
        /// Where it would end.
        end: u64,
        /// Bytes of data in the file.
        available: u64,
    },
    /// Two tensors that share bytes.
    #[error("it shares bytes with {other:?}")]
    Overlap {
        /// The tensor before it.
        other: Box<str>,
    },
    /// Bytes before it that belong to no tensor.
    #[error("{bytes} bytes before it belong to no tensor")]
    Gap {
        /// How many.
        bytes: u64,
    },
}

/// Checks that tensors, given with ranges inside a data section of `available` bytes, neither overlap nor leave
/// bytes over but for padding to `alignment`; returns where the last one ends, padded.
///
/// Unowned bytes are refused because they are where something else can hide, and no writer makes them.
pub(crate) fn check_layout(
    tensors: &[Entry],
    available: usize,
    alignment: usize,
) -> Result<usize, TensorError> {
    let mut order: Vec<&Entry> = tensors.iter().collect();
    order.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
    let mut end = 0usize;
    let mut before: Option<&Entry> = None;
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

/// The order of tensors by name, in which two of one name would stand side by side.
pub(crate) fn index_by_name(tensors: &[Entry]) -> Result<Vec<usize>, TensorError> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_unstable_by(|&a, &b| tensors[a].name.cmp(&tensors[b].name));
    match order.windows(2).find(|pair| tensors[pair[0]].name == tensors[pair[1]].name) {
        Some(pair) => Err(TensorError::new(&tensors[pair[0]].name, TensorErrorKind::Duplicate)),
        None => Ok(order),
    }
}

/// Refuses names of no or too many bytes.
pub(crate) fn check_name(name: &str) -> Result<(), TensorError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let shown: String = name.chars().take(32).collect();
        return Err(TensorError::new(&shown, TensorErrorKind::Name { bytes: name.len() as u64 }));
    }
    Ok(())
}
