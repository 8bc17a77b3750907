//! Whole answers: an upstream's, checked and annotated; a local student's, written from nothing.

use bantam_types::TokenUsage;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Endpoint;
use crate::chat::push_json_string;
use crate::note::RoutingNote;

/// What Bantam needs to know of an upstream's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletionFacts {
    /// Tokens as the upstream counted them, if it said.
    pub usage: Option<TokenUsage>,
    /// The text of the only answer; `None` when there are several, or calls instead of text.
    pub text: Option<String>,
    /// Whether the body already carries a `bantam` object, from a Bantam behind this one.
    pub has_note: bool,
}

/// A body that is no completion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadCompletionError {
    /// Not JSON, or not of the right shape.
    #[error("the answer is no chat completion")]
    NotACompletion,
    /// An error object in place of an answer.
    #[error("the answer is an error object")]
    ErrorObject,
}

#[derive(Deserialize)]
struct CompletionShape<'a> {
    #[serde(borrow, default)]
    choices: Vec<ChoiceShape<'a>>,
    #[serde(default)]
    usage: Option<UsageShape>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    bantam: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ChoiceShape<'a> {
    #[serde(borrow)]
    message: MessageShape<'a>,
}

#[derive(Deserialize)]
struct MessageShape<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

/// OpenAI's `usage` object, as much of it as costs need.
#[derive(Deserialize)]
pub(crate) struct UsageShape {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

impl From<UsageShape> for TokenUsage {
    fn from(shape: UsageShape) -> Self {
        let cached = shape.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0);
        Self {
            input: shape.prompt_tokens,
            cached_input: cached.min(shape.prompt_tokens),
            output: shape.completion_tokens,
        }
    }
}

/// Reads an OpenAI-shaped answer.
///
/// # Errors
/// When it is no completion with at least one choice; also a 200 that carries an error object.
pub fn read_completion(body: &[u8]) -> Result<CompletionFacts, ReadCompletionError> {
    let shape: CompletionShape<'_> =
        serde_json::from_slice(body).map_err(|_| ReadCompletionError::NotACompletion)?;
    if shape.error.is_some() {
        return Err(ReadCompletionError::ErrorObject);
    }
    let text = match &*shape.choices {
        [] => return Err(ReadCompletionError::NotACompletion),
        [only] => only.message.content.and_then(|content| serde_json::from_str(content.get()).ok()),
        _ => None,
    };
    Ok(CompletionFacts { usage: shape.usage.map(TokenUsage::from), text, has_note: shape.bantam.is_some() })
}

#[derive(Deserialize)]
struct TextShape<'a> {
    #[serde(borrow, default)]
    choices: Vec<TextChoiceShape<'a>>,
    #[serde(default)]
    usage: Option<UsageShape>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    bantam: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct TextChoiceShape<'a> {
    #[serde(borrow)]
    text: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
struct VectorsShape<'a> {
    #[serde(borrow, default)]
    data: Vec<VectorShape<'a>>,
    #[serde(default)]
    usage: Option<UsageShape>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    bantam: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct VectorShape<'a> {
    #[serde(borrow, rename = "embedding")]
    _embedding: &'a RawValue,
}

/// Reads an OpenAI-shaped answer to a request that came to `endpoint`.
///
/// # Errors
/// When it is no such answer, or holds none; also a 200 that carries an error object.
pub fn read_answer(endpoint: Endpoint, body: &[u8]) -> Result<CompletionFacts, ReadCompletionError> {
    let garbage = |_| ReadCompletionError::NotACompletion;
    let (text, usage, error, note) = match endpoint {
        Endpoint::Chat => return read_completion(body),
        Endpoint::Completions => {
            let shape: TextShape<'_> = serde_json::from_slice(body).map_err(garbage)?;
            let text = match &*shape.choices {
                [] if shape.error.is_none() => return Err(ReadCompletionError::NotACompletion),
                [only] => Some(only.text.to_string()),
                _ => None,
            };
            (text, shape.usage, shape.error, shape.bantam)
        }
        Endpoint::Embeddings => {
            let shape: VectorsShape<'_> = serde_json::from_slice(body).map_err(garbage)?;
            if shape.data.is_empty() && shape.error.is_none() {
                return Err(ReadCompletionError::NotACompletion);
            }
            (None, shape.usage, shape.error, shape.bantam)
        }
    };
    if error.is_some() {
        return Err(ReadCompletionError::ErrorObject);
    }
    Ok(CompletionFacts { usage: usage.map(TokenUsage::from), text, has_note: note.is_some() })
}

