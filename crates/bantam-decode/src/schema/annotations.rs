//! Classifies keywords.

use serde_json::{Map, Value};

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
pub(super) fn role(keyword: &str, value: &Value, siblings: &Map<String, Value>) -> Role {
    let is_empty = match value {
        Value::Object(members) => members.is_empty(),
        Value::Bool(value) => *value,
        _ => false,
    };
    let advice = match keyword {
        "not" if *value == Value::Bool(false) => return Role::Fine,
        "not" => "exclusions cannot guide an answer: list what is allowed, with enum or anyOf",
        "if" if !siblings.contains_key("then") && !siblings.contains_key("else") => return Role::Fine,
        "if" => "conditions are not supported: write each case as a branch of anyOf",
        "uniqueItems" if *value == Value::Bool(false) || has_one_item(siblings) => return Role::Fine,
        "uniqueItems" => "items cannot be compared with each other: remove it and check the answer instead",
        "contains" => "not supported: describe the items with prefixItems and items",
        "propertyNames" if is_empty => return Role::Fine,
        "propertyNames" => "not supported: use patternProperties with additionalProperties false",
        "unevaluatedProperties" | "unevaluatedItems" if is_empty => return Role::Fine,
        "unevaluatedProperties" => "not supported: use additionalProperties in each branch",
        "unevaluatedItems" => "not supported: use items in each branch",
        "$dynamicRef" | "$recursiveRef" => "dynamic references are not supported: use $ref",
        "extends" | "disallow" | "divisibleBy" => "a keyword of draft 3, which is not supported",
        _ => return Role::Fine,
    };
    Role::Refused(advice)
}

fn has_one_item(siblings: &Map<String, Value>) -> bool {
    siblings.get("maxItems").and_then(Value::as_u64).is_some_and(|max| max <= 1)
}
