//! Completions of text in OpenAI's shape, whole and chunk by chunk: a chunk has the shape of the whole.

use bantam_decode::{StepToken, TokenTable};
use bantam_types::TokenUsage;
use serde_json::{Map, Value, json};

use super::{Choice, Head};

/// Returns a `text_completion`.
pub(crate) fn whole(head: &Head, choices: &[Choice], tokens: TokenUsage, table: &TokenTable) -> String {
    let choices = choices.iter().enumerate().map(|(index, choice)| {
        let told = choice.tokens.as_ref().map_or(Value::Null, |tokens| probabilities(tokens, table));
        json!({ "text": choice.text, "index": index, "logprobs": told, "finish_reason": choice.finish_reason() })
    });
    object(head, choices.collect(), Some(super::usage(tokens)))
}

/// Returns a chunk with more text, and with the tokens where their log-probabilities are told.
pub(crate) fn chunk(head: &Head, text: &str, tokens: Option<&[StepToken]>, table: &TokenTable) -> String {
    let told = tokens.map_or(Value::Null, |tokens| probabilities(tokens, table));
    object(head, json!([{ "text": text, "index": 0, "logprobs": told, "finish_reason": null }]), None)
}

/// Returns the chunk that ends a completion.
pub(crate) fn last(head: &Head, reason: &str) -> String {
    object(head, json!([{ "text": "", "index": 0, "logprobs": null, "finish_reason": reason }]), None)
}

/// Returns the chunk with what a completion took.
pub(crate) fn usage(head: &Head, tokens: TokenUsage) -> String {
    object(head, json!([]), Some(super::usage(tokens)))
}

fn object(head: &Head, choices: Value, usage: Option<Value>) -> String {
    json!({
        "id": head.id, "object": "text_completion", "created": head.created, "model": head.model,
        "choices": choices, "usage": usage, "system_fingerprint": null,
    })
    .to_string()
}

/// The older form of log-probabilities: one list for each property of the tokens. Offsets count characters.
fn probabilities(tokens: &[StepToken], table: &TokenTable) -> Value {
    let text = |token: u32| String::from_utf8_lossy(table.text(token)).into_owned();
    let (mut texts, mut chosen, mut best, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut offset = 0;
    for token in tokens {
        let own = text(token.token);
        offsets.push(offset);
        offset += own.chars().count();
        texts.push(own);
        chosen.push(token.log_probability.unwrap_or(0.0));
        let others = token.alternatives.iter();
        best.push(
            others.map(|other| (text(other.token), json!(other.log_probability))).collect::<Map<_, _>>(),
        );
    }
    json!({ "tokens": texts, "token_logprobs": chosen, "top_logprobs": best, "text_offset": offsets })
}

#[cfg(test)]
mod tests {
    use bantam_decode::{Finish, Forcing, TokenProbability};
    use bantam_wire::Endpoint;
    use bantam_wire::chunk::read_chunk;
    use bantam_wire::completion::read_answer;

    use super::*;

    const USAGE: TokenUsage = TokenUsage { input: 7, cached_input: 4, output: 2 };

    fn head() -> Head {
        Head { id: "cmpl-1".to_owned(), model: "m".to_owned(), created: 5 }
    }

    #[test]
    fn a_whole_completion_has_the_older_form_of_probabilities() {
        let table = TokenTable::new(["a", "é", ""], &[], &[2], Forcing::Off).unwrap();
        let other = TokenProbability { token: 0, log_probability: -1.5 };
        let tokens = vec![
            StepToken { token: 1, log_probability: Some(-0.5), alternatives: vec![other] },
            StepToken { token: 0, log_probability: None, alternatives: Vec::new() },
        ];
        let choice =
            Choice {
                text: "éa".to_owned(), calls: Vec::new(), finish: Finish::Length, tokens: Some(tokens)
            };
        let body = whole(&head(), &[choice], USAGE, &table);
        let facts = read_answer(Endpoint::Completions, body.as_bytes()).unwrap();
        assert_eq!((facts.text.as_deref(), facts.usage), (Some("éa"), Some(USAGE)));
        let value: Value = serde_json::from_str(&body).unwrap();
        let expected = json!({
            "tokens": ["é", "a"], "token_logprobs": [-0.5, 0.0], "top_logprobs": [{"a": -1.5}, {}], "text_offset": [0, 1],
        });
        assert_eq!(value["choices"][0]["logprobs"], expected);
    }

    #[test]
    fn chunks_of_text_are_read_as_chunks() {
        let table = TokenTable::new(["a", ""], &[], &[1], Forcing::Off).unwrap();
        let facts = read_chunk(&chunk(&head(), "a", None, &table)).unwrap();
        assert!(facts.has_choices && !facts.finishes);
        assert!(read_chunk(&last(&head(), "stop")).unwrap().finishes);
        assert_eq!(read_chunk(&usage(&head(), USAGE)).unwrap().usage, Some(USAGE));
    }
}
