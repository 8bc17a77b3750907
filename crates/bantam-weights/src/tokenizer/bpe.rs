//! Byte-pair encoding of a piece of text, starting from bytes or from characters with a fallback to bytes.

use std::hash::{BuildHasher, RandomState};

use super::merges::{Merges, Scratch};
use super::split::SPACE_MARK;
use super::start::{ByteTable, InitialTokens, NONE};
use super::vocabulary::{TokenKind, Vocabulary};

/// A BPE model.
#[derive(Debug)]
pub(super) struct Bpe {
    pub(super) merges: Merges,
    pub(super) start: InitialTokens,
    /// Tokens that are used for whole pieces without merging.
    pub(super) whole_tokens: Option<WholeTokens>,
    pub(super) unknown: UnknownTokens,
}

/// The fallback for characters without a token.
#[derive(Debug, Default)]
pub(super) struct UnknownTokens {
    /// A token for each of the character's bytes.
    pub(super) bytes: Option<ByteTable>,
    /// Used if there are no byte tokens.
    pub(super) id: Option<u32>,
    /// Whether several unknown characters in a row give one token.
    pub(super) is_fused: bool,
}

impl UnknownTokens {
    /// Appends the fallback of a character. Returns whether that is the unknown token.
    pub(super) fn push(&self, character: char, follows_unknown: bool, out: &mut Vec<u32>) -> bool {
        let mut buffer = [0; 4];
        let bytes = character.encode_utf8(&mut buffer).as_bytes();
        if let Some(table) = &self.bytes
            && bytes.iter().all(|&byte| table[usize::from(byte)] != NONE)
        {
            out.extend(bytes.iter().map(|&byte| table[usize::from(byte)]));
            return false;
        }
        if let Some(id) = self.id.filter(|_| !(follows_unknown && self.is_fused)) {
            out.push(id);
        }
        true
    }
}

impl Bpe {
    /// Appends the tokens of a piece.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        piece: &str,
        scratch: &mut BpeScratch,
        out: &mut Vec<u32>,
    ) {
        if let Some(id) = self
            .whole_tokens
            .as_ref()
            .and_then(|whole_tokens| whole_tokens.find(vocabulary, piece.as_bytes()))
        {
            return out.push(id);
        }
        if !matches!(&self.start, InitialTokens::Characters(characters) if characters.is_split_at_spaces) {
            return self.merge(vocabulary, piece, scratch, out);
        }
        let (mut start, mut before) = (0, SPACE_MARK);
        for (at, character) in piece.char_indices() {
            if character == SPACE_MARK && before != SPACE_MARK {
                self.merge(vocabulary, &piece[start..at], scratch, out);
                start = at;
            }
            before = character;
        }
        self.merge(vocabulary, &piece[start..], scratch, out);
    }

    fn merge(&self, vocabulary: &Vocabulary, piece: &str, scratch: &mut BpeScratch, out: &mut Vec<u32>) {
        let BpeScratch { tokens, merges } = scratch;
        tokens.clear();
        match &self.start {
            InitialTokens::Bytes(table) => {
                let ids = piece.bytes().map(|byte| table[usize::from(byte)]);
                if ids.clone().all(|id| id != NONE) {
                    tokens.extend(ids);
                } else {
                    let mut follows_unknown = false;
                    for id in ids {
                        match (id, self.unknown.id) {
                            (NONE, Some(id)) if !(follows_unknown && self.unknown.is_fused) => {
                                tokens.push(id);
                            }
                            (NONE, _) => {}
                            (id, _) => tokens.push(id),
                        }
                        follows_unknown = id == NONE;
                    }
                }
                self.merges.merge(tokens, merges);
                out.extend_from_slice(tokens);
            }
            InitialTokens::Characters(characters) => {
                let mut follows_unknown = false;
                for character in piece.chars() {
                    let id = characters.find(character);
                    follows_unknown = if id == NONE {
                        self.unknown.push(character, follows_unknown, tokens)
                    } else {
                        tokens.push(id);
                        false
                    };
                }
                self.merges.merge(tokens, merges);
                self.replace_placeholders(vocabulary, &characters.placeholders, tokens, out);
            }
        }
    }

    /// Appends tokens, replacing placeholders of characters without a token by their fallback.
    fn replace_placeholders(
        &self,
        vocabulary: &Vocabulary,
        placeholders: &[char],
        tokens: &[u32],
        out: &mut Vec<u32>,
    ) {
        if placeholders.is_empty() {
            return out.extend_from_slice(tokens);
        }
        let mut follows_unknown = false;
        for &id in tokens {
            let index = (id as usize).checked_sub(vocabulary.len());
            follows_unknown = match index.and_then(|index| placeholders.get(index)) {
                Some(&character) => self.unknown.push(character, follows_unknown, out),
                None => {
                    out.push(id);
                    false
                }
            };
        }
    }
}

/// Reused working memory.
#[derive(Debug, Default)]
pub(super) struct BpeScratch {
    tokens: Vec<u32>,
    merges: Scratch,
}

/// Tokens by their bytes. The hash has a random key, so no file can be crafted to make lookups slow.
#[derive(Debug)]
pub(super) struct WholeTokens {
    slots: Vec<u32>,
    state: RandomState,
}

impl WholeTokens {
    /// Collects all tokens that text can produce.
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let slots = vec![NONE; (vocabulary.len() * 2).next_power_of_two().max(2)];
        let mut whole_tokens = Self { slots, state: RandomState::new() };
        for (id, bytes, _) in vocabulary.iter().filter(|(_, _, kind)| *kind == TokenKind::Normal) {
            let mut at = whole_tokens.slot(bytes);
            while whole_tokens.slots[at] != NONE {
                at = (at + 1) % whole_tokens.slots.len();
            }
            whole_tokens.slots[at] = id;
        }
        whole_tokens
    }

    fn slot(&self, bytes: &[u8]) -> usize {
        // The number of slots is a power of two.
        self.state.hash_one(bytes) as usize & (self.slots.len() - 1)
    }

    /// Returns the token with these bytes. Half of the slots are free, so the search ends.
    fn find(&self, vocabulary: &Vocabulary, bytes: &[u8]) -> Option<u32> {
        let mut at = self.slot(bytes);
        loop {
            match self.slots[at] {
                NONE => return None,
                id if vocabulary.bytes(id) == bytes => return Some(id),
                _ => at = (at + 1) % self.slots.len(),
            }
        }
    }
}
