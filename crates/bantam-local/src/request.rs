//! What a request asks of a language model.

use std::collections::BTreeMap;

use bantam_decode::{Grammar, JsonLayout, SamplingConfig};
use bantam_wire::chat::Param;
use bantam_wire::{ChatRequest, Endpoint};
use serde_json::{Value, json};

/// Answers to one request at most: each is a sequence of its own.
const ANSWERS_MAX: u32 = 16;

/// Tokens of a completion that says nothing of its length, as OpenAI has it.
const TEXT_TOKENS: usize = 16;

/// A request, read for a language model.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The conversation as OpenAI has it, a task's own instructions first.
    pub(crate) messages: Vec<Value>,
    /// The tools that the model may call.
    pub(crate) tools: Vec<Value>,
    /// Whether the answer must be a call, of one of `tools`.
    pub(crate) must_call: bool,
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
    /// How many answers.
    pub(crate) answers: u32,
    /// Whether log-probabilities are told.
    pub(crate) tells_probabilities: bool,
}

impl Wanted {
    /// Reads a request, or returns the parameter that cannot be honoured.
    pub(crate) fn read(request: &ChatRequest, system: Option<&str>) -> Result<Self, &'static str> {
        if request.has_unread_parts() {
            return Err(Param::Messages.as_str());
        }
        let is_text = match request.endpoint {
            Endpoint::Chat => false,
            Endpoint::Completions => true,
            Endpoint::Embeddings => return Err(Endpoint::Embeddings.subject()),
        };
        refuse_unknown(request)?;
        let number = |param: Param, otherwise: f32| {
            request.param(param).and_then(|json| json.parse().ok()).unwrap_or(otherwise)
        };
        let count = |param: Param| request.param(param).and_then(|json| json.parse().ok());
        let (tells_probabilities, alternatives) = if is_text {
            let asked = count(Param::Logprobs);
            (asked.is_some(), asked.unwrap_or(0))
        } else {
            (request.param(Param::Logprobs) == Some("true"), count(Param::TopLogprobs).unwrap_or(0))
        };
        if alternatives > 0 && !tells_probabilities {
            return Err(Param::TopLogprobs.as_str());
        }
        let prompts = if is_text { request.messages.len() as u32 } else { 1 };
        let sequences = request.answers.saturating_mul(prompts);
        if sequences > ANSWERS_MAX || (request.stream && sequences > 1) {
            return Err(if prompts > 1 { Param::Prompt } else { Param::N }.as_str());
        }
        if count(Param::BestOf).is_some_and(|best_of| best_of != request.answers as usize) {
            return Err(Param::BestOf.as_str());
        }
        let (tools, must_call) = tools(request)?;
        let sampling = SamplingConfig {
            temperature: number(Param::Temperature, 1.0),
            // A nucleus of nothing is the most probable token, as elsewhere.
            top_p: number(Param::TopP, 1.0).max(f32::MIN_POSITIVE),
            presence_penalty: number(Param::PresencePenalty, 0.0),
            frequency_penalty: number(Param::FrequencyPenalty, 0.0),
            logit_bias: logit_bias(request)?,
            alternatives,
            ..SamplingConfig::greedy()
        };
        Ok(Self {
            messages: if is_text { Vec::new() } else { messages(request, system)? },
            grammar: if must_call { None } else { grammar(request)? },
            tools,
            must_call,
            sampling,
            seed: request
                .param(Param::Seed)
                .and_then(|json| json.parse::<i64>().ok())
                .map(i64::cast_unsigned),
            stops: stops(request)?,
            tokens_max: match request.output_tokens_max {
                None if is_text => Some(TEXT_TOKENS),
                wanted => wanted.map(|tokens| tokens as usize),
            },
            answers: request.answers.max(1),
            tells_probabilities,
        })
    }
}

impl Wanted {
    /// Returns so many answers to the same, drawn at the model's own probabilities.
    pub(crate) fn drawn(&self, answers: u32) -> Self {
        let sampling = SamplingConfig { temperature: 1.0, ..SamplingConfig::greedy() };
        Self { sampling, answers, ..self.clone() }
    }

