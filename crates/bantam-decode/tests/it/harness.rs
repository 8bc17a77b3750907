//! Shared by the tests and the schema table example: data, a token table, random answers, and an independent
//! validator.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use bantam_decode::{
    CompileGrammarError, CompiledGrammar, Finish, Forcing, Generation, GenerationConfig,
    GenerationConfigError, Grammar, Grammars, JsonLayout, SamplingConfig, TokenTable,
};
use serde_json::{Map, Value};

/// The end-of-sequence token of [`table`].
pub(crate) const END: u32 = 256;

/// Returns the rows of a compressed file in the shared data, or prints that it cannot be read and returns `None`.
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a test is its own edge")]
pub(crate) fn rows(name: &str) -> Option<Vec<Value>> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    let path = std::env::var_os("BANTAM_SHARED_DATA").map_or_else(beside, PathBuf::from).join(name);
    let unpacked = Command::new("gzip").arg("-dc").arg(&path).output().ok();
    let Some(unpacked) = unpacked.filter(|output| output.status.success()) else {
        println!("SKIPPED: cannot unpack {} (set BANTAM_SHARED_DATA to its folder)", path.display());
        return None;
    };
    let lines = unpacked.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Some(lines.map(|line| serde_json::from_slice(line).unwrap()).collect())
}

/// A token for each byte, an end-of-sequence token, and some thousand pieces of typical JSON.
pub(crate) fn table(forcing: Forcing) -> Arc<TokenTable> {
    let mut words: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![byte]).collect();
    words.push(Vec::new());
    for piece in [
        "{\"", "\":", "\": ", "\":\"", "\": \"", "\",\"", "\", \"", "\"}", "\"]", "}}", "]}", "[{", "},{",
        "[\"", "true", "false", "null", "{}", "[]", "\\n", "\\\"", "  ", "\n",
    ] {
        words.push(piece.into());
    }
    let letters = "etaoinshrdlcumwfgypbvkETAOIN0123456789_-. /";
    for first in letters.chars() {
        for second in letters.chars() {
            words.push(format!("{first}{second}").into());
        }
        words.push(format!("\"{first}").into());
        words.push(format!("{first}\"").into());
    }
    for word in [
        "name",
        "type",
        "id",
        "value",
        "title",
        "date",
        "http",
        "https://",
        "2024-",
        "@",
        ".com",
        "\u{e9}",
        "\u{1f600}",
        "日本",
    ] {
        words.push(word.into());
    }
    Arc::new(TokenTable::new(words, &[], &[END], forcing).unwrap())
}

/// Seeded random numbers.
pub(crate) struct SeededRandom(u64);

impl SeededRandom {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_F42D_4C95_7F2D)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }
}

pub(crate) fn compile(
    grammars: &Grammars,
    schema: &Value,
    layout: JsonLayout,
) -> Result<CompiledGrammar, CompileGrammarError> {
    grammars.compile(&Grammar::JsonSchema { schema: schema.clone(), layout })
}

