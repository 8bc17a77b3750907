//! Drafts, and the resolution of `$ref`.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Lowering, SchemaError, SchemaPath};

/// A canonical pointer, the schema there, and whether it is below an `$id` of its own.
type Target<'s> = (String, &'s Value, bool);

/// The target of each anchor; `None` if several subschemas have the name.
pub(super) type Anchors<'s> = HashMap<String, Option<Target<'s>>>;

/// A version of the standard, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draft {
    /// Draft 4: `id`; `exclusiveMinimum` is a boolean.
    Four,
    /// Drafts 6 and 7.
    Seven,
    /// 2019-09: keywords beside `$ref` count.
    Nineteen,
    /// 2020-12, named by `$schema`.
    Twenty,
    /// No draft is named: read as 2020-12, except that `items` may be a list, as in earlier drafts.
    Unnamed,
}

impl Draft {
    /// Returns the draft named by `$schema`.
    pub(super) fn of(schema: &Value) -> Result<Self, SchemaError> {
        let Some(name) = schema.get("$schema") else { return Ok(Self::Unnamed) };
        let name = name.as_str().unwrap_or_default().trim_end_matches(['#', '/']);
        let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
        Ok(match name {
            "json-schema.org/draft-04/schema" => Self::Four,
            "json-schema.org/draft-06/schema" | "json-schema.org/draft-07/schema" => Self::Seven,
            "json-schema.org/draft/2019-09/schema" => Self::Nineteen,
            "json-schema.org/draft/2020-12/schema" => Self::Twenty,
            "json-schema.org/schema" => Self::Unnamed,
            _ => {
                let reason = "not a draft from 4 to 2020-12: remove it to use 2020-12";
                return Err(SchemaError::new("$schema", "", reason));
            }
        })
    }

    /// Returns whether keywords beside `$ref` are ignored.
    pub(super) fn ref_stands_alone(self) -> bool {
        matches!(self, Self::Four | Self::Seven)
    }

    pub(super) fn is_2020_by_name(self) -> bool {
        self == Self::Twenty
    }
}

/// Returns the identifier that changes the meaning of references below a subschema.
pub(super) fn own_id(keywords: &Map<String, Value>, draft: Draft) -> Option<&str> {
    let keyword = if draft == Draft::Four { "id" } else { "$id" };
    keywords.get(keyword).and_then(Value::as_str).filter(|id| !id.starts_with('#'))
}

impl<'s> Lowering<'s> {
    /// Returns a reference to the definition of a target, and schedules the target to be lowered once.
    pub(super) fn reference(&mut self, target: &'s Value, path: &SchemaPath) -> Result<String, SchemaError> {
        let text = target.as_str().ok_or_else(|| path.refused("$ref", "must be a string"))?;
        if path.is_rebased {
            let reason =
                "a subschema above it has its own $id, which changes what it refers to: remove that $id";
            return Err(path.refused("$ref", reason));
        }
        let (pointer, schema, is_rebased) =
            self.resolve(text).map_err(|reason| path.refused("$ref", reason))?;
        if let Some(name) = self.names.get(&pointer) {
            return Ok(format!("#/$defs/{name}"));
        }
        let name = format!("d{}", self.names.len());
        self.names.insert(pointer.clone(), name.clone());
        self.pending.push((name.clone(), schema, SchemaPath { pointer, depth: 0, is_rebased }));
        Ok(format!("#/$defs/{name}"))
    }

