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

    /// Returns the text that begins calls behind other text, where the form has one.
    const fn marker(self) -> Option<&'static str> {
        match self {
            Self::Tagged => Some(OPEN),
            Self::Bracketed => Some(BRACKET),
            Self::Parameters | Self::Plain => None,
        }
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

/// Reads an answer as it comes: gives text as soon as it can be no part of a call, and the calls at the end. What it
/// gives is together what [`CallForm::read`] makes of the whole answer.
#[derive(Debug)]
pub(crate) struct CallReader {
    form: CallForm,
    /// What was read and not given.
    held: String,
    stage: Stage,
}

/// What an answer has turned out to be so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing but blanks.
    Blank,
    /// Text, behind which calls may come.
    Text,
    /// From here on, what looks like calls.
    Calls,
}

impl CallReader {
    /// Returns a reader of an answer that begins with `opening`.
    pub(crate) fn new(form: CallForm, opening: &str) -> Self {
        let mut reader = Self { form, held: String::new(), stage: Stage::Blank };
        reader.push(opening);
        reader
    }

    /// Reads more of the answer. Returns what of it is surely text.
    pub(crate) fn push(&mut self, text: &str) -> String {
        self.held.push_str(text);
        if self.stage == Stage::Blank
            && let Some(first) = self.held.trim_start().chars().next()
        {
            let is_json = match self.form {
                CallForm::Tagged => false,
                CallForm::Bracketed => matches!(first, '[' | '{'),
                CallForm::Parameters | CallForm::Plain => first == '{',
            };
            self.stage = if is_json { Stage::Calls } else { Stage::Text };
        }
        if self.stage != Stage::Text {
            return String::new();
        }
        let Some(marker) = self.form.marker() else { return std::mem::take(&mut self.held) };
        let surely = match self.held.find(marker) {
            Some(at) => {
                self.stage = Stage::Calls;
                at
            }
            None => self.held.len() - begun(&self.held, marker),
        };
        // Blanks before calls are no text.
        let surely = self.held.get(..surely).map_or(0, |text| text.trim_end().len());
        self.held.drain(..surely).collect()
    }

    /// Returns the rest of the text, and the calls.
    pub(crate) fn finish(self, tools: &[Value]) -> (String, Vec<WrittenCall>) {
        match self.stage {
            Stage::Blank | Stage::Text => (self.held, Vec::new()),
            Stage::Calls => self.form.read(&self.held, tools),
        }
    }
}

/// Returns how many bytes at the end of `text` may be the beginning of `marker`.
fn begun(text: &str, marker: &str) -> usize {
    (1..marker.len()).rev().find(|length| text.ends_with(&marker[..*length])).unwrap_or(0)
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
    Some((before.trim_end().to_owned(), objects))
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
    Some((before.trim_end().to_owned(), objects))
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

    /// Reads an answer in pieces; returns what came before the end, and everything.
    fn in_pieces(form: CallForm, answer: &str, pieces: usize) -> (String, (String, Vec<WrittenCall>)) {
        let mut reader = CallReader::new(form, "");
        let mut early = String::new();
        let symbols: Vec<char> = answer.chars().collect();
        for piece in symbols.chunks(pieces) {
            early.push_str(&reader.push(&piece.iter().collect::<String>()));
        }
        let (rest, calls) = reader.finish(&tools());
        (early.clone(), (early + &rest, calls))
    }

    #[test]
    fn an_answer_in_pieces_is_read_as_it_is_in_one() {
        let call = "{\"name\": \"find\", \"arguments\": {\"a\": 1}}";
        let answers = [
            String::new(),
            "  \n ".to_owned(),
            "just words, <tool or [TOOL, and <".to_owned(),
            format!("Let me look. \n<tool_call>\n{call}\n</tool_call>"),
            format!("\n<tool_call>{call}</tool_call>\n<tool_call>{call}"),
            "word <tool_call>no call</tool_call> words".to_owned(),
            format!("Look: [TOOL_CALLS] [{call}, {call}]"),
            format!("[TOOL_CALLS] [{call}]"),
            format!("[{call}]"),
            format!(" {call} "),
            "{\"name\": \"steal\", \"arguments\": {}}".to_owned(),
            "ä<ö<tool_cäll>".to_owned(),
        ];
        for form in [CallForm::Tagged, CallForm::Bracketed, CallForm::Parameters, CallForm::Plain] {
            for answer in &answers {
                for pieces in [1, 2, 3, 7, 1_000] {
                    let (_, read) = in_pieces(form, answer, pieces);
                    assert_eq!(read, form.read(answer, &tools()), "{form:?} {answer:?} by {pieces}");
                }
            }
        }
    }

    #[test]
    fn text_is_given_before_the_answer_ends() {
        for (form, answer, expected) in [
            (CallForm::Tagged, "Let me look.\n<tool_call>x", "Let me look."),
            (CallForm::Tagged, "a < b and <to", "a < b and"),
            (CallForm::Bracketed, "Words [1] [TOOL_CALLS]", "Words [1]"),
            (CallForm::Parameters, "Words {1}", "Words {1}"),
            (CallForm::Plain, " {\"name\"", ""),
        ] {
            assert_eq!(in_pieces(form, answer, 1).0, expected, "{form:?} {answer:?}");
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
