//! Describes an object and writes it.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::{Map, Number, Value, json};

use crate::normalise::{NORMALISERS, amount, boolean, choice, date, whole};

/// The longest chain of references that is followed.
const REFERENCES_MAX: usize = 8;

/// A value found in a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlotValue<'f> {
    /// The slot that it fills.
    pub name: &'f str,
    /// The value, copied from the text.
    pub value: &'f str,
    /// The probability that it is right, 0 to 1.
    pub confidence: f32,
}

/// Describes an object: either the properties of a schema, or every slot with a list of its values.
#[derive(Debug)]
pub struct Shape {
    schema: Option<Value>,
    validator: Option<Validator>,
    properties: Vec<Property>,
}

/// A property that a slot fills.
#[derive(Debug)]
struct Property {
    name: String,
    kind: PropertyKind,
    is_list: bool,
    is_nullable: bool,
    is_required: bool,
}

/// The form in which a property's value is written.
#[derive(Debug, PartialEq)]
enum PropertyKind {
    Text,
    Date,
    Number,
    Integer,
    Boolean,
    Choice(Vec<String>),
}

/// Why a schema does not fit a student's slots.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ShapeError {
    /// The schema does not describe an object.
    #[error("the schema does not describe an object with properties")]
    NotObject,
    /// The schema is invalid.
    #[error("not a valid schema: {0}")]
    Schema(String),
    /// No value of a text can fill this property.
    #[error("property `{0}` is not a string, number, boolean, choice or list of these")]
    Property(String),
    /// A required property has no slot.
    #[error("the schema requires `{0}`, but the student has no slot with that name")]
    NoSlot(String),
    /// Schema and student share no name.
    #[error("no property of the schema has the name of one of the student's slots")]
    NoneShared,
}

/// Why the values found do not make an answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// A value cannot be written in the form its property requires.
    #[error("`{name}`: {value:?} cannot be written as {wanted}")]
    Value {
        /// The property.
        name: String,
        /// The value.
        value: String,
        /// The required form.
        wanted: &'static str,
    },
    /// A required property was not found.
    #[error("`{0}` is required but was not found")]
    Missing(String),
    /// The schema does not allow the object.
    #[error("the schema does not allow this value of `{0}`")]
    Refused(String),
}

impl Shape {
    /// Returns the shape used without a schema: `{slot: [values]}`.
    pub const fn free() -> Self {
        Self { schema: None, validator: None, properties: Vec::new() }
    }

    /// Returns the shape that a schema describes, for a student with these slots. Its objects omit slots that the
    /// schema does not name.
    ///
    /// # Errors
    /// [`ShapeError`] if no answer of such a student could ever have this shape.
    pub fn new(schema: &Value, slots: &[String]) -> Result<Self, ShapeError> {
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(schema)
            .map_err(|error| ShapeError::Schema(error.to_string()))?;
        let root = resolved(schema, schema);
        let subschemas = root.get("properties").and_then(Value::as_object).ok_or(ShapeError::NotObject)?;
        let required: Vec<&str> = match root.get("required").and_then(Value::as_array) {
            Some(names) => names.iter().filter_map(Value::as_str).collect(),
            None => Vec::new(),
        };
        let mut properties = Vec::new();
        for (name, subschema) in subschemas {
            let is_required = required.contains(&name.as_str());
            if slots.contains(name) {
                properties.push(Property::new(name, subschema, schema, is_required)?);
            } else if is_required {
                return Err(ShapeError::NoSlot(name.clone()));
            }
        }
        if properties.is_empty() {
            return Err(ShapeError::NoneShared);
        }
        Ok(Self { schema: Some(schema.clone()), validator: Some(validator), properties })
    }

    /// Returns the names of a schema's properties, which a student for it should have as slots.
    pub fn properties(schema: &Value) -> Vec<String> {
        let properties = resolved(schema, schema).get("properties").and_then(Value::as_object);
        properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
    }

    /// Returns the schema, if there is one.
    pub const fn schema(&self) -> Option<&Value> {
        self.schema.as_ref()
    }

    /// Returns everything that decides how objects are written. What was proved about answers holds for this value
    /// only.
    pub fn facts(&self) -> Value {
        json!({ "schema": self.schema, "normalisers": NORMALISERS })
    }

