//! Answers in OpenAI's shape: whole, and chunk by chunk.

pub(crate) mod text;

use bantam_decode::{Finish, StepToken, TokenTable};
use bantam_types::TokenUsage;
use serde_json::{Value, json};

use crate::calls::Call;

/// What all parts of one answer have in common.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) id: String,
    pub(crate) model: String,
    /// Seconds since the Unix epoch.
    pub(crate) created: i64,
}

/// One of the answers to a request.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) text: String,
    pub(crate) calls: Vec<Call>,
    pub(crate) finish: Finish,
    /// The tokens, where their log-probabilities are told.
    pub(crate) tokens: Option<Vec<StepToken>>,
}

impl Choice {
    pub(crate) fn finish_reason(&self) -> &'static str {
        if self.calls.is_empty() { finish_reason(self.finish) } else { "tool_calls" }
    }
}

/// Returns OpenAI's word for why an answer ended.
pub(crate) fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Length => "length",
        Finish::EndOfSequence | Finish::Stop(_) | Finish::Complete => "stop",
    }
}

fn usage(tokens: TokenUsage) -> Value {
    json!({
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": { "cached_tokens": tokens.cached_input },
    })
}

/// Returns a `chat.completion`.
pub(crate) fn whole(head: &Head, choices: &[Choice], tokens: TokenUsage, table: &TokenTable) -> String {
    let choices: Vec<Value> = choices
        .iter()
        .enumerate()
        .map(|(index, choice)| {
            let mut message = json!({ "role": "assistant", "content": choice.text, "refusal": null });
            if !choice.calls.is_empty() {
                message["tool_calls"] = calls(head, index, &choice.calls, false);
                if choice.text.is_empty() {
                    message["content"] = Value::Null;
                }
            }
            let told = choice.tokens.as_ref().map_or(Value::Null, |tokens| probabilities(tokens, table));
            json!({ "index": index, "message": message, "logprobs": told, "finish_reason": choice.finish_reason() })
        })
        .collect();
    json!({
        "id": head.id, "object": "chat.completion", "created": head.created, "model": head.model,
        "choices": choices, "usage": usage(tokens), "system_fingerprint": null,
    })
    .to_string()
}

fn calls(head: &Head, choice: usize, calls: &[Call], is_streamed: bool) -> Value {
    let one = |(index, call): (usize, &Call)| {
        let mut object = json!({
            "id": format!("call_{}_{choice}_{index}", head.id.trim_start_matches("chatcmpl-")),
            "type": "function",
            "function": { "name": call.name, "arguments": call.arguments },
        });
        if is_streamed {
            object["index"] = json!(index);
        }
        object
    };
    calls.iter().enumerate().map(one).collect()
}

/// OpenAI's `logprobs`. A token that grammar forced has the probability 1 that it had under the grammar.
fn probabilities(tokens: &[StepToken], table: &TokenTable) -> Value {
    let one = |token: u32, log_probability: f32| {
        let bytes = table.text(token);
        json!({ "token": String::from_utf8_lossy(bytes), "logprob": log_probability, "bytes": bytes })
    };
    let content: Vec<Value> = tokens
        .iter()
        .map(|token| {
            let mut entry = one(token.token, token.log_probability.unwrap_or(0.0));
            entry["top_logprobs"] =
                token.alternatives.iter().map(|other| one(other.token, other.log_probability)).collect();
            entry
        })
        .collect();
    json!({ "content": content, "refusal": null })
}

fn chunk(head: &Head, choices: Value, usage: Option<Value>) -> String {
    json!({
        "id": head.id, "object": "chat.completion.chunk", "created": head.created, "model": head.model,
        "choices": choices, "usage": usage, "system_fingerprint": null,
    })
    .to_string()
}

