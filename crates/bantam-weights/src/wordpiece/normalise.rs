//! From text to words: BERT's cleaning, Chinese characters apart, accents off, lower case, punctuation apart.

use super::characters::{self, CHARACTERS, Characters};

/// Which of the steps a tokenizer takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Control characters vanish, spaces of all kinds become one kind.
    pub(super) clean_text: bool,
    /// Every Chinese character is a word.
    pub(super) chinese_apart: bool,
    /// Letters lose their accents.
    pub(super) strip_accents: bool,
    /// Letters become small.
    pub(super) lowercase: bool,
}

/// Takes characters of words, and the places between words.
pub(super) trait Sink {
    /// A character of the word at hand.
    fn push(&mut self, character: char);
    /// The end of the word at hand, if there is one.
    fn split(&mut self);
    /// Whether nothing more is wanted.
    fn is_full(&self) -> bool;
}

/// More combining characters in a row than any word may have. Further ones are dropped: their word is too long
/// whatever their order, so memory stays bounded on hostile text.
const PENDING_MAX: usize = 1024;

/// Walks over a text and gives its words to a sink until that is full.
pub(super) fn walk(rules: &Rules, text: &str, sink: &mut impl Sink) {
    let mut walker = Walker { rules, characters: &CHARACTERS, sink, pending: Vec::new() };
    for character in text.chars() {
        if character.is_ascii() {
            walker.ascii(character);
        } else {
            walker.character(character);
        }
        if walker.sink.is_full() {
            return;
        }
    }
    walker.settle();
}

struct Walker<'a, S> {
    rules: &'a Rules,
    characters: &'a Characters,
    sink: &'a mut S,
    /// Combining characters since the last one that combines with nothing, with their classes: the canonical
    /// order sorts them, and only few scripts have any that are not stripped.
    pending: Vec<(u8, char)>,
}

impl<S: Sink> Walker<'_, S> {
    /// The common case, for which most steps have nothing to do.
    #[inline]
    fn ascii(&mut self, character: char) {
        let class = self.characters.class(character);
        if self.rules.clean_text && class & characters::REMOVED != 0 {
            return;
        }
        self.settle();
        let character = if self.rules.lowercase { character.to_ascii_lowercase() } else { character };
        self.place(character, class);
    }

    fn character(&mut self, character: char) {
        let class = self.characters.class(character);
        if self.rules.clean_text {
            if class & characters::REMOVED != 0 {
                return;
            }
            if class & characters::SPACE != 0 {
                self.settle();
                self.sink.split();
                return;
            }
        }
        let is_apart = self.rules.chinese_apart && class & characters::CHINESE != 0;
        if is_apart {
            self.settle();
            self.sink.split();
        }
        if self.rules.strip_accents {
            self.stripped(character, class);
        } else {
            self.lowered(character, class);
        }
        if is_apart {
            self.settle();
            self.sink.split();
        }
    }

    /// Decomposes, sorts and strips.
    fn stripped(&mut self, character: char, class: u16) {
        if class & characters::HANGUL != 0 {
            for part in characters::hangul(character).into_iter().flatten() {
                self.sorted(part, self.characters.class(part));
            }
        } else if class & characters::STRIPPED != 0 {
            let characters = self.characters;
            for part in characters.stripped(character).chars() {
                self.sorted(part, characters.class(part));
            }
        } else {
            self.sorted(character, class);
        }
    }

    fn sorted(&mut self, character: char, class: u16) {
        if class & characters::MARK != 0 {
            if class & characters::STARTER != 0 {
                self.settle();
            }
        } else if class & characters::COMBINING != 0 {
            if self.pending.len() < PENDING_MAX {
                self.pending.push((self.characters.combining_class(character), character));
            }
        } else {
            self.settle();
            self.lowered(character, class);
        }
    }

    /// Gives what was held back, in canonical order.
    #[inline]
    fn settle(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.sort_by_key(|(class, _)| *class);
        for (_, character) in pending.drain(..) {
            self.lowered(character, self.characters.class(character));
        }
        self.pending = pending;
    }

    fn lowered(&mut self, character: char, class: u16) {
        if self.rules.lowercase && class & characters::LOWER != 0 {
            let characters = self.characters;
            for part in characters.lower(character).chars() {
                self.place(part, characters.class(part));
            }
        } else {
            self.place(character, class);
        }
    }

    #[inline]
    fn place(&mut self, character: char, class: u16) {
        if class & (characters::SPACE | characters::PUNCTUATION) == 0 {
            self.sink.push(character);
            return;
        }
        self.sink.split();
        if class & characters::PUNCTUATION != 0 {
            self.sink.push(character);
            self.sink.split();
        }
    }
}
