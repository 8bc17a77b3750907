//! Arrays and objects.

use serde_json::{Map, Value, json};

use super::scalar::count;
use super::{Lowering, SchemaError, SchemaPath, automata, format, pattern, unique};

impl<'s> Lowering<'s> {
    pub(super) fn arrays(
        &mut self,
        keywords: &'s Map<String, Value>,
        path: &SchemaPath,
        lowered: &mut Map<String, Value>,
        all: &mut Vec<Value>,
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
        let is_unique = keywords.get("uniqueItems").is_some_and(|unique| *unique != Value::Bool(false));
        if is_unique {
            unique::items(keywords, rest, path, all)?;
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
        self.property_names(keywords, path, lowered)?;
        self.dependencies(keywords, path, all)?;
        property_counts(keywords, path, lowered, all)
    }

    /// Turns the condition on names into the only pattern that further properties may have.
    fn property_names(
        &self,
        keywords: &'s Map<String, Value>,
        path: &SchemaPath,
        lowered: &mut Map<String, Value>,
    ) -> Result<(), SchemaError> {
        let Some(mut names) = keywords.get("propertyNames") else { return Ok(()) };
        if let Some(target) = self.target(names) {
            names = target;
        }
        let refused = |reason: &str| path.refused("propertyNames", reason);
        let expression = match names {
            Value::Bool(true) => return Ok(()),
            Value::Bool(false) => None,
            Value::Object(conditions) => match name_pattern(conditions).map_err(|reason| refused(&reason))? {
                None => return Ok(()),
                expression => expression,
            },
            _ => return Err(refused("must be a schema")),
        };
        if keywords.get("patternProperties").and_then(Value::as_object).is_some_and(|it| !it.is_empty()) {
            return Err(refused(
                "not supported beside patternProperties: write the names into those patterns",
            ));
        }
        if let Some(Value::Object(members)) = lowered.get_mut("properties") {
            for (name, member) in members {
                let matched = expression.as_ref().map_or(Some(false), |it| automata::is_match(it, name));
                if !matched
                    .ok_or_else(|| refused("its pattern is too large to try on the names in properties"))?
                {
                    *member = json!(false);
                }
            }
        }
        let additional = lowered.insert("additionalProperties".to_owned(), json!(false)).unwrap_or(json!({}));
        if let Some(expression) = expression.filter(|_| additional != json!(false)) {
            let mut patterns = Map::new();
            patterns.insert(expression, additional);
            lowered.insert("patternProperties".to_owned(), Value::Object(patterns));
        }
        Ok(())
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

/// Most sets of properties to write out.
const SETS_MAX: usize = 64;

/// Returns the pattern, as [`pattern::translate`] writes it, of the names that a schema allows; `None` for any name.
fn name_pattern(conditions: &Map<String, Value>) -> Result<Option<String>, String> {
    const KNOWN: [&str; 7] = ["type", "pattern", "enum", "const", "format", "minLength", "maxLength"];
    const ANNOTATIONS: [&str; 5] = ["title", "description", "$comment", "examples", "default"];
    if let Some(other) =
        conditions.keys().find(|key| !KNOWN.contains(&key.as_str()) && !ANNOTATIONS.contains(&key.as_str()))
    {
        return Err(format!(
            "`{other}` is not supported there: use one pattern, or list the names with enum"
        ));
    }
    if conditions.get("type").is_some_and(|kind| *kind != json!("string")) {
        return Err("names are strings, so its type must be string".to_owned());
    }
    let text = |keyword: &str| conditions.get(keyword).and_then(Value::as_str);
    let count = |keyword: &str| conditions.get(keyword).and_then(Value::as_u64);
    let mut found = Vec::new();
    if let Some(expression) = text("pattern") {
        found.push(pattern::translate(expression)?);
    }
    if let Some(expression) = text("format").and_then(format::pattern) {
        found.push(expression);
    }
    let listed = conditions.get("enum").and_then(Value::as_array).map(Vec::as_slice);
    let listed = listed.or_else(|| conditions.get("const").map(std::slice::from_ref));
    if let Some(listed) = listed {
        let names = listed.iter().filter_map(Value::as_str).map(pattern::literal);
        found.push(format!("^(?:{})$", names.collect::<Vec<_>>().join("|")));
    }
    if conditions.contains_key("minLength") || conditions.contains_key("maxLength") {
        let most = count("maxLength").map_or(String::new(), |most| most.to_string());
        found.push(format!("^(?s:.){{{},{most}}}$", count("minLength").unwrap_or(0)));
    }
    match found.len() {
        0 => Ok(None),
        1 => Ok(found.pop()),
        _ => Err("several conditions on a name are not supported: write them as one pattern".to_owned()),
    }
}

/// Honours `minProperties` and `maxProperties`. Names that are not listed can be written twice but count once, so they are
/// counted on only for the first property beyond the required ones. Extra conditions are added to `all`.
fn property_counts(
    keywords: &Map<String, Value>,
    path: &SchemaPath,
    lowered: &mut Map<String, Value>,
    all: &mut Vec<Value>,
) -> Result<(), SchemaError> {
    let least = count(keywords, "minProperties", path)?.unwrap_or(0);
    let most = count(keywords, "maxProperties", path)?;
    let members = |keyword: &str| keywords.get(keyword).and_then(Value::as_object);
    let required = keywords.get("required").and_then(Value::as_array).into_iter().flatten();
    let mut required: Vec<&str> = required.filter_map(Value::as_str).collect();
    required.sort_unstable();
    required.dedup();
    let names = members("properties").into_iter().flat_map(Map::keys).map(String::as_str);
    let optional: Vec<&str> = names.filter(|name| required.binary_search(name).is_err()).collect();
    let required = required.len() as u64;
    let has_patterns = members("patternProperties").is_some_and(|patterns| !patterns.is_empty());
    let is_closed = keywords.get("additionalProperties") == Some(&Value::Bool(false)) && !has_patterns;
    let others = || {
        let is_object = keywords.get("type") == Some(&json!("object"));
        (!is_object).then(|| json!({ "type": ["null", "boolean", "number", "string", "array"] }))
    };
    if let Some(most) = most.filter(|most| !is_closed || optional.len() as u64 + required > *most) {
        if optional.is_empty() || is_closed && most == required + 1 {
            lowered.insert("maxProperties".to_owned(), json!(most));
        } else {
            // Allow each choice of listed properties, and no others.
            let chosen = most.checked_sub(required).and_then(|room| choices(&optional, room));
            let chosen = chosen.filter(|_| !has_patterns).ok_or_else(|| {
                let reason = "there are too many ways to choose properties: make some required, or remove this keyword";
                path.refused("maxProperties", reason)
            })?;
            lowered.insert("additionalProperties".to_owned(), json!(false));
            let without = |chosen: &Vec<&str>| {
                let dropped = optional.iter().filter(|name| !chosen.contains(name));
                let dropped: Map<String, Value> =
                    dropped.map(|name| ((*name).to_owned(), json!(false))).collect();
                json!({ "type": ["object"], "properties": dropped })
            };
            all.push(json!({ "anyOf": chosen.iter().map(without).chain(others()).collect::<Vec<_>>() }));
        }
    }
    if least <= required {
        return Ok(());
    }
    if least == required + 1 && (optional.is_empty() || is_closed) {
        lowered.insert("minProperties".to_owned(), json!(least));
        return Ok(());
    }
    // Require enough of the listed properties; others may accompany them.
    let chosen = choices(&optional, least - required).filter(|chosen| !chosen.is_empty());
    let chosen = chosen.ok_or_else(|| {
        let reason = "supported only up to one more than the number of required properties, or where there are few ways to \
            choose from the optional ones in properties";
        path.refused("minProperties", reason)
    })?;
    let with = |chosen: &Vec<&str>| json!({ "type": ["object"], "required": chosen });
    all.push(json!({ "anyOf": chosen.iter().map(with).chain(others()).collect::<Vec<_>>() }));
    Ok(())
}

/// Returns all choices of that many names; `None` if there are too many.
fn choices<'n>(names: &[&'n str], size: u64) -> Option<Vec<Vec<&'n str>>> {
    let mut open: Vec<(Vec<&str>, usize)> = vec![(Vec::new(), 0)];
    let mut made = Vec::new();
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    while let Some((chosen, at)) = open.pop() {
        if chosen.len() == size {
            made.push(chosen);
            if made.len() > SETS_MAX {
                return None;
            }
        } else if names.len() - at >= size - chosen.len() {
            open.push((chosen.clone(), at + 1));
            open.push((chosen.into_iter().chain([names[at]]).collect(), at + 1));
        }
    }
    Some(made)
}
