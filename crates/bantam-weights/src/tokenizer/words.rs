//! Splits text into words before merging, for byte-level tokenizers.
//!
//! The models specify this with regular expressions. Those in use are few and closely related, so they are
//! implemented as one scanner with options. It takes linear time for any text, and an unknown expression is an error
//! that quotes it, rather than a stranger's program that runs on every request.

use super::classes::CharClass;

/// A word pattern. At each position its alternatives are tried in the order of the regular expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WordRules {
    pub(super) contractions: Contractions,
    pub(super) words: Words,
    /// Largest number of digits in a row; with [`Words::AfterSpace`] a space can precede them.
    pub(super) digits_max: usize,
    /// What can follow punctuation and still belong to it.
    pub(super) tail: Tail,
}

/// How `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` and `'d` are split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contractions {
    /// They are not special.
    None,
    /// A separate piece, in lower case only.
    Lower,
    /// A separate piece, in any case.
    AnyCase,
    /// Part of the preceding word, in any case.
    WithWord,
}

/// The pattern of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// ` ?\p{L}+`
    AfterSpace,
    /// `[^\r\n\p{L}\p{N}]?\p{L}+`
    AfterAny,
    /// `[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+`
    WithMarks,
    /// Split where an upper-case letter follows a lower-case one.
    ByCase,
}

/// What can follow punctuation and still belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing, and line breaks are ordinary white space.
    None,
    /// `[\r\n]*`, and white space up to the last line break stays together.
    Newlines,
    /// `[\r\n/]*`, likewise.
    NewlinesAndSlashes,
}

const fn rules(contractions: Contractions, words: Words, digits_max: usize, tail: Tail) -> WordRules {
    WordRules { contractions, words, digits_max, tail }
}

impl WordRules {
    pub(super) const GPT2: Self = rules(Contractions::Lower, Words::AfterSpace, usize::MAX, Tail::None);
    pub(super) const LLAMA3: Self = rules(Contractions::AnyCase, Words::AfterAny, 3, Tail::Newlines);
    pub(super) const QWEN2: Self = rules(Contractions::AnyCase, Words::AfterAny, 1, Tail::Newlines);
    pub(super) const QWEN35: Self = rules(Contractions::AnyCase, Words::WithMarks, 1, Tail::Newlines);
    pub(super) const O200K: Self = rules(Contractions::WithWord, Words::ByCase, 3, Tail::NewlinesAndSlashes);
    pub(super) const TEKKEN: Self = rules(Contractions::None, Words::ByCase, 1, Tail::NewlinesAndSlashes);

    /// Returns the rules of a known regular expression, as written in `tokenizer.json`.
    pub(super) fn of_expression(expression: &str) -> Option<Self> {
        let known = EXPRESSIONS.iter().find(|(text, _)| *text == expression);
        known.map(|(_, rules)| *rules)
    }

    /// Returns the length in bytes of the first word of a non-empty text.
    #[inline]
    pub(super) fn first(self, text: &str) -> usize {
        let mut chars = text.chars();
        let Some(first) = chars.next() else { return 0 };
        let class = CharClass::of(first);
        if first == '\''
            && matches!(self.contractions, Contractions::Lower | Contractions::AnyCase)
            && let Some(length) = contraction(text, self.contractions)
        {
            return length;
        }
        let after = first.len_utf8();
        let rest = &text[after..];
        let second = chars.next().map_or(CharClass::Space, CharClass::of);
        if self.is_word(class) {
            return self.word(text);
        }
        let may_lead = match self.words {
            Words::AfterSpace => first == ' ',
            _ => !matches!(first, '\r' | '\n') && class != CharClass::Number,
        };
        if may_lead && self.is_word(second) {
            return after + self.word(rest);
        }
        let is_led = first == ' ' && self.words == Words::AfterSpace;
        if class == CharClass::Number || (is_led && second == CharClass::Number) {
            let (start, digits) = if is_led { (after, rest) } else { (0, text) };
            return start + run_of(digits, self.digits_max, |class| class == CharClass::Number);
        }
        if class != CharClass::Space {
            return self.punctuation(text);
        }
        if first == ' ' && self.is_punctuation(second) {
            return after + self.punctuation(rest);
        }
        self.spaces(text)
    }

    fn is_word(self, class: CharClass) -> bool {
        class.is_letter()
            || (class == CharClass::Mark && matches!(self.words, Words::WithMarks | Words::ByCase))
    }

