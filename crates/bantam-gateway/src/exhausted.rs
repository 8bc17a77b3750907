//! What a caller is told when no rung gave an answer.

use std::time::Duration;

use bantam_backend::{BackendError, BackendFault, Repeat};
use bantam_types::{AttemptRecord, EscalationReason};
use bantam_wire::{ApiError, Endpoint, ErrorCode};

/// The longest pause that the official SDKs keep. Asked for a longer one, they would come back after half a second.
pub(crate) const SDK_PAUSE_MAX: Duration = Duration::from_secs(60);
/// After how many seconds to come back to what cannot be asked now and does not say for how long.
pub(crate) const UNAVAILABLE_S: u32 = 30;

/// Returns the error for a request whose every attempt failed or was not good enough. `fault` is why the last one that was
/// made failed.
pub(crate) fn exhausted(
    attempts: &[AttemptRecord],
    endpoint: &dyn Endpoint,
    fault: Option<&BackendError>,
) -> ApiError {
    let Some(fault) = fault else {
        // Another try would be judged the same way, and cost as much again.
        let message = format!("no rung gave an answer that can be returned; tried: {}", tried(attempts));
        let last = attempts.last().and_then(|attempt| attempt.outcome.reason());
        let slug = match last {
            Some(EscalationReason::InvalidOutput) => "upstream_failed",
            _ => "no_confident_answer",
        };
        return ApiError::new(ErrorCode::UpstreamFailed, slug, message).should_retry(false);
    };
    let error = callers_own(endpoint, fault).unwrap_or_else(|| upstreams(attempts, fault));
    ApiError { should_retry: should_retry(attempts, fault), ..error }
}

fn tried(attempts: &[AttemptRecord]) -> String {
    let names: Vec<String> = attempts
        .iter()
        .map(|attempt| {
            let reason = attempt.outcome.reason().map_or("no reason", EscalationReason::as_str);
            let reason = attempt.fault.map_or(reason, bantam_types::FaultKind::as_str);
            format!("{} ({reason})", attempt.backend)
        })
        .collect();
    names.join(", ")
}

/// Returns the error for a failure that the caller cannot mend. It says what is known and nothing in the upstream's words.
fn upstreams(attempts: &[AttemptRecord], error: &BackendError) -> ApiError {
    let (code, slug) = match error.fault {
        BackendFault::RateLimited(_) => (ErrorCode::Busy, "rate_limit_exceeded"),
        BackendFault::QuotaUsedUp(_) => (ErrorCode::Busy, "insufficient_quota"),
        BackendFault::Overloaded(_) => (ErrorCode::Unavailable, "upstream_overloaded"),
        BackendFault::Connect(_) => (ErrorCode::UpstreamFailed, "upstream_unreachable"),
        BackendFault::Key(401) => (ErrorCode::UpstreamFailed, "upstream_key_refused"),
        BackendFault::Key(_) => (ErrorCode::UpstreamFailed, "upstream_forbidden"),
        BackendFault::NotFound => (ErrorCode::UpstreamFailed, "upstream_model_not_found"),
        BackendFault::Status(408 | 504 | 524) => (ErrorCode::UpstreamTimeout, "upstream_timeout"),
        fault => match fault.reason() {
            EscalationReason::Timeout => (ErrorCode::UpstreamTimeout, "upstream_timeout"),
            EscalationReason::Unavailable => (ErrorCode::Unavailable, "upstreams_unavailable"),
            _ => (ErrorCode::UpstreamFailed, "upstream_failed"),
        },
    };
    let message =
        format!("no rung gave an answer that can be returned: {}; tried: {}", error.fault, tried(attempts));
    let pause = match error.fault {
        BackendFault::QuotaUsedUp(_) => None,
        fault if fault.reason() == EscalationReason::Unavailable => {
            Some(error.retry_after.unwrap_or(Duration::from_secs(UNAVAILABLE_S.into())))
        }
        _ => error.retry_after,
    };
    ApiError { retry_after_s: pause.map(whole_seconds), ..ApiError::new(code, slug, message) }
}

