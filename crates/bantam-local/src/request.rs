//! What a call asks of a language model, and what the engine can do of it.

use std::collections::BTreeMap;

use bantam_decode::{Grammar, JsonLayout, SamplingConfig};
use bantam_wire::call::{AnswerForm, Settings, ToolChoice};
use bantam_wire::support::refusal_of_typed;
use bantam_wire::{Call, CallKind, Feature, Message, Support, Unsupported, openai};
use serde_json::{Value, json};

use crate::prompt::Talk;
use crate::thinking;

/// Answers to one call at most: each is a sequence of its own.
const ANSWERS_MAX: u32 = 16;

/// Tokens of a continuation whose call sets no limit, as OpenAI has it.
const TEXT_TOKENS: usize = 16;

/// A call, read for a language model.
#[derive(Clone, Debug)]
pub(crate) struct GenerationRequest {
    /// The conversation as chat templates want it: OpenAI's objects, a task's own instructions first.
    pub(crate) messages: Vec<Value>,
    /// The tools that the model may call, in the same form.
    pub(crate) tools: Vec<Value>,
    /// Whether the answer must be a call, of one of `tools`.
    pub(crate) must_call: bool,
    /// Whether the answer may have one call at most.
    pub(crate) single_call: bool,
    /// How tokens are chosen; the seed is set for each answer.
    pub(crate) sampling: SamplingConfig,
    /// The caller's seed.
    pub(crate) seed: Option<u64>,
    /// What language the answer is in.
    pub(crate) grammar: Option<Grammar>,
    /// Where the answer ends.
    pub(crate) stops: Vec<String>,
    /// The most tokens of an answer.
    pub(crate) tokens_max: Option<usize>,
    /// How many answers, of each prompt.
    pub(crate) answers: u32,
    /// The text behind the gap that is to be filled.
    pub(crate) suffix: Option<String>,
    /// How long to think, in OpenAI's words.
    pub(crate) effort: Option<String>,
    /// Whether log-probabilities are told.
    pub(crate) tells_probabilities: bool,
}

/// Returns what the engine does about a feature.
pub fn support(feature: Feature) -> Support {
    use Support::{Honoured, Only, Refused};

    match feature {
        Feature::Chat
        | Feature::Text
        | Feature::Stream
        | Feature::StreamUsage
        | Feature::OutputLimit
        | Feature::Temperature
        | Feature::TopP
        | Feature::Stop
        | Feature::PresencePenalty
        | Feature::FrequencyPenalty
        | Feature::Seed
        | Feature::LogProbabilities
        | Feature::ToolChoice => Honoured(""),
        Feature::Answers => Honoured("up to 16 with all prompts together"),
        Feature::LogitBias => Honoured("-100 bans a token"),
        Feature::Alternatives => {
            Only("only together with `logprobs`", |call| call.asks(Feature::LogProbabilities))
        }
        Feature::AnswerForm => Honoured("no other answer can be generated"),
        Feature::Tools => Honoured("functions"),
        Feature::SingleToolCall => Honoured("generation ends behind the first call"),
        Feature::Suffix => Honoured("with a model that was trained to fill in the middle"),
        Feature::User | Feature::SafetyIdentifier => Support::IDENTIFIES_CALLER,
        Feature::Metadata => Support::TAGS_STORED_ANSWER,
        Feature::ServiceTier => Support::CHOOSES_QUEUE,
        Feature::CacheKey | Feature::CacheRetention | Feature::CacheOptions | Feature::CacheMarks => {
            Support::CHOOSES_CACHE
        }
        Feature::SpeakerName | Feature::Reasoning => Honoured("the model's chat template sees it"),
        Feature::StrictTools => {
            Only("only where a tool must be called: other calls are written freely", |call| {
                matches!(
                    call.settings().tool_choice,
                    ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::None
                )
            })
        }
        Feature::Embeddings => Refused("a language model makes no vectors: name an encoder"),
        Feature::Images
        | Feature::ImageDetail
        | Feature::AudioInput
        | Feature::Files
        | Feature::OtherParts => Refused("the engine reads text"),
        Feature::OlderToolCalls => Refused("use `tool_calls`"),
        Feature::Annotations => Refused("the engine searches nothing"),
        Feature::ThinkingBlocks => Refused("they are another provider's"),
        Feature::OtherMembers | Feature::OtherToolMembers => Refused("it is not known here"),
        Feature::Moderation => Refused("the engine has no such check"),
        Feature::OtherToolCalls => Refused("the engine knows calls of functions"),
        Feature::Functions | Feature::FunctionChoice => Refused("use `tools`"),
        Feature::ReasoningEffort => Only(
            "only what the model's chat template can say; a model that does not think takes `none` and `minimal`",
            |call| call.settings().reasoning_effort.as_deref().is_none_or(thinking::is_known),
        ),
        Feature::Verbosity => Refused("the engine cannot tell a model how wordy to be"),
        Feature::Modalities | Feature::AudioOutput => Refused("the engine answers with text"),
        Feature::Prediction => Refused("the engine takes no prediction"),
        Feature::WebSearch => Refused("the engine searches nothing"),
        Feature::Echo => Refused("the engine does not repeat the prompt"),
        Feature::BestOf => Refused("the engine returns every answer that it makes"),
        Feature::EncodingFormat | Feature::Dimensions => Refused("a language model makes no vectors"),
        Feature::Store => Support::STORES_ANSWER,
        Feature::VendorFields => Refused("only upstreams that list them in `fields` get them"),
    }
}

