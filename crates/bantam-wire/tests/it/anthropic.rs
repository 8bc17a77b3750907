//! What is sent to Anthropic is what its API takes: one table of conversations, and a judge over made-up ones.

use std::collections::HashSet;

use bantam_wire::anthropic::{self, ModelTraits, Thinking};
use bantam_wire::{Call, DecodeLimits, Edits, Phrasing, openai};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Returns the body that Anthropic gets, or what is refused and why.
fn translate(body: &Value, system: Option<&str>, traits: ModelTraits) -> Result<Value, String> {
    let call = Call::decode(openai::CHAT, body.to_string().into(), &DecodeLimits::default(), &mut ());
    let call = call.map_err(|error| error.to_string())?;
    let edits = Edits { model: "claude", system, stream: false, phrasing: Phrasing::default() };
    let sent = anthropic::body(&call, edits, traits).map_err(|unsupported| {
        format!("{}: {}", call.endpoint.param(unsupported.feature), unsupported.reason)
    })?;
    let sent: Value = serde_json::from_slice(&sent).unwrap();
    judge(&sent);
    Ok(sent)
}

fn is_name(text: &Value) -> bool {
    let text = text.as_str().unwrap();
    !text.is_empty() && text.chars().all(|symbol| symbol.is_ascii_alphanumeric() || "_-".contains(symbol))
}

/// Checks a body against the rules of `POST /v1/messages`.
fn judge(body: &Value) {
    const KNOWN: [&str; 12] = [
        "model",
        "max_tokens",
        "system",
        "messages",
        "temperature",
        "top_p",
        "stop_sequences",
        "metadata",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
    ];
    assert!(body.as_object().unwrap().keys().all(|key| KNOWN.contains(&&**key)), "{body}");
    assert!(body["max_tokens"].as_u64().unwrap() > 0);
    let turns = body["messages"].as_array().unwrap();
    assert!(!turns.is_empty(), "a conversation has a turn: {body}");
    let mut ids = HashSet::new();
    let mut open: Vec<&Value> = Vec::new();
    let mut has_calls = false;
    for (index, turn) in turns.iter().enumerate() {
        let role = turn["role"].as_str().unwrap();
        assert!(matches!(role, "user" | "assistant"));
        assert!(index == 0 || turns[index - 1]["role"] != role, "neighbours speak in turn: {body}");
        let blocks = turn["content"].as_array().unwrap();
        assert!(!blocks.is_empty(), "a turn says something: {body}");
        let mut results = true;
        let mut called = Vec::new();
        for block in blocks {
            judge_block(role, block);
            match block["type"].as_str().unwrap() {
                "tool_result" => {
                    assert!(results, "results stand first: {body}");
                    let found = open.iter().position(|id| **id == block["tool_use_id"]);
                    open.remove(found.unwrap_or_else(|| panic!("a result of no call: {body}")));
                    has_calls = true;
                }
                "tool_use" => {
                    assert!(is_name(&block["id"]) && ids.insert(block["id"].to_string()), "{body}");
                    called.push(&block["id"]);
                    has_calls = true;
                }
                _ => results = false,
            }
        }
        assert!(open.is_empty(), "a call without a result: {body}");
        open = called;
    }
    assert!(open.is_empty(), "a call without a result: {body}");
    let last = turns.last().unwrap();
    if last["role"] == "assistant" {
        let text = last["content"].as_array().unwrap().last().unwrap()["text"].as_str().unwrap_or("x");
        assert_eq!(text.trim_end(), text);
    }
    judge_tools(body, has_calls);
    judge_marks(body);
    if body["thinking"]["type"] == "enabled" {
        let budget = body["thinking"]["budget_tokens"].as_u64().unwrap();
        assert!((1_024..body["max_tokens"].as_u64().unwrap()).contains(&budget), "{body}");
        assert_ne!(last["role"], "assistant");
    }
}

