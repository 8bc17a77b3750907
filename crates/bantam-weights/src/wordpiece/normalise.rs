//! Splits text into words like BERT: cleans it, isolates Chinese characters and punctuation, strips accents, and
//! converts to lower case.

use super::characters::{self, CHARACTERS, Characters};

/// The steps that a tokenizer uses.
#[derive(Debug, Clone, Copy)]
pub(super) struct NormaliserRules {
    /// Removes control characters and unifies white space.
    pub(super) clean_text: bool,
    /// Makes every Chinese character a word.
    pub(super) chinese_apart: bool,
    /// Strips accents.
    pub(super) strip_accents: bool,
    /// Converts to lower case.
    pub(super) lowercase: bool,
}

/// Receives the characters of words and the boundaries between words.
pub(super) trait WordSink {
    /// Adds a character to the current word.
    fn push(&mut self, character: char);
    /// Ends the current word, if there is one.
    fn split(&mut self);
    /// Returns whether no more input is needed.
    fn is_full(&self) -> bool;
}

/// More combining characters in a row than any word can have. Further ones are dropped: the word is too long in any
/// order, and this bounds memory for hostile text.
const PENDING_MAX: usize = 1024;

/// Passes the words of a text to `sink` until it is full.
pub(super) fn walk(rules: &NormaliserRules, text: &str, sink: &mut impl WordSink) {
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
    walker.flush();
}

struct Walker<'a, S> {
    rules: &'a NormaliserRules,
    characters: &'a Characters,
    sink: &'a mut S,
    /// Combining characters, with their classes, since the last character of class 0. They must be sorted into
    /// canonical order. Only few scripts have any that are not stripped.
    pending: Vec<(u8, char)>,
}

impl<S: WordSink> Walker<'_, S> {
    /// The common case, in which most steps do nothing.
    #[inline]
    fn ascii(&mut self, character: char) {
        let class = self.characters.class(character);
        if self.rules.clean_text && class & characters::REMOVED != 0 {
            return;
        }
        self.flush();
        let character = if self.rules.lowercase { character.to_ascii_lowercase() } else { character };
        self.emit(character, class);
    }

    fn character(&mut self, character: char) {
        let class = self.characters.class(character);
        if self.rules.clean_text {
            if class & characters::REMOVED != 0 {
                return;
            }
            if class & characters::SPACE != 0 {
                self.flush();
                self.sink.split();
                return;
            }
        }
        let is_apart = self.rules.chinese_apart && class & characters::CHINESE != 0;
        if is_apart {
            self.flush();
            self.sink.split();
        }
        if self.rules.strip_accents {
            self.stripped(character, class);
        } else {
            self.lowered(character, class);
        }
        if is_apart {
            self.flush();
            self.sink.split();
        }
    }

    /// Decomposes, reorders and strips a character.
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
                self.flush();
            }
        } else if class & characters::COMBINING != 0 {
            if self.pending.len() < PENDING_MAX {
                self.pending.push((self.characters.combining_class(character), character));
            }
        } else {
            self.flush();
            self.lowered(character, class);
        }
    }

    /// Passes on pending characters in canonical order.
    #[inline]
    fn flush(&mut self) {
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
                self.emit(part, characters.class(part));
            }
        } else {
            self.emit(character, class);
        }
    }

    #[inline]
    fn emit(&mut self, character: char, class: u16) {
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
