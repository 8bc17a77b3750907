//! What OpenAI's parameters set, read when somebody asks for it.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::inner;
use super::params::Param;
use crate::call::{
    AnswerForm, CallKind, Caller, JsonSchema, ProviderHints, Sampling, Settings, Source, Tool, ToolChoice,
    VectorEncoding, Vectors,
};
use crate::feature::{Feature, FeatureSet};

/// Reads all that is set. A value without a neutral form is noted and left out.
pub(super) fn read(kind: CallKind, source: &Source) -> Settings {
    let mut values = Values { source, unread: FeatureSet::default() };
    let mut settings = Settings {
        sampling: sampling(&mut values),
        stops: stops(&mut values),
        log_probabilities: log_probabilities(kind, &mut values),
        form: form(&mut values),
        tools: tools(&mut values),
        tool_choice: tool_choice(&mut values),
        single_tool_call: values.read(Param::ParallelToolCalls) == Some(false),
        suffix: values.read(Param::Suffix),
        echo: values.read(Param::Echo).unwrap_or(false),
        best_of: values.read(Param::BestOf),
        vectors: vectors(&mut values),
        reasoning_effort: values.read(Param::ReasoningEffort),
        verbosity: values.read(Param::Verbosity),
        caller: Caller {
            user: values.read(Param::User),
            safety_identifier: values.read(Param::SafetyIdentifier),
            metadata: values.read(Param::Metadata).unwrap_or_default(),
        },
        provider: ProviderHints {
            service_tier: values.read(Param::ServiceTier),
            cache_key: values.read(Param::PromptCacheKey),
            cache_retention: values.read(Param::PromptCacheRetention),
        },
        unread: FeatureSet::default(),
        inner: inner::find(source),
    };
    settings.unread = values.unread;
    settings
}

struct Values<'s> {
    source: &'s Source,
    unread: FeatureSet,
}

impl Values<'_> {
    /// Reads a parameter, where it is given; one that cannot be read is noted.
    fn read<T: DeserializeOwned>(&mut self, param: Param) -> Option<T> {
        let json = self.source.member(param.as_str())?;
        let value = serde_json::from_str(json).ok();
        if value.is_none() {
            self.note_unread(param);
        }
        value
    }

    fn note_unread(&mut self, param: Param) {
        let json = self.source.member(param.as_str()).unwrap_or_default();
        param.asks(json).into_iter().for_each(|feature| self.unread.insert(feature));
    }
}

fn sampling(values: &mut Values<'_>) -> Sampling {
    let biases: Map<String, Value> = values.read(Param::LogitBias).unwrap_or_default();
    let logit_bias: Option<Vec<(String, f64)>> =
        biases.into_iter().map(|(token, bias)| Some((token, bias.as_f64()?))).collect();
    if logit_bias.is_none() {
        values.note_unread(Param::LogitBias);
    }
    Sampling {
        temperature: values.read(Param::Temperature),
        top_p: values.read(Param::TopP),
        presence_penalty: values.read(Param::PresencePenalty),
        frequency_penalty: values.read(Param::FrequencyPenalty),
        logit_bias: logit_bias.unwrap_or_default(),
        seed: values.read(Param::Seed),
    }
}

fn stops(values: &mut Values<'_>) -> Vec<String> {
    match values.read(Param::Stop) {
        None => Vec::new(),
        Some(Value::String(stop)) => vec![stop],
        Some(several) => serde_json::from_value(several).unwrap_or_else(|_| {
            values.note_unread(Param::Stop);
            Vec::new()
        }),
    }
}

/// A completion of text tells them by a number of alternatives, a conversation by a switch and a number.
fn log_probabilities(kind: CallKind, values: &mut Values<'_>) -> Option<u32> {
    if kind == CallKind::Text {
        return values.read(Param::Logprobs);
    }
    let are_told = values.read(Param::Logprobs).unwrap_or(false);
    let alternatives = values.read(Param::TopLogprobs).unwrap_or(0);
    are_told.then_some(alternatives)
}

fn form(values: &mut Values<'_>) -> AnswerForm {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        json_schema: Option<SchemaShape>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct SchemaShape {
        #[serde(default)]
        name: String,
        #[serde(default)]
        description: Option<String>,
        #[serde(default)]
        strict: Option<bool>,
        schema: Value,
    }
    let Some(Shape { kind, json_schema }) = values.read(Param::ResponseFormat) else {
        return AnswerForm::Text;
    };
    match (&*kind, json_schema) {
        ("text", _) => AnswerForm::Text,
        ("json_object", _) => AnswerForm::JsonObject,
        ("json_schema", Some(SchemaShape { name, description, strict, schema })) => {
            AnswerForm::JsonSchema(JsonSchema { name, description, strict, schema })
        }
        _ => {
            values.unread.insert(Feature::AnswerForm);
            AnswerForm::Text
        }
    }
}

