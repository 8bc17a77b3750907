//! Types, numbers, strings and literal values.

use serde_json::{Map, Value, json};

use super::{Lowering, SchemaError, SchemaLimits, SchemaPath, format, pattern};

const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

/// Numbers of a declared type are closer to zero than this: 18 digits fit into 64 bits, which every reader can hold.
const NUMBER_BOUND: f64 = 1e18;

/// Longest counted string. A longer `maxLength` is reduced to this, since no answer gets that long.
const LENGTH_MAX: u64 = 1_000_000;

/// `multipleOf` as `coefficient / 10^places`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Multiple {
    coefficient: u64,
    places: u32,
}

/// Returns the types that a schema names, or `None` if it names none.
pub(super) fn types<'s>(
    keywords: &'s Map<String, Value>,
    path: &SchemaPath,
) -> Result<Option<Vec<&'s str>>, SchemaError> {
    let names = match keywords.get("type") {
        None => return Ok(None),
        Some(Value::Array(names)) if !names.is_empty() => names.iter().collect(),
        Some(name) => vec![name],
    };
    let known = |name: &&'s Value| name.as_str().filter(|name| TYPES.contains(name));
    let types: Option<Vec<&str>> = names.iter().map(known).collect();
    let mut types = types.ok_or_else(|| {
        path.refused("type", format!("must be one of {}, or a list of them", TYPES.join(", ")))
    })?;
    if types.contains(&"number") {
        // Numbers include integers; listing both would make the grammar ambiguous.
        types.retain(|name| *name != "integer");
    }
    types.dedup();
    Ok(Some(types))
}

impl Lowering<'_> {
    pub(super) fn numbers(
        &mut self,
        keywords: &Map<String, Value>,
        types: Option<&[&str]>,
        path: &SchemaPath,
        lowered: &mut Map<String, Value>,
        all: &mut Vec<Value>,
    ) -> Result<(), SchemaError> {
        const KEYWORDS: [&str; 5] =
            ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
        let is_asked = KEYWORDS.iter().any(|keyword| keywords.contains_key(*keyword));
        let is_typed = types.is_some_and(|types| types.contains(&"number") || types.contains(&"integer"));
        if !(is_typed || is_asked && types.is_none()) {
            return Ok(());
        }
        let format = keywords.get("format").and_then(Value::as_str).unwrap_or_default();
        if let Some(multiple) = keywords.get("multipleOf") {
            self.multiples.push(multiple_of(multiple, path)?);
            lowered.insert("multipleOf".to_owned(), multiple.clone());
        }
        if keywords.contains_key("const") || keywords.contains_key("enum") {
            // The listed values bound themselves; add only the bounds that the schema asks for.
            for (least, bound) in [(true, f64::NEG_INFINITY), (false, f64::INFINITY)] {
                bounds(keywords, least, bound, path, lowered)?;
            }
            return Ok(());
        }
        let (low, high) = match format {
            "int32" => (-2_147_483_649.0, 2_147_483_648.0),
            "uint32" => (-1.0, 4_294_967_296.0),
            _ => (-NUMBER_BOUND, NUMBER_BOUND),
        };
        bounds(keywords, true, low, path, lowered)?;
        bounds(keywords, false, high, path, lowered)?;
        if let Some(types) = types.filter(|types| types.contains(&"integer")) {
            all.extend(without_minus_zero(types, lowered));
        }
        Ok(())
    }
}

/// Excludes `-0` from integers that may be negative: llguidance allows it, and some readers take it for a fraction.
fn without_minus_zero(types: &[&str], lowered: &Map<String, Value>) -> Option<Value> {
    let is = |keywords: [&str; 2], test: fn(f64) -> bool| {
        keywords.iter().filter_map(|keyword| lowered.get(*keyword)?.as_f64()).any(test)
    };
    let may_be_both = is(["minimum", "exclusiveMinimum"], |low| low < 0.0)
        && is(["maximum", "exclusiveMaximum"], |high| high >= 0.0);
    let mut branches =
        vec![json!({"type": "integer", "maximum": -1}), json!({"type": "integer", "minimum": 0})];
    let others: Vec<&&str> = types.iter().filter(|name| **name != "integer").collect();
    if !others.is_empty() {
        branches.push(json!({ "type": others }));
    }
    may_be_both.then(|| json!({ "anyOf": branches }))
}

