//! Narrows one schema so that its values are certainly invalid under another.
//!
//! A grammar cannot say "not". But `oneOf`, `not` and `if` only need some condition under which a schema fails, and
//! most schemas fail in a way that can be written down: a required property is absent, a property has another of its
//! listed values, a string is longer. Such a condition is sufficient, not necessary, so the result may allow less than
//! the original, never more.

use serde_json::{Map, Value, json};

use super::disjoint::{ALL, Kinds, NUMBER, OBJECT, literals};
use super::{Lowering, SchemaError, SchemaPath};

/// How many properties deep to look for a difference.
const DEPTH_MAX: usize = 4;
/// Most parts of a schema to look at.
const PARTS_MAX: usize = 64;

const STRING: Kinds = 1 << 3;
const ARRAY: Kinds = 1 << 4;
/// The types of values, by bit.
const NAMES: [&str; 6] = ["null", "boolean", "number", "string", "array", "object"];

/// The schemas that all apply to one value.
type Parts<'s> = Vec<&'s Map<String, Value>>;

/// A way to fail a schema: from what applies to a value, the keywords to fail, and the depth, to a condition.
type Exclusion<'s> = fn(&Lowering<'s>, &Parts<'s>, &'s Map<String, Value>, usize) -> Option<Value>;

impl<'s> Lowering<'s> {
    /// Lowers `not`, and `if` with its cases.
    pub(super) fn exclusions(
        &mut self,
        keywords: &'s Map<String, Value>,
        path: &SchemaPath,
        all: &mut Vec<Value>,
    ) -> Result<(), SchemaError> {
        if let Some(excluded) = keywords.get("not") {
            let reason = "no way to fail it was found that an answer can be held to: list what is allowed, with enum or \
                anyOf";
            all.extend(self.fails(keywords, excluded).ok_or_else(|| path.refused("not", reason))?);
        }
        let Some(condition) = keywords.get("if") else { return Ok(()) };
        let (then, other) = (keywords.get("then"), keywords.get("else"));
        if then.is_none() && other.is_none() {
            return Ok(());
        }
        let reason =
            "no way to fail it was found that an answer can be held to: write each case as a branch of anyOf";
        let mut fails = self.fails(keywords, condition).ok_or_else(|| path.refused("if", reason))?;
        let mut holds = Vec::new();
        let mut lower = |keyword: &str, case: &'s Value| {
            self.schema(case, &path.at(format!("{}/{keyword}", path.pointer)))
        };
        holds.push(lower("if", condition)?);
        if let Some(then) = then {
            holds.push(lower("then", then)?);
        }
        if let Some(other) = other {
            fails.push(lower("else", other)?);
        }
        all.push(json!({ "anyOf": [{ "allOf": holds }, { "allOf": fails }] }));
        Ok(())
    }

    /// Returns lowered conditions under which a schema's values are invalid under another; `None` if none is known.
    fn fails(&self, keywords: &'s Map<String, Value>, other: &'s Value) -> Option<Vec<Value>> {
        let mut parts = vec![keywords];
        for part in keywords.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.parts(part, &mut parts);
        }
        if let Some(target) = keywords.get("$ref").and_then(Value::as_str)
            && let Ok((_, target, _)) = self.resolve(target)
        {
            self.parts(target, &mut parts);
        }
        let mut conditions = Vec::new();
        self.exclude(&parts, other, 0, &mut conditions).then_some(conditions)
    }

    /// Returns lowered conditions on the values of `schema`, under which `other` refuses them; empty if it always does.
    /// `None` if no such condition is known.
    pub(super) fn exclusion(
        &self,
        schema: &'s Value,
        other: &'s Value,
        parent: Option<&'s Map<String, Value>>,
    ) -> Option<Vec<Value>> {
        let mut parts: Parts<'s> = parent.into_iter().collect();
        self.parts(schema, &mut parts);
        let mut conditions = Vec::new();
        self.exclude(&parts, other, 0, &mut conditions).then_some(conditions)
    }

    /// Adds everything that must hold of a value of `schema`, without its alternatives.
    fn parts(&self, schema: &'s Value, parts: &mut Parts<'s>) {
        let Some(keywords) = schema.as_object() else { return };
        if parts.len() >= PARTS_MAX || parts.iter().any(|part| std::ptr::eq(*part, keywords)) {
            return;
        }
        let target = self.target(schema);
        if target.is_none() || !self.is_alone_by_ref(schema) {
            parts.push(keywords);
            for part in keywords.get("allOf").and_then(Value::as_array).into_iter().flatten() {
                self.parts(part, parts);
            }
        }
        if let Some(target) = target {
            self.parts(target, parts);
        }
    }

    /// Adds conditions under which `other` fails for values of `parts`.
    fn exclude(
        &self,
        parts: &Parts<'s>,
        other: &'s Value,
        depth: usize,
        conditions: &mut Vec<Value>,
    ) -> bool {
        if depth > DEPTH_MAX || !self.spend(1) {
            return false;
        }
        let mut others = Vec::new();
        self.parts(other, &mut others);
        if *other == Value::Bool(false) || others.iter().any(|other| self.fail_together(parts, other)) {
            return true;
        }
        // One part that fails is enough, so the ways are tried over all parts from the mildest on.
        let ways: [Exclusion<'s>; 5] = [
            Self::without_required,
            Self::with_another_property,
            Self::with_other_literals,
            Self::with_other_bounds,
            Self::with_other_type,
        ];
        for way in ways {
            if let Some(condition) = others.iter().find_map(|other| way(self, parts, other, depth)) {
                conditions.push(condition);
                return true;
            }
        }
        // All alternatives of a part must fail.
        others.iter().any(|other| {
            ["anyOf", "oneOf"].iter().any(|keyword| {
                let alternatives = other.get(*keyword).and_then(Value::as_array);
                let mut made = Vec::new();
                let fail = alternatives.is_some_and(|alternatives| {
                    alternatives
                        .iter()
                        .all(|alternative| self.exclude(parts, alternative, depth + 1, &mut made))
                });
                if fail {
                    conditions.append(&mut made);
                }
                fail
            })
        })
    }

    /// Whether no value of `parts` is valid under `other`, by their types.
    fn fail_together(&self, parts: &Parts<'s>, other: &Map<String, Value>) -> bool {
        self.kinds_of(parts) & self.kinds_of_type(other) == 0
    }

    fn kinds_of(&self, parts: &Parts<'s>) -> Kinds {
        parts.iter().fold(ALL, |kinds, part| kinds & self.own_kinds(part, 0))
    }

    /// A property that `other` requires is absent. One that `parts` do not list is the least loss.
    fn without_required(&self, parts: &Parts<'s>, other: &'s Map<String, Value>, _: usize) -> Option<Value> {
        let is_required = |name: &str| parts.iter().any(|part| required(part).any(|other| other == name));
        let is_listed = |name: &str| parts.iter().any(|part| property(part, name).is_some());
        let candidates: Vec<&str> = required(other).filter(|name| !is_required(name)).collect();
        let name = candidates.iter().find(|name| !is_listed(name)).or(candidates.first())?;
        (self.kinds_of(parts) & OBJECT != 0)
            .then(|| json!({ "type": ["object"], "properties": { (*name): false } }))
    }

    /// A property has a value that `other` refuses, or is one that `other` does not allow.
    fn with_another_property(
        &self,
        parts: &Parts<'s>,
        other: &'s Map<String, Value>,
        depth: usize,
    ) -> Option<Value> {
        if self.kinds_of(parts) & OBJECT == 0 {
            return None;
        }
        let mut listed: Vec<&'s str> = Vec::new();
        for (name, _) in parts.iter().flat_map(|part| members(part)) {
            if !listed.contains(&name) {
                listed.push(name);
            }
        }
        let is_required = |name: &&str| parts.iter().any(|part| required(part).any(|other| other == *name));
        let (always, sometimes): (Vec<&str>, Vec<&str>) = listed.into_iter().partition(is_required);
        for name in always.into_iter().chain(sometimes) {
            let Some(of_other) = property(other, name) else {
                let is_closed = other.get("additionalProperties") == Some(&Value::Bool(false))
                    && !other.contains_key("patternProperties");
                if is_closed {
                    return Some(json!({ "type": ["object"], "required": [name] }));
                }
                continue;
            };
            let mut inner = Vec::new();
            parts.iter().filter_map(|part| property(part, name)).for_each(|it| self.parts(it, &mut inner));
            let mut conditions = Vec::new();
            let of_parts = parts.iter().find_map(|part| property(part, name));
            let is_apart = of_parts.is_some_and(|one| self.are_disjoint(one, of_other, None, 0));
            if is_apart || self.exclude(&inner, of_other, depth + 1, &mut conditions) {
                let member = json!({ "allOf": conditions });
                let member = if conditions.is_empty() { json!({}) } else { member };
                return Some(
                    json!({ "type": ["object"], "required": [name], "properties": { name: member } }),
                );
            }
        }
        None
    }

    /// Of listed values, those that `other` refuses.
    fn with_other_literals(
        &self,
        parts: &Parts<'s>,
        other: &'s Map<String, Value>,
        _: usize,
    ) -> Option<Value> {
        let listed = parts.iter().find_map(|part| literals(part))?;
        let rest: Vec<&Value> = listed.into_iter().filter(|value| self.refuses(other, value, 0)).collect();
        (!rest.is_empty()).then(|| json!({ "enum": rest }))
    }

    /// Strings, arrays or numbers beyond the bounds of `other`.
    fn with_other_bounds(&self, parts: &Parts<'s>, other: &'s Map<String, Value>, _: usize) -> Option<Value> {
        let count = |keyword: &str| other.get(keyword).and_then(Value::as_u64).filter(|count| *count < 1_000);
        let between = |kind: &str, most: &str, least: &str| {
            let below = count(least).filter(|least| *least > 0);
            let below = below.map(|least| json!({ "type": [kind], (most): least - 1 }));
            below.or_else(|| count(most).map(|most| json!({ "type": [kind], (least): most + 1 })))
        };
        let kinds = self.kinds_of(parts) & self.kinds_of_type(other);
        match kinds {
            STRING => {
                let longest = literals(other).and_then(|values| {
                    let lengths = values.iter().map(|value| value.as_str().map(|text| text.chars().count()));
                    lengths.flatten().max()
                });
                let longer = longest.filter(|longest| *longest < 1_000);
                let longer = longer.map(|longest| json!({ "type": ["string"], "minLength": longest + 1 }));
                longer.or_else(|| between("string", "maxLength", "minLength"))
            }
            ARRAY => between("array", "maxItems", "minItems").or_else(|| {
                // Arrays with an item cannot be valid under both.
                let items = parts.iter().find_map(|part| part.get("items"))?;
                let apart = self.are_disjoint(items, other.get("items")?, None, 0);
                let is_plain = parts.iter().all(|part| !part.contains_key("prefixItems"))
                    && !other.contains_key("prefixItems")
                    && items.is_object();
                (apart && is_plain).then(|| json!({ "type": ["array"], "minItems": 1 }))
            }),
            NUMBER => {
                let bound = |keyword: &str| {
                    let is_plain = |bound: &f64| bound.abs() < 1e15 && (*bound == 0.0 || bound.abs() > 1e-9);
                    other.get(keyword).filter(|bound| bound.as_f64().as_ref().is_some_and(is_plain))
                };
                let below = |bound: &Value| json!({ "type": ["number"], "exclusiveMaximum": bound });
                let above = |bound: &Value| json!({ "type": ["number"], "exclusiveMinimum": bound });
                bound("minimum").map(below).or_else(|| bound("maximum").map(above))
            }
            _ => None,
        }
    }

    /// Values of a type that `other` does not allow.
    fn with_other_type(&self, parts: &Parts<'s>, other: &'s Map<String, Value>, _: usize) -> Option<Value> {
        let rest = self.kinds_of(parts) & !self.own_kinds(other, 0);
        let names = NAMES.iter().enumerate().filter(|(bit, _)| rest >> bit & 1 == 1);
        let names: Vec<&str> = names.map(|(_, name)| *name).collect();
        (!names.is_empty()).then(|| json!({ "type": names }))
    }

    /// Whether a value is certainly invalid under a schema.
    pub(super) fn refuses(&self, keywords: &'s Map<String, Value>, value: &Value, depth: usize) -> bool {
        if depth > DEPTH_MAX || !self.spend(1) {
            return false;
        }
        let inner = |schema: &'s Value| match schema {
            Value::Bool(allows) => !allows,
            Value::Object(keywords) => self.refuses(keywords, value, depth + 1),
            _ => false,
        };
        if let Some(target) = keywords.get("$ref").and_then(Value::as_str)
            && let Ok((_, target, _)) = self.resolve(target)
            && inner(target)
        {
            return true;
        }
        if keywords.contains_key("$ref") && self.draft.ref_stands_alone() {
            return false;
        }
        let list = |keyword: &str| keywords.get(keyword).and_then(Value::as_array).into_iter().flatten();
        if list("allOf").any(inner)
            || ["anyOf", "oneOf"].iter().any(|keyword| {
                let mut parts = list(keyword).peekable();
                parts.peek().is_some() && parts.all(inner)
            })
        {
            return true;
        }
        if self.kinds_of_type(keywords) & super::disjoint::kind_of(value) == 0
            || literals(keywords)
                .is_some_and(|listed| !listed.iter().any(|other| super::disjoint::is_same(value, other)))
        {
            return true;
        }
        let count = |keyword: &str| keywords.get(keyword).and_then(Value::as_u64);
        let is_outside = |length: usize, least: &str, most: &str| {
            count(least).is_some_and(|least| (length as u64) < least)
                || count(most).is_some_and(|most| length as u64 > most)
        };
        match value {
            Value::String(text) => {
                is_outside(text.chars().count(), "minLength", "maxLength")
                    || keywords
                        .get("pattern")
                        .and_then(Value::as_str)
                        .is_some_and(|pattern| super::automata::matches(pattern, text) == Some(false))
            }
            Value::Array(items) => is_outside(items.len(), "minItems", "maxItems"),
            Value::Object(members) => {
                required(keywords).any(|name| !members.contains_key(name))
                    || members.iter().any(|(name, member)| {
                        property(keywords, name)
                            .and_then(Value::as_object)
                            .is_some_and(|schema| self.refuses(schema, member, depth + 1))
                    })
            }
            Value::Number(number) => {
                let bound = |keyword: &str| keywords.get(keyword).and_then(Value::as_f64);
                number.as_f64().is_some_and(|number| {
                    bound("minimum").is_some_and(|least| number < least)
                        || bound("maximum").is_some_and(|most| number > most)
                })
            }
            Value::Null | Value::Bool(_) => false,
        }
    }
}

fn required(keywords: &Map<String, Value>) -> impl Iterator<Item = &str> {
    keywords.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn members(keywords: &Map<String, Value>) -> impl Iterator<Item = (&str, &Value)> {
    let members = keywords.get("properties").and_then(Value::as_object).into_iter().flatten();
    members.map(|(name, member)| (name.as_str(), member))
}

fn property<'s>(keywords: &'s Map<String, Value>, name: &str) -> Option<&'s Value> {
    keywords.get("properties")?.get(name)
}
