//! Well-formed answers in OpenAI's format.

use serde_json::json;

/// Returns a `chat.completion` body.
pub fn completion_body(model: &str, text: &str, prompt_tokens: u64, completion_tokens: u64) -> String {
    json!({
        "id": "chatcmpl-simulated",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": model,
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": null},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": usage(prompt_tokens, completion_tokens),
    })
    .to_string()
}

/// Returns the chunks of a stream: one for each word, one that ends it, and one with the usage.
pub fn completion_events(model: &str, text: &str, prompt_tokens: u64, completion_tokens: u64) -> Vec<String> {
    let chunk = |choices: serde_json::Value, usage: serde_json::Value| {
        json!({
            "id": "chatcmpl-simulated", "object": "chat.completion.chunk", "created": 1_760_000_000,
            "model": model, "choices": choices, "usage": usage,
        })
        .to_string()
    };
    let choice = |delta: serde_json::Value, finish: serde_json::Value| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
    let mut events =
        vec![chunk(choice(json!({"role": "assistant", "content": ""}), json!(null)), json!(null))];
    events.extend(
        text.split_inclusive(' ')
            .map(|word| chunk(choice(json!({"content": word}), json!(null)), json!(null))),
    );
    events.push(chunk(choice(json!({}), json!("stop")), json!(null)));
    events.push(chunk(json!([]), usage(prompt_tokens, completion_tokens)));
    events
}

fn usage(prompt_tokens: u64, completion_tokens: u64) -> serde_json::Value {
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
    })
}