/// Writes the stricter of the schema's bounds on one side, or `bound` (exclusive) if that is stricter.
fn bounds(
    keywords: &Map<String, Value>,
    is_least: bool,
    bound: f64,
    path: &SchemaPath,
    lowered: &mut Map<String, Value>,
) -> Result<(), SchemaError> {
    let (inclusive, exclusive) =
        if is_least { ("minimum", "exclusiveMinimum") } else { ("maximum", "exclusiveMaximum") };
    let stricter = |one: f64, other: f64| if is_least { one > other } else { one < other };
    let (mut strictest, mut is_exclusive) = (bound, true);
    let read = |keyword: &str| match keywords.get(keyword) {
        None | Some(Value::Bool(_)) => Ok(None),
        Some(value) => exact(value)
            .map(Some)
            .ok_or_else(|| path.refused(keyword, "must be a number that a 64-bit float holds exactly")),
    };
    if let Some(number) = read(inclusive)?
        && stricter(number, strictest)
    {
        // Draft 4: `exclusiveMinimum: true` beside `minimum`.
        is_exclusive = keywords.get(exclusive) == Some(&Value::Bool(true));
        strictest = number;
    }
    if let Some(number) = read(exclusive)?
        && (stricter(number, strictest) || number == strictest)
    {
        (strictest, is_exclusive) = (number, true);
    }
    if !strictest.is_finite() {
        return Ok(());
    }
    if strictest == if is_least { NUMBER_BOUND } else { -NUMBER_BOUND } {
        let reason =
            "allows only numbers beyond 10^18, which are not written because many readers cannot hold them";
        return Err(
            path.refused(if keywords.contains_key(inclusive) { inclusive } else { exclusive }, reason)
        );
    }
    if strictest.abs() > NUMBER_BOUND || (strictest != 0.0 && strictest.abs() < 1e-9) {
        let advice = "must be zero, or between 0.000000001 and 10^18 in absolute value";
        return Err(
            path.refused(if keywords.contains_key(inclusive) { inclusive } else { exclusive }, advice)
        );
    }
    lowered.insert((if is_exclusive { exclusive } else { inclusive }).to_owned(), json!(strictest));
    Ok(())
}

/// Returns a number if `f64` holds it exactly: as written for integers, as printed for others.
fn exact(value: &Value) -> Option<f64> {
    let number = value.as_f64().filter(|number| number.is_finite())?;
    let integer = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    match integer {
        // Beyond the bound a digit more or less does not matter: the bound applies.
        Some(integer) if integer.unsigned_abs() <= 1_000_000_000_000_000_000 => {
            (number as i128 == integer).then_some(number)
        }
        _ => Some(number),
    }
}

fn multiple_of(value: &Value, path: &SchemaPath) -> Result<Multiple, SchemaError> {
    let refused =
        || path.refused("multipleOf", "must be a number from 0.0001 to 65535 with at most 4 decimal places");
    let number = value.as_f64().filter(|number| *number > 0.0 && *number <= 65_535.0).ok_or_else(refused)?;
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let coefficient: u64 = format!("{whole}{fraction}").parse().map_err(|_| refused())?;
    // llguidance multiplies by ten in floating point until no fraction is left; that must take exactly as many steps
    // as there are decimals.
    let mut scaled = number;
    for _ in 0..fraction.len() {
        scaled *= 10.0;
    }
    if fraction.len() > 4 || scaled != coefficient as f64 || coefficient > 65_535 {
        return Err(refused());
    }
    Ok(Multiple { coefficient, places: fraction.len() as u32 })
}

/// Refuses multiples whose least common multiple exceeds 32 bits; llguidance needs it where several multiples meet.
pub(super) fn check_multiples(multiples: &[Multiple]) -> Result<(), SchemaError> {
    let places = multiples.iter().map(|multiple| multiple.places).max().unwrap_or(0);
    let mut distinct: Vec<u64> =
        multiples.iter().map(|multiple| multiple.coefficient * 10u64.pow(places - multiple.places)).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let product = distinct.iter().try_fold(1u64, |product, multiple| product.checked_mul(*multiple));
    if distinct.len() > 1 && product.is_none_or(|product| product > u64::from(u32::MAX)) {
        let reason = "the schema's multiples have a common multiple that is too large: use one multiple";
        return Err(SchemaError::new("multipleOf", "", reason));
    }
    Ok(())
}

