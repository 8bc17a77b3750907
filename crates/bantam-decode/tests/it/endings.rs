//! Answers end validly at every limit that leaves room for the shortest one, whatever the model wants.

use std::sync::Arc;

use bantam_decode::{
    CompiledGrammar, Finish, Forcing, Generation, GenerationConfig, GenerationConfigError, Grammar,
    GrammarLimits, Grammars, JsonLayout, SamplingConfig, TokenTable,
};
use serde_json::{Value, json};

use super::harness::{END, SeededRandom, compile, parse, rows, table, validator};

/// What a model wants.
#[derive(Clone, Copy, Debug)]
enum Model {
    /// Nothing in particular.
    Random,
    /// To open containers, list further members and begin strings, and never to close or end anything.
    Opens,
    /// To write letters forever.
    Writes,
}

const MODELS: [Model; 3] = [Model::Random, Model::Opens, Model::Writes];

impl Model {
    /// How much it wants a token.
    fn wish(self, table: &TokenTable, token: u32) -> f32 {
        let text = table.text(token);
        match self {
            Self::Random => 0.0,
            _ if token == END => -90.0,
            Self::Opens => match text {
                b"{" | b"[" | b"{\"" | b"[\"" | b"[{" => 60.0,
                b"," | b"},{" | b"\",\"" => 50.0,
                b"\"" | b":" => 40.0,
                b"}" | b"]" | b"\"}" | b"\"]" | b"}}" | b"]}" | b"{}" | b"[]" => -40.0,
                _ => 0.0,
            },
            Self::Writes => match text {
                _ if text.contains(&b'"') => -20.0,
                [byte] if byte.is_ascii_alphabetic() => 40.0,
                _ => 0.0,
            },
        }
    }
}

/// An answer, its tokens and how it ended.
struct Ended {
    text: String,
    tokens: usize,
    finish: Finish,
}

fn generation(
    table: &Arc<TokenTable>,
    grammar: &CompiledGrammar,
    seed: u64,
    tokens_max: usize,
) -> Result<Generation, GenerationConfigError> {
    let sampling = SamplingConfig { temperature: 1.0, seed, ..SamplingConfig::greedy() };
    let config = GenerationConfig { sampling, stops: Vec::new(), tokens_max };
    Generation::new(Arc::clone(table), config, &[], Some(grammar.start()))
}

/// Returns the tokens of the shortest answer, as the refusal of a smaller limit tells them.
fn shortest(table: &Arc<TokenTable>, grammar: &CompiledGrammar) -> usize {
    match generation(table, grammar, 1, 1) {
        Err(GenerationConfigError::NoRoom { shortest, tokens_max: 1 }) => shortest,
        other => other.map(|_| 1).unwrap(),
    }
}

