//! The vocabulary data that a constraint needs.

use std::fmt;
use std::sync::Arc;

/// Most tokens in a table.
pub const TOKENS_MAX: usize = 1 << 21;
/// Longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4_096;

/// A tokenizer: maps a text to tokens.
type Encode = dyn Fn(&str) -> Vec<u32> + Send + Sync;

/// How to tokenize text that a grammar forces.
///
/// Forced text is appended at once instead of token by token. A model works best with the tokens it was trained on,
/// so the model's tokenizer should split it.
#[derive(Clone)]
pub enum Forcing {
    /// Force nothing: sample every token under its mask.
    Off,
    /// Repeatedly take the longest matching token. Not what a BPE tokenizer does, though often the same.
    LongestMatch,
    /// Use the model's own tokenizer, without special tokens and without a leading space.
    Encoder(Arc<Encode>),
}

impl fmt::Debug for Forcing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Off => "Off",
            Self::LongestMatch => "LongestMatch",
            Self::Encoder(_) => "Encoder",
        })
    }
}

/// The bytes of each token, and which tokens are not text. Built once per model and shared.
#[derive(Clone, Debug)]
pub struct TokenTable {
    bytes: Vec<u8>,
    /// Where each token's bytes end.
    ends: Vec<u32>,
    control: Vec<bool>,
    end_of_sequence: Vec<u32>,
    forcing: Forcing,
    /// The first token for each single byte.
    of_bytes: Box<[Option<u32>; 256]>,
}

/// Why a token table cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenTableError {
    /// There are no tokens, or more than [`TOKENS_MAX`].
    #[error("the table has {0} tokens; the allowed number is 1 to {TOKENS_MAX}")]
    Size(usize),
    /// A token is longer than [`TOKEN_BYTES_MAX`].
    #[error(
        "token {token} is {bytes} bytes long, over the limit of {TOKEN_BYTES_MAX}: is the vocabulary damaged?"
    )]
    Long {
        /// The token.
        token: usize,
        /// Its length in bytes.
        bytes: usize,
    },
    /// A token id is outside the vocabulary.
    #[error(
        "{role} token {token} is outside the vocabulary of {tokens} tokens: does the configuration belong to another model?"
    )]
    Unknown {
        /// "control" or "end-of-sequence".
        role: &'static str,
        /// The id.
        token: u32,
        /// Size of the vocabulary.
        tokens: usize,
    },
    /// No token ends an answer.
    #[error("there is no end-of-sequence token, so no constrained answer could end: set at least one")]
    NoEnd,
}

impl TokenTable {
    /// Builds the table of a model whose i-th token stands for `tokens[i]`. Control and end-of-sequence tokens are
    /// not text, whatever their bytes: no grammar matches them.
    pub fn new<B: AsRef<[u8]>>(
        tokens: impl IntoIterator<Item = B>,
        control: &[u32],
        end_of_sequence: &[u32],
        forcing: Forcing,
    ) -> Result<Self, TokenTableError> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for (token, text) in tokens.into_iter().enumerate() {
            let text = text.as_ref();
            if text.len() > TOKEN_BYTES_MAX {
                return Err(TokenTableError::Long { token, bytes: text.len() });
            }
            if token >= TOKENS_MAX || bytes.len() + text.len() > u32::MAX as usize {
                return Err(TokenTableError::Size(token + 1));
            }
            bytes.extend_from_slice(text);
            ends.push(bytes.len() as u32);
        }
        let tokens = ends.len();
        if tokens == 0 {
            return Err(TokenTableError::Size(0));
        }
        let mut is_control = vec![false; tokens];
        for (role, ids) in [("control", control), ("end-of-sequence", end_of_sequence)] {
            for token in ids {
                let unknown = TokenTableError::Unknown { role, token: *token, tokens };
                *is_control.get_mut(*token as usize).ok_or(unknown)? = true;
            }
        }
        if end_of_sequence.is_empty() {
            return Err(TokenTableError::NoEnd);
        }
        let mut end_of_sequence = end_of_sequence.to_vec();
        end_of_sequence.sort_unstable();
        end_of_sequence.dedup();
        let mut table = Self {
            bytes,
            ends,
            control: is_control,
            end_of_sequence,
            forcing,
            of_bytes: Box::new([None; 256]),
        };
        for token in (0..tokens as u32).rev() {
            if let [byte] = *table.text(token) {
                table.of_bytes[usize::from(byte)] = Some(token);
            }
        }
        Ok(table)
    }

    /// Returns the number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there are no tokens, which [`TokenTable::new`] refuses.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the bytes that a token adds to the text; none for control tokens, end-of-sequence tokens and unknown
    /// ids.
    #[must_use]
    pub fn text(&self, token: u32) -> &[u8] {
        let index = token as usize;
        let Some(end) = self.ends.get(index).filter(|_| !self.control[index]) else { return &[] };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..*end as usize]
    }

    /// Returns whether a token ends the answer.
    #[must_use]
    pub fn is_end(&self, token: u32) -> bool {
        self.end_of_sequence.binary_search(&token).is_ok()
    }

    /// Returns the tokens that end an answer, sorted.
    #[must_use]
    pub fn end_of_sequence(&self) -> &[u32] {
        &self.end_of_sequence
    }

    /// Returns the first token that consists of exactly this byte.
    pub(crate) fn of_byte(&self, byte: u8) -> Option<u32> {
        self.of_bytes[usize::from(byte)]
    }

    /// Returns whether every text without control characters can be written byte by byte.
    pub(crate) fn has_bytes(&self) -> bool {
        let occurs = |byte: &usize| matches!(byte, 0x20..=0x7E | 0x80..=0xBF | 0xC2..=0xF4);
        (0..256).filter(occurs).all(|byte| self.of_bytes[byte].is_some())
    }

    pub(crate) fn forcing(&self) -> &Forcing {
        &self.forcing
    }

    /// Returns whether a token is not text.
    pub(crate) fn is_control(&self, token: u32) -> bool {
        self.control.get(token as usize).copied().unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_tokens_have_bytes_and_control_tokens_have_none() {
        let table = TokenTable::new(["a", "bc", "<end>", "", "d"], &[3], &[2], Forcing::Off).unwrap();
        let texts: Vec<&[u8]> = (0..6).map(|token| table.text(token)).collect();
        assert_eq!(texts, [&b"a"[..], b"bc", b"", b"", b"d", b""]);
        assert!(table.is_end(2) && !table.is_end(3) && table.is_control(3) && !table.is_control(1));
        assert_eq!(table.len(), 5);
    }

    #[test]
    fn invalid_tables_get_their_own_errors() {
        let refused = |tokens: &[&[u8]], control: &[u32], end: &[u32]| {
            TokenTable::new(tokens, control, end, Forcing::Off).unwrap_err()
        };
        assert_eq!(refused(&[], &[], &[]), TokenTableError::Size(0));
        assert_eq!(refused(&[b"a"], &[], &[]), TokenTableError::NoEnd);
        let unknown = TokenTableError::Unknown { role: "control", token: 1, tokens: 1 };
        assert_eq!(refused(&[b"a"], &[1], &[0]), unknown);
        assert_eq!(refused(&[&[0; 5_000]], &[], &[0]), TokenTableError::Long { token: 0, bytes: 5_000 });
    }
}
