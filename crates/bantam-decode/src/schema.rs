//! Lowers JSON Schema to the subset that a grammar can honour exactly, or refuses it by keyword.
//!
//! llguidance reads schemas leniently: it skips what it takes for annotations, and drafts differ in what those are.
//! So it never sees the original schema. [`lower`] walks the original keyword by keyword, following its draft, and
//! writes a new schema with only what llguidance honours exactly: plain types with bounds, `pattern` (translated),
//! `enum`, `const`, `anyOf`, `allOf`, and `$ref` to definitions named here. `format` becomes a pattern; `oneOf`
//! becomes `anyOf` of branches that are narrowed until no value can match two. A keyword without a rule here is refused
//! with its path.
//!
//! The result may allow less than the schema, never more. It allows less in these ways:
//!
//! - properties come in the order of the schema;
//! - integers have no fraction or exponent; bounded numbers have no exponent;
//! - numbers of a declared type are within 10^18, which every reader can hold;
//! - strings contain only control characters with a short escape, and each string has one spelling;
//! - formats are limited to their common forms (for instance, a host name has at most three labels);
//! - what `not`, another branch of `oneOf` or an `if` must not match fails it in one way: a property is absent or has
//!   another of its values, a bound is passed, or the type differs;
//! - arrays under `uniqueItems` list the values of an `enum` in its order;
//! - objects under `maxProperties` or `propertyNames` may have no further properties, or only such as match one pattern.

mod annotations;
mod automata;
pub(crate) mod conjunction;
mod disjoint;
mod exclude;
mod format;
mod object;
mod pattern;
mod reference;
mod scalar;
mod unique;

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;

use annotations::Role;
use reference::Draft;
use serde_json::{Map, Value, json};

/// Limits on the size of a schema.
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
    /// The keyword that cannot be honoured.
    pub keyword: String,
    /// The JSON pointer of its subschema; empty for the root.
    pub pointer: String,
    /// What is wrong, and what to do about it.
    pub reason: String,
}

impl SchemaError {
    fn new(keyword: &str, pointer: &str, reason: impl Into<String>) -> Self {
        Self { keyword: keyword.to_owned(), pointer: pointer.to_owned(), reason: reason.into() }
    }
}

/// The current position in the schema.
#[derive(Clone, Debug)]
struct SchemaPath {
    pointer: String,
    depth: usize,
    /// Whether a subschema above has its own `$id`, which changes the meaning of references.
    is_rebased: bool,
}

impl SchemaPath {
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

/// Returns an equivalent or narrower schema that llguidance honours exactly; always an object.
pub(crate) fn lower(schema: &Value, limits: &SchemaLimits) -> Result<Value, SchemaError> {
    let path = SchemaPath { pointer: String::new(), depth: 0, is_rebased: false };
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
    let mut lowered = match lowering.schema(schema, &path)? {
        Value::Bool(true) => json!({}),
        Value::Bool(false) => {
            return Err(path.refused("false", "no JSON value is valid under `false`: allow something"));
        }
        lowered => lowered,
    };
    let mut definitions = Map::new();
    while let Some((name, target, path)) = lowering.pending.pop() {
        let definition = lowering.schema(target, &path)?;
        definitions.insert(name, definition);
    }
    reference::refuse_loops(&lowered, &definitions)?;
    scalar::check_multiples(&lowering.multiples)?;
    conjunction::check(&lowered, &definitions)?;
    if let Some(object) = lowered.as_object_mut().filter(|_| !definitions.is_empty()) {
        object.insert("$defs".to_owned(), Value::Object(definitions));
    }
    Ok(lowered)
}

struct Lowering<'s> {
    root: &'s Value,
    draft: Draft,
    limits: SchemaLimits,
    /// The name of each definition, by the pointer of its original.
    names: HashMap<String, String>,
    pending: Vec<(String, &'s Value, SchemaPath)>,
    subschemas: usize,
    multiples: Vec<scalar::Multiple>,
    anchors: OnceCell<reference::Anchors<'s>>,
    /// Remaining work for proving branches of `oneOf` disjoint.
    proofs_left: Cell<usize>,
}

impl<'s> Lowering<'s> {
    fn schema(&mut self, schema: &'s Value, path: &SchemaPath) -> Result<Value, SchemaError> {
        self.subschemas += 1;
        if self.subschemas > self.limits.subschemas_max {
            let reason = format!(
                "the schema has more than {} subschemas: make it smaller",
                self.limits.subschemas_max
            );
            return Err(path.refused("schema", reason));
        }
        if path.depth > self.limits.depth_max {
            let reason = format!("nested deeper than {} subschemas: make it flatter", self.limits.depth_max);
            return Err(path.refused("schema", reason));
        }
        match schema {
            Value::Bool(_) => Ok(schema.clone()),
            Value::Object(keywords) => self.keywords(keywords, path),
            _ => Err(path.refused("schema", "a schema must be an object, true or false")),
        }
    }