fn judge_block(role: &str, block: &Value) {
    match block["type"].as_str().unwrap() {
        "text" => assert!(!block["text"].as_str().unwrap().trim().is_empty(), "{block}"),
        "tool_use" => {
            assert!(role == "assistant" && block["input"].is_object() && is_name(&block["name"]), "{block}");
        }
        "tool_result" => {
            assert_eq!(role, "user");
            block["content"].as_array().into_iter().flatten().for_each(|inner| judge_block(role, inner));
        }
        "thinking" => assert!(role == "assistant" && block["signature"].is_string()),
        "redacted_thinking" => assert!(role == "assistant" && block["data"].is_string()),
        "image" | "document" => assert!(role == "user" && block["source"]["type"].is_string()),
        other => panic!("the API has no block called {other}"),
    }
}

fn judge_tools(body: &Value, has_calls: bool) {
    let tools = body["tools"].as_array().map_or(&[][..], |tools| tools);
    assert!(!has_calls || !tools.is_empty(), "a history of calls needs tools: {body}");
    let names: HashSet<String> = tools.iter().map(|tool| tool["name"].to_string()).collect();
    assert_eq!(names.len(), tools.len(), "{body}");
    for tool in tools {
        assert!(is_name(&tool["name"]) && tool["input_schema"]["type"] == "object", "{tool}");
    }
    if let Some(name) = body.pointer("/tool_choice/name") {
        assert!(names.contains(&name.to_string()), "{body}");
    }
    assert_eq!(body.get("tool_choice").is_some(), !tools.is_empty(), "{body}");
}

fn judge_marks(body: &Value) {
    fn find<'a>(value: &'a Value, marks: &mut Vec<&'a Value>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| find(item, marks)),
            Value::Object(members) => members.iter().for_each(|(key, inner)| match &**key {
                "cache_control" => marks.push(inner),
                "input" | "input_schema" => {}
                _ => find(inner, marks),
            }),
            _ => {}
        }
    }
    let mut marks = Vec::new();
    ["tools", "system", "messages"].iter().for_each(|key| find(&body[*key], &mut marks));
    assert!(marks.len() <= 4, "{body}");
    let is_hour = |mark: &&&Value| mark["ttl"] == "1h";
    assert!(marks.iter().skip_while(is_hour).all(|mark| !is_hour(&mark)), "{body}");
    assert!(marks.iter().all(|mark| mark["type"] == "ephemeral"));
}

/// Checks what becomes of messages: the turns that are sent, or the words of the refusal.
fn check(messages: &Value, expected: Result<Value, &str>) {
    let got = translate(&json!({"model": "m", "messages": messages}), None, ModelTraits::default());
    match (got, expected) {
        (Ok(sent), Ok(expected)) => assert_eq!(sent["messages"], expected, "{messages}"),
        (Err(told), Err(words)) => assert!(told.contains(words), "{messages}: {told}"),
        (got, expected) => panic!("{messages}: {got:?} instead of {expected:?}"),
    }
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn said(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

fn calls(calls: &[(&str, &str)]) -> Value {
    let call = |(id, arguments): &(&str, &str)| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}});
    json!({"role": "assistant", "content": null, "tool_calls": calls.iter().map(call).collect::<Vec<_>>()})
}

fn result(id: &str, text: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": text})
}