/// Generates an answer with random logits; from token `patience` on, they strongly favour closing what is open.
/// `Ok(None)` means that the answer did not end.
pub(crate) fn answer(
    table: &Arc<TokenTable>,
    grammar: &CompiledGrammar,
    seed: u64,
    patience: usize,
) -> Result<Option<String>, String> {
    let sampling = SamplingConfig { temperature: 1.0, seed, ..SamplingConfig::greedy() };
    let config = GenerationConfig { sampling, stops: Vec::new(), tokens_max: patience + 600 };
    let begin = |config| Generation::new(Arc::clone(table), config, &[], Some(grammar.start()));
    let mut generation = match begin(config.clone()) {
        Err(GenerationConfigError::NoRoom { shortest, .. }) => {
            begin(GenerationConfig { tokens_max: patience + 600 + shortest, ..config }).unwrap()
        }
        other => other.unwrap(),
    };
    let closing: Vec<f32> = (0..table.len() as u32).map(|token| ending_bonus(table, token)).collect();
    let mut random = SeededRandom::new(seed);
    let (mut text, mut steps) = (String::new(), 0);
    let begun = generation.begin().map_err(|error| error.to_string())?;
    text.push_str(&begun.text);
    let mut is_over = begun.is_over;
    let mut logits = vec![0.0f32; table.len()];
    while is_over.is_none() {
        let bits = random.next();
        for (index, logit) in logits.iter_mut().enumerate() {
            // One random number a row and a hash for each token: random enough, and fast.
            let hash = (bits ^ index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            *logit = hash as f32 / 2_000_000.0 + if steps > patience { closing[index] } else { 0.0 };
        }
        let step = generation.next(&logits).map_err(|error| error.to_string())?;
        text.push_str(&step.text);
        is_over = step.is_over;
        steps += 1;
    }
    Ok((is_over != Some(Finish::Length)).then_some(text))
}

/// How much a token helps to end an answer.
fn ending_bonus(table: &TokenTable, token: u32) -> f32 {
    match table.text(token) {
        _ if token == END => 90.0,
        b"}" | b"]" => 60.0,
        // Above the brackets, which inside a string would only extend it.
        b"\"" => 80.0,
        b"{}" | b"[]" => 50.0,
        b"," => 30.0,
        b"\"," => 0.0,
        text if text.len() == 1 && text.is_ascii() => 20.0,
        _ => 10.0,
    }
}

/// The independent validator, which checks formats; an error if it does not accept the schema.
pub(crate) fn validator(schema: &Value) -> Result<jsonschema::Validator, String> {
    jsonschema::options().should_validate_formats(true).build(schema).map_err(|error| error.to_string())
}

/// Whether a constraint accepts an instance, with its keys as given or in the schema's order.
pub(crate) fn accepts(grammar: &CompiledGrammar, schema: &Value, instance: &Value) -> bool {
    let ordered = in_order(instance, schema, schema, 0);
    [instance, &ordered].into_iter().any(|instance| accepts_text(grammar, &instance.to_string()))
}

pub(crate) fn accepts_text(grammar: &CompiledGrammar, text: &str) -> bool {
    let mut constraint = grammar.start();
    text.bytes().all(|byte| constraint.accept(byte.into()).is_ok()) && constraint.is_complete()
}

/// Returns an instance with its keys in the order in which plain keywords of its schema list them.
fn in_order(instance: &Value, schema: &Value, root: &Value, depth: usize) -> Value {
    if depth > 20 {
        return instance.clone();
    }
    let target =
        schema.get("$ref").and_then(Value::as_str).and_then(|text| root.pointer(text.strip_prefix('#')?));
    let mut properties: Vec<(&String, &Value)> = Vec::new();
    let mut items = Vec::new();
    let branches =
        ["allOf", "anyOf", "oneOf"].iter().filter_map(|keyword| schema.get(*keyword)?.as_array()).flatten();
    for part in std::iter::once(schema).chain(target).chain(branches) {
        properties.extend(part.get("properties").and_then(Value::as_object).into_iter().flatten());
        items.extend(part.get("items").filter(|items| items.is_object()));
    }
    match instance {
        Value::Object(members) => {
            let mut ordered = Map::new();
            for (name, of_schema) in properties {
                if let Some(member) = members.get(name).filter(|_| !ordered.contains_key(name)) {
                    ordered.insert(name.clone(), in_order(member, of_schema, root, depth + 1));
                }
            }
            for name in schema
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                if let Some(member) = members.get(name).filter(|_| !ordered.contains_key(name)) {
                    ordered.insert(name.to_owned(), member.clone());
                }
            }
            for (name, member) in members {
                if !ordered.contains_key(name) {
                    ordered.insert(name.clone(), member.clone());
                }
            }
            Value::Object(ordered)
        }
        Value::Array(elements) => {
            let none = Value::Null;
            let of_schema = items.first().copied().unwrap_or(&none);
            Value::Array(
                elements.iter().map(|element| in_order(element, of_schema, root, depth + 1)).collect(),
            )
        }
        _ => instance.clone(),
    }
}