    /// Returns one answer to `messages`, each token the most probable.
    pub(crate) fn greedy(messages: Vec<Value>, grammar: Option<Grammar>, tokens_max: usize) -> Self {
        Self {
            messages,
            tools: Vec::new(),
            must_call: false,
            sampling: SamplingConfig::greedy(),
            seed: None,
            grammar,
            stops: Vec::new(),
            tokens_max: Some(tokens_max),
            answers: 1,
            tells_probabilities: false,
        }
    }
}

/// Refuses parameters that change an answer in a way that is not built here.
fn refuse_unknown(request: &ChatRequest) -> Result<(), &'static str> {
    let refused = request.params().find(|(param, json)| match param {
        Param::Model
        | Param::Messages
        | Param::Prompt
        | Param::Suffix
        | Param::BestOf
        | Param::Stream
        | Param::StreamOptions
        | Param::N
        | Param::MaxTokens
        | Param::MaxCompletionTokens
        | Param::Temperature
        | Param::TopP
        | Param::Stop
        | Param::PresencePenalty
        | Param::FrequencyPenalty
        | Param::LogitBias
        | Param::Logprobs
        | Param::TopLogprobs
        | Param::ResponseFormat
        | Param::Seed
        | Param::Tools
        | Param::ToolChoice
        | Param::ParallelToolCalls
        | Param::User
        | Param::Metadata
        | Param::ServiceTier
        | Param::PromptCacheKey
        | Param::PromptCacheRetention
        | Param::SafetyIdentifier
        | Param::ReasoningEffort
        | Param::Verbosity => false,
        Param::Store | Param::Echo => *json != "false",
        Param::Functions => *json != "[]",
        Param::Modalities => !json.replace(char::is_whitespace, "").eq("[\"text\"]"),
        _ => true,
    });
    refused.map_or(Ok(()), |(param, _)| Err(param.as_str()))
}

fn parse(request: &ChatRequest, param: Param) -> Result<Option<Value>, &'static str> {
    match request.param(param) {
        None | Some("null") => Ok(None),
        Some(json) => serde_json::from_str(json).map(Some).map_err(|_| param.as_str()),
    }
}

fn messages(request: &ChatRequest, system: Option<&str>) -> Result<Vec<Value>, &'static str> {
    let messages = parse(request, Param::Messages)?;
    let Some(Value::Array(messages)) = messages else { return Err(Param::Messages.as_str()) };
    let own = system.map(|text| json!({ "role": "system", "content": text }));
    let mut all: Vec<Value> = own.into_iter().chain(messages).collect();
    for message in &mut all {
        // Templates know the older name only.
        if message["role"] == "developer" {
            message["role"] = json!("system");
        }
    }
    Ok(all)
}

fn stops(request: &ChatRequest) -> Result<Vec<String>, &'static str> {
    match parse(request, Param::Stop)? {
        None => Ok(Vec::new()),
        Some(Value::String(stop)) => Ok(vec![stop]),
        Some(value) => serde_json::from_value(value).map_err(|_| Param::Stop.as_str()),
    }
}

fn logit_bias(request: &ChatRequest) -> Result<BTreeMap<u32, f32>, &'static str> {
    let name = Param::LogitBias.as_str();
    let Some(Value::Object(biases)) = parse(request, Param::LogitBias)? else { return Ok(BTreeMap::new()) };
    let one = |(token, bias): (String, Value)| {
        let bias = bias.as_f64().filter(|bias| (-100.0..=100.0).contains(bias)).ok_or(name)?;
        // -100 bans a token, as OpenAI says.
        let bias = if bias <= -100.0 { f32::NEG_INFINITY } else { bias as f32 };
        Ok((token.parse().map_err(|_| name)?, bias))
    };
    biases.into_iter().map(one).collect()
}

fn grammar(request: &ChatRequest) -> Result<Option<Grammar>, &'static str> {
    let name = Param::ResponseFormat.as_str();
    let Some(format) = parse(request, Param::ResponseFormat)? else { return Ok(None) };
    let schema = match format["type"].as_str() {
        Some("text") => return Ok(None),
        Some("json_object") => json!({ "type": "object" }),
        Some("json_schema") => format.pointer("/json_schema/schema").cloned().ok_or(name)?,
        _ => return Err(name),
    };
    Ok(Some(Grammar::JsonSchema { schema, layout: JsonLayout::Spaced }))
}

