//! Arrays and objects.

use serde_json::{Map, Value, json};

use super::scalar::count;
use super::{Lowering, SchemaError, SchemaPath, pattern};

impl<'s> Lowering<'s> {
    pub(super) fn arrays(
        &mut self,
        keywords: &'s Map<String, Value>,
        path: &SchemaPath,
        lowered: &mut Map<String, Value>,
    ) -> Result<(), SchemaError> {
        for keyword in ["minItems", "maxItems"] {
            if let Some(count) = count(keywords, keyword, path)? {
                lowered.insert(keyword.to_owned(), json!(count.min(1_000_000)));
            }
        }
        // Up to 2019-09, `items` may be a list, today's `prefixItems`, and `additionalItems` covers the rest.
        let (prefix, rest) = match keywords.get("items") {
            Some(Value::Array(_)) if self.draft.is_2020_by_name() => {
                return Err(path.refused(
                    "items",
                    "must be a single schema since 2020-12: write the list as prefixItems",
                ));
            }
            Some(Value::Array(_)) => (Some("items"), Some("additionalItems")),
            _ => (keywords.contains_key("prefixItems").then_some("prefixItems"), Some("items")),
        };
        if let Some(keyword) = prefix {
            let items = keywords[keyword].as_array();
            let items = items.ok_or_else(|| path.refused(keyword, "must be a list of schemas"))?;
            let mut prefix_items = Vec::new();
            for (member, item) in items.iter().enumerate() {
                prefix_items.push(self.schema(item, &path.below(keyword, member))?);
            }
            lowered.insert("prefixItems".to_owned(), Value::Array(prefix_items));
        }
        if let Some((keyword, items)) = rest.and_then(|keyword| Some((keyword, keywords.get(keyword)?))) {
            let items = self.schema(items, &path.at(format!("{}/{keyword}", path.pointer)))?;
            lowered.insert("items".to_owned(), items);
        }
        Ok(())
    }

    pub(super) fn objects(
        &mut self,
        keywords: &'s Map<String, Value>,
        path: &SchemaPath,
        lowered: &mut Map<String, Value>,
        all: &mut Vec<Value>,
    ) -> Result<(), SchemaError> {
        for keyword in ["properties", "patternProperties"] {
            let Some(members) = keywords.get(keyword) else { continue };
            let members =
                members.as_object().ok_or_else(|| path.refused(keyword, "must be an object of schemas"))?;
            let mut lowered_members = Map::new();
            for (name, member) in members {
                let below = path.below(keyword, name);
                if keyword == "patternProperties" && name.len() > self.limits.pattern_bytes_max {
                    return Err(path.refused(keyword, "a pattern is too long: shorten it"));
                }
                let name = if keyword == "properties" {
                    name.clone()
                } else {
                    pattern::translate(name).map_err(|reason| below.refused(keyword, reason))?
                };
                let member = self.schema(member, &below)?;
                if lowered_members.insert(name, member).is_some() {
                    return Err(below.refused(keyword, "another pattern is equivalent: remove one"));
                }
            }
            lowered.insert(keyword.to_owned(), Value::Object(lowered_members));
        }
        if let Some(additional) = keywords.get("additionalProperties") {
            let below = path.at(format!("{}/additionalProperties", path.pointer));
            lowered.insert("additionalProperties".to_owned(), self.schema(additional, &below)?);
        }
        if let Some(required) = keywords.get("required") {
            let names = required.as_array().filter(|names| names.iter().all(Value::is_string));
            let names = names.ok_or_else(|| path.refused("required", "must be a list of property names"))?;
            lowered.insert("required".to_owned(), json!(names));
        }
        self.dependencies(keywords, path, all)?;
        property_counts(keywords, path, lowered, all)
    }

    /// Turns each dependency into a choice: the property is absent, or its condition holds.
    fn dependencies(
        &mut self,
        keywords: &'s Map<String, Value>,
        path: &SchemaPath,
        all: &mut Vec<Value>,
    ) -> Result<(), SchemaError> {
        let mut choices = 0;
        for keyword in ["dependencies", "dependentRequired", "dependentSchemas"] {
            let Some(members) = keywords.get(keyword) else { continue };
            let members = members.as_object().ok_or_else(|| path.refused(keyword, "must be an object"))?;
            for (name, asked) in members {
                let present = match asked {
                    Value::Array(names) if names.is_empty() => continue,
                    Value::Array(names) if names.iter().all(Value::is_string) => json!({ "required": names }),
                    Value::Array(_) => return Err(path.refused(keyword, "must list property names")),
                    schema => self.schema(schema, &path.below(keyword, name))?,
                };
                choices += 1;
                if choices > DEPENDENCIES_MAX {
                    let reason =
                        format!("more than {DEPENDENCIES_MAX} properties depend on others: remove some");
                    return Err(path.refused(keyword, reason));
                }
                all.push(json!({ "anyOf": [{ "properties": { name: false } }, present] }));
            }
        }
        Ok(())
    }
}

/// Most dependencies: each doubles the grammar.
const DEPENDENCIES_MAX: usize = 6;
/// Most optional properties for a constraint that at least one of them is present.
const ONE_OF_THESE_MAX: usize = 24;

/// Honours `minProperties` and `maxProperties` as far as possible. Names that are not listed can be written twice but
/// count once, so a minimum is honoured up to one more than the required number, and a maximum only where llguidance
/// counts properties itself. Extra conditions are added to `all`.
fn property_counts(
    keywords: &Map<String, Value>,
    path: &SchemaPath,
    lowered: &mut Map<String, Value>,
    all: &mut Vec<Value>,
) -> Result<(), SchemaError> {
    let least = count(keywords, "minProperties", path)?.unwrap_or(0);
    let most = count(keywords, "maxProperties", path)?;
    let members = |keyword: &str| keywords.get(keyword).and_then(Value::as_object);
    let mut required: Vec<&str> = keywords
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    required.sort_unstable();
    required.dedup();
    let names = members("properties").into_iter().flat_map(Map::keys);
    let optional: Vec<&String> =
        names.filter(|name| required.binary_search(&name.as_str()).is_err()).collect();
    let required = required.len() as u64;
    let is_closed = keywords.get("additionalProperties") == Some(&Value::Bool(false))
        && members("patternProperties").is_none_or(Map::is_empty);
    let may_exceed = most.is_some_and(|most| !is_closed || optional.len() as u64 + required > most);
    let one_more = most == Some(required + 1);
    if may_exceed && !optional.is_empty() && !(is_closed && one_more) {
        let reason = "not supported with optional properties: make them required, or remove this keyword";
        return Err(path.refused("maxProperties", reason));
    }
    if let Some(most) = most.filter(|_| may_exceed) {
        lowered.insert("maxProperties".to_owned(), json!(most));
    }
    if least <= required {
        return Ok(());
    }
    let is_object = keywords.get("type") == Some(&json!("object"));
    if least > required + 1
        || (!optional.is_empty() && !is_closed && !is_object)
        || optional.len() > ONE_OF_THESE_MAX
    {
        let reason = "supported only up to one more than the number of required properties, for objects with up \
            to 24 optional ones";
        return Err(path.refused("minProperties", reason));
    }
    if optional.is_empty() || is_closed {
        lowered.insert("minProperties".to_owned(), json!(least));
    } else {
        // Require one of the listed properties; others may accompany it.
        let branches = optional.iter().map(|name| json!({ "type": "object", "required": [name] }));
        all.push(json!({ "anyOf": branches.collect::<Vec<_>>() }));
    }
    Ok(())
}
