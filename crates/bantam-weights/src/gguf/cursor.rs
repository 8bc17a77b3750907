//! Reads a byte slice from front to back with bounds checks.

use super::GgufError;

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the number of bytes read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn left(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Reads the next `count` bytes.
    pub(super) fn take(&mut self, count: u64, what: &'static str) -> Result<&'a [u8], GgufError> {
        let left = self.left();
        let taken = usize::try_from(count).ok().and_then(|count| left.get(..count));
        let Some(taken) = taken else {
            let (at, left) = (self.at as u64, left.len() as u64);
            return Err(GgufError::Truncated { what, at, needed: count, left });
        };
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        let taken = self.take(N as u64, what)?;
        // `take` returned exactly N bytes.
        Ok(taken.first_chunk().copied().unwrap_or([0; N]))
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// Reads a length and that many bytes of UTF-8.
    pub(super) fn text(&mut self, bytes_max: u64, what: &'static str) -> Result<&'a str, GgufError> {
        let length = self.u64(what)?;
        if length > bytes_max {
            return Err(GgufError::TooLong { what, found: length, at_most: bytes_max });
        }
        let at = self.at as u64;
        std::str::from_utf8(self.take(length, what)?).map_err(|_| GgufError::NotUtf8 { what, at })
    }

    /// Checks a count of items of at least `bytes_min` bytes each against the bytes left.
    pub(super) fn count(&self, count: u64, bytes_min: u64, what: &'static str) -> Result<usize, GgufError> {
        let at_most = self.left().len() as u64 / bytes_min.max(1);
        match usize::try_from(count) {
            Ok(fits) if count <= at_most => Ok(fits),
            _ => Err(GgufError::Count { what, found: count, at_most }),
        }
    }
}