impl GenerationRequest {
    /// Reads a call, or returns what of it cannot be honoured.
    pub(crate) fn read(call: &Call, system: Option<&str>) -> Result<Self, Unsupported> {
        if let Some(unsupported) = refusal_of_typed(call, support) {
            return Err(unsupported);
        }
        let is_text = call.kind() == CallKind::Text;
        check_answers(call)?;
        let settings = call.settings();
        let (tools, must_call) = tools(settings)?;
        Ok(Self {
            messages: messages(call.messages(), system),
            grammar: if must_call { None } else { grammar(&settings.form) },
            tools,
            must_call,
            single_call: settings.single_tool_call,
            sampling: sampling(settings)?,
            seed: settings.sampling.seed.map(i64::cast_unsigned),
            stops: settings.stops.clone(),
            tokens_max: match call.output_tokens_max {
                None if is_text => Some(TEXT_TOKENS),
                limit => limit.map(|tokens| tokens as usize),
            },
            answers: call.answers.max(1),
            suffix: settings.suffix.clone(),
            effort: settings.reasoning_effort.clone(),
            tells_probabilities: settings.log_probabilities.is_some(),
        })
    }

    /// Returns the conversation as chat templates want it, with `variables` beside it.
    pub(crate) fn talk<'t>(&'t self, variables: &'t BTreeMap<String, Value>) -> Talk<'t> {
        Talk { messages: &self.messages, tools: &self.tools, variables }
    }

    /// Returns the request for that many answers to the same, drawn at the model's own probabilities.
    pub(crate) fn drawn(&self, answers: u32) -> Self {
        let sampling = SamplingConfig { temperature: 1.0, ..SamplingConfig::greedy() };
        Self { sampling, answers, ..self.clone() }
    }

    /// Returns the request for one answer to `messages`, each token the most probable.
    pub(crate) fn greedy(messages: Vec<Value>, grammar: Option<Grammar>, tokens_max: usize) -> Self {
        Self {
            messages,
            tools: Vec::new(),
            must_call: false,
            single_call: false,
            sampling: SamplingConfig::greedy(),
            seed: None,
            grammar,
            stops: Vec::new(),
            tokens_max: Some(tokens_max),
            answers: 1,
            suffix: None,
            effort: None,
            tells_probabilities: false,
        }
    }
}

