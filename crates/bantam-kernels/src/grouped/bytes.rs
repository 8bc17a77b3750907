//! The bytes of packed weights, owned or memory-mapped.

use std::ops::Range;
use std::sync::Arc;

/// Bytes aligned to 64, a cache line.
#[derive(Clone)]
pub struct AlignedBytes {
    lines: Vec<Line>,
    length: usize,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl AlignedBytes {
    /// Returns `length` zero bytes.
    pub fn zeros(length: usize) -> Self {
        Self { lines: vec![Line([0; 64]); length.div_ceil(64)], length }
    }

    /// Returns a copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut copy = Self::zeros(bytes.len());
        copy.as_mut().copy_from_slice(bytes);
        copy
    }
}

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: lines are plain bytes without padding, and they have at least `length` bytes.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl AsMut<[u8]> for AlignedBytes {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

/// A range of bytes with a shared owner: memory or a mapped file. Cloning does not copy the bytes.
///
/// Kernels accept any alignment, but are fastest if the bytes are aligned to 64.
#[derive(Clone)]
pub struct PackedBytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl PackedBytes {
    /// Returns the part `range` of `owner`'s bytes, or `None` if it is out of bounds.
    pub fn new(owner: Arc<dyn AsRef<[u8]> + Send + Sync>, range: Range<usize>) -> Option<Self> {
        let is_within = (*owner).as_ref().get(range.clone()).is_some();
        is_within.then_some(Self { owner, range })
    }

    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        // An owner that shrinks is a bug; return nothing rather than read out of bounds.
        (*self.owner).as_ref().get(self.range.clone()).unwrap_or_default()
    }
}

impl From<AlignedBytes> for PackedBytes {
    fn from(bytes: AlignedBytes) -> Self {
        let range = 0..bytes.length;
        Self { owner: Arc::new(bytes), range }
    }
}

impl std::fmt::Debug for PackedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackedBytes").field("range", &self.range).finish_non_exhaustive()
    }
}
