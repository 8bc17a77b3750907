//! Decides whether two branches of `oneOf` can match the same value.
//!
//! A grammar can express "exactly one" only if the branches have no value in common; then `oneOf` equals `anyOf`. Where
//! disjointness cannot be proved, each branch is narrowed until no other matches its values, or the schema is refused.
//! So an incomplete proof here costs answers, never allows a wrong one.

use serde_json::{Map, Value, json};

use super::{Lowering, automata};

/// How many references and applicators to follow.
const DEPTH_MAX: usize = 8;

/// Most comparisons per schema; after that, branches count as overlapping.
pub(super) const WORK_MAX: usize = 1_000_000;

/// A set of types as bits; integers count as numbers.
pub(super) type Kinds = u8;
pub(super) const NUMBER: Kinds = 1 << 2;
const STRING: Kinds = 1 << 3;
const ARRAY: Kinds = 1 << 4;
pub(super) const OBJECT: Kinds = 1 << 5;
pub(super) const ALL: Kinds = (1 << 6) - 1;

impl<'s> Lowering<'s> {
    /// Returns lowered branches of `oneOf`, each narrowed so that no other matches its values.
    ///
    /// # Errors
    /// Two branches of which the first cannot be told from the second.
    pub(super) fn exactly_one(
        &self,
        branches: &'s Value,
        lowered: Vec<Value>,
        parent: &'s Map<String, Value>,
    ) -> Result<Vec<Value>, (usize, usize)> {
        let originals = branches.as_array().map(Vec::as_slice).unwrap_or_default();
        let narrow = |(one, lowered): (usize, Value)| {
            let mut all = vec![lowered];
            for (other, excluded) in originals.iter().enumerate().filter(|(other, _)| *other != one) {
                if self.are_disjoint(&originals[one], excluded, Some(parent), 0) {
                    continue;
                }
                let conditions = self.exclusion(&originals[one], excluded, Some(parent));
                for condition in conditions.ok_or((one, other))? {
                    if !all.contains(&condition) {
                        all.push(condition);
                    }
                }
            }
            Ok(if all.len() == 1 { all.remove(0) } else { json!({ "allOf": all }) })
        };
        lowered.into_iter().enumerate().map(narrow).collect()
    }

    /// Uses up some of the remaining work. Returns whether enough was left.
    pub(super) fn spend(&self, work: usize) -> bool {
        let left = self.proofs_left.get().checked_sub(work);
        self.proofs_left.set(left.unwrap_or(0));
        left.is_some()
    }

    /// `parent` holds the keywords that apply to both branches.
    pub(super) fn are_disjoint(
        &self,
        one: &'s Value,
        other: &'s Value,
        parent: Option<&'s Map<String, Value>>,
        depth: usize,
    ) -> bool {
        if depth > DEPTH_MAX || !self.spend(1) {
            return false;
        }
        if *one == Value::Bool(false) || *other == Value::Bool(false) {
            return true;
        }
        let shared = parent.map_or(ALL, |parent| self.kinds_of_type(parent));
        let common = self.kinds(one, depth) & self.kinds(other, depth) & shared;
        if common == 0 {
            return true;
        }
        for (branch, against) in [(one, other), (other, one)] {
            let target = self.target(branch);
            if target.is_some_and(|target| self.are_disjoint(target, against, parent, depth + 1)) {
                return true;
            }
            if self.is_alone_by_ref(branch) {
                continue;
            }
            let list = |keyword: &str| branch.get(keyword).and_then(Value::as_array).into_iter().flatten();
            if list("allOf").any(|part| self.are_disjoint(part, against, parent, depth + 1)) {
                return true;
            }
            for keyword in ["anyOf", "oneOf"] {
                let mut parts = list(keyword).peekable();
                if parts.peek().is_some()
                    && parts.all(|part| self.are_disjoint(part, against, parent, depth + 1))
                {
                    return true;
                }
            }
        }
        if self.is_alone_by_ref(one) || self.is_alone_by_ref(other) {
            return false;
        }
        let (Some(first), Some(second)) = (one.as_object(), other.as_object()) else { return false };
        if let (Some(ones), Some(others)) = (literals(first), literals(second)) {
            return self.spend(ones.len() * others.len())
                && !ones.iter().any(|value| others.iter().any(|other| is_same(value, other)));
        }
        for (listing, against) in [(first, second), (second, first)] {
            if literals(listing)
                .is_some_and(|values| values.iter().all(|value| self.refuses(against, value, depth + 1)))
            {
                return true;
            }
        }
        match common {
            STRING => differ_as_strings(first, second),
            ARRAY => self.differ_as_arrays(first, second, depth),
            OBJECT => self.differ_in_a_property(one, other, parent, depth),
            _ => false,
        }
    }

    /// Whether both require an item, and no item is valid under both.
    fn differ_as_arrays(
        &self,
        one: &'s Map<String, Value>,
        other: &'s Map<String, Value>,
        depth: usize,
    ) -> bool {
        let least = |schema: &Map<String, Value>| {
            schema.get("minItems").and_then(Value::as_u64).is_some_and(|least| least > 0)
        };
        let is_plain = |schema: &Map<String, Value>| {
            !schema.contains_key("prefixItems") && schema.get("items").is_some_and(Value::is_object)
        };
        (least(one) || least(other))
            && is_plain(one)
            && is_plain(other)
            && self.are_disjoint(&one["items"], &other["items"], None, depth + 1)
    }