/// Returns the value of a counting keyword; `None` if it is absent.
pub(super) fn count(
    keywords: &Map<String, Value>,
    keyword: &str,
    path: &SchemaPath,
) -> Result<Option<u64>, SchemaError> {
    let Some(value) = keywords.get(keyword) else { return Ok(None) };
    let whole = value.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0);
    let count = value.as_u64().or_else(|| whole.map(|number| number as u64));
    count.map(Some).ok_or_else(|| path.refused(keyword, "must be a whole number, 0 or more"))
}

/// Lowers the string keywords. Extra conditions are added to `all`.
pub(super) fn strings(
    keywords: &Map<String, Value>,
    path: &SchemaPath,
    limits: &SchemaLimits,
    lowered: &mut Map<String, Value>,
    all: &mut Vec<Value>,
) -> Result<(), SchemaError> {
    if let Some(least) = count(keywords, "minLength", path)?.filter(|least| *least > 0) {
        if least > LENGTH_MAX {
            return Err(path.refused("minLength", format!("must be at most {LENGTH_MAX}")));
        }
        lowered.insert("minLength".to_owned(), json!(least));
    }
    if let Some(most) = count(keywords, "maxLength", path)? {
        lowered.insert("maxLength".to_owned(), json!(most.min(LENGTH_MAX)));
    }
    if let Some(value) = keywords.get("pattern") {
        let expression = value.as_str().ok_or_else(|| path.refused("pattern", "must be a string"))?;
        if expression.len() > limits.pattern_bytes_max {
            let reason = format!("longer than {} bytes: shorten it", limits.pattern_bytes_max);
            return Err(path.refused("pattern", reason));
        }
        let translated = pattern::translate(expression).map_err(|reason| path.refused("pattern", reason))?;
        lowered.insert("pattern".to_owned(), json!(translated));
    }
    let allows_strings = types(keywords, path)?.is_none_or(|types| types.contains(&"string"));
    let Some(format) = keywords.get("format").filter(|_| allows_strings) else { return Ok(()) };
    let name = format.as_str().ok_or_else(|| path.refused("format", "must be a string"))?;
    if name == "regex" {
        let reason = "validators check it, and a grammar cannot: use pattern";
        return Err(path.refused("format", reason));
    }
    // The standard takes a format that it does not name for an annotation.
    if let Some(expression) = format::pattern(name) {
        if lowered.contains_key("pattern") {
            all.push(json!({ "pattern": expression }));
        } else {
            lowered.insert("pattern".to_owned(), json!(expression));
        }
    }
    Ok(())
}

pub(super) fn literals(
    keywords: &Map<String, Value>,
    path: &SchemaPath,
    lowered: &mut Map<String, Value>,
) -> Result<(), SchemaError> {
    if let Some(value) = keywords.get("const") {
        literal(value, "const", path, 0)?;
        lowered.insert("const".to_owned(), value.clone());
    }
    if let Some(values) = keywords.get("enum") {
        let list = values.as_array().filter(|list| !list.is_empty());
        let list = list.ok_or_else(|| path.refused("enum", "must be a non-empty list of values"))?;
        for value in list {
            literal(value, "enum", path, 0)?;
        }
        lowered.insert("enum".to_owned(), values.clone());
    }
    Ok(())
}

/// Refuses values that cannot be written exactly.
fn literal(value: &Value, keyword: &str, path: &SchemaPath, depth: usize) -> Result<(), SchemaError> {
    let writable = |text: &str| {
        let is_fine = |character: char| {
            !character.is_ascii_control() || matches!(character, '\n' | '\r' | '\t' | '\u{8}' | '\u{c}')
        };
        let reason = "a value contains a control character without a short escape in JSON: remove it";
        if text.chars().all(is_fine) { Ok(()) } else { Err(path.refused(keyword, reason)) }
    };
    if depth > 32 {
        return Err(path.refused(keyword, "a value is nested deeper than 32 levels"));
    }
    match value {
        Value::Number(_) => {
            let is_fine = exact(value).is_some_and(|number| {
                number.abs() <= NUMBER_BOUND && (number == 0.0 || number.abs() >= 1e-9)
            });
            let reason = "a 64-bit float cannot hold a number exactly: write it as a string";
            if is_fine { Ok(()) } else { Err(path.refused(keyword, reason)) }
        }
        Value::String(text) => writable(text),
        Value::Array(items) => items.iter().try_for_each(|item| literal(item, keyword, path, depth + 1)),
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            writable(name)?;
            literal(member, keyword, path, depth + 1)
        }),
        Value::Null | Value::Bool(_) => Ok(()),
    }
}
