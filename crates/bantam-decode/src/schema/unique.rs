//! Arrays without equal items.
//!
//! A grammar does not remember the items before, so it allows the lists of a choice one by one: each of the listed
//! values at most once, in the order of the schema.

use serde_json::{Map, Value, json};

use super::disjoint::is_same;
use super::scalar::count;
use super::{SchemaError, SchemaPath};

/// Most lists to write out.
const LISTS_MAX: usize = 256;

const TOO_MANY: &str = "there are too many lists of these values: list fewer, or ask for fewer items";

/// Allows only arrays without equal items; `rest` is the keyword that describes all items. The condition is added to
/// `all`.
pub(super) fn items(
    keywords: &Map<String, Value>,
    rest: Option<&str>,
    path: &SchemaPath,
    all: &mut Vec<Value>,
) -> Result<(), SchemaError> {
    let least = count(keywords, "minItems", path)?.unwrap_or(0);
    let most = count(keywords, "maxItems", path)?.unwrap_or(u64::MAX);
    if most <= 1 {
        return Ok(());
    }
    let values = rest.and_then(|rest| choices(keywords.get(rest)?));
    let Some(values) = values else {
        let reason = "items can be kept apart only if they are listed with enum or there is at most one: list them, set \
            maxItems to 1, or remove it and check the answer instead";
        return Err(path.refused("uniqueItems", reason));
    };
    if least > values.len() as u64 {
        return Err(path.refused("minItems", "asks for more items than there are different values"));
    }
    let mut lists: Vec<Vec<&Value>> = vec![Vec::new()];
    let mut allowed: Vec<Vec<&Value>> = Vec::new();
    for length in 0..=most.min(values.len() as u64) {
        if length > 0 {
            lists = extended(&lists, &values);
        }
        if length > least && allowed.len() + lists.len() > LISTS_MAX {
            break;
        }
        if lists.len() > 4 * LISTS_MAX || lists.len() * values.len() > 256 * LISTS_MAX {
            return Err(path.refused("uniqueItems", TOO_MANY));
        }
        if length >= least {
            allowed.extend(lists.iter().cloned());
        }
    }
    if allowed.iter().all(Vec::is_empty) && !values.is_empty() {
        return Err(path.refused("uniqueItems", TOO_MANY));
    }
    let list = |items: &Vec<&Value>| {
        let constants: Vec<Value> = items.iter().map(|item| json!({ "const": item })).collect();
        let length = items.len();
        json!({ "type": ["array"], "prefixItems": constants, "items": false, "minItems": length, "maxItems": length })
    };
    let mut branches: Vec<Value> = allowed.iter().map(list).collect();
    if keywords.get("type") != Some(&json!("array")) {
        branches.push(json!({ "type": ["null", "boolean", "number", "string", "object"] }));
    }
    all.push(json!({ "anyOf": branches }));
    Ok(())
}

/// Returns the different values that a schema lists.
fn choices(schema: &Value) -> Option<Vec<Value>> {
    let kind = schema.get("type").and_then(Value::as_str);
    let listed = match (schema.get("const"), schema.get("enum"), kind) {
        (Some(value), _, _) => vec![value.clone()],
        (None, Some(Value::Array(values)), _) => values.clone(),
        (None, None, Some("boolean")) => vec![json!(true), json!(false)],
        (None, None, Some("null")) => vec![Value::Null],
        _ => return None,
    };
    let mut different: Vec<Value> = Vec::new();
    for value in listed {
        if !different.iter().any(|other| is_same(&value, other)) {
            different.push(value);
        }
    }
    Some(different)
}

/// Returns each list with each value that comes later in the order of `values`.
fn extended<'v>(lists: &[Vec<&'v Value>], values: &'v [Value]) -> Vec<Vec<&'v Value>> {
    let mut longer = Vec::new();
    for list in lists {
        let begin = list
            .last()
            .and_then(|last| values.iter().position(|value| std::ptr::eq(value, *last)))
            .map_or(0, |last| last + 1);
        for value in &values[begin..] {
            longer.push(list.iter().copied().chain([value]).collect());
        }
    }
    longer
}
