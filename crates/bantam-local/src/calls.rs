//! Tool calls, in the forms that models were trained to write them.

use bantam_decode::{Grammar, JsonLayout};
use serde_json::{Value, json};

/// How a model writes a call. Its chat template tells, which writes earlier calls the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallForm {
    /// `<tool_call>` around each object: Qwen, Hermes, SmolLM.
    Tagged,
    /// One array behind `[TOOL_CALLS]`: Mistral.
    Bracketed,
    /// A bare object with `parameters`: Llama 3.
    Parameters,
    /// A bare object with `arguments`.
    Plain,
}

/// A call as a model wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrittenCall {
    pub(crate) name: String,
    /// JSON, as the model wrote it.
    pub(crate) arguments: String,
}

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";
const BRACKET: &str = "[TOOL_CALLS]";

impl CallForm {
    /// Returns the form that a chat template uses.
    pub(crate) fn of_template(source: &str) -> Self {
        if source.contains(OPEN) {
            Self::Tagged
        } else if source.contains(BRACKET) {
            Self::Bracketed
        } else if source.contains("\"parameters\": ") {
            Self::Parameters
        } else {
            Self::Plain
        }
    }

    /// Returns the text after which the model writes a call's JSON, and the grammar of that.
    pub(crate) fn forced(self, tools: &[Value]) -> (&'static str, Grammar) {
        let mut calls: Vec<Value> = tools.iter().map(|tool| self.schema(tool)).collect();
        let schema = if calls.len() == 1 { calls.remove(0) } else { json!({ "anyOf": calls }) };
        let before = match self {
            Self::Tagged => "<tool_call>\n",
            Self::Bracketed => "[TOOL_CALLS] [",
            Self::Parameters | Self::Plain => "",
        };
        (before, Grammar::JsonSchema { schema, layout: JsonLayout::Spaced })
    }

    fn key(self) -> &'static str {
        if self == Self::Parameters { "parameters" } else { "arguments" }
    }

    fn schema(self, tool: &Value) -> Value {
        let function = &tool["function"];
        let arguments = match &function["parameters"] {
            Value::Object(schema) if !schema.is_empty() => Value::Object(schema.clone()),
            _ => json!({ "type": "object" }),
        };
        json!({
            "type": "object",
            "properties": { "name": { "const": function["name"] }, self.key(): arguments },
            "required": ["name", self.key()],
            "additionalProperties": false,
        })
    }

    /// Returns the text that ends a call, where the form has one: behind it the next call could begin.
    pub(crate) const fn end(self) -> Option<&'static str> {
        match self {
            Self::Tagged => Some(CLOSE),
            Self::Bracketed | Self::Parameters | Self::Plain => None,
        }
    }

    /// Splits an answer into its text and the calls in it. Only calls of `tools` count: anything else, and anything
    /// that is not a call, stays text.
    pub(crate) fn read(self, answer: &str, tools: &[Value]) -> (String, Vec<WrittenCall>) {
        let found = match self {
            Self::Tagged => tagged(answer),
            Self::Bracketed => bracketed(answer),
            Self::Parameters | Self::Plain => {
                serde_json::from_str(answer.trim()).ok().map(|object: Value| (String::new(), vec![object]))
            }
        };
        let Some((text, objects)) = found else { return (answer.to_owned(), Vec::new()) };
        let calls: Option<Vec<WrittenCall>> = objects.iter().map(|object| call(object, tools)).collect();
        match calls {
            Some(calls) if !calls.is_empty() => (text, calls),
            _ => (answer.to_owned(), Vec::new()),
        }
    }
}

fn call(object: &Value, tools: &[Value]) -> Option<WrittenCall> {
    let name = object.get("name")?.as_str()?;
    tools.iter().find(|tool| tool["function"]["name"] == *name)?;
    let arguments = object.get("arguments").or_else(|| object.get("parameters"))?;
    let arguments = match arguments {
        Value::Object(_) => arguments.to_string(),
        // Some models write the arguments as text once more.
        Value::String(text) => serde_json::from_str::<Value>(text).ok().filter(Value::is_object)?.to_string(),
        _ => return None,
    };
    Some(WrittenCall { name: name.to_owned(), arguments })
}

/// Text before the first tag, and the objects in tags; the last tag may be cut off by the end.
fn tagged(answer: &str) -> Option<(String, Vec<Value>)> {
    let (before, rest) = answer.split_once(OPEN)?;
    let mut objects = Vec::new();
    for section in rest.split(OPEN) {
        let inner = section.split(CLOSE).next().unwrap_or(section);
        objects.push(serde_json::from_str(inner.trim()).ok()?);
    }
    Some((before.trim().to_owned(), objects))
}