    fn is_punctuation(self, class: CharClass) -> bool {
        let is_mark = class == CharClass::Mark && self.words == Words::WithMarks;
        !class.is_letter() && !is_mark && !matches!(class, CharClass::Number | CharClass::Space)
    }

    fn word(self, text: &str) -> usize {
        if self.words != Words::ByCase {
            return run_of(text, usize::MAX, |class| self.is_word(class));
        }
        let length = word_by_case(text);
        let tail = text.get(length..).filter(|_| self.contractions == Contractions::WithWord);
        length + tail.and_then(|tail| contraction(tail, self.contractions)).unwrap_or(0)
    }

    fn punctuation(self, text: &str) -> usize {
        let length = run_of(text, usize::MAX, |class| self.is_punctuation(class));
        let is_tail = |byte: &u8| match self.tail {
            Tail::None => false,
            Tail::Newlines => matches!(byte, b'\r' | b'\n'),
            Tail::NewlinesAndSlashes => matches!(byte, b'\r' | b'\n' | b'/'),
        };
        length + text.as_bytes()[length..].iter().take_while(|byte| is_tail(byte)).count()
    }

    /// `\s*[\r\n]+` if line breaks are special, then `\s+(?!\S)`, then `\s+`.
    fn spaces(self, text: &str) -> usize {
        let length = run_of(text, usize::MAX, |class| class == CharClass::Space);
        let run = &text[..length];
        if self.tail != Tail::None
            && let Some(last) = run.rfind(['\r', '\n'])
        {
            return last + 1;
        }
        if length == text.len() {
            return length;
        }
        // The last space belongs to the following word, unless it is the only one.
        let last = run.chars().next_back().map_or(0, char::len_utf8);
        if last == length { length } else { length - last }
    }
}

/// Returns the length of a contraction at the start of a text.
fn contraction(text: &str, kind: Contractions) -> Option<usize> {
    let mut chars = text.chars();
    let mut next = || {
        let character = chars.next()?;
        match (kind, character) {
            (Contractions::Lower, _) => Some(character),
            // The long s is an s, ignoring case.
            (_, 'ſ') => Some('s'),
            _ => Some(character.to_ascii_lowercase()),
        }
    };
    if next()? != '\'' {
        return None;
    }
    match next()? {
        's' | 't' | 'm' | 'd' => {
            let second = text[1..].chars().next()?;
            Some(1 + second.len_utf8())
        }
        first @ ('r' | 'v' | 'l') => {
            let second = next()?;
            matches!((first, second), ('r' | 'v', 'e') | ('l', 'l')).then_some(3)
        }
        _ => None,
    }
}

/// Matches `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`, or else `[\p{Lu}\p{Lt}…]+`.
fn word_by_case(text: &str) -> usize {
    let is_large = |class| {
        matches!(
            class,
            CharClass::Upper | CharClass::Title | CharClass::Modifier | CharClass::Letter | CharClass::Mark
        )
    };
    let is_small =
        |class| matches!(class, CharClass::Lower | CharClass::Modifier | CharClass::Letter | CharClass::Mark);
    let large = run_of(text, usize::MAX, is_large);
    let small = run_of(&text[large..], usize::MAX, is_small);
    if small > 0 {
        return large + small;
    }
    // Backtracks in the first part until the second matches.
    let last = text[..large].char_indices().rev().find(|(_, character)| is_small(CharClass::of(*character)));
    last.map_or(large, |(at, character)| at + character.len_utf8())
}

/// Returns the length in bytes of a run of characters of certain classes at the start of a text.
#[inline]
fn run_of(text: &str, chars_max: usize, is_in: impl Fn(CharClass) -> bool) -> usize {
    let end = text.char_indices().take(chars_max).find(|(_, character)| !is_in(CharClass::of(*character)));
    match end {
        Some((at, _)) => at,
        None => match chars_max {
            usize::MAX => text.len(),
            _ => text.chars().take(chars_max).map(char::len_utf8).sum(),
        },
    }
}

/// The expressions in use, as written in the models' files.
const EXPRESSIONS: [(&str, WordRules); 8] = [
    (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", WordRules::GPT2),
    (r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", WordRules::GPT2),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        WordRules::LLAMA3,
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        WordRules::QWEN2,
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        WordRules::QWEN35,
    ),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        WordRules::O200K,
    ),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        rules(Contractions::None, Words::ByCase, 3, Tail::NewlinesAndSlashes),
    ),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        WordRules::TEKKEN,
    ),
];
