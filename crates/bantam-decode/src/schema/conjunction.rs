//! Refuses patterns that meet in one string and would multiply.
//!
//! Where several patterns apply to one string, the lexer follows them all at once. Each can be in many places at a time,
//! and one state may hold every combination of those. No limit on work counts what happens within one state, so the
//! combinations are bounded here, before the engine sees the schema, by the product of the places of each pattern.

use std::collections::HashSet;

use regex_syntax::hir::{Hir, HirKind};
use serde_json::{Map, Value};

use super::SchemaError;

/// Most combinations of places. The largest state with that many takes some tens of megabytes.
pub(crate) const COMBINATIONS_MAX: u64 = 1 << 20;
/// Most steps from schema to schema.
const STEPS_MAX: usize = 400_000;

/// What applies to one value.
enum Part<'v> {
    /// The keywords of this schema that do not lead to other schemas for the same value.
    Keywords(&'v Map<String, Value>),
    /// One of these.
    Any(Vec<Vec<Part<'v>>>),
}

/// The way from a value to one inside it.
#[derive(Clone, Copy)]
enum Step<'v> {
    /// To a member with this name, or with any name that no schema lists.
    Member(Option<&'v str>),
    /// To the item at this index.
    Item(usize),
}

/// Checks a lowered schema.
pub(super) fn check<'v>(root: &'v Value, definitions: &'v Map<String, Value>) -> Result<(), SchemaError> {
    let mut walk = Walk { definitions, steps_left: STEPS_MAX };
    let refused = |reason: &str| SchemaError::new("allOf", "", reason);
    let too_many = || refused("too many schemas apply to the same values: merge some of them");
    let mut seen: HashSet<Vec<usize>> = HashSet::new();
    let mut first = Vec::new();
    walk.add(root, &mut first).ok_or_else(too_many)?;
    let mut open = vec![first];
    while let Some(mut parts) = open.pop() {
        let mut key = Vec::new();
        addresses(&parts, &mut key);
        if parts.is_empty() || !seen.insert(key) {
            continue;
        }
        let (combinations, patterns) = combinations(&parts);
        if patterns > 1 && combinations > COMBINATIONS_MAX {
            let reason =
                "too many large patterns apply to the same string: use fewer of them, or shorter repetitions";
            return Err(refused(reason));
        }
        if let Some(branches) = only_choice(&mut parts) {
            open.extend(branches);
            continue;
        }
        let (mut names, mut prefix) = (Vec::new(), 0);
        members_of(&parts, &mut names, &mut prefix);
        names.sort_unstable();
        names.dedup();
        let members = names.into_iter().map(Some).chain([None]).map(Step::Member);
        for step in members.chain((0..=prefix).map(Step::Item)) {
            open.push(walk.inside(&parts, step).ok_or_else(too_many)?);
        }
    }
    Ok(())
}

struct Walk<'v> {
    definitions: &'v Map<String, Value>,
    steps_left: usize,
}

impl<'v> Walk<'v> {
    /// Adds all that applies to the values of a schema; `None` at the limit.
    fn add(&mut self, schema: &'v Value, parts: &mut Vec<Part<'v>>) -> Option<()> {
        self.steps_left = self.steps_left.checked_sub(1)?;
        let Some(keywords) = schema.as_object() else { return Some(()) };
        if !insert(Part::Keywords(keywords), parts) {
            return Some(());
        }
        let target = keywords.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix("#/$defs/"));
        if let Some(target) = target.and_then(|name| self.definitions.get(name)) {
            self.add(target, parts)?;
        }
        for part in keywords.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.add(part, parts)?;
        }
        if let Some(branches) = keywords.get("anyOf").and_then(Value::as_array) {
            let mut any = Vec::new();
            for branch in branches {
                let mut of_branch = Vec::new();
                self.add(branch, &mut of_branch)?;
                any.push(of_branch);
            }
            insert_any(any, parts);
        }
        Some(())
    }

    /// Returns what applies to a value inside; `None` at the limit.
    fn inside(&mut self, parts: &[Part<'v>], step: Step<'_>) -> Option<Vec<Part<'v>>> {
        let mut inner = Vec::new();
        for part in parts {
            match part {
                Part::Keywords(keywords) => {
                    let patterns = keywords.get("patternProperties").and_then(Value::as_object);
                    let patterns = patterns.into_iter().flat_map(Map::values);
                    let (own, others) = match step {
                        Step::Member(name) => {
                            let listed = name.and_then(|name| keywords.get("properties")?.get(name));
                            (listed.or_else(|| keywords.get("additionalProperties")), Some(patterns))
                        }
                        Step::Item(index) => {
                            let listed = keywords.get("prefixItems").and_then(|items| items.get(index));
                            (listed.or_else(|| keywords.get("items")), None)
                        }
                    };
                    for schema in own.into_iter().chain(others.into_iter().flatten()) {
                        self.add(schema, &mut inner)?;
                    }
                }
                Part::Any(branches) => {
                    self.steps_left = self.steps_left.checked_sub(1)?;
                    let mut any = Vec::new();
                    for branch in branches {
                        any.push(self.inside(branch, step)?);
                    }
                    insert_any(any, &mut inner);
                }
            }
        }
        Some(inner)
    }
}