/// A turn as Anthropic has it.
fn turn(role: &str, blocks: &[Value]) -> Value {
    json!({"role": role, "content": blocks})
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn tool_use(id: &str, input: &Value) -> Value {
    json!({"type": "tool_use", "id": id, "name": "f", "input": input})
}

fn tool_result(id: &str, content: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": content})
}

#[test]
fn a_tool_call_without_arguments_is_one_of_an_empty_object() {
    for arguments in ["", " ", "{}", "null"] {
        check(
            &json!([user("x"), calls(&[("c", arguments)]), result("c", "ok")]),
            Ok(json!([
                turn("user", &[text("x")]),
                turn("assistant", &[tool_use("c", &json!({}))]),
                turn("user", &[tool_result("c", "ok")]),
            ])),
        );
    }
    for arguments in ["[1]", "7", "\"x\"", "{", "not JSON"] {
        check(
            &json!([user("x"), calls(&[("c", arguments)]), result("c", "ok")]),
            Err("`messages[1]` calls a tool with arguments that are not a JSON object"),
        );
    }
}

#[test]
fn what_shows_nothing_is_no_block() {
    let hi = || turn("user", &[text("hi")]);
    check(&json!([user("hi"), said(""), user("x")]), Ok(json!([turn("user", &[text("hi"), text("x")])])));
    check(&json!([user("hi"), said(" \n")]), Ok(json!([hi()])));
    check(
        &json!([{"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "hi"}]}]),
        Ok(json!([hi()])),
    );
    check(&json!([user("hi"), said("yes"), user("")]), Err("`messages[2]` says nothing"));
    check(&json!([user("")]), Err("`messages[0]` says nothing"));
    check(&json!([{"role": "system", "content": " "}]), Err("no message says anything"));
    check(&json!([user("hi"), said("so: \n")]), Ok(json!([hi(), turn("assistant", &[text("so:")])])));
    let refused = json!({"role": "assistant", "content": null, "refusal": "never"});
    check(
        &json!([user("hi"), refused, user("x")]),
        Ok(json!([hi(), turn("assistant", &[text("never")]), turn("user", &[text("x")])])),
    );
    let nothing = json!([user("x"), calls(&[("c", "{}")]), result("c", "")]);
    let sent = translate(&json!({"model": "m", "messages": nothing}), None, ModelTraits::default()).unwrap();
    assert_eq!(sent["messages"][2]["content"], json!([{"type": "tool_result", "tool_use_id": "c"}]));
}

#[test]
fn instructions_alone_are_what_the_model_answers() {
    let body = json!({"model": "m", "messages": [
        {"role": "system", "content": "be brief"}, {"role": "developer", "content": "say hi"}]});
    let sent = translate(&body, Some("task"), ModelTraits::default()).unwrap();
    assert_eq!(sent["system"], "task\n\nbe brief");
    assert_eq!(sent["messages"], json!([turn("user", &[text("say hi")])]));
}

#[test]
fn every_call_has_its_result_and_every_result_its_call() {
    let strays: &[(&[Value], &str)] = &[
        (&[user("x"), result("c", "ok")], "`messages[1]` is the result of a tool call that is not"),
        (
            &[user("x"), calls(&[("c", "")]), result("d", "ok")],
            "`messages[2]` is the result of a tool call that is not",
        ),
        (&[user("x"), calls(&[("c", "")])], "`messages[1]` is followed by no result"),
        (
            &[user("x"), calls(&[("c", ""), ("d", "")]), result("c", "1"), user("y")],
            "`messages[2]` is followed by no result",
        ),
        (
            &[user("x"), calls(&[("c", "")]), said("hm"), result("c", "1")],
            "`messages[1]` is followed by no result",
        ),
        (
            &[user("x"), calls(&[("c", "")]), result("c", "1"), result("c", "2")],
            "`messages[3]` is the result of a tool call that",
        ),
        (
            &[user("x"), json!({"role": "tool", "content": "1"})],
            "`messages[1]` is a tool's result and does not say",
        ),
    ];
    for (messages, words) in strays {
        check(&json!(messages), Err(words));
    }
    check(
        &json!([user("x"), calls(&[("c", ""), ("d", "")]), result("d", "2"), result("c", "1"), user("y")]),
        Ok(json!([
            turn("user", &[text("x")]),
            turn("assistant", &[tool_use("c", &json!({})), tool_use("d", &json!({}))]),
            turn("user", &[tool_result("d", "2"), tool_result("c", "1"), text("y")]),
        ])),
    );
}

#[test]
fn ids_that_the_api_does_not_take_are_changed_and_results_follow() {
    let again = || [calls(&[("call_0", "")]), result("call_0", "ok")];
    let mut messages = vec![user("x"), calls(&[("functions.f:0", ""), ("", "")])];
    messages.extend([result("functions.f:0", "1"), result("", "2")]);
    messages.extend(again());
    messages.extend(again());
    let sent = translate(&json!({"model": "m", "messages": messages}), None, ModelTraits::default()).unwrap();
    let ids = |key: &str| -> Vec<String> {
        let turns = sent["messages"].as_array().unwrap().iter();
        let blocks = turns.flat_map(|turn| turn["content"].as_array().unwrap());
        blocks.filter_map(|block| block[key].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(ids("id"), ids("tool_use_id"));
    assert_eq!(ids("id").len(), 4);
    assert_eq!(sent["tools"], json!([{"name": "f", "input_schema": {"type": "object"}}]));
    assert_eq!(sent["tool_choice"], json!({"type": "none"}));
}

#[test]
fn calls_in_the_older_form_are_told_with_ids_of_their_own() {
    let called =
        json!({"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": ""}});
    let result = json!({"role": "function", "name": "f", "content": "ok"});
    check(
        &json!([user("x"), called, result, user("y")]),
        Ok(json!([
            turn("user", &[text("x")]),
            turn("assistant", &[tool_use("call_0", &json!({}))]),
            turn("user", &[tool_result("call_0", "ok"), text("y")]),
        ])),
    );
    check(&json!([user("x"), result]), Err("`messages[1]` is the result of a tool call that is not"));
}

#[test]
fn pictures_and_documents_are_sent_where_the_api_takes_them() {
    let shown = |part: &Value| json!([{"role": "user", "content": [part]}]);
    let image = |url: &str| json!({"type": "image_url", "image_url": {"url": url, "detail": "high"}});
    let sent = |source: Value| Ok(json!([turn("user", &[json!({"type": "image", "source": source})])]));
    check(
        &shown(&image("data:image/png;base64,iVBORw0KGgo=")),
        sent(json!({"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="})),
    );
    check(
        &shown(&image("https://a.example/b.jpg")),
        sent(json!({"type": "url", "url": "https://a.example/b.jpg"})),
    );
    for url in [
        "data:image/tiff;base64,AAAA",
        "data:image/png;base64,",
        "data:image/png,AAAA",
        "file:///etc/passwd",
        "",
    ] {
        check(&shown(&image(url)), Err("messages: only JPEG, PNG, GIF and WebP"));
    }
    let low = json!({"type": "image_url", "image_url": {"url": "https://a.example/b.jpg", "detail": "low"}});
    check(&shown(&low), Err("`messages[0].content[0].image_url.detail`: only"));
    let file = |file: Value| shown(&json!({"type": "file", "file": file}));
    check(
        &file(json!({"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"})),
        Ok(json!([turn(
            "user",
            &[json!({"type": "document", "title": "a.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}})]
        )])),
    );
    check(
        &file(json!({"file_data": "data:text/plain;base64,aGk="})),
        Ok(json!([turn(
            "user",
            &[json!({"type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "hi"}})]
        )])),
    );
    check(&file(json!({"file_id": "file-1"})), Err("messages: only PDF and plain text"));
    check(
        &file(json!({"file_data": "data:application/zip;base64,AAAA"})),
        Err("messages: only PDF and plain text"),
    );
    check(
        &shown(&json!({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}})),
        Err("hears no audio"),
    );
}

#[test]
fn nothing_inside_of_messages_and_tools_is_dropped_in_silence() {
    let with = |key: &str, value: Value| {
        let mut message = said("yes");
        message[key] = value;
        json!([user("x"), message, user("y")])
    };
    check(&with("name", json!("ada")), Err("`messages[1].name`: the API has no names"));
    check(&with("annotations", json!([{"type": "url_citation"}])), Err("`messages[1].annotations`: "));
    check(&with("reasoning_content", json!("hm")), Err("`messages[1].reasoning_content`: only beside"));
    check(&with("reasoning_details", json!([1])), Err("`messages[1].reasoning_details`: it is not known"));
    check(&with("audio", json!({"id": "a"})), Err("messages: content of that kind"));
    let thinking = json!([{"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"}]);
    let mut numbered = thinking.clone();
    numbered[1]["index"] = 1.into();
    let mut both = with("thinking_blocks", numbered);
    both[1]["reasoning_content"] = "hm".into();
    check(
        &both,
        Ok(json!([
            turn("user", &[text("x")]),
            turn("assistant", &[thinking[0].clone(), thinking[1].clone(), text("yes")]),
            turn("user", &[text("y")]),
        ])),
    );
    let part = |key: &str, value: Value| {
        let mut part = text("x");
        part[key] = value;
        json!([{"role": "user", "content": [part, text("y")]}])
    };
    let marked = |mark: Value| {
        Ok(json!([turn("user", &[json!({"type": "text", "text": "x", "cache_control": mark}), text("y")])]))
    };
    check(&part("cache_control", json!({"type": "ephemeral"})), marked(json!({"type": "ephemeral"})));
    check(
        &part("prompt_cache_breakpoint", json!({"mode": "explicit"})),
        marked(json!({"type": "ephemeral", "ttl": "1h"})),
    );
    check(
        &part("cache_control", json!({"type": "eternal"})),
        Err("`messages[0].content[0].cache_control`: it is not"),
    );
    check(&part("citations", json!([1])), Err("`messages[0].content[0].citations`: it is not known"));
    let tools = |more: Value| {
        let mut tool = json!({"type": "function", "function": {"name": "f"}});
        tool["function"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        translate(
            &json!({"model": "m", "messages": [user("x")], "tools": [tool]}),
            None,
            ModelTraits::default(),
        )
    };
    assert_eq!(tools(json!({"strict": true})).unwrap()["tools"][0]["strict"], true);
    assert!(tools(json!({"defer_loading": true})).unwrap_err().contains("`tools[0].function.defer_loading`"));
    for parameters in [json!({"anyOf": []}), json!({"type": "string"}), json!([])] {
        assert!(tools(json!({ "parameters": parameters })).unwrap_err().contains("`tools[0]`"));
    }
    assert_eq!(
        tools(json!({"parameters": {}})).unwrap()["tools"][0]["input_schema"],
        json!({"type": "object"})
    );
}

#[test]
fn the_last_four_marks_are_sent_and_none_for_an_hour_behind_one_for_minutes() {
    let part =
        |ttl: &str| json!({"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": ttl}});
    let messages = json!([{"role": "system", "content": [part("1h")]},
        {"role": "user", "content": [part("1h"), part("1h"), part("5m"), part("1h")]}]);
    let sent = translate(&json!({"model": "m", "messages": messages}), None, ModelTraits::default()).unwrap();
    assert_eq!(sent["system"], "x");
    let blocks = sent["messages"][0]["content"].as_array().unwrap();
    let ttls: Vec<&Value> = blocks.iter().map(|block| &block["cache_control"]["ttl"]).collect();
    assert_eq!(json!(ttls), json!(["1h", "1h", null, null]));
}

#[test]
fn effort_becomes_a_budget_or_a_word() {
    let adaptive = ModelTraits { thinking: Thinking::Adaptive, ..ModelTraits::default() };
    let none = ModelTraits { thinking: Thinking::None, ..ModelTraits::default() };
    let ask = |more: Value, traits| {
        let mut body = json!({"model": "m", "messages": [user("x")]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        translate(&body, None, traits)
    };
    let effort = |word: &str| json!({ "reasoning_effort": word });
    for (word, budget) in
        [("minimal", 1_024), ("low", 2_048), ("medium", 8_192), ("high", 16_384), ("max", 27_648)]
    {
        let sent = ask(effort(word), ModelTraits::default()).unwrap();
        assert_eq!(sent["thinking"], json!({"type": "enabled", "budget_tokens": budget}));
        assert_eq!(sent["max_tokens"], budget + 4_096);
    }
    let limited =
        ask(json!({"reasoning_effort": "high", "max_tokens": 3_000}), ModelTraits::default()).unwrap();
    assert_eq!(
        (&limited["max_tokens"], &limited["thinking"]["budget_tokens"]),
        (&json!(3_000), &json!(1_500))
    );
    let sent = ask(effort("minimal"), adaptive).unwrap();
    assert_eq!(
        (&sent["thinking"], &sent["output_config"]),
        (&json!({"type": "adaptive"}), &json!({"effort": "low"}))
    );
    assert_eq!(ask(effort("none"), adaptive).unwrap()["thinking"], json!({"type": "disabled"}));
    assert!(ask(effort("none"), none).unwrap().get("thinking").is_none());
    for (more, traits, words) in [
        (effort("low"), none, "reasoning_effort: the model does not think"),
        (effort("lots"), adaptive, "reasoning_effort: only the words"),
        (
            json!({"reasoning_effort": "low", "max_tokens": 1_024}),
            ModelTraits::default(),
            "max_completion_tokens: ",
        ),
        (json!({"reasoning_effort": "low", "temperature": 0.5}), adaptive, "temperature: only 1"),
        (json!({"reasoning_effort": "low", "top_p": 0.5}), adaptive, "top_p: only from"),
        (
            json!({"reasoning_effort": "low", "tool_choice": "required",
                "tools": [{"type": "function", "function": {"name": "f"}}]}),
            adaptive,
            "tool_choice: no call",
        ),
        (json!({"reasoning_effort": "low", "messages": [user("x"), said("y")]}), adaptive, "its own words"),
        (
            json!({"reasoning_effort": "low", "messages": [user("x"), calls(&[("c", "")]), result("c", "ok")]}),
            ModelTraits::default(),
            "`thinking_blocks`",
        ),
    ] {
        let told = ask(more.clone(), traits).unwrap_err();
        assert!(told.contains(words), "{more}: {told}");
    }
}

#[test]
fn harmless_hints_refuse_nothing_and_what_would_change_the_answer_does() {
    let ask = |more: Value| {
        let mut body = json!({"model": "m", "messages": [user("x")]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        translate(&body, None, ModelTraits { output_tokens: 99, ..ModelTraits::default() })
    };
    let hints = json!({"seed": 7, "store": true, "logit_bias": {}, "service_tier": "auto", "user": "u",
        "metadata": {"a": "b"}, "prompt_cache_key": "k", "prompt_cache_retention": "24h",
        "prompt_cache_options": {"mode": "implicit"}, "safety_identifier": "s", "n": 1, "logprobs": false,
        "presence_penalty": 0, "frequency_penalty": 0, "parallel_tool_calls": true, "modalities": ["text"],
        "verbosity": "medium", "tool_choice": "none", "response_format": {"type": "text"}});
    let sent = ask(hints).unwrap();
    let expected = json!({"model": "claude", "max_tokens": 99, "messages": [turn("user", &[text("x")])],
        "metadata": {"user_id": "s"}});
    assert_eq!(sent, expected);
    for (more, words) in [
        (json!({"moderation": {"model": "m"}}), "moderation: "),
        (json!({"service_tier": "flex"}), "service_tier: "),
        (json!({"stop": "\n"}), "stop: only strings that are not blank"),
        (json!({"tool_choice": "required"}), "tool_choice: there are no tools"),
        (json!({"response_format": {"type": "json_object"}}), "response_format: only `json_schema`"),
    ] {
        let told = ask(more.clone()).unwrap_err();
        assert!(told.contains(words), "{more}: {told}");
    }
    let schema = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let form = json!({"type": "json_schema", "json_schema": {"name": "s", "strict": true, "schema": schema}});
    let sent = ask(json!({ "response_format": form })).unwrap();
    assert_eq!(sent["output_config"]["format"], json!({"type": "json_schema", "schema": schema}));
}

/// Text as people, and programs, write it.
fn words() -> impl Strategy<Value = String> {
    prop_oneof![Just(""), Just(" \n"), Just("a"), Just("so: "), Just("é\u{0}")].prop_map(str::to_owned)
}

fn content() -> impl Strategy<Value = Value> {
    let part = prop_oneof![
        4 => words().prop_map(|text| json!({"type": "text", "text": text})),
        1 => words().prop_map(|text| json!({"type": "refusal", "refusal": text})),
        1 => words().prop_map(|text| json!({"type": "text", "text": text, "cache_control": {"type": "ephemeral"}})),
        1 => Just(json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}})),
        1 => Just(json!({"type": "file", "file": {"file_id": "f"}})),
    ];
    prop_oneof![
        3 => words().prop_map(Value::from),
        2 => prop::collection::vec(part, 1..4).prop_map(Value::from),
    ]
}

fn call() -> impl Strategy<Value = (String, String)> {
    let id = prop_oneof![Just("c1"), Just("c2"), Just(""), Just("call_0"), Just("f.g:0")];
    let arguments = prop_oneof![6 => Just("{}"), 3 => Just(""), 3 => Just("{\"a\":[1]}"), 1 => Just("[1]"), 1 => Just("{")];
    (id, arguments).prop_map(|(id, arguments)| (id.to_owned(), arguments.to_owned()))
}

/// Messages that follow each other: mostly as the schema's authors meant it, sometimes not.
fn exchange() -> impl Strategy<Value = Vec<Value>> {
    let round = (content(), prop::collection::vec(call(), 1..3), prop::bool::weighted(0.9)).prop_map(
        |(content, made, is_whole)| {
            let made: Vec<(&str, &str)> = made.iter().map(|(id, json)| (&**id, &**json)).collect();
            let mut asked = calls(&made);
            asked["content"] = if content.is_string() { content } else { Value::Null };
            let kept = if is_whole { made.len() } else { made.len() - 1 };
            let results = made.iter().take(kept).map(|(id, _)| result(id, "ok"));
            std::iter::once(asked).chain(results).collect()
        },
    );
    let older = prop::bool::weighted(0.9).prop_map(|is_whole| {
        let called = json!({"role": "assistant", "function_call": {"name": "f", "arguments": ""}});
        let result = json!({"role": "function", "name": "f", "content": "ok"});
        std::iter::once(called).chain(is_whole.then_some(result)).collect()
    });
    let one = |role: &'static str| {
        content().prop_map(move |content| vec![json!({"role": role, "content": content})])
    };
    prop_oneof![
        8 => one("user"),
        5 => one("assistant"),
        2 => one("system"),
        1 => one("developer"),
        6 => round,
        2 => older,
        1 => Just(vec![result("c1", "stray")]),
        1 => words().prop_map(|text| vec![json!({"role": "assistant", "content": null, "refusal": text})]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_becomes_one_that_the_api_takes_or_is_refused_by_name(
        history in prop::collection::vec(exchange(), 1..6),
        has_tools in any::<bool>(),
        effort in prop::option::of(prop_oneof![Just("low"), Just("none")]),
        limit in prop::option::of(1_u32..5_000),
        own in prop::option::of(words()),
    ) {
        let mut body = json!({"model": "m", "messages": history.concat()});
        if has_tools {
            body["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
        }
        if let Some(effort) = effort {
            body["reasoning_effort"] = effort.into();
        }
        if let Some(limit) = limit {
            body["max_tokens"] = limit.into();
        }
        // The judge within checks what is sent.
        if let Err(told) = translate(&body, own.as_deref(), ModelTraits::default()) {
            prop_assert!(told.contains("messages") || told.contains("reasoning_effort") || told.contains("max_completion_tokens"), "{}", told);
        }
    }
}