    /// Returns the object that holds the values found. A property that is not a list takes the most confident of its
    /// slot's values, or the first of equally confident ones; a value found several times counts as more confident.
    ///
    /// # Errors
    /// [`WriteError`] if a value cannot be written, or the schema does not allow the object.
    pub fn write(&self, found: &[SlotValue<'_>]) -> Result<Value, WriteError> {
        let Some(validator) = &self.validator else {
            let mut slots: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            found.iter().for_each(|found| slots.entry(found.name).or_default().push(found.value));
            return Ok(json!(slots));
        };
        let mut object = Map::new();
        for property in &self.properties {
            if let Some(value) = property.write(found)? {
                object.insert(property.name.clone(), value);
            }
        }
        let object = Value::Object(object);
        let refused = validator.iter_errors(&object).next().map(|error| error.instance_path().to_string());
        match refused {
            None => Ok(object),
            Some(path) => Err(WriteError::Refused(path.trim_start_matches('/').to_owned())),
        }
    }

    /// Returns an answer in canonical form, so that equivalent answers compare equal: values as the shape writes them,
    /// whole numbers without decimals, single values wrapped where the shape has lists, and no empty or null
    /// properties.
    pub fn canonical(&self, answer: &Value) -> Value {
        let Value::Object(entries) = answer else { return answer.clone() };
        let kept = entries.iter().filter_map(|(name, value)| {
            let property = self.properties.iter().find(|property| property.name == *name);
            let is_list = self.schema.is_none() || property.is_some_and(|property| property.is_list);
            let plain = |value: &Value| match (value, property) {
                (Value::String(text), Some(property)) => {
                    property.kind.write(text).unwrap_or_else(|| value.clone())
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
        match self.properties.iter().find(|property| property.name == *name) {
            Some(property) => property.kind.write(text).as_ref() == Some(value),
            None => value.as_str().map_or_else(|| value.to_string(), str::to_owned) == text,
        }
    }
}

impl Property {
    fn new(name: &str, subschema: &Value, schema: &Value, is_required: bool) -> Result<Self, ShapeError> {
        let (subschema, mut is_nullable) = without_null(resolved(subschema, schema), schema);
        let (json_type, nullable) = types(subschema);
        is_nullable |= nullable;
        let is_list = json_type == Some("array");
        let value_schema = match (is_list, subschema.get("items")) {
            (true, Some(items)) => resolved(items, schema),
            (true, None) => &Value::Null,
            (false, _) => subschema,
        };
        let kind = PropertyKind::of(value_schema, is_list && *value_schema == Value::Null);
        let kind = kind.ok_or_else(|| ShapeError::Property(name.to_owned()))?;
        Ok(Self { name: name.to_owned(), kind, is_list, is_nullable, is_required })
    }

    fn write(&self, found: &[SlotValue<'_>]) -> Result<Option<Value>, WriteError> {
        let mut own = found.iter().filter(|found| found.name == self.name);
        let written = |found: &SlotValue<'_>| {
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
        // A value found at several places is right if one of them is; their errors are treated as independent.
        let mut readings: Vec<(&SlotValue<'_>, Option<Value>, f64)> = Vec::new();
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

impl PropertyKind {
    /// Returns the kind that a subschema asks for, or `None` if no value of a text can fill it.
    fn of(subschema: &Value, is_anything: bool) -> Option<Self> {
        if is_anything {
            return Some(Self::Text);
        }
        let constant = subschema.get("const").map(std::slice::from_ref);
        let choices = subschema.get("enum").and_then(Value::as_array).map(Vec::as_slice).or(constant);
        if let Some(choices) = choices {
            let texts: Vec<String> = choices.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            let are_texts = choices.iter().all(|choice| choice.is_string() || choice.is_null());
            return (are_texts && !texts.is_empty()).then_some(Self::Choice(texts));
        }
        match (types(subschema).0, subschema.get("format").and_then(Value::as_str)) {
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
            Self::Choice(choices) => {
                let choices: Vec<&str> = choices.iter().map(String::as_str).collect();
                choice(text, &choices).map(Value::from)
            }
        }
    }
}

/// Returns a number as JSON, as an integer if it has no decimals.
fn json_number(number: Option<f64>) -> Option<Value> {
    let number = number?;
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return Some(Value::from(number as i64));
    }
    Number::from_f64(number).map(Value::Number)
}

/// Returns the only type of a subschema besides `null`, and whether `null` is allowed too.
fn types(subschema: &Value) -> (Option<&str>, bool) {
    match subschema.get("type") {
        Some(Value::String(one)) => (Some(one), false),
        Some(Value::Array(many)) => {
            let names = || many.iter().filter_map(Value::as_str);
            let mut others = names().filter(|name| *name != "null");
            (others.next().filter(|_| others.next().is_none()), names().any(|name| name == "null"))
        }
        _ => (None, false),
    }
}

/// Returns the alternative beside `null` in `anyOf` or `oneOf`, and whether there is such a pair.
fn without_null<'s>(subschema: &'s Value, schema: &'s Value) -> (&'s Value, bool) {
    let options = ["anyOf", "oneOf"].iter().find_map(|key| subschema.get(key)).and_then(Value::as_array);
    let is_null = |option: &&Value| option.get("type").and_then(Value::as_str) == Some("null");
    match options.map(Vec::as_slice) {
        Some([one, null]) if is_null(&null) => (resolved(one, schema), true),
        Some([null, one]) if is_null(&null) => (resolved(one, schema), true),
        _ => (subschema, false),
    }
}

/// Follows references within the schema.
fn resolved<'s>(mut subschema: &'s Value, schema: &'s Value) -> &'s Value {
    for _ in 0..REFERENCES_MAX {
        let target =
            subschema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        match target.and_then(|target| schema.pointer(target)) {
            Some(next) => subschema = next,
            None => break,
        }
    }
    subschema
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
        let found: Vec<SlotValue<'_>> = found
            .iter()
            .map(|(name, value, confidence)| SlotValue { name, value, confidence: *confidence })
            .collect();
        shape.write(&found).map_err(|error| error.to_string())
    }

    #[test]
    fn writes_values_in_the_form_their_properties_require() {
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
    fn a_value_found_several_times_counts_as_more_confident() {
        let order = ("order", "A-1", 0.9);
        let found = [order, ("total", "9.00", 0.6), ("total", "RM 12.50", 0.5), ("total", "12.5", 0.5)];
        let total = |found: &[(&str, &str, f32)]| write(found).unwrap()["total"].clone();
        assert_eq!((total(&found), total(&found[..3])), (json!(12.5), json!(9)));
    }

    #[test]
    fn rejects_values_that_cannot_be_written_or_are_not_allowed() {
        let check =
            |found: &[(&str, &str, f32)], message: &str| assert_eq!(write(found).unwrap_err(), message);
        check(&[], "`order` is required but was not found");
        check(&[("order", "B-1", 0.9)], "the schema does not allow this value of `order`");
        let order = ("order", "A-1", 0.9);
        check(&[order, ("day", "05/11/2026", 0.9)], "`day`: \"05/11/2026\" cannot be written as a date");
        check(&[order, ("items", "sofa", 0.9)], "`items`: \"sofa\" cannot be written as one of the choices");
        check(&[order, ("total", "-5", 0.9)], "the schema does not allow this value of `total`");
    }

    #[test]
    fn without_a_schema_every_slot_gets_a_list() {
        let found = |name, value| SlotValue { name, value, confidence: 1.0 };
        let object = Shape::free().write(&[found("b", "2"), found("a", "1"), found("b", "3")]).unwrap();
        assert_eq!(object, json!({ "a": ["1"], "b": ["2", "3"] }));
        assert_eq!(Shape::free().canonical(&json!({ "a": "1", "b": null, "c": [] })), json!({ "a": ["1"] }));
    }

    #[test]
    fn equivalent_answers_have_the_same_canonical_form() {
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
    fn rejects_schemas_that_no_answer_can_satisfy() {
        let check = |schema: Value, message: &str| {
            let error = Shape::new(&schema, &slots()).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        };
        check(json!({ "type": "string" }), "the schema does not describe an object");
        check(json!({ "type": 5 }), "not a valid schema");
        check(json!({ "properties": { "order": { "type": "object" } } }), "property `order` is not a string");
        check(
            json!({ "properties": { "order": {}, "x": {} }, "required": ["x"] }),
            "the schema requires `x`",
        );
        check(json!({ "properties": { "x": {} } }), "no property of the schema");
    }
}
