//! `parameters.md`, from the tables of what every backend honours.

use bantam_remote::Engine;
use bantam_wire::support::{Column, parameters_markdown};
use bantam_wire::{anthropic, openai};

use super::{check_page, head};

const ABOUT: &str = "\
No parameter is dropped in silence. Every backend either does what a parameter asks for, or refuses the request by the \
parameter's name (400, `unsupported_parameter`), or the parameter has no effect on any answer by its own specification. \
In a ladder, a rung that cannot honour a request is skipped. A parameter that is left out, `null`, or has its default \
value asks for nothing and is honoured by every backend.

Parameters are named as OpenAI's API names them. An upstream that speaks the caller's dialect gets every parameter as the \
caller wrote it; an engine of a known kind (`kind` of an upstream, or detected) is asked only for what it honours.";

#[test]
fn the_page_of_parameters_is_the_tables_of_all_backends() {
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
    let page = format!("{}\n{}", head("Parameters", ABOUT), parameters_markdown(&columns));
    check_page("parameters.md", &page);
}
