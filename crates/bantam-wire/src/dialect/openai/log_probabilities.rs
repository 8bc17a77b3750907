//! Log-probabilities in OpenAI's two forms: an entry a token for conversations, lists side by side for texts.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::write::{push_float, push_integer, push_list, push_string};
use crate::outcome::{Token, TokenLogProbability};

#[derive(Deserialize)]
pub(super) struct ChatShape<'a> {
    #[serde(borrow, default)]
    content: Option<Vec<EntryShape<'a>>>,
}

#[derive(Deserialize)]
struct EntryShape<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
    logprob: f64,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
    #[serde(borrow, default)]
    top_logprobs: Vec<TokenShape<'a>>,
}

#[derive(Deserialize)]
struct TokenShape<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
    logprob: f64,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
}

impl From<TokenShape<'_>> for Token {
    fn from(shape: TokenShape<'_>) -> Self {
        Self { text: shape.token.into_owned(), bytes: shape.bytes, log_probability: shape.logprob }
    }
}

impl ChatShape<'_> {
    pub(super) fn tokens(self) -> Option<Vec<TokenLogProbability>> {
        let entry = |entry: EntryShape<'_>| TokenLogProbability {
            token: TokenShape { token: entry.token, logprob: entry.logprob, bytes: entry.bytes }.into(),
            alternatives: entry.top_logprobs.into_iter().map(Token::from).collect(),
        };
        Some(self.content?.into_iter().map(entry).collect())
    }
}

#[derive(Deserialize)]
pub(super) struct TextShape {
    #[serde(default)]
    tokens: Vec<String>,
    #[serde(default)]
    token_logprobs: Vec<Option<f64>>,
    #[serde(default)]
    top_logprobs: Option<Vec<Option<Map<String, Value>>>>,
}

impl TextShape {
    /// Returns the tokens. The first of a prompt that is repeated has no probability; it counts as certain.
    pub(super) fn tokens(self) -> Vec<TokenLogProbability> {
        let mut alternatives = self.top_logprobs.unwrap_or_default().into_iter();
        let mut chosen = self.token_logprobs.into_iter();
        let token = |text| TokenLogProbability {
            token: Token { text, bytes: None, log_probability: chosen.next().flatten().unwrap_or(0.0) },
            alternatives: (alternatives.next().flatten().unwrap_or_default().into_iter())
                .filter_map(|(text, number)| {
                    Some(Token { text, bytes: None, log_probability: number.as_f64()? })
                })
                .collect(),
        };
        self.tokens.into_iter().map(token).collect()
    }
}

/// Appends the form of conversations, or `null`.
pub(super) fn push_chat(out: &mut Vec<u8>, tokens: Option<&[TokenLogProbability]>) {
    let Some(tokens) = tokens else {
        out.extend_from_slice(b"null");
        return;
    };
    out.extend_from_slice(b"{\"content\":");
    push_list(out, tokens, |out, entry| {
        push_token(out, &entry.token);
        out.extend_from_slice(b",\"top_logprobs\":");
        push_list(out, &entry.alternatives, |out, token| {
            push_token(out, token);
            out.push(b'}');
        });
        out.push(b'}');
    });
    out.extend_from_slice(b",\"refusal\":null}");
}

/// Appends a token's entry, still open.
fn push_token(out: &mut Vec<u8>, token: &Token) {
    out.extend_from_slice(b"{\"token\":");
    push_string(out, &token.text);
    out.extend_from_slice(b",\"logprob\":");
    push_float(out, token.log_probability);
    out.extend_from_slice(b",\"bytes\":");
    match &token.bytes {
        Some(bytes) => push_list(out, bytes, |out, byte| push_integer(out, *byte)),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends the form of texts, or `null`. Offsets count characters.
pub(super) fn push_text(out: &mut Vec<u8>, tokens: Option<&[TokenLogProbability]>) {
    let Some(tokens) = tokens else {
        out.extend_from_slice(b"null");
        return;
    };
    out.extend_from_slice(b"{\"tokens\":");
    push_list(out, tokens, |out, entry| push_string(out, &entry.token.text));
    out.extend_from_slice(b",\"token_logprobs\":");
    push_list(out, tokens, |out, entry| push_float(out, entry.token.log_probability));
    out.extend_from_slice(b",\"top_logprobs\":");
    push_list(out, tokens, |out, entry| {
        out.push(b'{');
        let mut is_first = true;
        for (position, token) in entry.alternatives.iter().enumerate() {
            let before = entry.alternatives.get(..position).unwrap_or_default();
            // Of two tokens that look the same the likelier one is told: an object has every key once.
            if before.iter().any(|likelier| likelier.text == token.text) {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            push_string(out, &token.text);
            out.push(b':');
            push_float(out, token.log_probability);
        }
        out.push(b'}');
    });
    out.extend_from_slice(b",\"text_offset\":");
    let mut offset = 0;
    push_list(out, tokens, |out, entry| {
        push_integer(out, offset);
        offset += entry.token.text.chars().count();
    });
    out.push(b'}');
}