/// The marker is a control token in some vocabularies and then is not part of the text.
fn bracketed(answer: &str) -> Option<(String, Vec<Value>)> {
    let (before, rest) = answer.split_once(BRACKET).unwrap_or(("", answer));
    let rest = rest.trim();
    let mut documents = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let objects = match documents.next()? {
        Ok(Value::Array(objects)) => objects,
        Ok(object @ Value::Object(_)) => vec![object],
        Ok(_) => return None,
        Err(_) => unclosed(rest)?,
    };
    Some((before.trim().to_owned(), objects))
}

/// Returns the objects of an array that has no end: a forced call is complete with its object.
fn unclosed(text: &str) -> Option<Vec<Value>> {
    let mut rest = text.strip_prefix('[')?;
    let mut objects = Vec::new();
    while !rest.trim_start().is_empty() {
        let mut documents = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        objects.push(documents.next()?.ok()?);
        let behind = rest.get(documents.byte_offset()..)?.trim_start();
        rest = behind.strip_prefix(',').unwrap_or(behind);
    }
    Some(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools() -> Vec<Value> {
        vec![
            json!({ "type": "function", "function": { "name": "find", "parameters": { "type": "object" } } }),
            json!({ "type": "function", "function": { "name": "buy" } }),
        ]
    }

    fn calls(form: CallForm, answer: &str) -> (String, Vec<(String, String)>) {
        let (text, calls) = form.read(answer, &tools());
        (text, calls.into_iter().map(|call| (call.name, call.arguments)).collect())
    }

    fn find(arguments: &str) -> (String, String) {
        ("find".to_owned(), arguments.to_owned())
    }

    #[test]
    fn calls_are_found_in_every_form() {
        let two = "Let me look.\n<tool_call>\n{\"name\": \"find\", \"arguments\": {\"a\": 1}}\n</tool_call>\n\
                   <tool_call>\n{\"name\": \"find\", \"arguments\": {}}";
        let expected = ("Let me look.".to_owned(), vec![find("{\"a\":1}"), find("{}")]);
        assert_eq!(calls(CallForm::Tagged, two), expected);
        let array = "[TOOL_CALLS] [{\"name\": \"find\", \"arguments\": {\"a\": 1}}]";
        assert_eq!(calls(CallForm::Bracketed, array), (String::new(), vec![find("{\"a\":1}")]));
        assert_eq!(calls(CallForm::Bracketed, &array[13..]), (String::new(), vec![find("{\"a\":1}")]));
        // A forced call ends with its object.
        assert_eq!(
            calls(CallForm::Bracketed, &array[..array.len() - 1]),
            (String::new(), vec![find("{\"a\":1}")])
        );
        let bare = " {\"name\": \"find\", \"parameters\": {\"a\": \"b\"}} ";
        assert_eq!(calls(CallForm::Parameters, bare), (String::new(), vec![find("{\"a\":\"b\"}")]));
        let twice = "{\"name\": \"find\", \"arguments\": \"{\\\"a\\\": 2}\"}";
        assert_eq!(calls(CallForm::Plain, twice), (String::new(), vec![find("{\"a\":2}")]));
    }

    #[test]
    fn what_is_not_a_call_of_a_known_tool_stays_text() {
        let texts = [
            "just words",
            "{\"name\": \"steal\", \"arguments\": {}}",
            "{\"name\": \"find\"}",
            "{\"name\": \"find\", \"arguments\": [1]}",
            "<tool_call>\nnot json\n</tool_call>",
            "[1, 2]",
            "[TOOL_CALLS] [{\"name\": \"find\", \"arguments\": {}}, {\"name\": \"bu",
            "",
        ];
        for form in [CallForm::Tagged, CallForm::Bracketed, CallForm::Parameters, CallForm::Plain] {
            for text in texts {
                assert_eq!(calls(form, text), (text.to_owned(), Vec::new()), "{form:?}");
            }
        }
    }

    #[test]
    fn a_forced_call_is_of_one_of_the_tools() {
        let (before, grammar) = CallForm::Tagged.forced(&tools());
        assert_eq!(before, "<tool_call>\n");
        let Grammar::JsonSchema { schema, .. } = grammar else { unreachable!("calls are JSON") };
        assert_eq!(schema["anyOf"][1]["properties"]["name"]["const"], "buy");
        let (_, grammar) = CallForm::Parameters.forced(&tools()[..1]);
        let Grammar::JsonSchema { schema, .. } = grammar else { unreachable!("calls are JSON") };
        assert_eq!(schema["required"], json!(["name", "parameters"]));
    }

    #[test]
    fn the_template_tells_the_form() {
        let forms = ["{{ '<tool_call>' }}", "[TOOL_CALLS]", "{\"name\": x, \"parameters\": y}", "nothing"];
        let found: Vec<CallForm> = forms.iter().map(|source| CallForm::of_template(source)).collect();
        assert_eq!(found, [CallForm::Tagged, CallForm::Bracketed, CallForm::Parameters, CallForm::Plain]);
    }
}
