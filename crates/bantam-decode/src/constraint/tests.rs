use serde_json::{Value, json};

use super::*;
use crate::tokens::{Forcing, TokenTable};

fn table() -> TokenTable {
    let bytes = (0..=255u8).map(|byte| vec![byte]);
    let pieces = ["", "<ctrl>", "true", "\":", "{\"", "\"}"].map(|piece| piece.as_bytes().to_vec());
    TokenTable::new(bytes.chain(pieces), &[257], &[256], Forcing::LongestMatch).unwrap()
}

fn compile(grammar: &Grammar) -> Result<CompiledGrammar, CompileGrammarError> {
    Grammars::new(&table(), GrammarLimits::standard()).unwrap().compile(grammar)
}

fn schema(schema: Value) -> Grammar {
    Grammar::JsonSchema { schema, layout: JsonLayout::Compact }
}

/// Whether a grammar accepts a text, fed byte by byte.
fn accepts(grammar: &Grammar, text: &str) -> bool {
    let mut constraint = compile(grammar).unwrap().start();
    text.bytes().all(|byte| constraint.accept(byte.into()).is_ok()) && constraint.is_complete()
}

#[test]
fn every_kind_of_grammar_accepts_exactly_its_language() {
    let regex = Grammar::Regex("[a-c]{2}/\\d+".into());
    assert!(accepts(&regex, "ab/12") && !accepts(&regex, "ab/") && !accepts(&regex, "xab/12"));
    let choice = Grammar::Choice(vec!["a.b".into(), "a.b (c)\n\"".into(), "\u{e9}/\\".into()]);
    for text in ["a.b", "a.b (c)\n\"", "\u{e9}/\\"] {
        assert!(accepts(&choice, text), "{text}");
    }
    assert!(!accepts(&choice, "axb") && !accepts(&choice, "a.") && !accepts(&choice, ""));
    let lark = Grammar::Lark("start: \"(\" start \")\" | \"x\"".into());
    assert!(accepts(&lark, "((x))") && !accepts(&lark, "((x)"));
    let json = schema(json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}));
    assert!(accepts(&json, "{\"a\":-12}") && !accepts(&json, "{\"a\":1.5}") && !accepts(&json, "{}"));
}

#[test]
fn layouts_differ_in_white_space_only() {
    let accepts = |layout, text| {
        accepts(
            &Grammar::JsonSchema { schema: json!({"type": "array", "items": {"type": "null"}}), layout },
            text,
        )
    };
    assert!(accepts(JsonLayout::Compact, "[null,null]") && !accepts(JsonLayout::Compact, "[null, null]"));
    assert!(accepts(JsonLayout::Spaced, "[null, null]") && !accepts(JsonLayout::Spaced, "[null,null]"));
    assert!(accepts(JsonLayout::Free, "[null,\n  null]") && accepts(JsonLayout::Free, "[null,null]"));
    let wide = format!("[null,{}null]", " ".repeat(40));
    assert!(!accepts(JsonLayout::Free, &wide));
}

#[test]
fn refusing_a_token_changes_nothing() {
    let mut constraint = compile(&Grammar::Regex("ab".into())).unwrap().start();
    assert_eq!(constraint.accept(98), Err(ConstraintError::Refused(98)));
    assert_eq!(
        constraint.accept(256),
        Err(ConstraintError::Refused(256)),
        "end of sequence before the text is complete"
    );
    assert_eq!(constraint.accept(257), Err(ConstraintError::Refused(257)), "a control token");
    assert_eq!(constraint.accept(9_999), Err(ConstraintError::Refused(9_999)));
    constraint.accept(97).unwrap();
    constraint.accept(98).unwrap();
    assert!(constraint.is_finished() && constraint.is_complete());
    assert_eq!(constraint.mask().unwrap().tokens().collect::<Vec<_>>(), [256]);
    assert_eq!(constraint.forced().unwrap(), [0u32; 0]);
}

#[test]
fn masks_allow_exactly_the_accepted_tokens() {
    let compiled = compile(&schema(json!({"type": "boolean"}))).unwrap();
    let mut constraint = compiled.start();
    let mask = constraint.mask().unwrap();
    assert_eq!(mask.tokens().collect::<Vec<_>>(), [u32::from(b'f'), u32::from(b't'), 258]);
    constraint.accept(258).unwrap();
    assert!(constraint.is_complete());
    assert!(!compiled.start().is_complete(), "answers do not share their state");
}

