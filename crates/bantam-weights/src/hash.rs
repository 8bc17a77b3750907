//! The name of a weight file's content.

use std::fmt;
use std::io::{self, Write};

use sha2::{Digest, Sha256};

/// SHA-256 of a weight file's content, shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WeightsHash([u8; 32]);

impl WeightsHash {
    /// The hash of some bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The hash of several hashes in their order.
    pub(crate) fn of_hashes(hashes: &[Self]) -> Self {
        let mut hasher = Sha256::new();
        for hash in hashes {
            hasher.update(hash.0);
        }
        Self(hasher.finalize().into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits, lower case.
    pub fn to_hex(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for WeightsHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for WeightsHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "WeightsHash({self})")
    }
}

/// Hashes what it passes on, so that a file is written and named in one walk.
pub(crate) struct HashingWriter<W> {
    inner: W,
    hasher: Sha256,
}

impl<W: Write> HashingWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new() }
    }

    /// The inner writer and the hash of everything that went through.
    pub(crate) fn finish(self) -> (W, WeightsHash) {
        (self.inner, WeightsHash(self.hasher.finalize().into()))
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_vector_however_the_bytes_arrive() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(WeightsHash::of(b"abc").to_hex(), expected);
        let mut writer = HashingWriter::new(Vec::new());
        writer.write_all(b"a").unwrap();
        writer.write_all(b"bc").unwrap();
        let (bytes, hash) = writer.finish();
        assert_eq!((bytes.as_slice(), hash.to_hex().as_str()), (&b"abc"[..], expected));
    }
}
