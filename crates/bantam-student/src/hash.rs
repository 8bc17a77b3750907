//! The hash of a student file's content.

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// SHA-256 of a student file's content, shown as 64 hexadecimal digits.
///
/// Anything measured about a student (a certificate, a report) is valid for one hash only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileHash([u8; 32]);

impl FileHash {
    /// Returns the hash of the concatenated pieces.
    pub(crate) fn of(pieces: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for piece in pieces {
            hasher.update(piece);
        }
        Self(hasher.finalize().into())
    }

    /// Returns the 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the 64 hexadecimal digits in lower case.
    pub fn to_hex(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", HEXLOWER.encode_display(&self.0))
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "FileHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_vector_however_the_input_is_split() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(FileHash::of(&[b"abc"]).to_hex(), expected);
        assert_eq!(FileHash::of(&[b"a", b"", b"bc"]).to_hex(), expected);
    }
}
