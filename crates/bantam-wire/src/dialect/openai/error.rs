//! Errors in OpenAI's shape.

use serde_json::json;

use crate::error::{ApiError, ErrorCode};

/// Returns the body of an error: `{"error":{"message","type","param","code"}}`, all four keys.
pub fn error_body(error: &ApiError) -> Vec<u8> {
    json!({"error": {
        "message": error.message,
        "type": error_type(error.code),
        "param": error.param,
        "code": error.slug,
    }})
    .to_string()
    .into_bytes()
}

/// Returns OpenAI's `type` for an error of this code.
pub const fn error_type(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidRequest
        | ErrorCode::NotFound
        | ErrorCode::MethodNotAllowed
        | ErrorCode::BodyTimeout
        | ErrorCode::TooLarge => "invalid_request_error",
        ErrorCode::Unauthenticated => "authentication_error",
        ErrorCode::Forbidden => "permission_error",
        ErrorCode::PolicyConflict => "policy_error",
        ErrorCode::Busy => "rate_limit_error",
        ErrorCode::Internal => "server_error",
        ErrorCode::UpstreamFailed | ErrorCode::Unavailable | ErrorCode::UpstreamTimeout => "upstream_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_always_carries_all_four_keys() {
        let error = ApiError::new(ErrorCode::Busy, "queue_full", "the queue is full").retry_after(1);
        assert_eq!(
            String::from_utf8(error_body(&error)).unwrap(),
            r#"{"error":{"message":"the queue is full","type":"rate_limit_error","param":null,"code":"queue_full"}}"#
        );
        assert_eq!(error.code.status(), 429);
    }
}