/// Returns `body`, a JSON object that [`read_answer`] accepted, with the note as its `bantam` member.
pub fn with_note(body: &[u8], has_note: bool, note: &RoutingNote) -> Vec<u8> {
    if has_note && let Some(replaced) = replace_note(body, note) {
        return replaced;
    }
    let end = body.iter().rposition(|byte| *byte == b'}').unwrap_or(body.len());
    let mut json = String::with_capacity(256);
    json.push_str(",\"bantam\":");
    note.write_json(&mut json);
    let mut out = Vec::with_capacity(end + json.len() + 1);
    out.extend_from_slice(body.get(..end).unwrap_or_default());
    out.extend_from_slice(json.as_bytes());
    out.push(b'}');
    out
}

/// Another Bantam's note gives way to ours: its costs are in the usage that we price ourselves.
fn replace_note(body: &[u8], note: &RoutingNote) -> Option<Vec<u8>> {
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    object.remove("bantam");
    let without = serde_json::to_vec(&object).ok()?;
    Some(with_note(&without, false, note))
}

/// An answer that Bantam writes itself.
#[derive(Clone, Copy, Debug)]
pub struct OwnAnswer<'a> {
    /// The text.
    pub text: &'a str,
    /// Seconds since the Unix epoch.
    pub created_unix_s: i64,
    /// Tokens of the prompt and the text.
    pub usage: TokenUsage,
}

