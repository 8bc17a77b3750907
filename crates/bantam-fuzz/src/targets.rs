//! The targets, one function a kind of foreign input.

mod artefacts;
mod grammars;
mod journal;
mod rows;
mod settings;
mod text;
mod weights;
mod wire;

/// A function that must survive any bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and its corpus's.
    pub name: &'static str,
    /// Words that the format knows, for the mutator to insert.
    pub words: &'static [&'static str],
    /// Parses the bytes and uses what came of them.
    pub run: fn(&[u8]),
}

const JSON: &[&str] =
    &["null", "true", "{}", "[]", "\"\"", "\\u0000", "\\ud800", "{\"a\":", "[[[[", "1e309", ",,"];
const TOML: &[&str] =
    &["[tasks.a]\n", "[[", "]]", "= ", "'''", "\"\"\"", "\\u", "2026-11-01", "{ a = 1 }", "\n[", "inf"];
const EVENTS: &[&str] =
    &["data: ", "event: ", "\n\n", "\r\n\r\n", "\r", ": ping\n", "[DONE]", "{\"choices\":[]}"];
const SCHEMA: &[&str] = &[
    "\"$ref\":\"#\"",
    "\"anyOf\":[",
    "\"pattern\":\"^a+$\"",
    "\"enum\":[",
    "\"minItems\":9",
    "\"required\":[\"a\"]",
];
const LARK: &[&str] = &["start: ", " | ", "/a+/", "\"a\"", "%json {}", "(", ")*", "\n", "%ignore "];
const TEMPLATE: &[&str] = &[
    "{{ ",
    " }}",
    "{% for m in messages %}",
    "{% endfor %}",
    "|tojson",
    "{% if ",
    "messages[0]",
    "~",
    "{% set x = ",
    "[x, x]",
    "|join",
];
const NONE: &[&str] = &[];

/// All targets, by name.
pub const TARGETS: &[Target] = &[
    Target { name: "anthropic_answer", words: JSON, run: wire::anthropic_answer },
    Target { name: "anthropic_stream", words: EVENTS, run: wire::anthropic_stream },
    Target { name: "bundle", words: JSON, run: artefacts::bundle },
    Target { name: "certificate", words: JSON, run: artefacts::certificate },
    Target { name: "chat_template", words: TEMPLATE, run: grammars::chat_template },
    Target { name: "decoder_student", words: JSON, run: artefacts::decoder_student },
    Target { name: "extract", words: JSON, run: text::extract },
    Target { name: "gguf", words: NONE, run: weights::gguf },
    Target { name: "grammar", words: LARK, run: grammars::grammar },
    Target { name: "journal", words: NONE, run: journal::journal },
    Target { name: "json_walk", words: JSON, run: wire::json_walk },
    Target { name: "openai_answer", words: JSON, run: wire::openai_answer },
    Target { name: "openai_request", words: JSON, run: wire::openai_request },
    Target { name: "openai_stream", words: EVENTS, run: wire::openai_stream },
    Target { name: "rows", words: JSON, run: rows::rows },
    Target { name: "safetensors", words: JSON, run: weights::safetensors },
    Target { name: "scanner", words: JSON, run: text::scanner },
    Target { name: "schema", words: SCHEMA, run: grammars::schema },
    Target { name: "settings", words: TOML, run: settings::settings },
    Target { name: "student", words: NONE, run: artefacts::student },
    Target { name: "tokenizer_json", words: JSON, run: weights::tokenizer_json },
];

/// Runs the target of that name on one input, for libFuzzer. Does nothing if there is no such target; a test makes sure
/// that every entry point names its own.
pub fn run(name: &str, input: &[u8]) {
    if let Some(target) = target(name) {
        (target.run)(input);
    }
}

/// Returns the target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
