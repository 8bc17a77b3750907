//! The tokens by their ids: their bytes as they stand in text, and what kind each is.

use super::TokenizerError;

/// Ids that a vocabulary may have, however few tokens stand in its file: what bounds the tables by id.
const IDS_MAX: u32 = 1 << 20;
/// Bytes of all tokens together.
const BYTES_MAX: usize = 1 << 30;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// No token has this id.
    Absent,
    /// Text.
    Normal,
    /// For text that has no token.
    Unknown,
    /// An instruction to the model, which text must not give.
    Control,
    /// Text that is found before anything else is.
    UserDefined,
    /// A byte that has no other token.
    Byte,
    /// Kept for later; no text gives it.
    Unused,
}

/// Tokens by their ids.
#[derive(Debug)]
pub(super) struct Vocabulary {
    bytes: Vec<u8>,
    /// Where the bytes of each id lie.
    spans: Vec<(u32, u32)>,
    kinds: Vec<Kind>,
}

impl Vocabulary {
    /// An empty vocabulary of a number of ids.
    pub(super) fn new(ids: usize) -> Result<Self, TokenizerError> {
        if ids > IDS_MAX as usize {
            return Err(TokenizerError::TooManyTokens { found: ids, at_most: IDS_MAX as usize });
        }
        Ok(Self { bytes: Vec::new(), spans: vec![(0, 0); ids], kinds: vec![Kind::Absent; ids] })
    }

    /// Sets a token that is not set yet.
    pub(super) fn set(&mut self, id: u32, bytes: &[u8], kind: Kind) -> Result<(), TokenizerError> {
        let slot = id as usize;
        if slot >= self.kinds.len() {
            return Err(TokenizerError::Id { what: "token", id: u64::from(id), ids: self.kinds.len() });
        }
        if self.kinds[slot] != Kind::Absent {
            return Err(TokenizerError::DuplicateId { id, token: shown(bytes) });
        }
        if self.bytes.len() + bytes.len() > BYTES_MAX {
            return Err(TokenizerError::TooLong {
                found: self.bytes.len() + bytes.len(),
                at_most: BYTES_MAX,
            });
        }
        // Both fit: all bytes together are within the limit above.
        self.spans[slot] = (self.bytes.len() as u32, bytes.len() as u32);
        self.bytes.extend_from_slice(bytes);
        self.kinds[slot] = kind;
        Ok(())
    }

    /// Says what a token is, once that is known.
    pub(super) fn set_kind(&mut self, id: u32, kind: Kind) {
        if let Some(slot) = self.kinds.get_mut(id as usize) {
            *slot = kind;
        }
    }

    /// One more than the largest id.
    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// The bytes of a token as they stand in text; none where there is no such token.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        let Some(&(start, length)) = self.spans.get(id as usize) else { return &[] };
        let start = start as usize;
        self.bytes.get(start..start + length as usize).unwrap_or_default()
    }

    pub(super) fn kind(&self, id: u32) -> Kind {
        self.kinds.get(id as usize).copied().unwrap_or(Kind::Absent)
    }

    /// Checks an id that a file names.
    pub(super) fn require(&self, what: &'static str, id: u64) -> Result<u32, TokenizerError> {
        let found = u32::try_from(id).ok().filter(|&id| self.kind(id) != Kind::Absent);
        found.ok_or(TokenizerError::Id { what, id, ids: self.len() })
    }

    /// All tokens that there are.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8], Kind)> {
        let all = self.kinds.iter().enumerate().filter(|(_, kind)| **kind != Kind::Absent);
        all.map(|(id, kind)| (id as u32, self.bytes(id as u32), *kind))
    }
}

/// The beginning of a token for a message.
pub(super) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(64).collect()
}

/// The error for something that is not done here.
pub(super) fn unsupported(what: &'static str, found: &str) -> TokenizerError {
    TokenizerError::Unsupported { what, found: found.chars().take(256).collect() }
}