/// Writes messages for chat templates. They are written from the neutral form, so that every dialect gives the same
/// prompt, and equal messages and tools are equal text however a caller ordered their members.
fn messages(messages: &[Message], system: Option<&str>) -> Vec<Value> {
    let own = system.map(|text| json!({ "role": "system", "content": text }));
    own.into_iter().chain(messages.iter().map(openai::message_json)).collect()
}

fn check_answers(call: &Call) -> Result<(), Unsupported> {
    let prompts = if call.kind() == CallKind::Text { call.texts().len() as u32 } else { 1 };
    let sequences = call.answers.saturating_mul(prompts);
    let feature = if prompts > 1 { Feature::Text } else { Feature::Answers };
    if sequences > ANSWERS_MAX {
        return Err(Unsupported::new(feature, "a call has 16 answers at most, of all prompts together"));
    }
    Ok(())
}

fn sampling(settings: &Settings) -> Result<SamplingConfig, Unsupported> {
    let own = &settings.sampling;
    let number = |value: Option<f64>, otherwise: f32| value.map_or(otherwise, |value| value as f32);
    Ok(SamplingConfig {
        temperature: number(own.temperature, 1.0),
        // A nucleus of nothing is the most probable token, as elsewhere.
        top_p: number(own.top_p, 1.0).max(f32::MIN_POSITIVE),
        presence_penalty: number(own.presence_penalty, 0.0),
        frequency_penalty: number(own.frequency_penalty, 0.0),
        logit_bias: logit_bias(&own.logit_bias)?,
        alternatives: settings.log_probabilities.unwrap_or(0) as usize,
        ..SamplingConfig::greedy()
    })
}

fn logit_bias(biases: &[(String, f64)]) -> Result<BTreeMap<u32, f32>, Unsupported> {
    let refused = || {
        let reason = "expected token ids with numbers from -100 to 100";
        Unsupported::new(Feature::LogitBias, reason)
    };
    let one = |(token, bias): &(String, f64)| {
        if !(-100.0..=100.0).contains(bias) {
            return Err(refused());
        }
        // -100 bans a token, as OpenAI says.
        let bias = if *bias <= -100.0 { f32::NEG_INFINITY } else { *bias as f32 };
        Ok((token.parse().map_err(|_| refused())?, bias))
    };
    biases.iter().map(one).collect()
}

fn grammar(form: &AnswerForm) -> Option<Grammar> {
    let schema = match form {
        AnswerForm::Text => return None,
        AnswerForm::JsonObject => json!({ "type": "object" }),
        AnswerForm::JsonSchema(form) => form.schema.clone(),
    };
    Some(Grammar::JsonSchema { schema, layout: JsonLayout::Spaced })
}

