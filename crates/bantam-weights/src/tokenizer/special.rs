//! Tokens with a special role.

use super::TokenizerError;
use super::added::AddedToken;
use super::vocabulary::Vocabulary;

/// The tokens of a fill-in-the-middle prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FillInTheMiddle {
    /// Precedes the text before the middle.
    pub prefix: u32,
    /// Precedes the text after the middle.
    pub suffix: u32,
    /// Precedes the middle, which the model generates.
    pub middle: u32,
}

/// Tokens with a special role.
#[derive(Debug, Default)]
pub(super) struct SpecialTokens {
    pub(super) bos: Option<u32>,
    /// Sorted and unique.
    pub(super) eos: Vec<u32>,
    pub(super) pad: Option<u32>,
    pub(super) fill_in_the_middle: Option<FillInTheMiddle>,
}

/// Names of control tokens that end a turn, even if no file says so.
const ENDS: [&str; 11] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<EOT>",
    "<|end▁of▁sentence|>",
];

/// Names of the fill-in-the-middle tokens: prefix, suffix, middle.
const MIDDLES: [[&str; 3]; 4] = [
    ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
    ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
    ["<fim-prefix>", "<fim-suffix>", "<fim-middle>"],
    ["<PRE>", "<SUF>", "<MID>"],
];

impl SpecialTokens {
    /// Adds tokens that are recognised by name.
    pub(super) fn add_known(&mut self, added: &[AddedToken]) {
        let id = |name: &str| added.iter().find(|token| *token.text == *name).map(|token| token.id);
        let ends = ENDS.iter().filter_map(|name| added.iter().find(|token| *token.text == **name));
        self.eos.extend(ends.filter(|token| token.is_control).map(|token| token.id));
        self.eos.sort_unstable();
        self.eos.dedup();
        let known = || {
            MIDDLES.iter().find_map(|[prefix, suffix, middle]| {
                Some(FillInTheMiddle { prefix: id(prefix)?, suffix: id(suffix)?, middle: id(middle)? })
            })
        };
        self.fill_in_the_middle = self.fill_in_the_middle.or_else(known);
    }

    /// Checks that the vocabulary contains every token.
    pub(super) fn check(&self, vocabulary: &Vocabulary) -> Result<(), TokenizerError> {
        let middle = self.fill_in_the_middle.iter().flat_map(|ids| [ids.prefix, ids.suffix, ids.middle]);
        let named = [("BOS token", self.bos), ("padding token", self.pad)];
        let named = named.iter().filter_map(|(what, id)| Some((*what, (*id)?)));
        let ends = self.eos.iter().map(|id| ("EOS token", *id));
        for (what, id) in named.chain(ends).chain(middle.map(|id| ("fill-in-the-middle token", id))) {
            vocabulary.require(what, u64::from(id))?;
        }
        Ok(())
    }
}

/// Returns whether a token's text looks like a control token. Some files list such tokens (`<|fim_prefix|>`) as plain
/// words, and then a user's text could contain instructions to the model.
pub(super) fn looks_like_control(text: &str) -> bool {
    let is_between = |open, close| text.starts_with(open) && text.ends_with(close);
    is_between("<|", "|>")
        || is_between("<｜", "｜>")
        || text.starts_with("<unused")
        || text == "<pad>"
        || text == "<mask>"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32, text: &str, is_control: bool) -> AddedToken {
        let (is_word, strips_left, strips_right) = (false, false, false);
        AddedToken { id, text: text.into(), is_control, is_word, strips_left, strips_right }
    }

    #[test]
    fn eos_and_fill_in_the_middle_tokens_are_recognised_by_name() {
        let mut special = SpecialTokens { eos: vec![9, 2], ..SpecialTokens::default() };
        special.add_known(&[
            token(2, "<|im_end|>", true),
            token(3, "<|eot_id|>", true),
            token(4, "<|end|>", false),
            token(5, "<fim_prefix>", true),
            token(6, "<fim_suffix>", true),
            token(7, "<fim_middle>", true),
        ]);
        assert_eq!(special.eos, [2, 3, 9]);
        assert_eq!(special.fill_in_the_middle, Some(FillInTheMiddle { prefix: 5, suffix: 6, middle: 7 }));
    }

    #[test]
    fn control_tokens_are_recognised_by_their_form() {
        assert!(looks_like_control("<|fim_prefix|>") && looks_like_control("<｜User｜>"));
        assert!(!looks_like_control("<think>") && !looks_like_control("  "));
    }
}
