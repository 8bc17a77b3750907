//! What an object looks like, and writing one.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::{Map, Number, Value, json};

use crate::normalise::{NORMALISERS, amount, boolean, choice, date, whole};

/// References that are followed from one to the next.
const REFERENCES_MAX: usize = 8;

/// A value as it stands in a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found<'f> {
    /// The slot that it fills.
    pub name: &'f str,
    /// The value, copied from the text.
    pub value: &'f str,
    /// How sure somebody is of it, 0 to 1.
    pub confidence: f32,
}

/// What an object looks like: a schema's, or every slot with the list of its values.
#[derive(Debug)]
pub struct Shape {
    schema: Option<Value>,
    validator: Option<Validator>,
    members: Vec<Member>,
}

/// A property that a slot fills.
#[derive(Debug)]
struct Member {
    name: String,
    kind: Kind,
    is_list: bool,
    is_nullable: bool,
    is_required: bool,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Text,
    Date,
    Number,
    Integer,
    Boolean,
    Choice(Vec<String>),
}

/// Why a schema cannot shape what a student finds.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ShapeError {
    /// Something else than a schema of an object.
    #[error("the schema describes no object with properties")]
    NotObject,
    /// A schema that is none.
    #[error("the schema cannot be used: {0}")]
    Schema(String),
    /// A property that no value of a text can fill.
    #[error("the property `{0}` is neither a string, a number, a boolean, a choice, nor a list of these")]
    Property(String),
    /// A property that is always missing.
    #[error("the schema requires `{0}`, and the student has no slot of that name")]
    NoSlot(String),
    /// Nothing in common.
    #[error("no property of the schema has the name of a slot of the student")]
    NoneShared,
}

/// Why what was found makes no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// A value that cannot be written as its property wants it.
    #[error("`{name}`: {value:?} cannot be written as {wanted}")]
    Value {
        /// The property.
        name: String,
        /// The value.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A property that must be there.
    #[error("`{0}` is required and was not found")]
    Missing(String),
    /// An object that the schema does not allow.
    #[error("`{0}` is not as the schema wants it")]
    Refused(String),
}

impl Shape {
    /// Returns the shape without a schema: `{slot: [values]}`.
    pub const fn free() -> Self {
        Self { schema: None, validator: None, members: Vec::new() }
    }

    /// Returns the shape of a schema, filled by a student with these slots. Slots that the schema does not name are left
    /// out of its objects.
    ///
    /// # Errors
    /// [`ShapeError`], when no answer of such a student could ever have this shape.
    pub fn new(schema: &Value, slots: &[String]) -> Result<Self, ShapeError> {
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(schema)
            .map_err(|error| ShapeError::Schema(error.to_string()))?;
        let root = resolved(schema, schema);
        let properties = root.get("properties").and_then(Value::as_object).ok_or(ShapeError::NotObject)?;
        let required: Vec<&str> = match root.get("required").and_then(Value::as_array) {
            Some(names) => names.iter().filter_map(Value::as_str).collect(),
            None => Vec::new(),
        };
        let mut members = Vec::new();
        for (name, property) in properties {
            let is_required = required.contains(&name.as_str());
            if slots.contains(name) {
                members.push(Member::new(name, property, schema, is_required)?);
            } else if is_required {
                return Err(ShapeError::NoSlot(name.clone()));
            }
        }
        if members.is_empty() {
            return Err(ShapeError::NoneShared);
        }
        Ok(Self { schema: Some(schema.clone()), validator: Some(validator), members })
    }

    /// Returns the names of a schema's properties: what a student for it should have as slots.
    pub fn properties(schema: &Value) -> Vec<String> {
        let properties = resolved(schema, schema).get("properties").and_then(Value::as_object);
        properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
    }

    /// Returns the schema, if there is one.
    pub const fn schema(&self) -> Option<&Value> {
        self.schema.as_ref()
    }

    /// Returns everything that decides how objects are written: what was proved of answers holds for one such value.
    pub fn facts(&self) -> Value {
        json!({ "schema": self.schema, "normalisers": NORMALISERS })
    }