/// Returns the tools that the model sees, and whether it must call one of them.
fn tools(request: &ChatRequest) -> Result<(Vec<Value>, bool), &'static str> {
    let name = Param::Tools.as_str();
    let tools = match parse(request, Param::Tools)? {
        None => Vec::new(),
        Some(Value::Array(tools)) => tools,
        Some(_) => return Err(name),
    };
    let is_function = |tool: &Value| tool["type"] == "function" && tool["function"]["name"].is_string();
    if !tools.iter().all(is_function) {
        return Err(name);
    }
    let choice = parse(request, Param::ToolChoice)?;
    match choice.as_ref() {
        None => Ok((tools, false)),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => Ok((tools, false)),
            "none" => Ok((Vec::new(), false)),
            "required" if !tools.is_empty() => Ok((tools, true)),
            _ => Err(Param::ToolChoice.as_str()),
        },
        Some(choice) => {
            let wanted = &choice["function"]["name"];
            let only: Vec<Value> =
                tools.into_iter().filter(|tool| &tool["function"]["name"] == wanted).collect();
            if only.is_empty() { Err(Param::ToolChoice.as_str()) } else { Ok((only, true)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use bantam_wire::chat::DecodeLimits;

    use super::*;

    fn read(more: &str) -> Result<Wanted, &'static str> {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}]{more}}}"#);
        let request =
            ChatRequest::decode(Endpoint::Chat, body.into(), &DecodeLimits::default(), &mut ()).unwrap();
        Wanted::read(&request, None)
    }

    #[test]
    fn what_is_left_open_is_what_the_openai_api_says() {
        let wanted = read("").unwrap();
        let SamplingConfig { temperature, top_p, .. } = wanted.sampling;
        assert_eq!((temperature, top_p, wanted.answers, wanted.tokens_max), (1.0, 1.0, 1, None));
        assert!(wanted.grammar.is_none() && wanted.stops.is_empty() && wanted.tools.is_empty());
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        let cases = [
            (r#","audio":{}"#, "audio"),
            (r#","web_search_options":{}"#, "web_search_options"),
            (r#","top_logprobs":3"#, "top_logprobs"),
            (r#","n":99"#, "n"),
            (r#","n":2,"stream":true"#, "n"),
            (r#","response_format":{"type":"yaml"}"#, "response_format"),
            (r#","tools":[{"type":"browser"}]"#, "tools"),
            (r#","tool_choice":"required""#, "tool_choice"),
            (r#","logit_bias":{"a":1}"#, "logit_bias"),
            (r#","stop":[1]"#, "stop"),
        ];
        for (more, name) in cases {
            assert_eq!(read(more).unwrap_err(), name, "{more}");
        }
    }

    #[test]
    fn a_named_tool_is_the_only_one_and_must_be_called() {
        let tools = r#","tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"b"}}]"#;
        let wanted =
            read(&format!(r#"{tools},"tool_choice":{{"type":"function","function":{{"name":"b"}}}}"#))
                .unwrap();
        assert_eq!((wanted.tools.len(), wanted.must_call), (1, true));
        let wanted = read(&format!(r#"{tools},"tool_choice":"none""#)).unwrap();
        assert!(wanted.tools.is_empty());
    }

    #[test]
    fn a_task_s_instructions_come_first() {
        let body =
            r#"{"model":"m","messages":[{"role":"developer","content":"d"},{"role":"user","content":"x"}]}"#;
        let request =
            ChatRequest::decode(Endpoint::Chat, body.into(), &DecodeLimits::default(), &mut ()).unwrap();
        let wanted = Wanted::read(&request, Some("task")).unwrap();
        let spoken: Vec<_> =
            wanted.messages.iter().map(|message| message["content"].as_str().unwrap()).collect();
        assert_eq!(spoken, ["task", "d", "x"]);
        assert_eq!(wanted.messages[1]["role"], "system");
    }

    #[test]
    fn the_lowest_bias_bans_a_token() {
        let wanted = read(r#","logit_bias":{"5":-100,"6":1.5}"#).unwrap();
        assert_eq!(wanted.sampling.logit_bias, BTreeMap::from([(5, f32::NEG_INFINITY), (6, 1.5)]));
    }
}
