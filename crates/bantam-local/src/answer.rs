//! What the engine made, as answers in neutral terms.

use bantam_decode::{Finish, StepToken, TokenTable};
use bantam_wire::call::ToolCall;
use bantam_wire::outcome::{Token, TokenLogProbability};
use bantam_wire::{Choice, FinishReason};

use crate::calls::WrittenCall;

/// Returns why an answer with these calls ended, in neutral terms: one that calls tools ends for that reason.
pub(crate) const fn finish_reason(finish: Finish, calls: &[WrittenCall]) -> FinishReason {
    if !calls.is_empty() {
        return FinishReason::ToolCalls;
    }
    match finish {
        Finish::Length => FinishReason::Length,
        Finish::EndOfSequence | Finish::Stop(_) | Finish::Complete => FinishReason::Stop,
    }
}

/// Returns an answer of `text` and `calls`. An answer that calls tools has a text only if it says something beside.
pub(crate) fn choice(
    text: String,
    calls: Vec<WrittenCall>,
    finish: Finish,
    log_probabilities: Option<Vec<TokenLogProbability>>,
) -> Choice {
    let only_calls = !calls.is_empty() && text.is_empty();
    let finish = finish_reason(finish, &calls);
    Choice {
        text: (!only_calls).then_some(text),
        refusal: None,
        tool_calls: calls.into_iter().map(tool_call).collect(),
        thoughts: Vec::new(),
        finish,
        log_probabilities,
    }
}

/// Returns a call with an id that no other has: results refer to it in later requests.
pub(crate) fn tool_call(WrittenCall { name, arguments }: WrittenCall) -> ToolCall {
    let id = format!("call_{:016x}{:016x}", crate::backend::random(), crate::backend::random());
    ToolCall { id, name, arguments }
}

/// Returns tokens with their texts. One that a grammar forced has the probability 1 that it had under the grammar.
pub(crate) fn log_probabilities(tokens: &[StepToken], table: &TokenTable) -> Vec<TokenLogProbability> {
    let token = |id: u32, log_probability: f32| {
        let bytes = table.text(id);
        Token {
            text: String::from_utf8_lossy(bytes).into_owned(),
            bytes: Some(bytes.to_vec()),
            log_probability: f64::from(log_probability),
        }
    };
    let one = |made: &StepToken| TokenLogProbability {
        token: token(made.token, made.log_probability.unwrap_or(0.0)),
        alternatives: made
            .alternatives
            .iter()
            .map(|other| token(other.token, other.log_probability))
            .collect(),
    };
    tokens.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use bantam_decode::{Forcing, TokenProbability};

    use super::*;

    #[test]
    fn tokens_are_told_with_their_bytes_and_forced_ones_are_certain() {
        let table = TokenTable::new(["a", "é", ""], &[], &[2], Forcing::Off).unwrap();
        let other = TokenProbability { token: 0, log_probability: -1.5 };
        let tokens = [
            StepToken { token: 1, log_probability: Some(-0.5), alternatives: vec![other] },
            StepToken { token: 0, log_probability: None, alternatives: Vec::new() },
        ];
        let told = log_probabilities(&tokens, &table);
        assert_eq!(told[0].token.bytes.as_deref(), Some(&[0xC3, 0xA9][..]));
        assert_eq!((told[0].token.log_probability, told[0].alternatives[0].log_probability), (-0.5, -1.5));
        assert_eq!((&*told[1].token.text, told[1].token.log_probability), ("a", 0.0));
    }

    #[test]
    fn an_answer_that_only_calls_has_no_text_and_every_call_an_id_of_its_own() {
        let call = || WrittenCall { name: "f".to_owned(), arguments: "{}".to_owned() };
        let answer = choice(String::new(), vec![call(), call()], Finish::EndOfSequence, None);
        assert_eq!((answer.text, answer.finish), (None, FinishReason::ToolCalls));
        assert_ne!(answer.tool_calls[0].id, answer.tool_calls[1].id);
        let answer = choice("look".to_owned(), vec![call()], Finish::Length, None);
        assert_eq!((answer.text.as_deref(), answer.finish), (Some("look"), FinishReason::ToolCalls));
        let answer = choice(String::new(), Vec::new(), Finish::Length, None);
        assert_eq!((answer.text.as_deref(), answer.finish), (Some(""), FinishReason::Length));
    }
}
