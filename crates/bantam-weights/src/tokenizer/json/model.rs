//! The model of a `tokenizer.json`: its tokens and the algorithm.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::TokenizerError;
use super::super::bpe::{Bpe, UnknownTokens, WholeTokens};
use super::super::merges::{Merge, Merges};
use super::super::start::{CharacterTokens, InitialTokens, TokenIds, byte_table};
use super::super::unigram::Unigram;
use super::super::vocabulary::{TokenKind, Vocabulary, excerpt, unsupported};

/// The model's fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelJson {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: VocabularyJson,
    #[serde(default)]
    merges: Vec<MergeJson>,
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

/// Tokens with ids, or with scores in the order of their ids.
enum VocabularyJson {
    Ids(Vec<(String, u32)>),
    Scores(Vec<(String, f64)>),
}

/// The two parts of a merge, as one string or two.
struct MergeJson(String, Option<String>);

impl ModelJson {
    /// Returns the model's type; older files do not specify it.
    pub(super) fn kind(&self) -> &str {
        match (&self.kind, &self.vocab) {
            (Some(kind), _) => kind,
            (None, VocabularyJson::Scores(_)) => "Unigram",
            (None, _) if self.max_input_chars_per_word.is_some() => "WordPiece",
            (None, _) => "BPE",
        }
    }

    /// Returns the tokens in file order.
    pub(super) fn tokens(&self) -> Vec<(&str, u32)> {
        match &self.vocab {
            VocabularyJson::Ids(tokens) => tokens.iter().map(|(name, id)| (&**name, *id)).collect(),
            // A file has fewer than 4 Gi tokens.
            VocabularyJson::Scores(tokens) => {
                tokens.iter().zip(0..).map(|((name, _), id)| (&**name, id)).collect()
            }
        }
    }

    /// Builds a BPE model.
    pub(super) fn bpe(
        &self,
        names: &TokenIds<'_>,
        vocabulary: &Vocabulary,
        is_byte_level: bool,
    ) -> Result<Bpe, TokenizerError> {
        let parts = [&self.continuing_subword_prefix, &self.end_of_word_suffix];
        if let Some(part) = parts.iter().find_map(|part| part.as_deref().filter(|part| !part.is_empty())) {
            return Err(unsupported("subword prefix or suffix", part));
        }
        if let Some(dropout) = self.dropout.filter(|&dropout| dropout != 0.0) {
            return Err(unsupported("dropout", &dropout.to_string()));
        }
        if self.ignore_merges && !is_byte_level {
            return Err(unsupported("option", "ignore_merges without ByteLevel"));
        }
        let missing = |name: &String| TokenizerError::MissingToken { token: excerpt(name.as_bytes()) };
        let unknown = self.unk_token.as_ref();
        let unknown =
            unknown.map(|name| names.get(&**name).copied().ok_or_else(|| missing(name))).transpose()?;
        let merges = self.merges(names, vocabulary)?;
        let usable = names.iter().filter(|(_, id)| vocabulary.kind(**id) != TokenKind::Control);
        let usable: TokenIds<'_> = usable.map(|(name, id)| (*name, *id)).collect();
        Ok(Bpe {
            merges: Merges::new(merges),
            start: match is_byte_level {
                true => InitialTokens::of_bytes(&usable),
                false => InitialTokens::Characters(CharacterTokens::of(&usable)),
            },
            whole_tokens: self.ignore_merges.then(|| WholeTokens::new(vocabulary)),
            unknown: UnknownTokens { bytes: self.bytes(), id: unknown, is_fused: self.fuse_unk },
        })
    }

    fn merges(&self, names: &TokenIds<'_>, vocabulary: &Vocabulary) -> Result<Vec<Merge>, TokenizerError> {
        let mut merges = Vec::with_capacity(self.merges.len());
        for (number, MergeJson(first, second)) in self.merges.iter().enumerate() {
            let wrong = |what| {
                let merge = format!("{first} {}", second.as_deref().unwrap_or_default());
                TokenizerError::Merge { number, merge: excerpt(merge.trim_end().as_bytes()), what }
            };
            let pair = second.as_deref().map(|second| (&**first, second)).or_else(|| first.split_once(' '));
            let (left, right) = pair.ok_or_else(|| wrong("it has only one part"))?;
            let id = |name: &str, what| names.get(name).copied().ok_or_else(|| wrong(what));
            let (left_id, right_id) = (
                id(left, "its left part is not in the vocabulary")?,
                id(right, "its right part is not in the vocabulary")?,
            );
            let id = id(&[left, right].concat(), "its result is not in the vocabulary")?;
            // If merges could produce a control token, any text could contain it.
            if vocabulary.kind(id) != TokenKind::Control {
                // A file has fewer than 4 Gi merges.
                merges.push(Merge { left: left_id, right: right_id, rank: number as u32, id });
            }
        }
        Ok(merges)
    }

    /// Builds a Unigram model.
    pub(super) fn unigram(&self, vocabulary: &Vocabulary) -> Result<Unigram, TokenizerError> {
        let VocabularyJson::Scores(tokens) = &self.vocab else {
            return Err(unsupported("vocabulary", "ids without scores"));
        };
        let unknown = self.unk_id.map(|id| vocabulary.require("unknown token", id)).transpose()?;
        let scored = tokens.iter().zip(0u32..).map(|((name, score), id)| (&**name, id, *score));
        let is_usable = |id| vocabulary.kind(id) != TokenKind::Control || Some(id) == unknown;
        Unigram::new(scored.collect(), &is_usable, unknown, self.bytes())
    }

    fn bytes(&self) -> Option<Box<[u32; 256]>> {
        self.byte_fallback.then(|| byte_table(self.tokens()))
    }
}

impl<'de> Deserialize<'de> for VocabularyJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VocabularyVisitor;
        impl<'de> Visitor<'de> for VocabularyVisitor {
            type Value = VocabularyJson;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map from tokens to ids, or a list of tokens with scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<VocabularyJson, A::Error> {
                let mut tokens = Vec::new();
                while let Some(token) = map.next_entry()? {
                    tokens.push(token);
                }
                Ok(VocabularyJson::Ids(tokens))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<VocabularyJson, A::Error> {
                let mut tokens = Vec::new();
                while let Some(token) = list.next_element()? {
                    tokens.push(token);
                }
                Ok(VocabularyJson::Scores(tokens))
            }
        }
        deserializer.deserialize_any(VocabularyVisitor)
    }
}

impl<'de> Deserialize<'de> for MergeJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MergeVisitor;
        impl<'de> Visitor<'de> for MergeVisitor {
            type Value = MergeJson;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("two tokens, as one string or two")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<MergeJson, E> {
                Ok(MergeJson(text.to_owned(), None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<MergeJson, A::Error> {
                let mut part =
                    || list.next_element()?.ok_or_else(|| A::Error::custom("a merge must have two tokens"));
                let (first, second) = (part()?, part()?);
                match list.next_element::<IgnoredAny>()? {
                    None => Ok(MergeJson(first, Some(second))),
                    Some(_) => Err(A::Error::custom("a merge must have two tokens")),
                }
            }
        }
        deserializer.deserialize_any(MergeVisitor)
    }
}