/// Returns the least whole number of seconds that is not too short.
pub(crate) fn whole_seconds(pause: Duration) -> u32 {
    let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// Returns whether the caller's library should repeat the request. What was repeated here is not repeated there too, so
/// that one call does not become the product of both; what was not may be, where that can help. Otherwise its own rules
/// decide.
fn should_retry(attempts: &[AttemptRecord], error: &BackendError) -> Option<bool> {
    let was_asked = |attempt: &&AttemptRecord| {
        let is_student = attempt.confidence.is_some();
        !is_student && attempt.outcome.reason() != Some(EscalationReason::Unavailable)
    };
    let calls = attempts.iter().filter(was_asked);
    let calls = calls.fold(0_u32, |sum, attempt| sum.saturating_add(attempt.retries).saturating_add(1));
    let cannot_succeed = error.is_final
        || error.retry_after.is_some_and(|pause| pause > SDK_PAUSE_MAX)
        || error.fault.blames_request()
        || match error.fault {
            BackendFault::Connect(_) => error.repeat() == Repeat::Never,
            BackendFault::Key(_)
            | BackendFault::NotFound
            | BackendFault::QuotaUsedUp(_)
            | BackendFault::NotHttp
            | BackendFault::Status(..=407 | 410..=424 | 426..=499) => true,
            _ => false,
        };
    match (calls, error.repeat()) {
        _ if cannot_succeed => Some(false),
        (2.., _) => Some(false),
        (1, Repeat::Free | Repeat::MayBeBilled) => Some(true),
        _ => None,
    }
}

/// Returns the error for a request that cannot be answered as it is: the caller can mend it, no upstream failed.
fn callers_own(endpoint: &dyn Endpoint, error: &BackendError) -> Option<ApiError> {
    let whole = || endpoint.param(endpoint.kind().feature());
    Some(match error.fault {
        BackendFault::ContextLength { tokens, context } => {
            let message = format!(
                "the prompt has {tokens} tokens and the model takes {context}, answer included: shorten it"
            );
            ApiError::invalid(whole(), "context_length_exceeded", message)
        }
        BackendFault::ContextExceeded(_) => {
            let message = "the prompt, with the answer that is asked for, exceeds the maximum context length of the \
                           model: shorten it";
            ApiError::invalid(whole(), "context_length_exceeded", message)
        }
        BackendFault::Filtered(_) => {
            let message = "the content policy of the provider refused the request: change what it says, or name \
                           another model";
            ApiError::invalid(whole(), "content_filter", message)
        }
        BackendFault::RequestTooLarge(_) => {
            let message = "the upstream takes no request of that size: shorten it";
            ApiError::new(ErrorCode::TooLarge, "upstream_request_too_large", message)
        }
        BackendFault::Refused(status) => {
            let message = format!(
                "the upstream refused the request as invalid (status {status}): leave out parameters that its model may \
                 not take, or name another model"
            );
            ApiError::new(ErrorCode::InvalidRequest, "upstream_refused_request", message)
        }
        BackendFault::Unsupported(status) => {
            let message = format!(
                "the upstream refused the request, which its model may not take (status {status}): leave out parameters or \
                 content that the model may not know, or name another model"
            );
            ApiError::new(ErrorCode::InvalidRequest, "upstream_refused_request", message)
        }
        BackendFault::CannotHonour(feature) => {
            let param = endpoint.param(feature);
            let message = match &error.advice {
                Some(advice) => format!("cannot honour `{param}`: {advice}"),
                None => format!("cannot honour `{param}`: leave it out or name another model"),
            };
            ApiError::invalid(param, "unsupported_parameter", message)
        }
        BackendFault::Elsewhere => ApiError::new(
            ErrorCode::PolicyConflict,
            "model_runs_elsewhere",
            "the model is local in the configuration, and its engine says that it runs elsewhere: nothing was sent",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use bantam_wire::{Feature, openai};

    use super::*;

    #[test]
    fn what_the_caller_can_mend_is_a_bad_request_that_says_how() {
        let told = |error: BackendError| {
            let error = exhausted(&[], openai::TEXT, Some(&error));
            (error.code.status(), error.param.unwrap_or_default(), error.message)
        };
        let too_long = BackendFault::ContextLength { tokens: 90, context: 64 };
        let (status, param, message) = told(too_long.into());
        assert_eq!((status, &*param), (400, "prompt"));
        assert!(message.contains("90") && message.contains("64"), "{message}");
        let (status, param, message) = told(BackendError::advising(
            BackendFault::CannotHonour(Feature::Suffix),
            "it has no such tokens",
        ));
        assert_eq!((status, &*param), (400, "suffix"));
        assert!(message.ends_with("it has no such tokens"), "{message}");
        assert_eq!(told(BackendFault::Broken.into()).0, 502);
    }
}
