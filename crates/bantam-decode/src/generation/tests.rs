use super::*;
use crate::constraint::{Grammar, GrammarLimits, Grammars, JsonLayout};
use crate::tokens::Forcing;

/// A token for each byte, then an end-of-sequence token, then `pieces`.
fn table(pieces: &[&str], forcing: Forcing) -> Arc<TokenTable> {
    let bytes = (0..=255u8).map(|byte| vec![byte]);
    let words = bytes.chain([Vec::new()]).chain(pieces.iter().map(|piece| piece.as_bytes().to_vec()));
    Arc::new(TokenTable::new(words, &[], &[256], forcing).unwrap())
}

fn config(stops: &[&str], tokens_max: usize) -> GenerationConfig {
    let stops = stops.iter().map(|stop| (*stop).to_owned()).collect();
    GenerationConfig { sampling: SamplingConfig::greedy(), stops, tokens_max }
}

fn constraint(table: &TokenTable, schema: serde_json::Value) -> Constraint {
    let grammars = Grammars::new(table, GrammarLimits::standard()).unwrap();
    grammars.compile(&Grammar::JsonSchema { schema, layout: JsonLayout::Compact }).unwrap().start()
}

/// Logits that favour one token.
fn wanting(table: &TokenTable, token: u32) -> Vec<f32> {
    let mut logits = vec![0.0; table.len()];
    logits[token as usize] = 9.0;
    logits
}

/// Runs a model that favours these tokens one after another; returns the text, the tokens and the finish reason.
fn run(
    generation: &mut Generation,
    table: &TokenTable,
    wanted: &[u32],
) -> (String, Vec<StepToken>, Option<Finish>) {
    let (mut text, mut tokens) = (String::new(), Vec::new());
    for token in wanted {
        let step = generation.next(&wanting(table, *token)).unwrap();
        text.push_str(&step.text);
        tokens.extend(step.tokens);
        if step.is_over.is_some() {
            return (text, tokens, step.is_over);
        }
    }
    (text, tokens, None)
}