fn answer(
    table: &Arc<TokenTable>,
    grammar: &CompiledGrammar,
    model: Model,
    seed: u64,
    tokens_max: usize,
) -> Result<Ended, String> {
    let mut generation = generation(table, grammar, seed, tokens_max).map_err(|error| error.to_string())?;
    let wishes: Vec<f32> = (0..table.len() as u32).map(|token| model.wish(table, token)).collect();
    let mut random = SeededRandom::new(seed);
    let mut logits = vec![0.0f32; table.len()];
    let mut ended = Ended { text: String::new(), tokens: 0, finish: Finish::Length };
    let mut step = generation.begin().map_err(|error| error.to_string())?;
    loop {
        ended.text.push_str(&step.text);
        ended.tokens += step.tokens.len();
        if let Some(finish) = step.is_over {
            ended.finish = finish;
            return Ok(ended);
        }
        let bits = random.next();
        for (index, logit) in logits.iter_mut().enumerate() {
            let hash = (bits ^ index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            *logit = hash as f32 / 2_000_000.0 + wishes[index];
        }
        step = generation.next(&logits).map_err(|error| error.to_string())?;
    }
}

/// What happened to the answers under many schemas.
#[derive(Debug, Default)]
struct Endings {
    schemas: usize,
    answers: usize,
    /// Answers that reached the limit and were ended there.
    ended_for_it: usize,
    /// Errors of the engine, which come before any end.
    stuck: Vec<String>,
    wrong: Vec<String>,
}

impl Endings {
    fn check(
        &mut self,
        name: &str,
        schema: &Value,
        grammar: &CompiledGrammar,
        table: &Arc<TokenTable>,
        dense: bool,
    ) {
        let Ok(validator) = validator(schema) else { return };
        self.schemas += 1;
        let shortest = shortest(table, grammar);
        let steps: &[usize] =
            if dense { &[0, 1, 2, 3, 4, 5, 7, 9, 12, 16, 25, 40, 70, 120] } else { &[0, 1, 3, 8, 20, 60] };
        for (index, more) in steps.iter().enumerate() {
            for model in MODELS {
                self.answers += 1;
                let seed = 1 + index as u64;
                let ended = match answer(table, grammar, model, seed, shortest + more) {
                    Ok(ended) => ended,
                    Err(error) => {
                        self.stuck.push(format!("{name}: {error}"));
                        continue;
                    }
                };
                self.ended_for_it += usize::from(ended.finish == Finish::Length);
                let fault = match parse(&ended.text) {
                    Err(error) => Some(error),
                    Ok(value) => validator.iter_errors(&value).next().map(|error| error.to_string()),
                };
                let fault = fault.or_else(|| (ended.tokens > shortest + more).then(|| "too long".to_owned()));
                if let Some(fault) = fault {
                    let told = format!("{name}: {model:?} at {shortest} + {more}: {fault}: {}", ended.text);
                    self.wrong.push(told.chars().take(400).collect());
                }
            }
        }
        if shortest > 1 {
            let refused = generation(table, grammar, 1, shortest - 1).map(|_| ()).unwrap_err();
            assert_eq!(
                refused,
                GenerationConfigError::NoRoom { shortest, tokens_max: shortest - 1 },
                "{name}"
            );
        }
    }
}

fn hand_made() -> Vec<(&'static str, Value)> {
    let text = |keyword: &str, value: Value| json!({"type": "object", "properties": {"a": {"type": "string", keyword: value}, "b": {"type": "string"}}, "required": ["a", "b"], "additionalProperties": false});
    let late = json!({
        "type": "object",
        "properties": {
            "note": {"type": "string"},
            "more": {"type": "object", "properties": {
                "first": {"type": "string", "format": "date-time"},
                "inner": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"enum": ["a long choice", "another one"]}}, "required": ["x", "y"]},
                "list": {"type": "array", "items": {"type": "string", "format": "uuid"}, "minItems": 2}
            }, "required": ["first", "inner", "list"], "additionalProperties": false},
            "last": {"type": "boolean"}
        },
        "required": ["last"], "additionalProperties": false
    });
    let tree = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {
        "child": {"$ref": "#/$defs/node"}, "name": {"type": "string", "minLength": 3}}, "required": ["name"], "additionalProperties": false}}});
    let expression = json!({"$ref": "#/$defs/e", "$defs": {"e": {"anyOf": [
        {"type": "array", "items": {"$ref": "#/$defs/e"}, "minItems": 2},
        {"type": "object", "properties": {"op": {"enum": ["add", "multiply"]}, "of": {"$ref": "#/$defs/e"}}, "required": ["op", "of"], "additionalProperties": false},
        {"type": "string", "pattern": "^v[0-9]{3}$"}]}}});
    vec![
        ("uri", text("format", json!("uri"))),
        ("email", text("format", json!("email"))),
        ("date-time", text("format", json!("date-time"))),
        ("uuid", text("format", json!("uuid"))),
        ("ipv6", text("format", json!("ipv6"))),
        ("duration", text("format", json!("duration"))),
        ("tail", text("pattern", json!("^[a-z]+-[0-9]{4}\\.tar\\.gz$"))),
        ("counted", text("pattern", json!("^(ab|cd){3,9}x{5}$"))),
        ("accents", text("pattern", json!("^[\u{e4}\u{f6}\u{fc}]+\u{df}$"))),
        ("long enough", text("minLength", json!(30))),
        ("short enough", text("maxLength", json!(3))),
        ("late members", late),
        ("tree", tree),
        ("expression", expression),
        (
            "keys",
            json!({"type": "object", "patternProperties": {"^k_[0-9]{2}$": {"type": "integer", "minimum": 100}}, "additionalProperties": false, "minProperties": 1}),
        ),
        ("map", json!({"type": "object", "additionalProperties": {"type": "string", "format": "date"}})),
        (
            "multiples",
            json!({"type": "array", "items": {"type": "integer", "multipleOf": 97, "minimum": 1000, "maximum": 1_000_000}, "minItems": 3, "maxItems": 7}),
        ),
        (
            "numbers",
            json!({"type": "array", "items": {"type": "number", "exclusiveMinimum": 0.25, "maximum": 0.75}, "minItems": 1}),
        ),
        ("anything", json!({})),
        ("anything in it", json!({"type": "object", "properties": {"a": {}}, "required": ["a", "b"]})),
        (
            "branches",
            json!({"oneOf": [
            {"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "number"}}, "required": ["kind", "r"], "additionalProperties": false},
            {"type": "object", "properties": {"kind": {"const": "path"}, "points": {"type": "array", "items": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}, "minItems": 3}}, "required": ["kind", "points"], "additionalProperties": false}]}),
        ),
        (
            "all of",
            json!({"type": "object", "allOf": [
            {"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"properties": {"b": {"type": "array", "items": {"type": "object", "required": ["c"]}}}, "required": ["b"]}]}),
        ),
        (
            "tuple",
            json!({"type": "array", "prefixItems": [{"type": "string", "format": "date"}, {"type": "null"}, {"type": "array", "minItems": 2}], "items": false, "minItems": 3}),
        ),
    ]
}

#[test]
fn hand_made_schemas_end_validly_at_every_limit() {
    for (forcing, layout) in [
        (Forcing::Off, JsonLayout::Compact),
        (Forcing::LongestMatch, JsonLayout::Spaced),
        (Forcing::LongestMatch, JsonLayout::Free),
    ] {
        let table = table(forcing);
        let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
        let mut endings = Endings::default();
        for (name, schema) in hand_made() {
            let grammar =
                compile(&grammars, &schema, layout).unwrap_or_else(|error| panic!("{name}: {error}"));
            endings.check(name, &schema, &grammar, &table, true);
        }
        println!(
            "{layout:?}: {} schemas, {} answers, {} ended at the limit",
            endings.schemas, endings.answers, endings.ended_for_it
        );
        assert_eq!(endings.wrong, [""; 0]);
        assert_eq!(endings.stuck, [""; 0]);
        assert!(endings.ended_for_it * 3 > endings.answers);
    }
}

/// `BANTAM_ALL_SCHEMAS=1` takes all; otherwise every run takes the same.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test is its own edge")]
fn real_schemas_end_validly_at_every_limit() {
    let takes_all = std::env::var_os("BANTAM_ALL_SCHEMAS").is_some();
    let table = table(Forcing::LongestMatch);
    let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
    let mut endings = Endings::default();
    let mut random = SeededRandom::new(23);
    for file in ["Github_trivial", "Github_easy", "Github_medium", "Glaiveai2K"] {
        let Some(rows) = rows(&format!("jsonschemabench/{file}.jsonl.gz")) else { return };
        for row in rows {
            if !takes_all && !random.next().is_multiple_of(9) {
                continue;
            }
            let Ok(grammar) = compile(&grammars, &row["schema"], JsonLayout::Compact) else { continue };
            endings.check(row["id"].as_str().unwrap(), &row["schema"], &grammar, &table, false);
        }
    }
    println!(
        "{} schemas, {} answers, {} ended at the limit, {} stuck: {:?}",
        endings.schemas,
        endings.answers,
        endings.ended_for_it,
        endings.stuck.len(),
        endings.stuck
    );
    assert_eq!(endings.wrong, [""; 0]);
    assert!(endings.stuck.len() * 2_000 <= endings.answers, "{:?}", endings.stuck);
    assert!(endings.schemas >= 600, "{}", endings.schemas);
}

#[test]
fn other_grammars_end_in_time_or_say_that_they_did_not() {
    let table = table(Forcing::LongestMatch);
    let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
    for (grammar, pattern) in [
        (Grammar::Regex("[a-z]+-[0-9]{4}".into()), "^[a-z]+-[0-9]{4}$"),
        (Grammar::Regex("(ab)*c{3}".into()), "^(ab)*c{3}$"),
        (Grammar::Choice(vec!["yes, of course".into(), "no".into()]), "^(yes, of course|no)$"),
        (
            Grammar::Lark("start: WORD (\", \" WORD)*\nWORD: /[a-z]{2,}x/\n".into()),
            "^[a-z]{2,}x(, [a-z]{2,}x)*$",
        ),
        (Grammar::Lark("start: \"(\" start \")\" | \"x\"\n".into()), "^\\(*x\\)*$"),
    ] {
        let compiled = grammars.compile(&grammar).unwrap();
        let shortest = shortest(&table, &compiled);
        let validator = validator(&json!({"pattern": pattern})).unwrap();
        for more in 0..25 {
            for model in MODELS {
                let ended = answer(&table, &compiled, model, 1 + more as u64, shortest + more).unwrap();
                assert!(
                    validator.is_valid(&json!(ended.text)),
                    "{grammar:?} at {shortest} + {more}: {}",
                    ended.text
                );
                assert!(ended.tokens <= shortest + more);
            }
        }
    }
    // What ends where something follows has no known ending: such answers may be cut off, and say so.
    let lazy =
        grammars.compile(&Grammar::Lark("start: body \"end\"\nbody[lazy]: /[a-z]+;/\n".into())).unwrap();
    assert_eq!(shortest(&table, &lazy), 1);
    let cut = answer(&table, &lazy, Model::Writes, 1, 5).unwrap();
    assert_eq!((cut.tokens, cut.finish), (5, Finish::Length));
}
