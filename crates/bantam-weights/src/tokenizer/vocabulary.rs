//! Tokens by id: their bytes in text and their kinds.

use super::TokenizerError;

/// Largest number of ids. It bounds the tables, because a file can use large ids for few tokens.
const IDS_MAX: u32 = 1 << 20;
/// Largest total size of all tokens in bytes.
const BYTES_MAX: usize = 1 << 30;

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// No token has this id.
    Absent,
    /// Ordinary text.
    Normal,
    /// Stands for text without a token.
    Unknown,
    /// A control token, which text must not produce.
    Control,
    /// Text that is matched before anything else.
    UserDefined,
    /// A byte of characters without a token.
    Byte,
    /// Reserved; text never produces it.
    Unused,
}

/// Tokens by id.
#[derive(Debug)]
pub(super) struct Vocabulary {
    bytes: Vec<u8>,
    /// Offset and length of each id's bytes.
    spans: Vec<(u32, u32)>,
    kinds: Vec<TokenKind>,
}

impl Vocabulary {
    /// Returns an empty vocabulary with this number of ids.
    pub(super) fn new(ids: usize) -> Result<Self, TokenizerError> {
        if ids > IDS_MAX as usize {
            return Err(TokenizerError::TooManyTokens { found: ids, at_most: IDS_MAX as usize });
        }
        Ok(Self { bytes: Vec::new(), spans: vec![(0, 0); ids], kinds: vec![TokenKind::Absent; ids] })
    }

    /// Adds a token whose id is not used yet.
    pub(super) fn set(&mut self, id: u32, bytes: &[u8], kind: TokenKind) -> Result<(), TokenizerError> {
        let slot = id as usize;
        if slot >= self.kinds.len() {
            return Err(TokenizerError::Id { what: "token", id: u64::from(id), ids: self.kinds.len() });
        }
        if self.kinds[slot] != TokenKind::Absent {
            return Err(TokenizerError::DuplicateId { id, token: excerpt(bytes) });
        }
        if self.bytes.len() + bytes.len() > BYTES_MAX {
            return Err(TokenizerError::TooLong {
                found: self.bytes.len() + bytes.len(),
                at_most: BYTES_MAX,
            });
        }
        // Both fit, because the total is below the limit above.
        self.spans[slot] = (self.bytes.len() as u32, bytes.len() as u32);
        self.bytes.extend_from_slice(bytes);
        self.kinds[slot] = kind;
        Ok(())
    }

    /// Changes the kind of a token.
    pub(super) fn set_kind(&mut self, id: u32, kind: TokenKind) {
        if let Some(slot) = self.kinds.get_mut(id as usize) {
            *slot = kind;
        }
    }

    /// Returns the largest id plus 1.
    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Returns the bytes of a token in text; empty if the token does not exist.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        let Some(&(start, length)) = self.spans.get(id as usize) else { return &[] };
        let start = start as usize;
        self.bytes.get(start..start + length as usize).unwrap_or_default()
    }

    pub(super) fn kind(&self, id: u32) -> TokenKind {
        self.kinds.get(id as usize).copied().unwrap_or(TokenKind::Absent)
    }

    /// Checks that an id from a file exists.
    pub(super) fn require(&self, what: &'static str, id: u64) -> Result<u32, TokenizerError> {
        let found = u32::try_from(id).ok().filter(|&id| self.kind(id) != TokenKind::Absent);
        found.ok_or(TokenizerError::Id { what, id, ids: self.len() })
    }

    /// Returns all existing tokens.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8], TokenKind)> {
        let all = self.kinds.iter().enumerate().filter(|(_, kind)| **kind != TokenKind::Absent);
        all.map(|(id, kind)| (id as u32, self.bytes(id as u32), *kind))
    }
}

/// Returns the start of a token, for error messages.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(64).collect()
}

/// Returns the error for an unsupported feature.
pub(super) fn unsupported(what: &'static str, found: &str) -> TokenizerError {
    TokenizerError::Unsupported { what, found: found.chars().take(256).collect() }
}
