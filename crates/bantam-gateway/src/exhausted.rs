//! What a caller is told when no rung gave an answer.

use bantam_backend::{BackendError, BackendFault};
use bantam_types::{AttemptRecord, EscalationReason};
use bantam_wire::{ApiError, Endpoint, ErrorCode};

/// Returns the error for a request whose every attempt failed or was not good enough. `fault` is why the last failed.
pub(crate) fn exhausted(
    attempts: &[AttemptRecord],
    endpoint: &dyn Endpoint,
    fault: Option<&BackendError>,
) -> ApiError {
    if let Some(error) = fault.and_then(|fault| callers_own(endpoint, fault)) {
        return error;
    }
    let reasons: Vec<EscalationReason> =
        attempts.iter().filter_map(|attempt| attempt.outcome.reason()).collect();
    let tried: Vec<String> = attempts
        .iter()
        .map(|attempt| {
            let reason = attempt.outcome.reason().map_or("no reason", EscalationReason::as_str);
            format!("{} ({reason})", attempt.backend)
        })
        .collect();
    let message = format!("no rung gave an answer that can be returned; tried: {}", tried.join(", "));
    match reasons.last() {
        Some(EscalationReason::Timeout) => {
            ApiError::new(ErrorCode::UpstreamTimeout, "upstream_timeout", message)
        }
        Some(EscalationReason::Unavailable) => {
            ApiError::new(ErrorCode::Unavailable, "upstreams_unavailable", message).retry_after(30)
        }
        Some(EscalationReason::Error | EscalationReason::TooLong | EscalationReason::InvalidOutput) => {
            ApiError::new(ErrorCode::UpstreamFailed, "upstream_failed", message)
        }
        _ => ApiError::new(ErrorCode::UpstreamFailed, "no_confident_answer", message),
    }
}

/// Returns the error for a request that cannot be answered as it is: the caller can mend it, no upstream failed.
fn callers_own(endpoint: &dyn Endpoint, error: &BackendError) -> Option<ApiError> {
    match error.fault {
        BackendFault::ContextLength { tokens, context } => {
            let message = format!(
                "the prompt has {tokens} tokens and the model takes {context}, answer included: shorten it"
            );
            Some(ApiError::invalid(
                endpoint.param(endpoint.kind().feature()),
                "context_length_exceeded",
                message,
            ))
        }
        BackendFault::CannotHonour(feature) => {
            let param = endpoint.param(feature);
            let message = match &error.advice {
                Some(advice) => format!("cannot honour `{param}`: {advice}"),
                None => format!("cannot honour `{param}`: leave it out or name another model"),
            };
            Some(ApiError::invalid(param, "unsupported_parameter", message))
        }
        BackendFault::Elsewhere => Some(ApiError::new(
            ErrorCode::PolicyConflict,
            "model_runs_elsewhere",
            "the model is local in the configuration, and its engine says that it runs elsewhere: nothing was sent",
        )),
        _ => None,
    }
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