    /// Whether one branch requires a property for which the other allows none of the same values.
    fn differ_in_a_property(
        &self,
        one: &'s Value,
        other: &'s Value,
        parent: Option<&'s Map<String, Value>>,
        depth: usize,
    ) -> bool {
        let names = |schema: Option<&'s Value>| {
            schema.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
        };
        let of_parent = parent.and_then(|parent| parent.get("required"));
        let property =
            |branch: &'s Value, name: &str| branch.get("properties").and_then(|members| members.get(name));
        let forbids = |branch: &'s Value, name: &str| {
            branch.get("additionalProperties") == Some(&Value::Bool(false))
                && branch.get("patternProperties").is_none()
                && property(branch, name).is_none()
        };
        let mut required =
            names(one.get("required")).chain(names(other.get("required"))).chain(names(of_parent));
        required.any(|name| match (property(one, name), property(other, name)) {
            (Some(first), Some(second)) => self.are_disjoint(first, second, None, depth + 1),
            _ => forbids(one, name) || forbids(other, name),
        })
    }

    fn kinds(&self, schema: &'s Value, depth: usize) -> Kinds {
        let Some(keywords) = schema.as_object() else { return ALL };
        if depth > DEPTH_MAX || !self.spend(1) {
            return ALL;
        }
        if let Some(target) = self.target(schema) {
            let of_target = self.kinds(target, depth + 1);
            return if self.draft.ref_stands_alone() {
                of_target
            } else {
                of_target & self.own_kinds(keywords, depth)
            };
        }
        self.own_kinds(keywords, depth)
    }

    pub(super) fn own_kinds(&self, keywords: &'s Map<String, Value>, depth: usize) -> Kinds {
        let mut kinds = self.kinds_of_type(keywords);
        if let Some(values) = keywords.get("enum").and_then(Value::as_array) {
            kinds &= values.iter().fold(0, |kinds, value| kinds | kind_of(value));
        }
        if let Some(value) = keywords.get("const") {
            kinds &= kind_of(value);
        }
        for part in keywords.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            kinds &= self.kinds(part, depth + 1);
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(parts) = keywords.get(keyword).and_then(Value::as_array) {
                kinds &= parts.iter().fold(0, |kinds, part| kinds | self.kinds(part, depth + 1));
            }
        }
        kinds
    }

    pub(super) fn kinds_of_type(&self, keywords: &Map<String, Value>) -> Kinds {
        let bit = |name: &Value| match name.as_str() {
            Some("null") => 1,
            Some("boolean") => 1 << 1,
            Some("integer" | "number") => 1 << 2,
            Some("string") => 1 << 3,
            Some("array") => 1 << 4,
            Some("object") => OBJECT,
            _ => ALL,
        };
        match keywords.get("type") {
            None => ALL,
            Some(Value::Array(names)) => names.iter().fold(0, |kinds, name| kinds | bit(name)),
            Some(name) => bit(name),
        }
    }

    pub(super) fn target(&self, schema: &'s Value) -> Option<&'s Value> {
        let text = schema.get("$ref")?.as_str()?;
        self.resolve(text).ok().map(|(_, target, _)| target)
    }

    /// Whether a branch's other keywords are ignored, so that nothing may be concluded from them.
    pub(super) fn is_alone_by_ref(&self, schema: &Value) -> bool {
        self.draft.ref_stands_alone() && schema.get("$ref").is_some()
    }
}

/// Whether no string has the length and the pattern that both ask for.
fn differ_as_strings(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    let count = |schema: &Map<String, Value>, keyword: &str| schema.get(keyword).and_then(Value::as_u64);
    let is_below = |low: &Map<String, Value>, high: &Map<String, Value>| matches!((count(low, "maxLength"), count(high, "minLength")), (Some(most), Some(least)) if most < least);
    let pattern =
        |schema: &'_ Map<String, Value>| schema.get("pattern").and_then(Value::as_str).map(str::to_owned);
    is_below(one, other)
        || is_below(other, one)
        || matches!((pattern(one), pattern(other)), (Some(one), Some(other)) if automata::are_disjoint(&one, &other))
}

pub(super) fn kind_of(value: &Value) -> Kinds {
    match value {
        Value::Null => 1,
        Value::Bool(_) => 1 << 1,
        Value::Number(_) => 1 << 2,
        Value::String(_) => 1 << 3,
        Value::Array(_) => 1 << 4,
        Value::Object(_) => OBJECT,
    }
}

/// Returns the only values that a schema can allow, if it lists them.
pub(super) fn literals(schema: &Map<String, Value>) -> Option<Vec<&Value>> {
    if let Some(value) = schema.get("const") {
        return Some(vec![value]);
    }
    schema.get("enum").and_then(Value::as_array).map(|values| values.iter().collect())
}

/// Equality as in JSON Schema, as far as it can be decided here; doubtful cases count as equal.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(_) | Value::Object(_), Value::Array(_) | Value::Object(_)) => true,
        _ => one == other,
    }
}
