//! Tokens that are matched in a text before anything else: control tokens and other added tokens.

use super::TokenizerError;
use super::vocabulary::excerpt;
use crate::wordpiece::Trie;

/// Longer tokens would make the search slow.
const BYTES_MAX: usize = 512;

/// A token that is matched literally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) text: Box<str>,
    /// Whether text must not produce it, unless the caller allows control tokens.
    pub(super) is_control: bool,
    /// Matches only between non-word characters.
    pub(super) is_word: bool,
    /// Also removes the white space before it.
    pub(super) strips_left: bool,
    /// Also removes the white space after it.
    pub(super) strips_right: bool,
}

/// The tokens to match.
#[derive(Debug)]
pub(super) struct AddedTokens {
    tokens: Vec<AddedToken>,
    /// Indices into `tokens` by text.
    trie: Trie,
    /// Whether a token starts with this byte.
    first: Box<[bool; 256]>,
}

/// A section of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Section<'t> {
    Token(u32),
    /// A non-empty text and its offset.
    Text(usize, &'t str),
}

impl AddedTokens {
    pub(super) fn new(mut tokens: Vec<AddedToken>) -> Result<Self, TokenizerError> {
        tokens.retain(|token| !token.text.is_empty());
        if let Some(token) = tokens.iter().find(|token| token.text.len() > BYTES_MAX) {
            return Err(TokenizerError::Unsupported {
                what: "long added token",
                found: excerpt(token.text.as_bytes()),
            });
        }
        // Ids fit in 32 bits, so these indices do too.
        let indices = tokens.iter().enumerate().map(|(at, token)| (token.text.as_bytes(), at as u32));
        let trie = Trie::new(indices.collect())?;
        let mut first = Box::new([false; 256]);
        for token in &tokens {
            if let Some(byte) = token.text.as_bytes().first() {
                first[usize::from(*byte)] = true;
            }
        }
        Ok(Self { tokens, trie, first })
    }

    pub(super) fn tokens(&self) -> &[AddedToken] {
        &self.tokens
    }

    /// Splits a text at the tokens in it; the leftmost match wins, then the longest, as in the reference.
    pub(super) fn cut<'t>(&self, text: &'t str, parse_special: bool, sink: &mut dyn FnMut(Section<'t>)) {
        let bytes = text.as_bytes();
        let (mut start, mut at) = (0, 0);
        while !self.tokens.is_empty() && at < bytes.len() {
            if !self.first[usize::from(bytes[at])] {
                at += 1;
                continue;
            }
            let Some((length, index)) = self.trie.longest(&bytes[at..]) else {
                at += 1;
                continue;
            };
            let (from, to) = (at, at + length);
            at = to;
            let token = &self.tokens[index as usize];
            if token.is_control && !parse_special || token.is_word && touches_word(text, from, to) {
                continue;
            }
            let from = if token.strips_left { text[..from].trim_end().len().max(start) } else { from };
            let to = if token.strips_right { text.len() - text[to..].trim_start().len() } else { to };
            if start < from {
                sink(Section::Text(start, &text[start..from]));
            }
            sink(Section::Token(token.id));
            (start, at) = (to, at.max(to));
        }
        if start < text.len() {
            sink(Section::Text(start, &text[start..]));
        }
    }
}

fn touches_word(text: &str, from: usize, to: usize) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    text[..from].chars().next_back().is_some_and(is_word) || text[to..].chars().next().is_some_and(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32, text: &str, change: impl Fn(&mut AddedToken)) -> AddedToken {
        let mut token = AddedToken {
            id,
            text: text.into(),
            is_control: false,
            is_word: false,
            strips_left: false,
            strips_right: false,
        };
        change(&mut token);
        token
    }

    #[track_caller]
    fn check(tokens: &[AddedToken], text: &str, parse_special: bool, expected: &[Section<'_>]) {
        let mut found = Vec::new();
        AddedTokens::new(tokens.to_vec())
            .unwrap()
            .cut(text, parse_special, &mut |section| found.push(section));
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn the_leftmost_and_longest_token_is_matched() {
        use Section::{Text, Token};
        let tokens = [token(1, "<a>", |_| {}), token(2, "<a><b>", |_| {}), token(3, "", |_| {})];
        check(&tokens, "x<a><a><b>y", false, &[Text(0, "x"), Token(1), Token(2), Text(10, "y")]);
        check(&tokens, "", false, &[]);
        check(&[], "a", false, &[Text(0, "a")]);
    }

    #[test]
    fn control_tokens_are_matched_only_if_allowed() {
        use Section::{Text, Token};
        let tokens = [token(1, "<|im_end|>", |token| token.is_control = true), token(2, "<b>", |_| {})];
        check(&tokens, "a<|im_end|><b>", false, &[Text(0, "a<|im_end|>"), Token(2)]);
        check(&tokens, "a<|im_end|><b>", true, &[Text(0, "a"), Token(1), Token(2)]);
    }

    #[test]
    fn tokens_strip_white_space_and_respect_word_boundaries() {
        use Section::{Text, Token};
        let both = token(1, "<m>", |token| (token.strips_left, token.strips_right) = (true, true));
        check(&[both], "a  <m>\n <m> b", false, &[Text(0, "a"), Token(1), Token(1), Text(12, "b")]);
        let word = token(1, "do", |token| token.is_word = true);
        check(&[word], "do redo do_ do", false, &[Token(1), Text(2, " redo do_ "), Token(1)]);
    }

    #[test]
    fn duplicate_tokens_are_refused() {
        let error = AddedTokens::new(vec![token(1, "<a>", |_| {}), token(2, "<a>", |_| {})]).unwrap_err();
        assert_eq!(error.to_string(), "the token \"<a>\" appears twice");
    }
}
