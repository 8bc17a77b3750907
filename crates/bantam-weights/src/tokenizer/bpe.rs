//! A piece of text to tokens by merging: from bytes, or from characters with bytes for those that are unknown.

use std::hash::{BuildHasher, RandomState};

use super::merges::{Merges, Scratch};
use super::split::SPACE_MARK;
use super::start::{ByteTable, NONE, Start};
use super::vocabulary::{Kind, Vocabulary};

/// Where merging starts and how it goes on.
#[derive(Debug)]
pub(super) struct Bpe {
    pub(super) merges: Merges,
    pub(super) start: Start,
    /// Tokens that are taken whole, whatever the merges say.
    pub(super) wholes: Option<Wholes>,
    pub(super) unknown: Unknown,
}

/// What becomes of a character that has no token.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    /// A token for each of its bytes.
    pub(super) bytes: Option<ByteTable>,
    /// Else this one.
    pub(super) id: Option<u32>,
    /// One for several in a row.
    pub(super) is_fused: bool,
}

impl Unknown {
    /// Appends what stands for a character.
    pub(super) fn push(&self, character: char, was_unknown: bool, out: &mut Vec<u32>) -> bool {
        let mut buffer = [0; 4];
        let bytes = character.encode_utf8(&mut buffer).as_bytes();
        if let Some(table) = &self.bytes
            && bytes.iter().all(|&byte| table[usize::from(byte)] != NONE)
        {
            out.extend(bytes.iter().map(|&byte| table[usize::from(byte)]));
            return false;
        }
        if let Some(id) = self.id.filter(|_| !(was_unknown && self.is_fused)) {
            out.push(id);
        }
        true
    }
}

impl Bpe {
    /// Appends the tokens of a piece.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, piece: &str, room: &mut Room, out: &mut Vec<u32>) {
        if let Some(id) = self.wholes.as_ref().and_then(|wholes| wholes.find(vocabulary, piece.as_bytes())) {
            return out.push(id);
        }
        if !matches!(&self.start, Start::Characters(characters) if characters.is_cut) {
            return self.merge(vocabulary, piece, room, out);
        }
        let (mut start, mut before) = (0, SPACE_MARK);
        for (at, character) in piece.char_indices() {
            if character == SPACE_MARK && before != SPACE_MARK {
                self.merge(vocabulary, &piece[start..at], room, out);
                start = at;
            }
            before = character;
        }
        self.merge(vocabulary, &piece[start..], room, out);
    }

    fn merge(&self, vocabulary: &Vocabulary, piece: &str, room: &mut Room, out: &mut Vec<u32>) {
        let Room { tokens, scratch } = room;
        tokens.clear();
        match &self.start {
            Start::Bytes(table) => {
                let ids = piece.bytes().map(|byte| table[usize::from(byte)]);
                if ids.clone().all(|id| id != NONE) {
                    tokens.extend(ids);
                } else {
                    let mut was_unknown = false;
                    for id in ids {
                        match (id, self.unknown.id) {
                            (NONE, Some(id)) if !(was_unknown && self.unknown.is_fused) => tokens.push(id),
                            (NONE, _) => {}
                            (id, _) => tokens.push(id),
                        }
                        was_unknown = id == NONE;
                    }
                }
                self.merges.merge(tokens, scratch);
                out.extend_from_slice(tokens);
            }
            Start::Characters(characters) => {
                let mut was_unknown = false;
                for character in piece.chars() {
                    let id = characters.find(character);
                    was_unknown = if id == NONE {
                        self.unknown.push(character, was_unknown, tokens)
                    } else {
                        tokens.push(id);
                        false
                    };
                }
                self.merges.merge(tokens, scratch);
                self.give_back(vocabulary, &characters.borrowed, tokens, out);
            }
        }
    }

    /// Appends tokens, where what is left of characters without one becomes unknown.
    fn give_back(&self, vocabulary: &Vocabulary, borrowed: &[char], tokens: &[u32], out: &mut Vec<u32>) {
        if borrowed.is_empty() {
            return out.extend_from_slice(tokens);
        }
        let mut was_unknown = false;
        for &id in tokens {
            let place = (id as usize).checked_sub(vocabulary.len());
            was_unknown = match place.and_then(|place| borrowed.get(place)) {
                Some(&character) => self.unknown.push(character, was_unknown, out),
                None => {
                    out.push(id);
                    false
                }
            };
        }
    }
}

/// Room for encoding that is used again and again.
#[derive(Debug, Default)]
pub(super) struct Room {
    tokens: Vec<u32>,
    scratch: Scratch,
}

/// Tokens by their bytes. The hash is keyed by chance, so no file can be made that is slow to ask.
#[derive(Debug)]
pub(super) struct Wholes {
    slots: Vec<u32>,
    state: RandomState,
}

impl Wholes {
    /// All tokens of a vocabulary that text may give.
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let slots = vec![NONE; (vocabulary.len() * 2).next_power_of_two().max(2)];
        let mut wholes = Self { slots, state: RandomState::new() };
        for (id, bytes, _) in vocabulary.iter().filter(|(_, _, kind)| *kind == Kind::Normal) {
            let mut at = wholes.slot(bytes);
            while wholes.slots[at] != NONE {
                at = (at + 1) % wholes.slots.len();
            }
            wholes.slots[at] = id;
        }
        wholes
    }

    fn slot(&self, bytes: &[u8]) -> usize {
        // There is a power of two of them.
        self.state.hash_one(bytes) as usize & (self.slots.len() - 1)
    }

    /// The token that is these bytes. Half of the slots are free, so the walk ends.
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