/// Returns the tools that the model sees, and whether it must call one of them.
fn tools(settings: &Settings) -> Result<(Vec<Value>, bool), Unsupported> {
    let tools = settings.tools.iter();
    let refused = |reason| Err(Unsupported::new(Feature::ToolChoice, reason));
    match &settings.tool_choice {
        ToolChoice::Auto => Ok((tools.map(openai::tool_json).collect(), false)),
        ToolChoice::None => Ok((Vec::new(), false)),
        ToolChoice::Required if settings.tools.is_empty() => refused("there are no tools to call"),
        ToolChoice::Required => Ok((tools.map(openai::tool_json).collect(), true)),
        ToolChoice::Named(name) => {
            let only: Vec<Value> = tools.filter(|tool| tool.name == *name).map(openai::tool_json).collect();
            if only.is_empty() { refused("there is no tool of that name") } else { Ok((only, true)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use bantam_wire::{DecodeLimits, openai};

    use super::*;

    fn read(more: &str) -> Result<GenerationRequest, &'static str> {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}]{more}}}"#);
        let call = Call::decode(openai::CHAT, body.into(), &DecodeLimits::default(), &mut ()).unwrap();
        let read = GenerationRequest::read(&call, None);
        read.map_err(|unsupported| openai::CHAT.param(unsupported.feature))
    }

    #[test]
    fn what_is_left_open_is_what_the_openai_api_says() {
        let request = read("").unwrap();
        let SamplingConfig { temperature, top_p, .. } = request.sampling;
        assert_eq!((temperature, top_p, request.answers, request.tokens_max), (1.0, 1.0, 1, None));
        assert!(request.grammar.is_none() && request.stops.is_empty() && request.tools.is_empty());
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        let cases = [
            (r#","audio":{}"#, "audio"),
            (r#","web_search_options":{}"#, "web_search_options"),
            (r#","top_logprobs":3"#, "top_logprobs"),
            (r#","n":99"#, "n"),
            (r#","response_format":{"type":"yaml"}"#, "response_format"),
            (r#","tools":[{"type":"browser"}]"#, "tools"),
            (r#","tool_choice":"required""#, "tool_choice"),
            (r#","logit_bias":{"a":1}"#, "logit_bias"),
            (r#","stop":[1]"#, "stop"),
            (r#","reasoning_effort":"a lot""#, "reasoning_effort"),
            (r#","verbosity":"high""#, "verbosity"),
            (r#","moderation":{"model":"m"}"#, "moderation"),
        ];
        for (more, name) in cases {
            assert_eq!(read(more).unwrap_err(), name, "{more}");
        }
    }

    #[test]
    fn what_changes_no_answer_is_accepted() {
        let identity = r#","user":"u","safety_identifier":"s","metadata":{"a":"b"}"#;
        let provider = r#","service_tier":"flex","prompt_cache_key":"k","prompt_cache_retention":"24h""#;
        let defaults =
            r#","reasoning_effort":null,"verbosity":"medium","store":true,"parallel_tool_calls":true"#;
        read(&format!("{identity}{provider}{defaults}")).unwrap();
    }

    #[test]
    fn a_named_tool_is_the_only_one_and_must_be_called() {
        let tools = r#","tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"b"}}]"#;
        let request =
            read(&format!(r#"{tools},"tool_choice":{{"type":"function","function":{{"name":"b"}}}}"#))
                .unwrap();
        assert_eq!((request.tools.len(), request.must_call), (1, true));
        let request = read(&format!(r#"{tools},"tool_choice":"none""#)).unwrap();
        assert!(request.tools.is_empty());
        let request = read(&format!(r#"{tools},"parallel_tool_calls":false"#)).unwrap();
        assert!(request.single_call && !request.must_call);
    }

    #[test]
    fn a_task_s_instructions_come_first() {
        let body =
            r#"{"model":"m","messages":[{"role":"developer","content":"d"},{"role":"user","content":"x"}]}"#;
        let call = Call::decode(openai::CHAT, body.into(), &DecodeLimits::default(), &mut ()).unwrap();
        let request = GenerationRequest::read(&call, Some("task")).unwrap();
        let spoken: Vec<_> =
            request.messages.iter().map(|message| message["content"].as_str().unwrap()).collect();
        assert_eq!(spoken, ["task", "d", "x"]);
        assert_eq!(request.messages[1]["role"], "system");
    }

    #[test]
    fn a_template_sees_the_conversation_as_it_was_asked() {
        let talk = json!([
            { "role": "developer", "content": "d" },
            { "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }], "name": "ada" },
            { "role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
                { "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
            { "role": "tool", "content": "ok", "tool_call_id": "c1" },
        ]);
        let body = json!({ "model": "m", "messages": talk }).to_string();
        let call = Call::decode(openai::CHAT, body.into(), &DecodeLimits::default(), &mut ()).unwrap();
        let mut expected = talk;
        expected[0]["role"] = "system".into();
        assert_eq!(Value::from(messages(call.messages(), None)), expected);
    }

    #[test]
    fn the_lowest_bias_bans_a_token() {
        let request = read(r#","logit_bias":{"5":-100,"6":1.5}"#).unwrap();
        assert_eq!(request.sampling.logit_bias, BTreeMap::from([(5, f32::NEG_INFINITY), (6, 1.5)]));
    }
}