/// Returns the chunk that begins an answer.
pub(crate) fn first_chunk(head: &Head) -> String {
    let delta = json!({ "role": "assistant", "content": "", "refusal": null });
    chunk(head, json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": null }]), None)
}

/// Returns a chunk with more text, and with the tokens where their log-probabilities are told.
pub(crate) fn text_chunk(
    head: &Head,
    text: &str,
    tokens: Option<&[StepToken]>,
    table: &TokenTable,
) -> String {
    let told = tokens.map_or(Value::Null, |tokens| probabilities(tokens, table));
    chunk(
        head,
        json!([{ "index": 0, "delta": { "content": text }, "logprobs": told, "finish_reason": null }]),
        None,
    )
}

/// Returns a chunk with calls of tools.
pub(crate) fn calls_chunk(head: &Head, made: &[Call]) -> String {
    let delta = json!({ "tool_calls": calls(head, 0, made, true) });
    chunk(head, json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": null }]), None)
}

/// Returns the chunk that ends an answer.
pub(crate) fn last_chunk(head: &Head, reason: &str) -> String {
    chunk(head, json!([{ "index": 0, "delta": {}, "logprobs": null, "finish_reason": reason }]), None)
}

/// Returns the chunk with what the answer took.
pub(crate) fn usage_chunk(head: &Head, tokens: TokenUsage) -> String {
    chunk(head, json!([]), Some(usage(tokens)))
}

#[cfg(test)]
mod tests {
    use bantam_decode::Forcing;
    use bantam_wire::chunk::read_chunk;
    use bantam_wire::completion::read_completion;

    use super::*;

    fn head() -> Head {
        Head { id: "chatcmpl-1".to_owned(), model: "m".to_owned(), created: 5 }
    }

    fn table() -> TokenTable {
        TokenTable::new(["a", "é", ""], &[], &[2], Forcing::Off).unwrap()
    }

    const USAGE: TokenUsage = TokenUsage { input: 7, cached_input: 4, output: 2 };

    #[test]
    fn a_whole_answer_is_a_completion_with_its_probabilities() {
        let token = StepToken { token: 1, log_probability: Some(-0.5), alternatives: Vec::new() };
        let choice = Choice {
            text: "aé".to_owned(),
            calls: Vec::new(),
            finish: Finish::Length,
            tokens: Some(vec![token]),
        };
        let body = whole(&head(), &[choice], USAGE, &table());
        let facts = read_completion(body.as_bytes()).unwrap();
        assert_eq!((facts.text.as_deref(), facts.usage), (Some("aé"), Some(USAGE)));
        let value: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(value["choices"][0]["finish_reason"], "length");
        let told = &value["choices"][0]["logprobs"]["content"][0];
        assert_eq!((told["bytes"].clone(), told["logprob"].as_f64()), (json!([0xC3, 0xA9]), Some(-0.5)));
    }

    #[test]
    fn calls_have_ids_and_no_content() {
        let call = Call { name: "f".to_owned(), arguments: "{}".to_owned() };
        let choice =
            Choice { text: String::new(), calls: vec![call], finish: Finish::EndOfSequence, tokens: None };
        let value: Value = serde_json::from_str(&whole(&head(), &[choice], USAGE, &table())).unwrap();
        let message = &value["choices"][0]["message"];
        assert_eq!(
            (message["content"].is_null(), &message["tool_calls"][0]["id"]),
            (true, &json!("call_1_0_0"))
        );
        assert_eq!(value["choices"][0]["finish_reason"], "tool_calls");
    }

    #[test]
    fn chunks_are_read_as_chunks() {
        let facts = read_chunk(&first_chunk(&head())).unwrap();
        assert!(facts.has_choices && !facts.finishes && facts.usage.is_none());
        assert!(read_chunk(&text_chunk(&head(), "x", None, &table())).unwrap().has_choices);
        assert!(read_chunk(&last_chunk(&head(), "stop")).unwrap().finishes);
        let facts = read_chunk(&usage_chunk(&head(), USAGE)).unwrap();
        assert_eq!((facts.has_choices, facts.usage), (false, Some(USAGE)));
    }
}