    /// Returns the object of what was found. A property that is no list takes the surest of its slot's values, the first
    /// of equals; one that is found at several places is surer for it.
    ///
    /// # Errors
    /// [`WriteError`], when a value cannot be written, or the schema does not allow the object.
    pub fn write(&self, found: &[Found<'_>]) -> Result<Value, WriteError> {
        let Some(validator) = &self.validator else {
            let mut slots: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            found.iter().for_each(|found| slots.entry(found.name).or_default().push(found.value));
            return Ok(json!(slots));
        };
        let mut object = Map::new();
        for member in &self.members {
            if let Some(value) = member.write(found)? {
                object.insert(member.name.clone(), value);
            }
        }
        let object = Value::Object(object);
        let refused = validator.iter_errors(&object).next().map(|error| error.instance_path().to_string());
        match refused {
            None => Ok(object),
            Some(place) => Err(WriteError::Refused(place.trim_start_matches('/').to_owned())),
        }
    }

    /// Returns an answer in the form in which equal ones are equal: values written as the shape writes them, whole
    /// numbers without decimals, single values in lists where lists are wanted, and nothing for what is absent.
    pub fn canonical(&self, answer: &Value) -> Value {
        let Value::Object(members) = answer else { return answer.clone() };
        let kept = members.iter().filter_map(|(name, value)| {
            let member = self.members.iter().find(|member| member.name == *name);
            let is_list = self.schema.is_none() || member.is_some_and(|member| member.is_list);
            let plain = |value: &Value| match (value, member) {
                (Value::String(text), Some(member)) => {
                    member.kind.write(text).unwrap_or_else(|| value.clone())
                }
                (Value::Number(number), _) => json_number(number.as_f64()).unwrap_or_else(|| value.clone()),
                _ => value.clone(),
            };
            match value {
                Value::Null => None,
                Value::Array(values) if values.is_empty() => None,
                Value::Array(values) => Some((name.clone(), values.iter().map(plain).collect())),
                value if is_list => Some((name.clone(), json!([plain(value)]))),
                value => Some((name.clone(), plain(value))),
            }
        });
        Value::Object(kept.collect())
    }

    /// Returns whether `text`, found for the slot `name`, is written as `value`.
    pub fn means(&self, name: &str, text: &str, value: &Value) -> bool {
        match self.members.iter().find(|member| member.name == *name) {
            Some(member) => member.kind.write(text).as_ref() == Some(value),
            None => value.as_str().map_or_else(|| value.to_string(), str::to_owned) == text,
        }
    }
}

impl Member {
    fn new(name: &str, property: &Value, schema: &Value, is_required: bool) -> Result<Self, ShapeError> {
        let (property, mut is_nullable) = without_null(resolved(property, schema), schema);
        let (kind, nullable) = types(property);
        is_nullable |= nullable;
        let is_list = kind == Some("array");
        let of = match (is_list, property.get("items")) {
            (true, Some(items)) => resolved(items, schema),
            (true, None) => &Value::Null,
            (false, _) => property,
        };
        let kind = Kind::of(of, is_list && *of == Value::Null);
        let kind = kind.ok_or_else(|| ShapeError::Property(name.to_owned()))?;
        Ok(Self { name: name.to_owned(), kind, is_list, is_nullable, is_required })
    }

