//! What an upstream's error object says, in neutral terms.
//!
//! Providers agree on little: the same fact is a code with one, a type with another and only words with a third. Codes count
//! first, then known beginnings and turns of messages. Nothing of the text itself is handed on, because it may quote the
//! prompt; and since the prompt may make a message look like another, whoever acts on a kind must do so only towards the
//! caller whose request it was.

use std::time::Duration;

use bantam_types::AnswerUsage;
use serde_json::Value;

use crate::dialect;

/// What is known of an error that an upstream reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamError {
    /// What it is about; nothing where only the status can tell.
    pub kind: Option<UpstreamErrorKind>,
    /// The HTTP status that the object itself names.
    pub status: Option<u16>,
    /// How long it asks to wait.
    pub retry_after: Option<Duration>,
    /// What the provider counted before it failed.
    pub usage: Option<AnswerUsage>,
    /// What it says is not taken, of that which can be said another way.
    pub unwanted: Option<Unwanted>,
}

/// A part of a request that some upstreams do not take, and that can be left out or said another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unwanted {
    /// Streams at all.
    Stream,
    /// `stream_options`, or the usage that it asks for.
    StreamOptions,
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
    /// The role `developer`.
    DeveloperRole,
}

/// What an upstream's error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamErrorKind {
    /// The prompt does not fit the model's context.
    ContextLength,
    /// The provider's policy refuses the content.
    ContentFilter,
    /// The account's quota or credit is used up.
    Quota,
    /// The request is larger than any that is taken, or than what the account may send in a minute.
    RequestTooLarge,
    /// Too many requests or tokens for the moment.
    RateLimit,
    /// No capacity at the moment.
    Overloaded,
    /// The key is not valid.
    Key,
    /// The key may not do this.
    Forbidden,
    /// There is no such model.
    ModelNotFound,
    /// The model does not take a parameter, a value or a kind of content that others take.
    Unsupported,
    /// The request is not valid.
    Invalid,
    /// The upstream itself waited too long.
    Timeout,
    /// The upstream failed.
    Server,
}

use UpstreamErrorKind::{
    ContentFilter, ContextLength, Forbidden, Invalid, Key, ModelNotFound, Overloaded, Quota, RateLimit,
    RequestTooLarge, Server, Timeout, Unsupported,
};

/// Codes, types and statuses, in lower case. The first kind that any word of an error belongs to is the error's.
const WORDS: &[(UpstreamErrorKind, &[&str])] = &[
    (
        ContextLength,
        &[
            "context_length_exceeded",
            "context_window_exceeded",
            "exceed_context_size_error",
            "model_max_prompt_tokens_exceeded",
            "string_above_max_length",
            "tokens_limit_reached",
        ],
    ),
    (
        ContentFilter,
        &[
            "content_filter",
            "content_policy_violation",
            "data_inspection_failed",
            "datainspectionfailed",
            "invalid_prompt",
            "moderation_blocked",
            "prohibited_content",
            "responsibleaipolicyviolation",
        ],
    ),
    (
        Quota,
        &[
            "arrearage",
            "billing_error",
            "billing_hard_limit_reached",
            "billing_not_active",
            "budget_exceeded",
            "exceeded_current_quota_error",
            "insufficient_balance",
            "insufficient_quota",
            "payment_required",
        ],
    ),
    (RequestTooLarge, &["request_too_large"]),
    (
        RateLimit,
        &[
            "rate_limit_error",
            "rate_limit_exceeded",
            "ratelimitreached",
            "resource_exhausted",
            "throttlingexception",
            "too_many_requests",
        ],
    ),
    (
        Overloaded,
        &[
            "engine_overloaded",
            "engine_overloaded_error",
            "model_overloaded",
            "overloaded",
            "overloaded_error",
            "server_is_overloaded",
            "service_unavailable",
            "slow_down",
            "unavailable",
        ],
    ),
    (Key, &["authentication_error", "invalid_api_key", "unauthenticated"]),
    (Forbidden, &["access_denied", "permission_denied", "permission_error"]),
    (ModelNotFound, &["deploymentnotfound", "model_decommissioned", "model_not_found", "not_found_error"]),
    (Timeout, &["deadline_exceeded", "timeout_error"]),
    (Server, &["api_error", "internal", "internal_error", "internal_server_error", "server_error"]),
    (
        Unsupported,
        &[
            "extra_forbidden",
            "invalid_image",
            "not_supported",
            "unknown_parameter",
            "unsupported",
            "unsupported_content",
            "unsupported_parameter",
            "unsupported_value",
        ],
    ),
    (Invalid, &["badrequesterror", "invalid_argument", "invalid_request_error", "validationexception"]),
];

