//! Errors in words.

use std::error::Error;

/// Returns an error and everything that caused it, on one line: `cannot read x: permission denied`.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Caused(&'static str, #[source] Option<Box<Caused>>);

    #[test]
    fn every_cause_is_named_in_order() {
        let error = Caused("a", Some(Box::new(Caused("b", Some(Box::new(Caused("c", None)))))));
        assert_eq!(with_causes(&error), "a: b: c");
    }
}
