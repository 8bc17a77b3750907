//! One model's chat template, compiled once.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::error::{RAISED, TemplateError};
use crate::json::{Layout, dump};
use crate::kept::with_kept_assignments;
use crate::paying::{INDENT_MAX, pay_for, take_steps_for_items};
use crate::quote::{Piece, quote, split_pieces};
use crate::time;

/// Largest template source accepted, in bytes. The longest published ones are about 20 KB.
const SOURCE_BYTES_MAX: usize = 256 << 10;
/// Base step limit of one render; [`STEPS_EACH`] is added for each message and tool, and a step for each byte of them.
///
/// The engine takes a step for each instruction, and one for each 64 bytes of every text and list that the template
/// makes or writes, before it makes them where it can. So the limit bounds memory too: a byte of a message can be
/// copied about 64 times, and a crafted template holds at most 64 bytes for each step.
const STEPS: u64 = 200_000;
const STEPS_EACH: u64 = 20_000;
/// The most steps of any render: one GiB of text.
const STEPS_MAX: u64 = 16 << 20;
/// The longest format of `strftime_now`.
const FORMAT_BYTES_MAX: usize = 1024;
const NAME: &str = "chat_template";

/// A chat template, ready to run. Threads may share it.
#[derive(Debug)]
pub struct ChatTemplate {
    /// The compiled template and everything it may call except `strftime_now`.
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

/// The input of a template.
#[derive(Clone, Copy, Debug)]
pub struct Conversation<'c> {
    /// Messages in OpenAI's format: objects with `role`, `content` and, for tools, `tool_calls`, `tool_call_id` and
    /// `name`.
    pub messages: &'c [Json],
    /// Tools in OpenAI's format.
    pub tools: &'c [Json],
    /// Whether to end the text where the model's answer begins.
    pub add_generation_prompt: bool,
    /// Extra variables, such as `enable_thinking`.
    pub variables: &'c BTreeMap<String, Json>,
    /// The time that `strftime_now` formats.
    pub now: DateTime,
}

#[derive(Serialize)]
struct Variables<'v> {
    messages: Json,
    /// Templates test `if tools`, and `transformers` passes `None`, not an empty list.
    tools: Option<Json>,
    add_generation_prompt: bool,
    bos_token: &'v str,
    eos_token: &'v str,
    #[serde(flatten)]
    more: &'v BTreeMap<String, Json>,
}