fn tools(values: &mut Values<'_>) -> Vec<Tool> {
    #[derive(Deserialize)]
    struct Shape {
        #[serde(rename = "type")]
        kind: String,
        function: FunctionShape,
        #[serde(default)]
        cache_control: Option<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct FunctionShape {
        name: String,
        #[serde(default)]
        description: Option<String>,
        #[serde(default)]
        parameters: Option<Value>,
        #[serde(default)]
        strict: Option<bool>,
        #[serde(default)]
        cache_control: Option<Box<RawValue>>,
    }
    let shapes: Vec<Shape> = values.read(Param::Tools).unwrap_or_default();
    if shapes.iter().any(|shape| shape.kind != "function") {
        values.note_unread(Param::Tools);
        return Vec::new();
    }
    let tool = |Shape { function, cache_control, .. }| {
        let FunctionShape { name, description, parameters, strict, cache_control: inner } = function;
        let cache_mark = cache_control.or(inner).and_then(|json| inner::cache_mark(&json));
        Tool { name, description, parameters, strict, cache_mark }
    };
    shapes.into_iter().map(tool).collect()
}

fn tool_choice(values: &mut Values<'_>) -> ToolChoice {
    let choice: Option<Value> = values.read(Param::ToolChoice);
    let named = |choice: &Value| {
        let name = choice.pointer("/function/name").and_then(Value::as_str)?;
        let is_all = *choice == json!({ "type": "function", "function": { "name": name } });
        is_all.then(|| ToolChoice::Named(name.to_owned()))
    };
    let choice = match choice.as_ref().map(|choice| (choice, choice.as_str())) {
        None | Some((_, Some("auto"))) => Some(ToolChoice::Auto),
        Some((_, Some("none"))) => Some(ToolChoice::None),
        Some((_, Some("required"))) => Some(ToolChoice::Required),
        Some((_, Some(_))) => None,
        Some((choice, None)) => named(choice),
    };
    choice.unwrap_or_else(|| {
        values.note_unread(Param::ToolChoice);
        ToolChoice::Auto
    })
}

fn vectors(values: &mut Values<'_>) -> Vectors {
    let encoding: Option<String> = values.read(Param::EncodingFormat);
    let encoding = match encoding.as_deref() {
        None | Some("float") => VectorEncoding::Floats,
        Some("base64") => VectorEncoding::Base64,
        Some(_) => {
            values.note_unread(Param::EncodingFormat);
            VectorEncoding::Floats
        }
    };
    Vectors { dimensions: values.read(Param::Dimensions), encoding }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::call::{Call, DecodeLimits};
    use crate::dialect::openai::{CHAT, TEXT};

    fn settings(more: &str) -> Settings {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}]{more}}}"#);
        let call = Call::decode(CHAT, body.into(), &DecodeLimits::default(), &mut ()).unwrap();
        call.settings().clone()
    }

    #[test]
    fn nothing_is_set_that_the_caller_leaves_open() {
        assert_eq!(settings(""), Settings::default());
        assert_eq!(
            settings(r#","temperature":null,"tools":null,"stop":null,"user":null"#),
            Settings::default()
        );
    }

    #[test]
    fn a_value_without_a_neutral_form_is_noted_by_its_feature() {
        let check = |more: &str, feature| {
            assert_eq!(settings(more).unread.iter().collect::<Vec<_>>(), [feature], "{more}");
        };
        check(r#","response_format":{"type":"yaml"}"#, Feature::AnswerForm);
        check(r#","response_format":{"type":"json_schema","json_schema":{"name":"x"}}"#, Feature::AnswerForm);
        check(r#","tools":[{"type":"browser"}]"#, Feature::Tools);
        check(r#","tools":[{"type":"function","function":{}}]"#, Feature::Tools);
        check(r#","tool_choice":"perhaps""#, Feature::ToolChoice);
        check(r#","tool_choice":{"type":"allowed_tools"}"#, Feature::ToolChoice);
        check(r#","tool_choice":{"type":"function","function":{"name":"f"},"more":1}"#, Feature::ToolChoice);
        check(r#","response_format":{"type":"json_object","more":1}"#, Feature::AnswerForm);
        check(
            r#","response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{},"more":1}}"#,
            Feature::AnswerForm,
        );
        check(r#","stop":[1]"#, Feature::Stop);
        check(r#","logit_bias":{"1":"x"}"#, Feature::LogitBias);
    }

    #[test]
    fn text_calls_tell_log_probabilities_by_a_number() {
        let body = Bytes::from_static(br#"{"model":"m","prompt":"a","logprobs":0,"suffix":"b","best_of":3}"#);
        let call = Call::decode(TEXT, body, &DecodeLimits::default(), &mut ()).unwrap();
        let settings = call.settings();
        assert_eq!((settings.log_probabilities, settings.best_of), (Some(0), Some(3)));
        assert_eq!(settings.suffix.as_deref(), Some("b"));
        assert_eq!(TEXT.param(Feature::Text), "prompt");
    }

    #[test]
    fn tools_and_schemas_keep_what_was_said_of_them() {
        let settings = settings(
            r#","tools":[{"type":"function","function":{"name":"f","description":"d","strict":true,"parameters":{"type":"object"}}}],
               "tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false,
               "response_format":{"type":"json_schema","json_schema":{"name":"s","strict":true,"schema":{"b":1,"a":2}}},
               "logprobs":true,"top_logprobs":2"#,
        );
        let tool = Tool {
            name: "f".to_owned(),
            description: Some("d".to_owned()),
            parameters: Some(json!({"type": "object"})),
            strict: Some(true),
            cache_mark: None,
        };
        assert_eq!(settings.tools, [tool]);
        assert_eq!(
            (settings.tool_choice, settings.single_tool_call),
            (ToolChoice::Named("f".to_owned()), true)
        );
        let AnswerForm::JsonSchema(form) = settings.form else { panic!("no schema") };
        assert_eq!(
            (&*form.name, form.strict, form.schema.to_string()),
            ("s", Some(true), r#"{"b":1,"a":2}"#.to_owned())
        );
        assert_eq!(settings.log_probabilities, Some(2));
    }
}