/// Turns of messages, in lower case, of errors whose codes do not tell.
const TURNS: &[(UpstreamErrorKind, &[&str])] = &[
    (
        RequestTooLarge,
        &["request too large for", "input or output tokens must be reduced", "request body too large"],
    ),
    (
        ContextLength,
        &[
            "context length exceeded",
            "context limit",
            "context window",
            "exceed context",
            "exceeds the available context size",
            "exceeds the context",
            "exceeds the maximum number of tokens allowed",
            "input is too long",
            "longer than the model's context length",
            "maximum context length",
            "maximum prompt length",
            "must be <= max_input_length",
            "prompt is too long",
            "reduce the length of the messages",
        ],
    ),
    (
        ContentFilter,
        &[
            "content exists risk",
            "content filtering policy",
            "content management policy",
            "flagged as potentially violating",
            "may contain inappropriate content",
            "requires moderation",
            "violates our usage polic",
        ],
    ),
    (
        Quota,
        &[
            "credit balance is too low",
            "exceeded your current quota",
            "insufficient balance",
            "insufficient credits",
            "reached your specified api usage limits",
        ],
    ),
    (
        Unsupported,
        &[
            "does not accept",
            "does not support",
            "doesn't support",
            "extra inputs are not permitted",
            "is not a multimodal model",
            "is not enabled for",
            "is not supported",
            "maximum allowed number of output tokens",
            "not implemented",
            "not supported by",
            "not supported with",
            "only supports",
            "supports at most",
            "unexpected keyword argument",
            "unknown parameter",
            "unknown variant",
            "unrecognized request argument",
            "unsupported parameter",
            "unsupported value",
        ],
    ),
];

/// What a message holds that refuses a parameter, and not its value.
const REFUSES_NAME: &[&str] = &[
    "unsupported",
    "not support",
    "n't support",
    "unrecogni",
    "unknown",
    "extra ",
    "extra_",
    "not permitted",
    "not allowed",
    "unexpected",
    "instead",
    "not one of",
    "expected one of",
    "not implemented",
];

/// The most members that a list of what is wrong is read of.
const DETAILS_MAX: usize = 16;

/// Kinds that the status tells more surely than a message's words.
const TOLD_BY_STATUS: [u16; 4] = [401, 404, 503, 529];

impl UpstreamError {
    /// Reads the body that came with `status`; 200 for an error object in the place of an answer.
    pub fn read(status: u16, body: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        // Gemini's front for OpenAI's API sends an array of one.
        let value = value.get(0).unwrap_or(&value);
        let error = value.get("error").filter(|error| !error.is_null()).unwrap_or(value);
        let words = words(error, value);
        let by_word = WORDS.iter().find(|(_, known)| words.iter().any(|word| known.contains(&word.as_str())));
        let by_word = by_word.map(|(kind, _)| *kind);
        let is_sure = matches!(by_word, Some(ContextLength | ContentFilter | Quota | RequestTooLarge));
        let turn = match by_word {
            kind if is_sure => kind,
            _ if TOLD_BY_STATUS.contains(&status) => None,
            // With Google, the words about a used-up quota also come with limits by the minute.
            _ => turn(error, value)
                .filter(|kind| *kind != Quota || !words.iter().any(|word| word == "resource_exhausted")),
        };
        Self {
            kind: turn.or(by_word),
            status: named_status(error),
            retry_after: retry_delay(error),
            usage: [value, error].into_iter().find_map(|object| dialect::read_usage(&object["usage"])),
            unwanted: unwanted(error, value),
        }
    }
}

/// Returns everything that may be a code, in lower case.
fn words(error: &Value, outer: &Value) -> Vec<String> {
    [
        &error["code"],
        &error["innererror"]["code"],
        &error["type"],
        &error["status"],
        &outer["code"],
        &outer["type"],
        &outer["__type"],
    ]
    .into_iter()
    .filter_map(Value::as_str)
    .filter(|word| word.len() <= 64)
    .map(str::to_ascii_lowercase)
    .collect()
}

