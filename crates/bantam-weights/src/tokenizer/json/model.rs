//! The model of a `tokenizer.json`: its tokens and how a piece becomes them.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::TokenizerError;
use super::super::bpe::{Bpe, Unknown, Wholes};
use super::super::merges::{Merge, Merges};
use super::super::start::{Characters, Names, Start, byte_table};
use super::super::unigram::Unigram;
use super::super::vocabulary::{Kind, Vocabulary, shown, unsupported};

/// What a file says about its model.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Definition {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: Tokens,
    #[serde(default)]
    merges: Vec<Pair>,
    dropout: Option<f32>,
    pub(super) unk_token: Option<String>,
    pub(super) unk_id: Option<u64>,
    pub(super) continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    pub(super) byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    max_input_chars_per_word: Option<u64>,
}

/// The tokens with their ids, or with their scores in the order of their ids.
enum Tokens {
    Ids(Vec<(String, u32)>),
    Scores(Vec<(String, f64)>),
}

/// A merge's two parts, which are written as one text or as two.
struct Pair(String, Option<String>);

impl Definition {
    /// What the model is; older files do not say it.
    pub(super) fn kind(&self) -> &str {
        match (&self.kind, &self.vocab) {
            (Some(kind), _) => kind,
            (None, Tokens::Scores(_)) => "Unigram",
            (None, _) if self.max_input_chars_per_word.is_some() => "WordPiece",
            (None, _) => "BPE",
        }
    }

    /// The tokens in the order of the file.
    pub(super) fn tokens(&self) -> Vec<(&str, u32)> {
        match &self.vocab {
            Tokens::Ids(tokens) => tokens.iter().map(|(name, id)| (&**name, *id)).collect(),
            // A file has fewer than 4 Gi tokens.
            Tokens::Scores(tokens) => tokens.iter().zip(0..).map(|((name, _), id)| (&**name, id)).collect(),
        }
    }

    /// Makes a model that merges.
    pub(super) fn bpe(
        &self,
        names: &Names<'_>,
        vocabulary: &Vocabulary,
        is_byte_level: bool,
    ) -> Result<Bpe, TokenizerError> {
        let parts = [&self.continuing_subword_prefix, &self.end_of_word_suffix];
        if let Some(part) = parts.iter().find_map(|part| part.as_deref().filter(|part| !part.is_empty())) {
            return Err(unsupported("mark of a word's parts", part));
        }
        if let Some(dropout) = self.dropout.filter(|&dropout| dropout != 0.0) {
            return Err(unsupported("dropout", &dropout.to_string()));
        }
        if self.ignore_merges && !is_byte_level {
            return Err(unsupported("ignore_merges", "without bytes"));
        }
        let missing = |name: &String| TokenizerError::MissingToken { token: shown(name.as_bytes()) };
        let unknown = self.unk_token.as_ref();
        let unknown =
            unknown.map(|name| names.get(&**name).copied().ok_or_else(|| missing(name))).transpose()?;
        let merges = self.merges(names, vocabulary)?;
        let usable = names.iter().filter(|(_, id)| vocabulary.kind(**id) != Kind::Control);
        let usable: Names<'_> = usable.map(|(name, id)| (*name, *id)).collect();
        Ok(Bpe {
            merges: Merges::new(merges),
            start: match is_byte_level {
                true => Start::of_bytes(&usable),
                false => Start::Characters(Characters::of(&usable)),
            },
            wholes: self.ignore_merges.then(|| Wholes::new(vocabulary)),
            unknown: Unknown { bytes: self.bytes(), id: unknown, is_fused: self.fuse_unk },
        })
    }

    fn merges(&self, names: &Names<'_>, vocabulary: &Vocabulary) -> Result<Vec<Merge>, TokenizerError> {
        let mut merges = Vec::with_capacity(self.merges.len());
        for (number, Pair(first, second)) in self.merges.iter().enumerate() {
            let wrong = |what| {
                let merge = format!("{first} {}", second.as_deref().unwrap_or_default());
                TokenizerError::Merge { number, merge: shown(merge.trim_end().as_bytes()), what }
            };
            let pair = second.as_deref().map(|second| (&**first, second)).or_else(|| first.split_once(' '));
            let (left, right) = pair.ok_or_else(|| wrong("one part"))?;
            let id = |name: &str, what| names.get(name).copied().ok_or_else(|| wrong(what));
            let (left_id, right_id) = (id(left, "a left part")?, id(right, "a right part")?);
            let id = id(&[left, right].concat(), "a result")?;
            // A control token that could be merged together could be written by anyone.
            if vocabulary.kind(id) != Kind::Control {
                // A file has fewer than 4 Gi merges.
                merges.push(Merge { left: left_id, right: right_id, rank: number as u32, id });
            }
        }
        Ok(merges)
    }

    /// Makes a model that takes the likeliest tokens.
    pub(super) fn unigram(&self, vocabulary: &Vocabulary) -> Result<Unigram, TokenizerError> {
        let Tokens::Scores(tokens) = &self.vocab else {
            return Err(unsupported("vocabulary", "ids without scores"));
        };
        let unknown = self.unk_id.map(|id| vocabulary.require("unknown token", id)).transpose()?;
        let scored = tokens.iter().zip(0u32..).map(|((name, score), id)| (&**name, id, *score));
        let is_usable = |id| vocabulary.kind(id) != Kind::Control || Some(id) == unknown;
        Unigram::new(scored.collect(), &is_usable, unknown, self.bytes())
    }

    fn bytes(&self) -> Option<Box<[u32; 256]>> {
        self.byte_fallback.then(|| byte_table(self.tokens()))
    }
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TokensVisitor;
        impl<'de> Visitor<'de> for TokensVisitor {
            type Value = Tokens;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("tokens with their ids, or a list of tokens with their scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tokens, A::Error> {
                let mut tokens = Vec::new();
                while let Some(token) = map.next_entry()? {
                    tokens.push(token);
                }
                Ok(Tokens::Ids(tokens))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tokens, A::Error> {
                let mut tokens = Vec::new();
                while let Some(token) = list.next_element()? {
                    tokens.push(token);
                }
                Ok(Tokens::Scores(tokens))
            }
        }
        deserializer.deserialize_any(TokensVisitor)
    }
}

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairVisitor;
        impl<'de> Visitor<'de> for PairVisitor {
            type Value = Pair;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("two tokens, in one text or two")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Pair, E> {
                Ok(Pair(text.to_owned(), None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Pair, A::Error> {
                let mut part =
                    || list.next_element()?.ok_or_else(|| A::Error::custom("a merge has two tokens"));
                let (first, second) = (part()?, part()?);
                match list.next_element::<IgnoredAny>()? {
                    None => Ok(Pair(first, Some(second))),
                    Some(_) => Err(A::Error::custom("a merge has two tokens")),
                }
            }
        }
        deserializer.deserialize_any(PairVisitor)
    }
}
