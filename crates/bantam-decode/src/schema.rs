//! JSON Schema, brought down to the part that a grammar can honour, or refused by keyword.
//!
//! llguidance reads a schema leniently: what it takes for an annotation it skips, and drafts differ in what that
//! is. So it never sees the schema that was given. [`lower`] walks that one keyword by keyword, draft by draft,
//! and writes another, which has only what llguidance honours exactly: plain types with bounds, `pattern`
//! (translated), `enum`, `const`, `anyOf`, `allOf`, and `$ref` to definitions that are named here. `format`
//! becomes a pattern, `oneOf` becomes `anyOf` where no value can match two branches. Whatever has no rule here
//! is refused with its place.
//!
//! What is allowed may be less than what the schema allows, never more. It is less in these ways:
//!
//! - properties come in the order of the schema;
//! - integers are written without fraction or exponent; bounded numbers without exponent;
//! - numbers of a declared type are within 10^18, which every reader can hold;
//! - strings have no control characters but those with a short escape, and each string is written in one way;
//! - formats are matched in their common forms (a host name has at most three labels, for instance).

mod annotations;
mod disjoint;
mod format;
mod object;
mod pattern;
mod reference;
mod scalar;

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;

use annotations::Role;
use reference::Draft;
use serde_json::{Map, Value, json};

/// How large a schema may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SchemaLimits {
    pub(crate) depth_max: usize,
    pub(crate) subschemas_max: usize,
    pub(crate) pattern_bytes_max: usize,
}

/// Why a schema cannot constrain an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{keyword}` at {}: {reason}", if pointer.is_empty() { "the root" } else { pointer })]
pub struct SchemaError {
    /// The keyword that stands in the way.
    pub keyword: String,
    /// The JSON pointer of the subschema that has it; empty for the root.
    pub pointer: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl SchemaError {
    fn new(keyword: &str, pointer: &str, reason: impl Into<String>) -> Self {
        Self { keyword: keyword.to_owned(), pointer: pointer.to_owned(), reason: reason.into() }
    }
}

/// Where the walk is.
#[derive(Clone, Debug)]
struct Place {
    pointer: String,
    depth: usize,
    /// Whether a subschema above has an `$id`, so that references mean something else.
    is_rebased: bool,
}

impl Place {
    fn below(&self, keyword: &str, member: impl std::fmt::Display) -> Self {
        let member = member.to_string().replace('~', "~0").replace('/', "~1");
        self.at(format!("{}/{keyword}/{member}", self.pointer))
    }

    fn at(&self, pointer: String) -> Self {
        Self { pointer, depth: self.depth + 1, is_rebased: self.is_rebased }
    }

    fn refused(&self, keyword: &str, reason: impl Into<String>) -> SchemaError {
        SchemaError::new(keyword, &self.pointer, reason)
    }
}

/// Returns a schema of equal or narrower meaning that llguidance honours exactly; always an object.
pub(crate) fn lower(schema: &Value, limits: &SchemaLimits) -> Result<Value, SchemaError> {
    let place = Place { pointer: String::new(), depth: 0, is_rebased: false };
    let mut lowering = Lowering {
        root: schema,
        draft: Draft::of(schema)?,
        limits: *limits,
        names: HashMap::new(),
        pending: Vec::new(),
        subschemas: 0,
        multiples: Vec::new(),
        anchors: OnceCell::new(),
        proofs_left: Cell::new(disjoint::WORK_MAX),
    };
    let mut lowered = match lowering.schema(schema, &place)? {
        Value::Bool(true) => json!({}),
        Value::Bool(false) => return Err(place.refused("false", "no JSON matches it: allow something")),
        lowered => lowered,
    };
    let mut definitions = Map::new();
    while let Some((name, target, place)) = lowering.pending.pop() {
        let definition = lowering.schema(target, &place)?;
        definitions.insert(name, definition);
    }
    reference::refuse_loops(&lowered, &definitions)?;
    scalar::check_multiples(&lowering.multiples)?;
    if let Some(object) = lowered.as_object_mut().filter(|_| !definitions.is_empty()) {
        object.insert("$defs".to_owned(), Value::Object(definitions));
    }
    Ok(lowered)
}

struct Lowering<'s> {
    root: &'s Value,
    draft: Draft,
    limits: SchemaLimits,
    /// The name of each definition, by the pointer of what it was.
    names: HashMap<String, String>,
    pending: Vec<(String, &'s Value, Place)>,
    subschemas: usize,
    multiples: Vec<scalar::Multiple>,
    anchors: OnceCell<reference::Anchors<'s>>,
    /// What may still be spent on proving branches of `oneOf` apart.
    proofs_left: Cell<usize>,
}

impl<'s> Lowering<'s> {
    fn schema(&mut self, schema: &'s Value, place: &Place) -> Result<Value, SchemaError> {
        self.subschemas += 1;
        if self.subschemas > self.limits.subschemas_max {
            let reason = format!(
                "the schema has more than {} subschemas: make it smaller",
                self.limits.subschemas_max
            );
            return Err(place.refused("schema", reason));
        }
        if place.depth > self.limits.depth_max {
            let reason = format!("nested deeper than {} subschemas: make it flatter", self.limits.depth_max);
            return Err(place.refused("schema", reason));
        }
        match schema {
            Value::Bool(_) => Ok(schema.clone()),
            Value::Object(keywords) => self.keywords(keywords, place),
            _ => Err(place.refused("schema", "a schema is an object, true or false")),
        }
    }