/// Returns the message in lower case. Servers in Python's usual framework send a list of what is wrong with which member.
fn message(error: &Value, outer: &Value) -> Option<String> {
    let texts = [&error["message"], error, &outer["message"], &outer["detail"]];
    if let Some(text) = texts.into_iter().find_map(Value::as_str) {
        return Some(text.to_ascii_lowercase());
    }
    let wrong = outer["detail"].as_array().or_else(|| error["message"].as_array())?;
    let mut message = String::new();
    for item in wrong.iter().take(DETAILS_MAX) {
        let path = item["loc"].as_array().map_or(&[][..], Vec::as_slice);
        // What it quotes of the request, in `input`, is left out.
        for text in path.iter().chain([&item["msg"], &item["type"]]).filter_map(Value::as_str) {
            message.push_str(&text.to_ascii_lowercase());
            message.push(' ');
        }
    }
    Some(message)
}

/// Returns what an error says is not taken: the parameter that it is about, or else what its message names first.
fn unwanted(error: &Value, outer: &Value) -> Option<Unwanted> {
    use Unwanted::{DeveloperRole, MaxCompletionTokens, MaxTokens, Stream, StreamOptions};

    let message = message(error, outer).unwrap_or_default();
    let about = error["param"].as_str().or_else(|| outer["param"].as_str()).unwrap_or_default();
    let refuses_name = REFUSES_NAME.iter().any(|words| message.contains(words))
        || words(error, outer).iter().any(|word| word.starts_with("un") && word.ends_with("_parameter"));
    match about {
        "stream_options" | "stream_options.include_usage" => return Some(StreamOptions),
        "stream" if refuses_name => return Some(Stream),
        "max_tokens" if refuses_name => return Some(MaxTokens),
        "max_completion_tokens" if refuses_name => return Some(MaxCompletionTokens),
        _ => {}
    }
    let names = [
        ("stream_options", StreamOptions, true),
        ("include_usage", StreamOptions, true),
        ("max_tokens", MaxTokens, refuses_name),
        ("max_completion_tokens", MaxCompletionTokens, refuses_name),
        ("developer", DeveloperRole, refuses_name && message.contains("role")),
    ];
    let named = names.into_iter().filter(|(.., counts)| *counts);
    let first = named.filter_map(|(name, unwanted, _)| Some((message.find(name)?, unwanted)));
    first.min_by_key(|(position, _)| *position).map(|(_, unwanted)| unwanted)
}

fn turn(error: &Value, outer: &Value) -> Option<UpstreamErrorKind> {
    let message = message(error, outer)?;
    TURNS.iter().find(|(_, turns)| turns.iter().any(|turn| message.contains(turn))).map(|(kind, _)| *kind)
}

fn named_status(error: &Value) -> Option<u16> {
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let status = number(&error["code"]).or_else(|| number(&error["status"]))?;
    u16::try_from(status).ok().filter(|status| (400..600).contains(status))
}

