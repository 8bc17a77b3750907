//! Conversations with a model of random weights.

use bantam_admin::{Conversation, TalkError, TalkSettings, UseCaseError};
use bantam_jobs::FailureReason;

use crate::desk::Desk;
use crate::tiny_model;

fn open(desk: &Desk, model: &str) -> Result<Conversation, TalkError> {
    let settings =
        TalkSettings { max_tokens: Some(6), seed: Some(1), threads: Some(1), ..TalkSettings::default() };
    Conversation::open(&desk.config(""), &desk.store(), model, settings, || {})
}

#[tokio::test]
async fn a_conversation_grows_by_question_and_answer_until_it_is_cleared() {
    let desk = Desk::new();
    let path = tiny_model::write(&desk.path("")).display().to_string();
    let mut conversation = open(&desk, &path).unwrap();
    let mut heard = String::new();
    let mut hear = |text: &str| heard.push_str(text);
    let first = conversation.ask("my lamp broke", &mut hear, std::future::pending()).await.unwrap();
    assert_eq!((&first.text, first.interrupted), (&heard, false));
    assert!(first.usage.output > 0 && first.usage.output <= 6, "{:?}", first.usage);
    let baseline = first.baseline.as_ref().unwrap();
    assert_eq!((&*baseline.model, first.cost_usd), ("large", "0"));
    assert!(baseline.cost.as_dollars() > 0.0);
    let second = conversation.ask("and now?", &mut |_| {}, std::future::pending()).await.unwrap();
    assert!(second.usage.input > first.usage.input, "it holds what was said");
    conversation.clear();
    let again = conversation.ask("my lamp broke", &mut |_| {}, std::future::pending()).await.unwrap();
    assert_eq!((again.text, again.usage.input), (first.text, first.usage.input));
    conversation.set_system(Some("be brief".to_owned()));
    conversation.clear();
    let told = conversation.ask("my lamp broke", &mut |_| {}, std::future::pending()).await.unwrap();
    assert!(told.usage.input > first.usage.input, "it holds what the model is to be");
}

#[tokio::test]
async fn an_answer_breaks_off_and_a_question_that_is_too_long_is_forgotten() {
    let desk = Desk::new();
    let path = tiny_model::write(&desk.path("")).display().to_string();
    let mut conversation = open(&desk, &path).unwrap();
    let first = conversation.ask("my lamp broke", &mut |_| {}, std::future::pending()).await.unwrap();
    conversation.clear();
    let stopped = conversation.ask("hello", &mut |_| {}, std::future::ready(())).await.unwrap();
    assert!(stopped.interrupted && stopped.figures().starts_with("stopped · "), "{stopped:?}");
    conversation.clear();
    let long = "word ".repeat(20_000);
    let error = conversation.ask(&long, &mut |_| {}, std::future::pending()).await.unwrap_err();
    assert!(matches!(error, TalkError::NoAnswer(_)), "{error}");
    assert!(error.hint().unwrap().contains("longer than the model's context"), "{error}");
    let again = conversation.ask("my lamp broke", &mut |_| {}, std::future::pending()).await.unwrap();
    assert_eq!(again.usage.input, first.usage.input);
    let gone = open(&desk, "./gone.gguf").err().unwrap();
    assert_eq!(
        (gone.reason(), gone.to_string()),
        (FailureReason::NotFound, "there is no file or folder ./gone.gguf".to_owned())
    );
}
