//! Chat templates, and what constrains answers: JSON schemas, regular expressions, Lark grammars.

use std::collections::BTreeMap;

use bantam_decode::{Grammar, JsonLayout, check_grammar, check_schema};
use bantam_template::{ChatTemplate, Conversation};
use serde_json::json;

/// Compiles the bytes as a chat template and writes a conversation with it.
pub(super) fn chat_template(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let Ok(template) = ChatTemplate::new(source, "<s>", "</s>") else { return };
    let messages = [
        json!({"role": "system", "content": "be brief"}),
        json!({"role": "user", "content": "hi </s> {{ messages }}"}),
        json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]}),
    ];
    let tools = [json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}})];
    let variables = BTreeMap::new();
    let conversation = Conversation {
        messages: &messages,
        tools: &tools,
        add_generation_prompt: true,
        variables: &variables,
        now: jiff::civil::date(2026, 11, 1).at(12, 0, 0, 0),
    };
    let _ = template.render(&conversation, &["</s>", "<s>"]);
}

/// Checks the bytes as a JSON schema, and compiles it where it is allowed.
pub(super) fn schema(bytes: &[u8]) {
    let Ok(schema) = serde_json::from_slice(bytes) else { return };
    if check_schema(&schema).is_ok() {
        let _ = check_grammar(&Grammar::JsonSchema { schema, layout: JsonLayout::Compact });
    }
}

/// Compiles the bytes as a Lark grammar and as a regular expression.
pub(super) fn grammar(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for grammar in [Grammar::Lark(text.to_owned()), Grammar::Regex(text.to_owned())] {
        if let Err(error) = check_grammar(&grammar) {
            assert!(!error.to_string().is_empty());
        }
    }
}