/// Returns Google's `RetryInfo`: `"retryDelay": "34.5s"`.
fn retry_delay(error: &Value) -> Option<Duration> {
    let details = error["details"].as_array()?;
    let text = details.iter().find_map(|detail| detail["retryDelay"].as_str())?;
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(status: u16, body: &str) -> Option<UpstreamErrorKind> {
        UpstreamError::read(status, body.as_bytes()).kind
    }

    /// Errors as providers and engines write them.
    const EXAMPLES: &[(u16, &str, UpstreamErrorKind)] = &[
        // OpenAI.
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
            ContextLength,
        ),
        (
            429,
            r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
            Quota,
        ),
        (
            429,
            r#"{"error":{"message":"Rate limit reached for gpt-5","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
            RateLimit,
        ),
        (
            429,
            r#"{"error":{"message":"Request too large for gpt-5 on tokens per min (TPM): Limit 10000, Requested 12000.","type":"tokens","code":"rate_limit_exceeded"}}"#,
            RequestTooLarge,
        ),
        (
            400,
            r#"{"error":{"message":"Invalid prompt: your prompt was flagged","type":"invalid_request_error","code":"invalid_prompt"}}"#,
            ContentFilter,
        ),
        (
            401,
            r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}"#,
            Key,
        ),
        (
            404,
            r#"{"error":{"message":"The model does not exist","type":"invalid_request_error","code":"model_not_found"}}"#,
            ModelNotFound,
        ),
        (500, r#"{"error":{"message":"The server had an error","type":"server_error","code":null}}"#, Server),
        (
            503,
            r#"{"error":{"message":"The engine is overloaded","type":"engine_overloaded","code":"engine_overloaded"}}"#,
            Overloaded,
        ),
        // Anthropic.
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 213462 tokens > 200000 maximum"}}"#,
            ContextLength,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 1 + 2 > 3"}}"#,
            ContextLength,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
            Quota,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}"#,
            ContentFilter,
        ),
        (
            413,
            r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
            RequestTooLarge,
        ),
        (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Overloaded),
        (403, r#"{"type":"error","error":{"type":"permission_error","message":"no"}}"#, Forbidden),
        (200, r#"{"type":"error","error":{"type":"rate_limit_error","message":"slower"}}"#, RateLimit),
        // Azure.
        (
            400,
            r#"{"error":{"message":"The response was filtered","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
            ContentFilter,
        ),
        // vLLM, llama.cpp, llama-cpp-python, Ollama, TGI.
        (
            400,
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","code":400}"#,
            ContextLength,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error","n_ctx":4096}}"#,
            ContextLength,
        ),
        (
            500,
            r#"{"error":{"message":"Requested tokens (900) exceed context window of 512","type":"internal_server_error"}}"#,
            ContextLength,
        ),
        (400, r#"{"error":"prompt is too long"}"#, ContextLength),
        // Google, Mistral, OpenRouter, DeepSeek, Alibaba, Moonshot, GitHub, Groq.
        (
            400,
            r#"[{"error":{"code":400,"message":"The input token count (9) exceeds the maximum number of tokens allowed (8).","status":"INVALID_ARGUMENT"}}]"#,
            ContextLength,
        ),
        (
            429,
            r#"[{"error":{"code":429,"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED"}}]"#,
            RateLimit,
        ),
        (
            400,
            r#"{"object":"error","message":"Prompt contains 65673 tokens, too large for model with 32768 maximum context length","type":"invalid_request_error"}"#,
            ContextLength,
        ),
        (402, r#"{"error":{"code":402,"message":"Insufficient credits"}}"#, Quota),
        (
            403,
            r#"{"error":{"code":403,"message":"Your chosen model requires moderation and your input was flagged"}}"#,
            ContentFilter,
        ),
        (
            402,
            r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}}"#,
            Quota,
        ),
        (
            400,
            r#"{"error":{"code":"data_inspection_failed","message":"Input data may contain inappropriate content."}}"#,
            ContentFilter,
        ),
        (
            413,
            r#"{"error":{"code":"tokens_limit_reached","message":"Request body too large for gpt-5 model."}}"#,
            ContextLength,
        ),
        (400, r#"{"error":{"message":"nothing known","type":"invalid_request_error"}}"#, Invalid),
    ];

    #[test]
    fn errors_of_many_providers_are_told_apart() {
        for (status, body, expected) in EXAMPLES {
            assert_eq!(kind(*status, body), Some(*expected), "{status} {body}");
        }
    }

    #[test]
    fn what_nobody_knows_is_left_to_the_status() {
        for body in
            ["", "<html>", "{}", "[]", "null", "7", r#"{"error":null}"#, r#"{"error":{"code":"new"}}"#]
        {
            assert_eq!(kind(400, body), None, "{body}");
        }
        // The key is refused, whatever the message says about contexts.
        assert_eq!(kind(401, r#"{"error":{"message":"in the context window of your key"}}"#), None);
    }

    #[test]
    fn statuses_and_pauses_in_the_object_are_read() {
        let body = br#"[{"error":{"code":429,"details":[{"@type":"x"},{"retryDelay":"1.5s"}]}}]"#;
        let error = UpstreamError::read(200, body);
        assert_eq!((error.status, error.retry_after), (Some(429), Some(Duration::from_millis(1_500))));
        for body in [r#"{"error":{"code":7,"details":[{"retryDelay":"-1s"}]}}"#, r#"{"error":{"code":"x"}}"#]
        {
            assert_eq!(UpstreamError::read(200, body.as_bytes()), UpstreamError::default(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(status in 100_u16..600, body in prop::collection::vec(any::<u8>(), 0..200)) {
            UpstreamError::read(status, &body);
        }
    }
}
