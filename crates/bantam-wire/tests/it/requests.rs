//! Requests in, bodies for upstreams out.

use bantam_wire::support::refusal;
use bantam_wire::{ApiError, Call, DecodeLimits, Edits, Feature, FeatureSet, Phrasing, anthropic, openai};

use crate::foreign::FOREIGN;
use crate::golden::{Golden, all, decode, endpoint, root, text};

/// Writes the body for an upstream, bare and with a task's instructions before the caller's messages.
fn bodies(golden: &Golden, write: impl Fn(&Call, Edits<'_>) -> String) -> String {
    let call = decode(golden.endpoint(), &golden.text);
    let edits = Edits { model: "real", system: None, stream: call.stream, phrasing: Phrasing::default() };
    let bare = write(&call, edits);
    if golden.what != "chat" {
        return bare;
    }
    let instructed = write(&call, Edits { system: Some("be \"good\""), ..edits });
    format!("{bare}\nwith instructions:\n{instructed}")
}

#[test]
fn an_upstream_of_the_same_dialect_gets_the_callers_bytes() {
    for golden in all("requests", "json") {
        let sent = bodies(&golden, |call, edits| text(openai::body(call, edits).unwrap()));
        insta::assert_snapshot!(golden.name("request", "openai"), sent);
    }
}

#[test]
fn an_anthropic_upstream_gets_a_translation_or_nothing() {
    for golden in all("requests", "json") {
        let sent = bodies(&golden, |call, edits| {
            match anthropic::body(call, edits, anthropic::ModelTraits::default()) {
                Ok(body) => text(body),
                Err(unsupported) => {
                    format!("refused: {}: {}", call.endpoint.param(unsupported.feature), unsupported.reason)
                }
            }
        });
        insta::assert_snapshot!(golden.name("request", "anthropic"), sent);
    }
}

/// What has no neutral form: it reaches only upstreams of the caller's own dialect.
const OPENAI_ALONE: [Feature; 8] = [
    Feature::Moderation,
    Feature::Store,
    Feature::Modalities,
    Feature::AudioOutput,
    Feature::Prediction,
    Feature::WebSearch,
    Feature::Functions,
    Feature::FunctionChoice,
];

#[test]
fn a_body_from_the_neutral_form_asks_for_what_the_caller_asked_for() {
    for golden in all("requests", "json") {
        let sent = bodies(&golden, |call, edits| text(openai::body_from_typed(call, edits)));
        insta::assert_snapshot!(golden.name("request", "openai_from_neutral"), sent);
        let call = decode(golden.endpoint(), &golden.text);
        let edits =
            Edits { model: &call.model, system: None, stream: call.stream, phrasing: Phrasing::default() };
        let again = decode(golden.endpoint(), &text(openai::body_from_typed(&call, edits)));
        let case = &golden.case;
        assert_eq!(again.settings(), call.settings(), "{case}");
        assert_eq!(
            (again.answers, again.output_tokens_max),
            (call.answers, call.output_tokens_max),
            "{case}"
        );
        assert_eq!(again.texts(), call.texts(), "{case}");
        for (again, message) in again.messages().iter().zip(call.messages()) {
            assert_eq!((again.role, again.parts()), (message.role, message.parts()), "{case}");
            assert_eq!(again.details(), message.details(), "{case}");
        }
        let kept = call.features().iter().filter(|feature| !OPENAI_ALONE.contains(feature));
        // A stream asks for its usage whatever the caller wants.
        let forced = call.stream.then_some(Feature::StreamUsage);
        let expected: FeatureSet = kept.chain(forced).collect();
        assert_eq!(again.features(), expected, "{case}");
    }
}

#[test]
fn what_has_no_neutral_form_is_refused_to_callers_of_other_dialects() {
    for feature in Feature::ALL {
        let call = decode(FOREIGN, &format!("[\"{}\"]", feature.name()));
        let edits = Edits { model: "real", system: None, stream: false, phrasing: Phrasing::default() };
        let refused = openai::body(&call, edits).err().map(|unsupported| unsupported.feature);
        let is_openai_s = OPENAI_ALONE.contains(feature)
            || matches!(
                feature,
                Feature::OtherParts
                    | Feature::OtherToolCalls
                    | Feature::OlderToolCalls
                    | Feature::Annotations
                    | Feature::ThinkingBlocks
                    | Feature::OtherMembers
                    | Feature::OtherToolMembers
            );
        assert_eq!(refused, is_openai_s.then_some(*feature));
    }
}

#[test]
fn a_body_that_is_not_a_valid_request_is_refused_by_the_path_of_what_is_wrong() {
    let mut told = String::new();
    for line in std::fs::read_to_string(root().join("requests/refused.txt")).unwrap().lines() {
        let (word, body) = line.split_once(' ').unwrap();
        let endpoint = endpoint(word);
        let decoded = Call::decode(endpoint, body.to_owned().into(), &DecodeLimits::default(), &mut ());
        let error = ApiError::from(decoded.unwrap_err());
        told.push_str(&format!("{line}\n{}\n\n", text(endpoint.error(&error))));
    }
    insta::assert_snapshot!("request.refused", told);
}

#[test]
fn what_is_default_is_refused_by_nobody() {
    for golden in all("requests", "json").iter().filter(|golden| golden.case == "defaults") {
        let call = decode(golden.endpoint(), &golden.text);
        assert_eq!(refusal(&call, anthropic::support), None);
        assert_eq!(call.features().iter().collect::<Vec<_>>(), [Feature::Chat]);
    }
}

#[test]
fn what_was_said_before_is_the_nearest_assistant_text_before_the_last_user_message() {
    let check = |messages: &str, expected: Option<&str>| {
        let call = decode(openai::CHAT, &format!(r#"{{"model":"a","messages":[{messages}]}}"#));
        assert_eq!(call.said_before(), expected, "{messages}");
    };
    let user = r#"{"role":"user","content":"6"}"#;
    let asked = r#"{"role":"assistant","content":"how many?"}"#;
    let calls = r#"{"role":"assistant","content":null,"tool_calls":[]}"#;
    let tool = r#"{"role":"tool","tool_call_id":"1","content":"ok"}"#;
    check(user, None);
    check(&format!(r#"{{"role":"system","content":"s"}},{user}"#), None);
    check(&format!("{user},{asked}"), None);
    check(asked, None);
    check(&format!("{user},{asked},{user}"), Some("how many?"));
    check(&format!("{asked},{user}"), Some("how many?"));
    check(
        &format!(r#"{asked},{user},{{"role":"assistant","content":"when?"}},{user},{asked}"#),
        Some("when?"),
    );
    check(&format!("{asked},{calls},{tool},{user}"), Some("how many?"));
    check(&format!("{calls},{tool},{user}"), None);
    check(&format!(r#"{asked},{{"role":"assistant","content":" \n"}},{user},{user}"#), Some("how many?"));
    let parts = r#"{"role":"assistant","content":[{"type":"text","text":"no."},{"type":"refusal","refusal":"never"}]}"#;
    check(&format!("{asked},{parts},{user}"), Some("no.\nnever"));
    let aside = r#"{"role":"assistant","content":null,"refusal":"never"}"#;
    check(&format!("{asked},{aside},{user}"), Some("how many?"));
}

#[test]
fn prompts_have_nothing_said_before_them() {
    for (endpoint, body) in [
        (openai::TEXT, r#"{"model":"a","prompt":["b","c"]}"#),
        (openai::EMBEDDINGS, r#"{"model":"a","input":["b","c"]}"#),
    ] {
        let call = decode(endpoint, body);
        assert_eq!((call.said_before(), call.last_user_text()), (None, None));
        assert_eq!(call.estimated_prompt_tokens(), 8);
    }
}