/// Results over many schemas.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) schemas: usize,
    pub(crate) compiled: usize,
    /// Refused schemas by keyword; `(engine)` if lowering succeeded but the engine refused.
    pub(crate) refused: BTreeMap<String, usize>,
    pub(crate) reasons: BTreeMap<String, usize>,
    /// Compiled schemas that the validator does not accept.
    pub(crate) unjudged: usize,
    pub(crate) answers: usize,
    pub(crate) unfinished: Vec<String>,
    pub(crate) stuck: Vec<String>,
    /// Answers that the validator refuses; must be empty.
    pub(crate) invalid: Vec<String>,
    pub(crate) valid_accepted: usize,
    pub(crate) valid_refused: Vec<String>,
    pub(crate) invalid_refused: usize,
    /// Instances that the validator refuses but a constraint accepts; must be empty.
    pub(crate) invalid_accepted: Vec<String>,
}

impl Tally {
    /// Compiles a schema, generates random answers, and validates them and the given instances.
    pub(crate) fn add(
        &mut self,
        id: &str,
        schema: &Value,
        instances: &[&Value],
        grammars: &Grammars,
        table: &Arc<TokenTable>,
        seeds: u64,
    ) {
        self.schemas += 1;
        let grammar = match compile(grammars, schema, JsonLayout::Compact) {
            Ok(grammar) => grammar,
            Err(CompileGrammarError::Schema(error)) => {
                *self.refused.entry(error.keyword.clone()).or_default() += 1;
                *self.reasons.entry(format!("{}: {}", error.keyword, error.reason)).or_default() += 1;
                return;
            }
            Err(error) => {
                *self.refused.entry("(engine)".to_owned()).or_default() += 1;
                let reason: String = error.to_string().chars().take(150).collect();
                *self.reasons.entry(format!("(engine) {reason}")).or_default() += 1;
                return;
            }
        };
        self.compiled += 1;
        let Ok(validator) = validator(schema) else {
            self.unjudged += 1;
            return;
        };
        for seed in 0..seeds {
            self.answers += 1;
            match answer(table, &grammar, seed + 1, 30 + 60 * seed as usize) {
                Err(error) => self.stuck.push(format!("{id}: {error}")),
                Ok(None) => self.unfinished.push(id.to_owned()),
                Ok(Some(text)) => match parse(&text) {
                    Err(error) => self.invalid.push(format!("{id}: {error}: {text}")),
                    Ok(value) => {
                        if let Some(error) = validator.iter_errors(&value).next() {
                            self.invalid.push(format!("{id}: {error} at {}: {text}", error.instance_path()));
                        }
                    }
                },
            }
        }
        for instance in instances {
            match (validator.is_valid(instance), accepts(&grammar, schema, instance)) {
                (true, true) => self.valid_accepted += 1,
                (true, false) => self.valid_refused.push(format!("{id}: too narrow: {instance}")),
                (false, false) => self.invalid_refused += 1,
                (false, true) => self.invalid_accepted.push(format!("{id}: {instance}")),
            }
        }
    }
}

/// Parses JSON. Numbers beyond `f64`, which JSON allows but this parser does not, are read as large ones: a
/// constraint allows every JSON number where the schema does not restrict it.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let first = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(error) => error.to_string(),
    };
    if !first.contains("number out of range") {
        return Err(first);
    }
    let mut shorter = String::new();
    let mut digits = 0;
    let mut is_string = false;
    let mut is_escaped = false;
    for character in text.chars() {
        is_string ^= character == '"' && !is_escaped;
        is_escaped = is_string && character == '\\' && !is_escaped;
        digits = if !is_string && character.is_ascii_digit() { digits + 1 } else { 0 };
        if digits <= 2 {
            shorter.push(character);
        }
    }
    serde_json::from_str(&shorter).map_err(|error| error.to_string())
}