#[test]
fn a_property_name_has_only_one_spelling() {
    let grammar = schema(json!({"type": "object", "properties": {"foo": {"type": "integer"}}}));
    assert!(accepts(&grammar, r#"{"bar":"x"}"#) && !accepts(&grammar, r#"{"foo":"x"}"#));
    assert!(!accepts(&grammar, r#"{"f\u006fo":"x"}"#));
}

#[test]
fn compile_errors_say_where_and_why() {
    let refused = |grammar: Grammar| compile(&grammar).unwrap_err().to_string();
    let message = refused(Grammar::Regex("a(b".into()));
    assert!(
        message.starts_with("the regular expression cannot be compiled")
            && message.contains("unclosed group"),
        "{message}"
    );
    let message = refused(Grammar::Lark("start: \"a\"\n  foo: bar:".into()));
    assert!(message.contains("Lark grammar") && message.contains('2'), "{message}");
    assert!(refused(Grammar::Lark("start: %json {\"lenient\": true}".into())).contains("keyword by keyword"));
    assert!(refused(Grammar::Gbnf("root ::= \"a\"".into())).starts_with("GBNF is not supported"));
    assert!(refused(Grammar::Choice(Vec::new())).contains("at least one"));
    assert!(refused(Grammar::Regex("a".repeat(5_000))).contains("shorten it"));
    let message =
        refused(schema(json!({"type": "object", "properties": {"a": {"type": "string", "not": {}}}})));
    assert!(message.starts_with("`not` at /properties/a: "), "{message}");
}

#[test]
fn hostile_grammars_finish_quickly() {
    let deep = (0..500).fold(json!({}), |inner, _| json!({"type": "array", "items": inner}));
    let wide: Vec<Value> = (0..200)
        .map(|n| json!({"type": "object", "properties": {format!("p{n}"): {"type": "integer"}}}))
        .collect();
    let squared = json!({"allOf": (0..6).map(|_| json!({"anyOf": wide})).collect::<Vec<_>>()});
    let counted = json!({"type": "string", "pattern": "^((a{1,1000}){1,1000}){1,1000}b$"});
    let endless = json!({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}});
    let unending = json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}}});
    let parts = (0..8).fold(json!({"type": "object"}), |inner, _| json!({"anyOf": vec![inner; 3]}));
    let unproved = json!({"oneOf": [parts.clone(), parts]});
    let names: Vec<String> = (0..10_000).map(|index| format!("label number {index} of many")).collect();
    for (name, grammar) in [
        ("deep", schema(deep)),
        ("squared", schema(squared)),
        ("counted", schema(counted)),
        ("endless", schema(endless)),
        ("unending", schema(unending)),
        ("unproved", schema(unproved)),
        ("enum", schema(json!({ "enum": &names }))),
        ("choice", Grammar::Choice(names)),
        ("optional", Grammar::Regex("a?".repeat(2_048))),
        ("groups", Grammar::Regex("(".repeat(4_096))),
        ("repeated", Grammar::Regex("((((a{1,99}){1,99}){1,99}){1,99}){1,99}b".into())),
        ("ambiguous", Grammar::Regex("(a|b|ab|ba|aa|bb)*[ab]{500}c".into())),
        ("lark groups", Grammar::Lark(format!("start: {}", "(".repeat(60_000)))),
        ("lark closed groups", Grammar::Lark(format!("start: {}\"a\"{}", "(".repeat(50), ")".repeat(50)))),
        ("lark repeats", Grammar::Lark("start: a{1000000}\na: b{1000000}\nb: \"c\"{1000000}".into())),
        ("lark left", Grammar::Lark("start: start start | \"a\" | \"\"".into())),
    ] {
        let start = std::time::Instant::now();
        let result = compile(&grammar);
        let compiling = start.elapsed();
        let outcome = result.as_ref().map(|_| ()).map_err(ToString::to_string);
        if let Ok(compiled) = result {
            let mut constraint = compiled.start();
            for _ in 0..20 {
                let Ok(mask) = constraint.mask() else { break };
                let token = mask.tokens().next().unwrap();
                if constraint.accept(token).is_err() || constraint.is_finished() {
                    break;
                }
            }
        }
        let reason: String = format!("{outcome:?}").chars().take(120).collect();
        println!("{name}: {compiling:?}, then {:?}: {reason}", start.elapsed() - compiling);
        assert!(start.elapsed().as_secs() < 10, "{name} took {:?}", start.elapsed());
    }
}

#[test]
fn a_grammar_is_checked_without_a_model_and_its_fault_is_located() {
    for grammar in [
        Grammar::Regex("[A-Z]{2}-[0-9]{4}".into()),
        Grammar::Lark("start: WORD (\",\" WORD)*\nWORD: /[a-z]+/\n".into()),
        schema(json!({"type": "string"})),
    ] {
        assert_eq!(check_grammar(&grammar), Ok(()), "{grammar:?}");
    }
    let refused = |grammar: Grammar, parts: &[&str]| {
        let told = check_grammar(&grammar).unwrap_err().to_string();
        assert!(parts.iter().all(|part| told.contains(part)), "{told}");
    };
    refused(Grammar::Regex("ab[A-Z".into()), &["regular expression", "unclosed character class", "[A-Z"]);
    refused(Grammar::Regex("(?=a)b".into()), &["regular expression", "look"]);
    refused(Grammar::Regex("[^\\x00-\\x{10FFFF}]".into()), &["regular expression", "language is empty"]);
    refused(Grammar::Lark("start: \"a\"\n  numbr\n".into()), &["Lark grammar", "2(", "numbr"]);
    refused(Grammar::Lark("start: OTHER\n".into()), &["Lark grammar", "OTHER"]);
    refused(Grammar::Lark("\n".into()), &["Lark grammar", "start"]);
}
