//! Arrays and objects.

use serde_json::{Map, Value, json};

use super::scalar::count;
use super::{Lowering, Place, SchemaError, pattern};

impl<'s> Lowering<'s> {
    pub(super) fn arrays(
        &mut self,
        keywords: &'s Map<String, Value>,
        place: &Place,
        lowered: &mut Map<String, Value>,
    ) -> Result<(), SchemaError> {
        for keyword in ["minItems", "maxItems"] {
            if let Some(count) = count(keywords, keyword, place)? {
                lowered.insert(keyword.to_owned(), json!(count.min(1_000_000)));
            }
        }
        // Up to 2019-09 a list under `items` is what is `prefixItems` now, and `additionalItems` the rest.
        let (prefix, rest) = match keywords.get("items") {
            Some(Value::Array(_)) if self.draft.is_2020_by_name() => {
                return Err(
                    place.refused("items", "since 2020-12 it is one schema: write the list as prefixItems")
                );
            }
            Some(Value::Array(_)) => (Some("items"), Some("additionalItems")),
            _ => (keywords.contains_key("prefixItems").then_some("prefixItems"), Some("items")),
        };
        if let Some(keyword) = prefix {
            let items = keywords[keyword].as_array();
            let items = items.ok_or_else(|| place.refused(keyword, "it is a list of schemas"))?;
            let mut prefix_items = Vec::new();
            for (member, item) in items.iter().enumerate() {
                prefix_items.push(self.schema(item, &place.below(keyword, member))?);
            }
            lowered.insert("prefixItems".to_owned(), Value::Array(prefix_items));
        }
        if let Some((keyword, items)) = rest.and_then(|keyword| Some((keyword, keywords.get(keyword)?))) {
            let items = self.schema(items, &place.at(format!("{}/{keyword}", place.pointer)))?;
            lowered.insert("items".to_owned(), items);
        }
        Ok(())
    }

    pub(super) fn objects(
        &mut self,
        keywords: &'s Map<String, Value>,
        place: &Place,
        lowered: &mut Map<String, Value>,
    ) -> Result<(), SchemaError> {
        for keyword in ["properties", "patternProperties"] {
            let Some(members) = keywords.get(keyword) else { continue };
            let members =
                members.as_object().ok_or_else(|| place.refused(keyword, "it is an object of schemas"))?;
            let mut lowered_members = Map::new();
            for (name, member) in members {
                let below = place.below(keyword, name);
                let name = if keyword == "properties" {
                    name.clone()
                } else {
                    pattern::translate(name).map_err(|reason| below.refused(keyword, reason))?
                };
                lowered_members.insert(name, self.schema(member, &below)?);
            }
            lowered.insert(keyword.to_owned(), Value::Object(lowered_members));
        }
        if let Some(additional) = keywords.get("additionalProperties") {
            let below = place.at(format!("{}/additionalProperties", place.pointer));
            lowered.insert("additionalProperties".to_owned(), self.schema(additional, &below)?);
        }
        if let Some(required) = keywords.get("required") {
            let names = required.as_array().filter(|names| names.iter().all(Value::is_string));
            let names = names.ok_or_else(|| place.refused("required", "it is a list of property names"))?;
            lowered.insert("required".to_owned(), json!(names));
        }
        property_counts(keywords, place, lowered)
    }
}

/// Counts of properties can be steered by only where no optional property stands between them and the grammar:
/// names that are not listed can be written twice, and count once.
fn property_counts(
    keywords: &Map<String, Value>,
    place: &Place,
    lowered: &mut Map<String, Value>,
) -> Result<(), SchemaError> {
    let least = count(keywords, "minProperties", place)?.unwrap_or(0);
    let most = count(keywords, "maxProperties", place)?;
    let members = |keyword: &str| keywords.get(keyword).and_then(Value::as_object);
    let listed = members("properties");
    let required: Vec<&str> = keywords
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let is_closed = keywords.get("additionalProperties") == Some(&Value::Bool(false))
        && members("patternProperties").is_none_or(Map::is_empty);
    let optional =
        listed.map_or(0, |listed| listed.keys().filter(|name| !required.contains(&name.as_str())).count());
    let mut distinct = required.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let required = distinct.len() as u64;
    let wants_more = least > required;
    let may_exceed = most.is_some_and(|most| !is_closed || (optional as u64 + required) > most);
    let one_of_optional = is_closed && optional > 0;
    let one_of_them = one_of_optional && (!may_exceed || most == Some(required + 1));
    if wants_more && !(one_of_them && least == required + 1) {
        return Err(place.refused(
            "minProperties",
            "it is supported up to the number of required properties, and one more where additionalProperties is false",
        ));
    }
    if may_exceed && optional > 0 && !(is_closed && most == Some(required + 1)) {
        return Err(place.refused(
            "maxProperties",
            "it is not supported beside optional properties: make them required, or leave it out",
        ));
    }
    if wants_more {
        lowered.insert("minProperties".to_owned(), json!(least));
    }
    if let Some(most) = most.filter(|_| may_exceed) {
        lowered.insert("maxProperties".to_owned(), json!(most));
    }
    Ok(())
}