    fn keywords(&mut self, keywords: &'s Map<String, Value>, place: &Place) -> Result<Value, SchemaError> {
        let mut place = place.clone();
        let target = keywords.get("$ref");
        if let Some(target) = target.filter(|_| self.draft.ref_stands_alone()) {
            // Up to draft 7 whatever stands beside `$ref` is ignored.
            return Ok(json!({ "$ref": self.reference(target, &place)? }));
        }
        place.is_rebased |= !place.pointer.is_empty() && reference::own_id(keywords, self.draft).is_some();
        for (keyword, value) in keywords {
            if let Role::Refused(advice) = annotations::role(keyword, value, keywords) {
                return Err(place.refused(keyword, advice));
            }
        }
        let mut lowered = Map::new();
        let mut all = Vec::new();
        let types = scalar::types(keywords, &place)?;
        if let Some(types) = &types {
            lowered.insert("type".to_owned(), json!(types));
        }
        self.numbers(keywords, types.as_deref(), &place, &mut lowered, &mut all)?;
        scalar::strings(keywords, &place, &self.limits, &mut lowered, &mut all)?;
        self.arrays(keywords, &place, &mut lowered)?;
        self.objects(keywords, &place, &mut lowered, &mut all)?;
        scalar::literals(keywords, &place, &mut lowered)?;
        self.combinations(keywords, &place, &mut lowered, &mut all)?;
        if !all.is_empty() {
            lowered.insert("allOf".to_owned(), Value::Array(all));
        }
        if let Some(target) = target {
            lowered.insert("$ref".to_owned(), Value::String(self.reference(target, &place)?));
        }
        Ok(Value::Object(lowered))
    }

    fn combinations(
        &mut self,
        keywords: &'s Map<String, Value>,
        place: &Place,
        lowered: &mut Map<String, Value>,
        all: &mut Vec<Value>,
    ) -> Result<(), SchemaError> {
        if let Some(branches) = keywords.get("anyOf") {
            lowered.insert("anyOf".to_owned(), Value::Array(self.branches("anyOf", branches, place)?));
        }
        if let Some(branches) = keywords.get("allOf") {
            all.extend(self.branches("allOf", branches, place)?);
        }
        if let Some(branches) = keywords.get("oneOf") {
            let lowered_branches = self.branches("oneOf", branches, place)?;
            if let Some((one, other)) = self.overlap(branches, keywords) {
                let reason = format!(
                    "branches {one} and {other} may match the same JSON: use anyOf, or give both a required \
                     property with different constants"
                );
                return Err(place.refused("oneOf", reason));
            }
            all.push(json!({ "anyOf": lowered_branches }));
        }
        Ok(())
    }

    fn branches(
        &mut self,
        keyword: &str,
        branches: &'s Value,
        place: &Place,
    ) -> Result<Vec<Value>, SchemaError> {
        let branches = branches.as_array().filter(|branches| !branches.is_empty());
        let branches =
            branches.ok_or_else(|| place.refused(keyword, "it is a list of one or more schemas"))?;
        let lower = |(member, branch)| self.schema(branch, &place.below(keyword, member));
        branches.iter().enumerate().map(lower).collect()
    }
}

#[cfg(test)]
mod tests;
