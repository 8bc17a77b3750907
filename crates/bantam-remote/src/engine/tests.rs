use bantam_wire::{DecodeLimits, openai};

use super::*;

fn request(more: &str) -> Call {
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}]{more}}}"#);
    Call::decode(openai::CHAT, body.into(), &DecodeLimits::default(), &mut ()).unwrap()
}

fn param(unsupported: Option<Unsupported>) -> Option<&'static str> {
    unsupported.map(|unsupported| openai::CHAT.param(unsupported.feature))
}

fn refused(engine: Engine, more: &str) -> Option<&'static str> {
    param(engine.refuses(Version::Told(Some("0.40.1")), &request(more)))
}

const TOOLS: &str = r#","tools":[{"type":"function","function":{"name":"f"}}]"#;
const NAMED: &str = r#","tool_choice":{"type":"function","function":{"name":"f"}}"#;

#[test]
fn what_an_engine_would_ignore_is_refused_by_name() {
    use Engine::{LlamaCppPython, LlamaServer, Ollama, Vllm};

    type Expected<'e> = (Engine, Option<&'e str>);

    let cases: &[(&str, &[Expected<'_>])] = &[
        ("", &[(Ollama, None), (LlamaServer, None), (LlamaCppPython, None), (Vllm, None)]),
        (
            r#","n":2"#,
            &[(Ollama, Some("n")), (LlamaServer, Some("n")), (LlamaCppPython, Some("n")), (Vllm, None)],
        ),
        (r#","n":1"#, &[(Ollama, None), (LlamaCppPython, None)]),
        (r#","logit_bias":{"5":1}"#, &[(Ollama, Some("logit_bias")), (LlamaServer, None), (Vllm, None)]),
        (r#","audio":{}"#, &[(Ollama, Some("audio")), (Vllm, Some("audio"))]),
        (r#","audio":null"#, &[(Ollama, None)]),
        (
            r#","user":"u","temperature":0.5,"max_completion_tokens":5"#,
            &[(Ollama, None), (LlamaCppPython, None)],
        ),
        (TOOLS, &[(Ollama, None), (LlamaServer, None), (LlamaCppPython, Some("tools")), (Vllm, None)]),
        (r#","parallel_tool_calls":false"#, &[(Ollama, Some("parallel_tool_calls")), (LlamaServer, None)]),
        (r#","store":true"#, &[(Ollama, None), (Vllm, None)]),
        (r#","moderation":{"model":"m"}"#, &[(Ollama, Some("moderation")), (Vllm, Some("moderation"))]),
        (
            r#","metadata":{"a":"b"},"safety_identifier":"s","prompt_cache_key":"k""#,
            &[(Ollama, None), (Vllm, None)],
        ),
        (r#","verbosity":"medium""#, &[(Ollama, None)]),
        (
            r#","verbosity":"low""#,
            &[
                (Ollama, Some("verbosity")),
                (LlamaServer, Some("verbosity")),
                (LlamaCppPython, Some("verbosity")),
                (Vllm, Some("verbosity")),
            ],
        ),
        (
            r#","stream":true,"stream_options":{"include_usage":true}"#,
            &[(LlamaCppPython, Some("stream_options"))],
        ),
        (r#","tool_choice":"none""#, &[(Ollama, Some("tool_choice")), (LlamaCppPython, None), (Vllm, None)]),
    ];
    for (more, engines) in cases {
        for (engine, expected) in *engines {
            assert_eq!(refused(*engine, more), *expected, "{more} {}", engine.name());
        }
    }
    let named = format!("{TOOLS}{NAMED}");
    let found = Engine::ALL.map(|engine| refused(engine, &named));
    assert_eq!(found, [Some("tool_choice"), Some("tool_choice"), None, None]);
}

#[test]
fn what_newer_versions_honour_is_refused_of_older_ones() {
    let ask = request(r#","logprobs":true,"top_logprobs":2"#);
    let refused = |version| param(Engine::Ollama.refuses(version, &ask));
    assert_eq!(refused(Version::Open), None);
    assert_eq!(refused(Version::Told(Some("0.12.11"))), None);
    assert_eq!(refused(Version::Told(Some("v1.0.0-rc1"))), None);
    for old in [Some("0.12.10"), Some("0.9"), Some("nonsense"), None] {
        assert_eq!(refused(Version::Told(old)), Some("logprobs"), "{old:?}");
    }
}

#[test]
fn every_engine_tells_of_the_same_features() {
    let names = |engine: Engine| engine.features().iter().map(|feature| feature.name).collect::<Vec<_>>();
    for engine in Engine::ALL {
        assert_eq!(names(engine), names(Engine::Ollama));
    }
    assert_eq!(names(Engine::Ollama)[..3], ["json_schema", "grammar", "logprobs"]);
    let is_there =
        |engine: Engine| engine.features().iter().map(|feature| feature.is_there).collect::<Vec<_>>();
    assert_eq!(is_there(Engine::Ollama), [true, false, true, false, true, true, true, true, false]);
    assert_eq!(is_there(Engine::Vllm), [true, false, true, true, true, true, true, false, true]);
}

#[test]
fn what_an_engine_names_differently_is_written_its_way_and_nothing_else_changes() {
    let check = |engine, before: &str, after: &str| {
        let found = String::from_utf8(adapt(engine, before.to_owned().into()).into()).unwrap();
        assert_eq!(found, after);
    };
    let tokens = r#"{"temperature":0.10,"max_completion_tokens":5}"#;
    check(Engine::Ollama, tokens, r#"{"max_tokens":5,"temperature":0.10}"#);
    check(Engine::Vllm, tokens, tokens);
    check(Engine::Ollama, r#"{"b":1, "a":2}"#, r#"{"b":1, "a":2}"#);
    let schema =
        r#"{"response_format":{"type":"json_schema","json_schema":{"name":"t","schema":{"type":"object"}}}}"#;
    check(
        Engine::LlamaCppPython,
        schema,
        r#"{"response_format":{"type":"json_object","schema":{"type":"object"}}}"#,
    );
    check(Engine::LlamaServer, schema, schema);
    check(Engine::LlamaCppPython, "no json", "no json");
}