impl ChatTemplate {
    /// Compiles a template and keeps the texts of the model's first and last token.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, TemplateError> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(TemplateError::TooLong { bytes: source.len(), at_most: SOURCE_BYTES_MAX });
        }
        let source = with_kept_assignments(&without_generation_tags(source));
        let mut environment = environment()?;
        environment.add_template_owned(NAME, source).map_err(|error| TemplateError::of_syntax(&error))?;
        Ok(Self { environment, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// Returns whether what is written depends on a variable of that name, which a conversation may bring.
    pub fn reads(&self, variable: &str) -> bool {
        let template = self.environment.get_template(NAME);
        template.is_ok_and(|template| template.undeclared_variables(false).contains(variable))
    }

    /// Renders a conversation. `control` lists the texts of the model's control tokens: where a message or a tool
    /// contains one, it comes out as a quotation.
    pub fn render(
        &self,
        conversation: &Conversation<'_>,
        control: &[&str],
    ) -> Result<Vec<Piece>, TemplateError> {
        let steps = steps_of(conversation);
        // The clone shares the compiled template; the step limit and the time belong to this conversation.
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(steps));
        let now = conversation.now;
        environment.add_function("strftime_now", move |format: &str| {
            if format.len() > FORMAT_BYTES_MAX {
                let message = format!("the format of strftime_now is longer than {FORMAT_BYTES_MAX} bytes");
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
            time::strftime(now, format)
        });
        let mut messages: Json = conversation.messages.iter().map(normalise_message).collect();
        let mut tools = Json::Array(conversation.tools.to_vec());
        quote(&mut messages, control);
        quote(&mut tools, control);
        let variables = Variables {
            messages,
            tools: (!conversation.tools.is_empty()).then_some(tools),
            add_generation_prompt: conversation.add_generation_prompt,
            bos_token: &self.bos,
            eos_token: &self.eos,
            more: conversation.variables,
        };
        let template = environment.get_template(NAME).map_err(|error| TemplateError::of_syntax(&error))?;
        let text = template
            .render(Value::from(Serde(&variables)))
            .map_err(|error| TemplateError::of_run(&error, steps))?;
        Ok(split_pieces(&text))
    }
}

/// Returns the step limit for a conversation.
fn steps_of(conversation: &Conversation<'_>) -> u64 {
    let values = || conversation.messages.iter().chain(conversation.tools);
    let bytes: usize = values().map(text_bytes).sum();
    (STEPS + STEPS_EACH * values().count() as u64 + bytes as u64).min(STEPS_MAX)
}

/// Returns the bytes of all texts in a value, keys included.
fn text_bytes(value: &Json) -> usize {
    match value {
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(text_bytes).sum(),
        Json::Object(members) => members.iter().map(|(key, value)| key.len() + text_bytes(value)).sum(),
        Json::Null | Json::Bool(_) | Json::Number(_) => 0,
    }
}

/// Returns a message as templates expect it: content parts that are all text are joined, and tool-call arguments,
/// which the API sends as a string, become an object.
fn normalise_message(message: &Json) -> Json {
    let mut message = message.clone();
    if let Some(parts) = message.get("content").and_then(Json::as_array) {
        let texts: Option<Vec<&str>> =
            parts.iter().map(|part| part.get("text").and_then(Json::as_str)).collect();
        if let Some(texts) = texts {
            message["content"] = Json::String(texts.join("\n"));
        }
    }
    let calls = message.get_mut("tool_calls").and_then(Json::as_array_mut).into_iter().flatten();
    for call in calls {
        let Some(arguments) = call.pointer_mut("/function/arguments") else { continue };
        let object = arguments.as_str().and_then(|text| serde_json::from_str::<Json>(text).ok());
        if let Some(object) = object.filter(Json::is_object) {
            *arguments = object;
        }
    }
    message
}

fn environment() -> Result<Environment<'static>, TemplateError> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(|error| TemplateError::of_syntax(&error))?);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    take_steps_for_items(&mut environment);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
    });
    environment.add_filter("tojson", to_json);
    Ok(environment)
}

/// Implements `tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
fn to_json(state: &State<'_, '_>, value: &Value, options: Kwargs) -> Result<String, Error> {
    pay_for(state, value)?;
    let value = Json::deserialize(value.clone())?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    let indent: Option<usize> = options.get("indent")?;
    if indent.is_some_and(|indent| indent > INDENT_MAX) {
        let message = format!("tojson indents by at most {INDENT_MAX}");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    let layout = Layout {
        indent,
        ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sorted: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        separators: match separators.as_deref() {
            None => None,
            Some([between, after_key]) => Some((between.clone(), after_key.clone())),
            Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "separators must be two strings")),
        },
    };
    options.assert_all_used()?;
    Ok(dump(&value, &layout))
}

/// Replaces `{% generation %}` and `{% endgeneration %}`, which mark the assistant's text for training and write
/// nothing, with tags that keep their whitespace trimming.
fn without_generation_tags(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        text.push_str(&rest[..start]);
        let Some(length) = rest[start + 2..].find("%}").map(|end| end + 4) else { break };
        let tag = &rest[start..start + length];
        let inner = &tag[2..tag.len() - 2];
        let replacement = match inner.trim_matches(['-', '+']).trim() {
            "generation" => Some("if true"),
            "endgeneration" => Some("endif"),
            _ => None,
        };
        match replacement {
            Some(word) => {
                let dash = |present: bool| if present { "-" } else { "" };
                let (before, after) = (dash(inner.starts_with('-')), dash(inner.ends_with('-')));
                text.push_str(&format!("{{%{before} {word} {after}%}}"));
            }
            None => text.push_str(tag),
        }
        rest = &rest[start + length..];
    }
    text.push_str(rest);
    text
}
