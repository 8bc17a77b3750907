//! What each keyword is to a constraint.

use serde_json::{Map, Value};

/// What a keyword asks of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is honoured elsewhere, or asks nothing.
    Fine,
    /// It cannot be honoured; the reason and the way out.
    Refused(&'static str),
}

/// Returns what a keyword is. Those of every draft count, whatever `$schema` says: who writes `if` means it.
/// Keywords of no draft are annotations by the standard's own word.
pub(super) fn role(keyword: &str, value: &Value, siblings: &Map<String, Value>) -> Role {
    let is_empty = match value {
        Value::Object(members) => members.is_empty(),
        Value::Bool(value) => *value,
        _ => false,
    };
    let advice = match keyword {
        "not" if *value == Value::Bool(false) => return Role::Fine,
        "not" => "what a text is not cannot be steered by: say what it is, with enum or anyOf",
        "if" if !siblings.contains_key("then") && !siblings.contains_key("else") => return Role::Fine,
        "if" => "conditions are not supported: write each case as a branch of anyOf",
        "uniqueItems" if *value == Value::Bool(false) || has_one_item(siblings) => return Role::Fine,
        "uniqueItems" => "items are not compared with each other: leave it out, and check the answer",
        "contains" => "it is not supported: describe the items with prefixItems and items",
        "propertyNames" if is_empty => return Role::Fine,
        "propertyNames" => "it is not supported: use patternProperties with additionalProperties false",
        "unevaluatedProperties" | "unevaluatedItems" if is_empty => return Role::Fine,
        "unevaluatedProperties" => "it is not supported: use additionalProperties in each branch",
        "unevaluatedItems" => "it is not supported: use items in each branch",
        "$dynamicRef" | "$recursiveRef" => "dynamic references are not supported: use $ref",
        "extends" | "disallow" | "divisibleBy" => "it is a keyword of draft 3, which is not supported",
        _ => return Role::Fine,
    };
    Role::Refused(advice)
}

fn has_one_item(siblings: &Map<String, Value>) -> bool {
    siblings.get("maxItems").and_then(Value::as_u64).is_some_and(|max| max <= 1)
}