fn bytes(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

#[test]
fn an_answer_ends_at_an_end_token_a_stop_string_or_the_limit() {
    let table = table(&[], Forcing::Off);
    let end = |stops: &[&str], max, wanted: &[u32]| {
        let mut generation = Generation::new(Arc::clone(&table), config(stops, max), &[], None).unwrap();
        let (text, tokens, end) = run(&mut generation, &table, wanted);
        assert_eq!(generation.next(&[0.0]), Err(GenerateError::IsOver));
        (text, tokens.len(), end)
    };
    let mut wanted = bytes("hi");
    wanted.push(256);
    assert_eq!(end(&[], 9, &wanted), ("hi".into(), 2, Some(Finish::EndOfSequence)));
    assert_eq!(end(&["x", "\n\n"], 99, &bytes("hi\n\nthere")), ("hi".into(), 4, Some(Finish::Stop(1))));
    assert_eq!(end(&["\n\n"], 3, &bytes("hi\n\n")), ("hi\n".into(), 3, Some(Finish::Length)));
}

#[test]
fn forced_tokens_arrive_in_one_step_without_probabilities() {
    let table = table(&["{\"", "name", "\":\""], Forcing::LongestMatch);
    let schema = serde_json::json!({
        "type": "object", "properties": {"name": {"enum": ["ab", "cd"]}}, "required": ["name"],
        "additionalProperties": false
    });
    let constraint = constraint(&table, schema);
    let mut generation = Generation::new(Arc::clone(&table), config(&[], 99), &[], Some(constraint)).unwrap();
    let step = generation.begin().unwrap();
    assert_eq!(step.text, "{\"name\":\"");
    assert!(step.tokens.iter().all(|token| token.log_probability.is_none()));
    let step = generation.next(&wanting(&table, u32::from(b'c'))).unwrap();
    assert_eq!((step.text.as_str(), step.is_over), ("cd\"}", Some(Finish::Complete)));
    assert!(step.tokens[0].log_probability.unwrap() < 0.0);
    assert!(step.tokens[1..].iter().all(|token| token.log_probability.is_none()));
}

#[test]
fn a_constraint_overrides_the_model() {
    let table = table(&[], Forcing::Off);
    let constraint = constraint(&table, serde_json::json!({"type": "boolean"}));
    let mut generation = Generation::new(Arc::clone(&table), config(&[], 99), &[], Some(constraint)).unwrap();
    let (text, tokens, end) = run(&mut generation, &table, &bytes("tomorrow"));
    assert_eq!((text.as_str(), end), ("true", Some(Finish::Complete)));
    // The model favoured "o" where the constraint required "r", so its own probability of "r" is low.
    assert!(tokens[0].log_probability.unwrap() > -0.1 && tokens[1].log_probability.unwrap() < -8.0);
}

#[test]
fn a_constraint_may_allow_both_the_end_and_more_text() {
    let table = table(&[], Forcing::Off);
    let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
    let constraint = grammars.compile(&Grammar::Regex("a+".into())).unwrap().start();
    let mut generation = Generation::new(Arc::clone(&table), config(&[], 99), &[], Some(constraint)).unwrap();
    let (text, _, end) = run(&mut generation, &table, &[97, 97, 256]);
    assert_eq!((text.as_str(), end), ("aa", Some(Finish::EndOfSequence)));
}

#[test]
fn invalid_configurations_get_their_own_errors() {
    let table = table(&[], Forcing::Off);
    let refused = |config| Generation::new(Arc::clone(&table), config, &[], None).unwrap_err();
    assert_eq!(refused(config(&[], 0)), GenerationConfigError::NoTokens);
    assert_eq!(refused(config(&["a", ""], 1)), GenerationConfigError::Stop(1, 0));
    assert_eq!(refused(config(&["a"; 65], 1)), GenerationConfigError::TooManyStops(65));
    let mut hot = config(&[], 1);
    hot.sampling.temperature = f32::INFINITY;
    assert!(matches!(refused(hot), GenerationConfigError::Sampling(_)));
}

/// Runs a model that repeats one letter forever under a schema and a token limit.
fn endless(schema: &serde_json::Value, tokens_max: usize, letter: u8) -> (String, usize, Option<Finish>) {
    let table = table(&["{\"", "name", "\":\""], Forcing::LongestMatch);
    let constraint = constraint(&table, schema.clone());
    let mut generation =
        Generation::new(Arc::clone(&table), config(&[], tokens_max), &[], Some(constraint)).unwrap();
    let first = generation.begin().unwrap();
    let (mut text, mut count) = (first.text, first.tokens.len());
    if first.is_over.is_some() {
        return (text, count, first.is_over);
    }
    let wanted = vec![u32::from(letter); tokens_max];
    let (rest, tokens, finish) = run(&mut generation, &table, &wanted);
    text.push_str(&rest);
    count += tokens.len();
    (text, count, finish)
}

#[test]
fn json_is_closed_within_its_token_limit() {
    let schema = serde_json::json!({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string", "minLength": 2}},
            "size": {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]},
            "kind": {"enum": ["new", "old"]}
        },
        "required": ["name", "size", "kind"], "additionalProperties": false
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut names = 0;
    for tokens_max in (60..140).step_by(9) {
        for letter in [b'a', b'\\', b'"', b'7', b'{', b','] {
            let (text, count, finish) = endless(&schema, tokens_max, letter);
            let value = serde_json::from_str(&text).unwrap_or(serde_json::Value::Null);
            assert!(validator.is_valid(&value), "{tokens_max}: {text}");
            assert!(count <= tokens_max && finish.is_some(), "{count} of {tokens_max}: {text}");
            if letter == b'a' {
                assert_eq!(finish, Some(Finish::Length), "{text}");
                names = names.max(value["name"].as_str().unwrap().len());
            }
        }
    }
    assert!(names > 60, "the model uses the available room: {names}");
}

#[test]
fn an_answer_that_ends_in_time_is_unchanged_and_one_without_room_is_refused() {
    let schema = serde_json::json!({"type": "array", "items": {"type": "integer"}, "minItems": 2});
    let table = table(&[], Forcing::Off);
    for tokens_max in 6..60 {
        let constraint = constraint(&table, schema.clone());
        let mut generation =
            Generation::new(Arc::clone(&table), config(&[], tokens_max), &[], Some(constraint)).unwrap();
        let mut wanted = bytes("[1,23]");
        wanted.push(256);
        let (text, _, finish) = run(&mut generation, &table, &wanted);
        assert_eq!(text, "[1,23]", "{tokens_max}");
        assert!(matches!(finish, Some(Finish::Complete | Finish::EndOfSequence)), "{finish:?}");
    }
    let constraint = constraint(&table, schema);
    let refused = Generation::new(Arc::clone(&table), config(&[], 3), &[], Some(constraint)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the shortest answer that the constraint allows has 5 tokens, and tokens_max is 3"
    );
}

/// A grammar whose end is not known in advance, so that its answers can be cut off, and whose text is forced.
fn uncloseable(table: &TokenTable) -> Constraint {
    let grammars = Grammars::new(table, GrammarLimits::standard()).unwrap();
    let text = "start: FIRST body \"end\"\nFIRST: /[xy]/\nbody[lazy]: /abcd;/\n";
    grammars.compile(&Grammar::Lark(text.into())).unwrap().start()
}

#[test]
fn a_forced_text_that_the_limit_cuts_is_not_complete() {
    let table = table(&[], Forcing::LongestMatch);
    for tokens_max in 1..=10 {
        let config = config(&[], tokens_max);
        let mut generation =
            Generation::new(Arc::clone(&table), config, &[], Some(uncloseable(&table))).unwrap();
        assert_eq!(generation.begin().unwrap().tokens.len(), 0);
        let (text, tokens, finish) = run(&mut generation, &table, &bytes("x"));
        assert_eq!(text, "xabcd;end"[..tokens_max.min(9)], "{tokens_max}");
        assert_eq!(tokens.len(), tokens_max.min(9));
        assert_eq!(finish, Some(if tokens_max < 9 { Finish::Length } else { Finish::Complete }));
    }
    let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
    let text = "start: body \"end\"\nbody[lazy]: /abcd;/\n";
    let compiled = grammars.compile(&Grammar::Lark(text.into())).unwrap();
    for tokens_max in 1..=9 {
        let config = config(&[], tokens_max);
        let mut generation =
            Generation::new(Arc::clone(&table), config, &[], Some(compiled.start())).unwrap();
        let begun = generation.begin().unwrap();
        assert_eq!(begun.text, "abcd;end"[..tokens_max.min(8)], "{tokens_max}");
        assert_eq!(begun.is_over, Some(if tokens_max < 8 { Finish::Length } else { Finish::Complete }));
    }
}

#[test]
fn a_stop_string_within_forced_text_ends_the_answer_there() {
    let table = table(&[], Forcing::LongestMatch);
    for tokens_max in [4, 9, 20] {
        let config = config(&["bc"], tokens_max);
        let mut generation =
            Generation::new(Arc::clone(&table), config, &[], Some(uncloseable(&table))).unwrap();
        let (text, tokens, finish) = run(&mut generation, &table, &bytes("x"));
        assert_eq!((text.as_str(), tokens.len(), finish), ("xa", 4, Some(Finish::Stop(0))), "{tokens_max}");
    }
}