    fn keywords(
        &mut self,
        keywords: &'s Map<String, Value>,
        path: &SchemaPath,
    ) -> Result<Value, SchemaError> {
        let mut path = path.clone();
        let target = keywords.get("$ref");
        if let Some(target) = target.filter(|_| self.draft.ref_stands_alone()) {
            // Up to draft 7, all keywords beside `$ref` are ignored.
            return Ok(json!({ "$ref": self.reference(target, &path)? }));
        }
        path.is_rebased |= !path.pointer.is_empty() && reference::own_id(keywords, self.draft).is_some();
        for (keyword, value) in keywords {
            if let Role::Refused(advice) = annotations::role(keyword, value) {
                return Err(path.refused(keyword, advice));
            }
        }
        let mut lowered = Map::new();
        let mut all = Vec::new();
        let types = scalar::types(keywords, &path)?;
        if let Some(types) = &types {
            lowered.insert("type".to_owned(), json!(types));
        }
        self.numbers(keywords, types.as_deref(), &path, &mut lowered, &mut all)?;
        scalar::strings(keywords, &path, &self.limits, &mut lowered, &mut all)?;
        self.arrays(keywords, &path, &mut lowered, &mut all)?;
        self.objects(keywords, &path, &mut lowered, &mut all)?;
        scalar::literals(keywords, &path, &mut lowered)?;
        self.combinations(keywords, &path, &mut lowered, &mut all)?;
        if !all.is_empty() {
            lowered.insert("allOf".to_owned(), Value::Array(all));
        }
        if let Some(target) = target {
            lowered.insert("$ref".to_owned(), Value::String(self.reference(target, &path)?));
        }
        Ok(Value::Object(lowered))
    }

    fn combinations(
        &mut self,
        keywords: &'s Map<String, Value>,
        path: &SchemaPath,
        lowered: &mut Map<String, Value>,
        all: &mut Vec<Value>,
    ) -> Result<(), SchemaError> {
        if let Some(branches) = keywords.get("anyOf") {
            lowered.insert("anyOf".to_owned(), Value::Array(self.branches("anyOf", branches, path)?));
        }
        if let Some(branches) = keywords.get("allOf") {
            all.extend(self.branches("allOf", branches, path)?);
        }
        if let Some(branches) = keywords.get("oneOf") {
            let lowered_branches = self.branches("oneOf", branches, path)?;
            let apart = self.exactly_one(branches, lowered_branches, keywords).map_err(|(one, other)| {
                let reason = format!(
                    "what branch {one} matches, branch {other} may match too: use anyOf, or give both a required \
                     property with different constants"
                );
                path.refused("oneOf", reason)
            })?;
            all.push(json!({ "anyOf": apart }));
        }
        self.exclusions(keywords, path, all)?;
        Ok(())
    }

    fn branches(
        &mut self,
        keyword: &str,
        branches: &'s Value,
        path: &SchemaPath,
    ) -> Result<Vec<Value>, SchemaError> {
        let branches = branches.as_array().filter(|branches| !branches.is_empty());
        let branches =
            branches.ok_or_else(|| path.refused(keyword, "must be a non-empty list of schemas"))?;
        let lower = |(member, branch)| self.schema(branch, &path.below(keyword, member));
        branches.iter().enumerate().map(lower).collect()
    }
}

#[cfg(test)]
mod tests;