    /// Returns the canonical pointer of a target, the target, and whether it is below an `$id` of its own.
    pub(super) fn resolve(&self, text: &str) -> Result<Target<'s>, String> {
        let (base, fragment) = text.split_once('#').unwrap_or((text, ""));
        let root_id = self.root.as_object().and_then(|root| own_id(root, self.draft)).unwrap_or_default();
        if !base.is_empty() && base != root_id.trim_end_matches('#') {
            return Err(format!("{text:?} is in another document, which is not fetched: copy it into $defs"));
        }
        let fragment =
            percent_decoded(fragment).ok_or_else(|| format!("{text:?} is not valid percent-encoding"))?;
        if !fragment.is_empty() && !fragment.starts_with('/') {
            return self
                .anchored(&fragment)
                .ok_or_else(|| format!("there is no anchor {fragment:?}, or more than one"));
        }
        let mut target = self.root;
        let mut is_rebased = false;
        let mut pointer = String::new();
        for part in fragment.split('/').skip(1) {
            is_rebased |=
                !pointer.is_empty() && target.as_object().is_some_and(|it| own_id(it, self.draft).is_some());
            let name = part.replace("~1", "/").replace("~0", "~");
            let next = match target {
                Value::Object(members) => members.get(&name),
                Value::Array(items) => name.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            };
            target = next.ok_or_else(|| format!("{text:?} does not exist"))?;
            pointer.push('/');
            pointer.push_str(part);
        }
        Ok((pointer, target, is_rebased))
    }

    fn anchored(&self, anchor: &str) -> Option<Target<'s>> {
        self.anchors.get_or_init(|| anchors(self.root, self.draft)).get(anchor).cloned().flatten()
    }
}

/// Returns all anchors of a document.
fn anchors(root: &Value, draft: Draft) -> Anchors<'_> {
    let mut anchors: Anchors<'_> = HashMap::new();
    let mut open = vec![(String::new(), root, false)];
    while let Some((pointer, value, is_rebased)) = open.pop() {
        let members: Vec<(String, &Value)> = match value {
            Value::Object(members) => members.iter().map(|(name, member)| (name.clone(), member)).collect(),
            Value::Array(items) => {
                items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
            }
            _ => continue,
        };
        let text = |keyword: &str| value.get(keyword).and_then(Value::as_str);
        let old = ["$id", "id"].map(|keyword| text(keyword).and_then(|id| id.strip_prefix('#')));
        for anchor in [text("$anchor"), text("$dynamicAnchor")].into_iter().chain(old).flatten() {
            let target = Some((pointer.clone(), value, is_rebased));
            anchors.entry(anchor.to_owned()).and_modify(|other| *other = None).or_insert(target);
        }
        let rebases = !pointer.is_empty() && value.as_object().is_some_and(|it| own_id(it, draft).is_some());
        for (name, member) in members {
            let name = name.replace('~', "~0").replace('/', "~1");
            open.push((format!("{pointer}/{name}"), member, is_rebased || rebases));
        }
    }
    anchors
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Refuses references that lead back to themselves without a property or an item in between: they have no meaning.
pub(super) fn refuse_loops(root: &Value, definitions: &Map<String, Value>) -> Result<(), SchemaError> {
    // 1: being walked, 2: done.
    let mut states = HashMap::new();
    let mut open: Vec<(Option<&str>, bool)> =
        definitions.keys().map(|name| (Some(name.as_str()), false)).collect();
    open.push((None, false));
    while let Some((name, is_left)) = open.pop() {
        if is_left {
            states.insert(name, 2);
            continue;
        }
        match states.get(&name) {
            Some(2) => continue,
            Some(_) => {
                let reason = "references lead back to themselves without a property or an item in between";
                return Err(SchemaError::new("$ref", "", reason));
            }
            None => {}
        }
        states.insert(name, 1);
        open.push((name, true));
        let schema = name.map_or(Some(root), |name| definitions.get(name));
        let mut nodes: Vec<&Value> = schema.into_iter().collect();
        while let Some(node) = nodes.pop() {
            if let Some(target) =
                node.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix("#/$defs/"))
            {
                // Only schemas being walked have state 1; those still waiting have no state.
                open.push((Some(target), false));
            }
            for keyword in ["allOf", "anyOf"] {
                nodes.extend(node.get(keyword).and_then(Value::as_array).into_iter().flatten());
            }
        }
    }
    Ok(())
}