    fn write(&self, found: &[Found<'_>]) -> Result<Option<Value>, WriteError> {
        let mut own = found.iter().filter(|found| found.name == self.name);
        let written = |found: &Found<'_>| {
            self.kind.write(found.value).ok_or_else(|| WriteError::Value {
                name: self.name.clone(),
                value: found.value.to_owned(),
                wanted: self.kind.name(),
            })
        };
        if self.is_list {
            let values = own.map(written).collect::<Result<Vec<_>, _>>()?;
            return Ok(match (values.is_empty(), self.is_required, self.is_nullable) {
                (false, ..) | (true, true, false) => Some(Value::Array(values)),
                (true, true, true) => Some(Value::Null),
                (true, false, _) => None,
            });
        }
        let Some(first) = own.next() else {
            return match (self.is_required, self.is_nullable) {
                (false, _) => Ok(None),
                (true, true) => Ok(Some(Value::Null)),
                (true, false) => Err(WriteError::Missing(self.name.clone())),
            };
        };
        // What reads the same at several places is as sure as that one of them is right, as if they did not depend on
        // each other.
        let mut readings: Vec<(&Found<'_>, Option<Value>, f64)> = Vec::new();
        for found in std::iter::once(first).chain(own) {
            let (value, doubt) = (self.kind.write(found.value), 1.0 - f64::from(found.confidence));
            match readings.iter_mut().find(|(_, known, _)| value.is_some() && *known == value) {
                Some((_, _, doubts)) => *doubts *= doubt,
                None => readings.push((found, value, doubt)),
            }
        }
        let surest = readings.iter().min_by(|a, b| a.2.total_cmp(&b.2)).map_or(first, |(found, ..)| found);
        written(surest).map(Some)
    }
}

impl Kind {
    /// The kind of a property; none, where no value of a text can fill it.
    fn of(property: &Value, is_anything: bool) -> Option<Self> {
        if is_anything {
            return Some(Self::Text);
        }
        let of_constant = property.get("const").map(std::slice::from_ref);
        let members = property.get("enum").and_then(Value::as_array).map(Vec::as_slice).or(of_constant);
        if let Some(members) = members {
            let texts: Vec<String> = members.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            let are_texts = members.iter().all(|member| member.is_string() || member.is_null());
            return (are_texts && !texts.is_empty()).then_some(Self::Choice(texts));
        }
        match (types(property).0, property.get("format").and_then(Value::as_str)) {
            (Some("string"), Some("date")) => Some(Self::Date),
            (Some("string"), _) | (None, None) => Some(Self::Text),
            (Some("number"), _) => Some(Self::Number),
            (Some("integer"), _) => Some(Self::Integer),
            (Some("boolean"), _) => Some(Self::Boolean),
            _ => None,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Date => "a date",
            Self::Number => "a number",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
            Self::Choice(_) => "one of the choices",
        }
    }

    fn write(&self, text: &str) -> Option<Value> {
        match self {
            Self::Text => Some(text.into()),
            Self::Date => date(text).map(Value::from),
            Self::Number => json_number(amount(text)),
            Self::Integer => whole(text).map(Value::from),
            Self::Boolean => boolean(text).map(Value::from),
            Self::Choice(members) => {
                let members: Vec<&str> = members.iter().map(String::as_str).collect();
                choice(text, &members).map(Value::from)
            }
        }
    }
}

/// A number as JSON; one without decimals as a whole one.
fn json_number(number: Option<f64>) -> Option<Value> {
    let number = number?;
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return Some(Value::from(number as i64));
    }
    Number::from_f64(number).map(Value::Number)
}

/// The only type of a property but `null`, and whether `null` is one too.
fn types(property: &Value) -> (Option<&str>, bool) {
    match property.get("type") {
        Some(Value::String(one)) => (Some(one), false),
        Some(Value::Array(many)) => {
            let names = || many.iter().filter_map(Value::as_str);
            let mut others = names().filter(|name| *name != "null");
            (others.next().filter(|_| others.next().is_none()), names().any(|name| name == "null"))
        }
        _ => (None, false),
    }
}

/// What stands beside `null` in `anyOf` or `oneOf`, and whether it does.
fn without_null<'s>(property: &'s Value, schema: &'s Value) -> (&'s Value, bool) {
    let options = ["anyOf", "oneOf"].iter().find_map(|key| property.get(key)).and_then(Value::as_array);
    let is_null = |option: &&Value| option.get("type").and_then(Value::as_str) == Some("null");
    match options.map(Vec::as_slice) {
        Some([one, null]) if is_null(&null) => (resolved(one, schema), true),
        Some([null, one]) if is_null(&null) => (resolved(one, schema), true),
        _ => (property, false),
    }
}