/// Takes the branches of a choice beside which nothing says anything about what is inside: they can be looked at one by
/// one.
fn only_choice<'v>(parts: &mut Vec<Part<'v>>) -> Option<Vec<Vec<Part<'v>>>> {
    const INSIDE: [&str; 5] =
        ["properties", "patternProperties", "additionalProperties", "prefixItems", "items"];
    let is_choice = |part: &Part<'v>| matches!(part, Part::Any(_));
    let leads_inside = |part: &Part<'v>| match part {
        Part::Keywords(keywords) => INSIDE.iter().any(|keyword| keywords.contains_key(*keyword)),
        Part::Any(_) => false,
    };
    let at = parts.iter().position(is_choice)?;
    if parts.iter().filter(|part| is_choice(part)).count() > 1 || parts.iter().any(leads_inside) {
        return None;
    }
    match parts.swap_remove(at) {
        Part::Any(branches) => Some(branches),
        Part::Keywords(_) => None,
    }
}

/// Adds a part unless it is there: what applies twice applies once. Returns whether it was added.
fn insert<'v>(part: Part<'v>, parts: &mut Vec<Part<'v>>) -> bool {
    let key = |part: &Part<'v>| {
        let mut key = Vec::new();
        addresses(std::slice::from_ref(part), &mut key);
        key
    };
    let is_new = !parts.iter().any(|other| key(other) == key(&part));
    if is_new {
        parts.push(part);
    }
    is_new
}

/// Adds a choice in its simplest form, so that schemas that contain themselves come back to what was seen.
fn insert_any<'v>(branches: Vec<Vec<Part<'v>>>, parts: &mut Vec<Part<'v>>) {
    let mut different: Vec<Vec<Part<'v>>> = Vec::new();
    let mut known = HashSet::new();
    let mut open: Vec<Vec<Part<'v>>> = branches.into_iter().rev().collect();
    while let Some(mut branch) = open.pop() {
        // A choice within a choice is one choice.
        if let [Part::Any(_)] = branch[..]
            && let Some(Part::Any(inner)) = branch.pop()
        {
            open.extend(inner.into_iter().rev());
            continue;
        }
        let mut key = Vec::new();
        addresses(&branch, &mut key);
        if !branch.is_empty() && known.insert(key) {
            different.push(branch);
        }
    }
    match different.len() {
        0 => {}
        1 => different.remove(0).into_iter().for_each(|part| {
            insert(part, parts);
        }),
        _ => {
            insert(Part::Any(different), parts);
        }
    }
}

/// Identifies parts by the places of their schemas.
fn addresses(parts: &[Part<'_>], key: &mut Vec<usize>) {
    for part in parts {
        match part {
            Part::Keywords(keywords) => key.push(std::ptr::from_ref(*keywords) as usize),
            Part::Any(branches) => {
                for branch in branches {
                    key.push(1);
                    addresses(branch, key);
                }
                key.push(2);
            }
        }
    }
}

/// Collects the names that parts list, and the length of their longest list of first items.
fn members_of<'v>(parts: &[Part<'v>], names: &mut Vec<&'v str>, prefix: &mut usize) {
    for part in parts {
        match part {
            Part::Keywords(keywords) => {
                let listed = keywords.get("properties").and_then(Value::as_object);
                names.extend(listed.into_iter().flat_map(Map::keys).map(String::as_str));
                let items = keywords.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
                *prefix = items.max(*prefix);
            }
            Part::Any(branches) => branches.iter().for_each(|branch| members_of(branch, names, prefix)),
        }
    }
}

/// Returns the most combinations of places in the patterns that can apply together, and the most such patterns.
fn combinations(parts: &[Part<'_>]) -> (u64, usize) {
    let mut both = (1u64, 0usize);
    for part in parts {
        let (more, patterns) = match part {
            Part::Keywords(keywords) => {
                let places = keywords.get("pattern").and_then(Value::as_str).map(places);
                (places.unwrap_or(1), usize::from(places.is_some()))
            }
            Part::Any(branches) => {
                let of_branches = branches.iter().map(|branch| combinations(branch));
                of_branches.fold((1, 0), |most, branch| (branch.0.max(most.0), branch.1.max(most.1)))
            }
        };
        both = (both.0.saturating_mul(more), both.1 + patterns);
    }
    both
}

/// Returns in how many places a pattern can be at a time, at most; 1 if it is not valid, which the engine reports.
pub(crate) fn places(expression: &str) -> u64 {
    regex_syntax::parse(expression).map_or(1, |parsed| places_of(&parsed).saturating_add(1))
}

fn places_of(expression: &Hir) -> u64 {
    match expression.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(text) => text.0.len() as u64,
        HirKind::Class(_) => 1,
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min.saturating_add(1));
            places_of(&repetition.sub).saturating_mul(times.into())
        }
        HirKind::Capture(capture) => places_of(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(places_of).fold(0, u64::saturating_add)
        }
    }
}
