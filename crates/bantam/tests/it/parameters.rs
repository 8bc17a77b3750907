//! The page that says what every backend does about every parameter is the tables' own.

use std::path::Path;

use bantam_remote::Engine;
use bantam_wire::support::{Column, parameters_markdown};
use bantam_wire::{anthropic, openai};

const PAGE: &str = "docs/reference/parameters.md";

const INTRODUCTION: &str = "\
# Parameters

<!-- Generated from the code: UPDATE_DOCS=1 cargo nextest run -p bantam parameters -->

No parameter is dropped in silence. Every backend either does what a parameter asks for, or refuses the request by the \
parameter's name (400, `unsupported_parameter`), or the parameter has no effect on any answer by its own specification. \
In a ladder, a rung that cannot honour a request is skipped. A parameter that is left out, `null`, or has its default \
value asks for nothing and is honoured by every backend.

Parameters are named as OpenAI's API names them. An upstream that speaks the caller's dialect gets every parameter as the \
caller wrote it; engines of a known kind (`kind` of an upstream, or found out) are asked only for what they honour.

";

fn page() -> String {
    let [ollama, llama_server, llama_cpp_python, vllm] =
        Engine::ALL.map(|engine| move |feature| engine.support(feature));
    let columns = [
        Column { title: "OpenAI-compatible", support: &openai::support },
        Column { title: "Anthropic", support: &anthropic::support },
        Column { title: "Ollama", support: &ollama },
        Column { title: "llama-server", support: &llama_server },
        Column { title: "llama-cpp-python", support: &llama_cpp_python },
        Column { title: "vLLM", support: &vllm },
        Column { title: "embedded engine", support: &bantam_local::support },
        Column { title: "students", support: &bantam_student::student_support },
        Column { title: "encoders", support: &bantam_student::embedding_support },
    ];
    format!("{INTRODUCTION}{}", parameters_markdown(&columns))
}

#[test]
fn the_page_of_parameters_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(PAGE);
    let page = page();
    #[expect(
        clippy::disallowed_methods,
        reason = "whoever runs the test says whether the page is written anew"
    )]
    let is_update = std::env::var_os("UPDATE_DOCS").is_some();
    if is_update {
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page,
        "{PAGE} is not what the code says: run UPDATE_DOCS=1 cargo nextest run -p bantam parameters"
    );
}
