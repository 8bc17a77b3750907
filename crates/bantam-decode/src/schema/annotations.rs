//! Classifies keywords.

use serde_json::Value;

/// What a keyword means for a constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is honoured elsewhere, or requires nothing.
    Fine,
    /// It cannot be honoured; the reason and the alternative.
    Refused(&'static str),
}

/// Returns the role of a keyword. Keywords of every draft count, whatever `$schema` says: an author who writes `if`
/// means it. Keywords of no draft are annotations, as the standard says.
pub(super) fn role(keyword: &str, value: &Value) -> Role {
    let is_empty = match value {
        Value::Object(members) => members.is_empty(),
        Value::Bool(value) => *value,
        _ => false,
    };
    let advice = match keyword {
        "contains" => "not supported: describe the items with prefixItems and items",
        "unevaluatedProperties" | "unevaluatedItems" if is_empty => return Role::Fine,
        "unevaluatedProperties" => "not supported: use additionalProperties in each branch",
        "unevaluatedItems" => "not supported: use items in each branch",
        "$dynamicRef" | "$recursiveRef" => "dynamic references are not supported: use $ref",
        "extends" | "disallow" | "divisibleBy" => "a keyword of draft 3, which is not supported",
        _ => return Role::Fine,
    };
    Role::Refused(advice)
}