/// What a schema's own reference points at.
fn resolved<'s>(mut property: &'s Value, schema: &'s Value) -> &'s Value {
    for _ in 0..REFERENCES_MAX {
        let target = property.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        match target.and_then(|target| schema.pointer(target)) {
            Some(next) => property = next,
            None => break,
        }
    }
    property
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object", "additionalProperties": false, "required": ["order", "gift", "items"],
            "properties": {
                "order": { "type": "string", "pattern": "^A-" },
                "day": { "type": "string", "format": "date" },
                "total": { "anyOf": [{ "type": "number", "minimum": 0 }, { "type": "null" }] },
                "gift": { "type": ["boolean", "null"] },
                "items": { "type": "array", "items": { "$ref": "#/$defs/item" } },
                "note": { "type": "string" }
            },
            "$defs": { "item": { "enum": ["lamp", "chair"] } }
        })
    }

    fn slots() -> Vec<String> {
        ["order", "day", "total", "gift", "items", "unused"].map(str::to_owned).to_vec()
    }

    fn write(found: &[(&str, &str, f32)]) -> Result<Value, String> {
        let shape = Shape::new(&schema(), &slots()).unwrap();
        let found: Vec<Found<'_>> = found
            .iter()
            .map(|(name, value, confidence)| Found { name, value, confidence: *confidence })
            .collect();
        shape.write(&found).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_written_as_their_properties_want_them() {
        let found = [
            ("order", "B-1", 0.5),
            ("order", "A-1", 0.9),
            ("day", "5 May 2026", 0.9),
            ("total", "RM 12.50", 0.9),
            ("items", "Lamp", 0.9),
            ("items", "chairs", 0.9),
            ("unused", "x", 0.9),
        ];
        let expected = json!({ "order": "A-1", "day": "2026-05-05", "total": 12.5, "gift": null, "items": ["lamp", "chair"] });
        assert_eq!(write(&found).unwrap(), expected);
        assert_eq!(
            write(&[("order", "A-1", 0.9)]).unwrap(),
            json!({ "order": "A-1", "gift": null, "items": [] })
        );
    }

    #[test]
    fn what_reads_the_same_at_several_places_is_surer_for_it() {
        let order = ("order", "A-1", 0.9);
        let found = [order, ("total", "9.00", 0.6), ("total", "RM 12.50", 0.5), ("total", "12.5", 0.5)];
        let total = |found: &[(&str, &str, f32)]| write(found).unwrap()["total"].clone();
        assert_eq!((total(&found), total(&found[..3])), (json!(12.5), json!(9)));
    }

    #[test]
    fn what_cannot_be_written_or_is_not_allowed_is_no_answer() {
        let check =
            |found: &[(&str, &str, f32)], message: &str| assert_eq!(write(found).unwrap_err(), message);
        check(&[], "`order` is required and was not found");
        check(&[("order", "B-1", 0.9)], "`order` is not as the schema wants it");
        let order = ("order", "A-1", 0.9);
        check(&[order, ("day", "05/11/2026", 0.9)], "`day`: \"05/11/2026\" cannot be written as a date");
        check(&[order, ("items", "sofa", 0.9)], "`items`: \"sofa\" cannot be written as one of the choices");
        check(&[order, ("total", "-5", 0.9)], "`total` is not as the schema wants it");
    }

    #[test]
    fn without_a_schema_every_slot_has_its_list() {
        let found = |name, value| Found { name, value, confidence: 1.0 };
        let object = Shape::free().write(&[found("b", "2"), found("a", "1"), found("b", "3")]).unwrap();
        assert_eq!(object, json!({ "a": ["1"], "b": ["2", "3"] }));
        assert_eq!(Shape::free().canonical(&json!({ "a": "1", "b": null, "c": [] })), json!({ "a": ["1"] }));
    }

    #[test]
    fn equal_answers_are_equal_in_canonical_form() {
        let shape = Shape::new(&schema(), &slots()).unwrap();
        let one =
            json!({ "order": "A-1", "day": "5 May 2026", "total": 12.0, "items": "LAMP", "gift": null });
        let other = json!({ "items": ["lamp"], "total": 12, "day": "2026-05-05", "order": "A-1" });
        assert_eq!(shape.canonical(&one), shape.canonical(&other));
        assert!(
            shape.means("day", "5 May 2026", &json!("2026-05-05")) && !shape.means("day", "x", &json!("x"))
        );
    }

    #[test]
    fn schemas_that_no_answer_can_have_are_refused() {
        let check = |schema: Value, message: &str| {
            let error = Shape::new(&schema, &slots()).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        };
        check(json!({ "type": "string" }), "the schema describes no object");
        check(json!({ "type": 5 }), "the schema cannot be used");
        check(json!({ "properties": { "order": { "type": "object" } } }), "the property `order` is neither");
        check(
            json!({ "properties": { "order": {}, "x": {} }, "required": ["x"] }),
            "the schema requires `x`",
        );
        check(json!({ "properties": { "x": {} } }), "no property of the schema");
    }
}
