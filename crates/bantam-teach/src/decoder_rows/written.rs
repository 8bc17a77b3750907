//! An answer as it is learnt.

use serde_json::Value;

/// Returns an answer as it is learnt: a text as it is; JSON as the engine writes it, with members in the order of the
/// schema, because under a schema no other order can be written.
pub(crate) fn written(answer: &Value, schema: Option<&Value>) -> String {
    let parsed = match (answer, schema) {
        (Value::String(text), Some(_)) => serde_json::from_str(text).unwrap_or_else(|_| answer.clone()),
        _ => answer.clone(),
    };
    match (&parsed, schema) {
        (Value::String(text), None) => text.clone(),
        _ => {
            let mut written = String::new();
            write(&parsed, schema.unwrap_or(&Value::Null), &mut written);
            written
        }
    }
}

fn write(value: &Value, schema: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let known = schema.get("properties").and_then(Value::as_object);
            let position = |name: &str| {
                known.and_then(|known| known.keys().position(|key| key == name)).unwrap_or(usize::MAX)
            };
            let mut names: Vec<&String> = members.keys().collect();
            names.sort_by_key(|name| position(name));
            out.push('{');
            for (index, name) in names.into_iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push_str(": ");
                let of_member = schema.get("properties").and_then(|known| known.get(name));
                write(&members[name], of_member.unwrap_or(&Value::Null), out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write(item, schema.get("items").unwrap_or(&Value::Null), out);
            }
            out.push(']');
        }
        _ => out.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_written_in_the_order_of_the_schema() {
        let schema = json!({ "properties": {
            "count": { "type": "integer" },
            "items": { "items": { "properties": { "a": {}, "b": {} } } },
        }});
        let answer = json!({ "items": [{ "b": "é\n", "a": null }], "other": true, "count": 2 });
        let expected = r#"{"count": 2, "items": [{"a": null, "b": "é\n"}], "other": true}"#;
        assert_eq!(written(&answer, Some(&schema)), expected);
        assert_eq!(written(&answer.to_string().into(), Some(&schema)), expected);
        assert_eq!(written(&"plain {text}".into(), None), "plain {text}");
    }
}