/// Returns a whole `chat.completion` body.
pub fn own_completion(answer: OwnAnswer<'_>, note: &RoutingNote) -> Vec<u8> {
    let mut body = Vec::with_capacity(640);
    body.extend_from_slice(format!("{{\"id\":\"chatcmpl-{:032x}\"", note.request_id).as_bytes());
    body.extend_from_slice(
        format!(",\"object\":\"chat.completion\",\"created\":{}", answer.created_unix_s).as_bytes(),
    );
    body.extend_from_slice(b",\"model\":");
    push_json_string(&mut body, &note.model);
    body.extend_from_slice(b",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    push_json_string(&mut body, answer.text);
    body.extend_from_slice(b",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":");
    push_usage(&mut body, answer.usage);
    body.extend_from_slice(b",\"system_fingerprint\":null,\"bantam\":");
    let mut json = String::with_capacity(256);
    note.write_json(&mut json);
    body.extend_from_slice(json.as_bytes());
    body.push(b'}');
    body
}

/// Appends OpenAI's `usage` object.
pub(crate) fn push_usage(body: &mut Vec<u8>, usage: TokenUsage) {
    let TokenUsage { input, cached_input, output } = usage;
    let total = input.saturating_add(output);
    body.extend_from_slice(
        format!(
            "{{\"prompt_tokens\":{input},\"completion_tokens\":{output},\"total_tokens\":{total},\
             \"prompt_tokens_details\":{{\"cached_tokens\":{cached_input}}}}}"
        )
        .as_bytes(),
    );
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bantam_types::Tier;

    pub(crate) fn note() -> RoutingNote {
        RoutingNote {
            request_id: 1,
            task: None,
            tier: Tier::Local,
            model: "m".into(),
            confidence: None,
            escalated: Vec::new(),
            cost: None,
        }
    }

    fn check(body: &str, expected: Result<(Option<u64>, Option<&str>), ReadCompletionError>) {
        let got =
            read_completion(body.as_bytes()).map(|facts| (facts.usage.map(|usage| usage.input), facts.text));
        assert_eq!(got, expected.map(|(tokens, text)| (tokens, text.map(str::to_owned))), "{body}");
    }

    #[test]
    fn each_endpoint_has_answers_of_its_own_shape() {
        let usage = Some(TokenUsage { input: 3, cached_input: 0, output: 0 });
        let text = r#"{"choices":[{"text":"a\n","index":0}],"usage":{"prompt_tokens":3}}"#;
        let facts = read_answer(Endpoint::Completions, text.as_bytes()).unwrap();
        assert_eq!((facts.text.as_deref(), facts.usage), (Some("a\n"), usage));
        let vectors = r#"{"data":[{"embedding":[0.5]},{"embedding":"AAA="}],"usage":{"prompt_tokens":3}}"#;
        let facts = read_answer(Endpoint::Embeddings, vectors.as_bytes()).unwrap();
        assert_eq!((facts.text, facts.usage), (None, usage));
        for (endpoint, body) in [
            (Endpoint::Completions, r#"{"choices":[]}"#),
            (Endpoint::Completions, r#"{"choices":[{"message":{"content":"a"}}]}"#),
            (Endpoint::Embeddings, r#"{"data":[]}"#),
            (Endpoint::Embeddings, r#"{"data":[{}]}"#),
            (Endpoint::Chat, text),
        ] {
            let got = read_answer(endpoint, body.as_bytes());
            assert_eq!(got, Err(ReadCompletionError::NotACompletion), "{body}");
        }
        for endpoint in [Endpoint::Chat, Endpoint::Completions, Endpoint::Embeddings] {
            let got = read_answer(endpoint, br#"{"error":{"message":"no"}}"#);
            assert_eq!(got, Err(ReadCompletionError::ErrorObject));
        }
    }

    #[test]
    fn reads_usage_and_the_only_text() {
        check(
            r#"{"choices":[{"message":{"content":"a\"b"}}],"usage":{"prompt_tokens":5,"completion_tokens":1}}"#,
            Ok((Some(5), Some("a\"b"))),
        );
        check(r#"{"choices":[{"message":{"content":null,"tool_calls":[]}}],"usage":null}"#, Ok((None, None)));
        check(r#"{"choices":[{"message":{"content":"a"}},{"message":{"content":"b"}}]}"#, Ok((None, None)));
    }

    #[test]
    fn an_error_object_with_status_200_is_an_error() {
        check(r#"{"error":{"message":"quota"}}"#, Err(ReadCompletionError::ErrorObject));
    }

    #[test]
    fn refuses_what_is_no_completion() {
        for body in
            ["", "<html>", "{}", r#"{"choices":[]}"#, r#"{"choices":[{}]}"#, r#"{"choices":{}}"#, "[]"]
        {
            check(body, Err(ReadCompletionError::NotACompletion));
        }
    }

    #[test]
    fn the_note_joins_the_body_and_replaces_another_bantam_s() {
        for (body, has_note) in
            [("{\"choices\":[]} \n", false), ("{\"bantam\":{\"old\":1},\"choices\":[]}", true)]
        {
            let out = with_note(body.as_bytes(), has_note, &note());
            let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(value["bantam"]["tier"], "local");
            assert!(value["bantam"].get("old").is_none());
            assert!(value["choices"].is_array());
        }
    }

    #[test]
    fn an_answer_of_our_own_reads_back_as_a_completion() {
        let usage = TokenUsage { input: 3, cached_input: 1, output: 2 };
        let body = own_completion(OwnAnswer { text: "x\n\"", created_unix_s: 9, usage }, &note());
        let facts = read_completion(&body).unwrap();
        assert_eq!(facts.text.as_deref(), Some("x\n\""));
        assert_eq!(facts.usage, Some(usage));
        assert!(facts.has_note);
    }
}
