use serde_json::json;

use super::*;
use crate::constraint::{Grammar, GrammarLimits, Grammars, JsonLayout};
use crate::tokens::{Forcing, TokenTable};

fn progress(grammar: &Grammar) -> Progress {
    let bytes = (0..=u8::MAX).map(|byte| vec![byte]).chain([Vec::new()]);
    let table = TokenTable::new(bytes, &[], &[256], Forcing::Off).unwrap();
    let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
    grammars.compile(grammar).unwrap().start().progress().unwrap()
}

fn schema(schema: serde_json::Value) -> Grammar {
    Grammar::JsonSchema { schema, layout: JsonLayout::Compact }
}

/// Checks the distance and the ending after a text.
fn check(progress: &mut Progress, text: &str, ending: &str) {
    assert_eq!(progress.ending_after(text.as_bytes()).as_deref(), Some(ending.as_bytes()), "after {text}");
    assert_eq!(progress.distance_after(text.as_bytes()), Some(ending.len()), "after {text}");
}

#[test]
fn endings_are_the_shortest() {
    let mut object = progress(&schema(json!({
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "object", "properties": {"c": {"enum": ["long", "no"]}}, "required": ["c"]},
            "d": {"type": "array", "items": {"type": "boolean"}, "minItems": 2}
        },
        "required": ["a", "d"], "additionalProperties": false
    })));
    check(&mut object, "", r#"{"a":"","d":[true,true]}"#);
    check(&mut object, r#"{"a":"x\\"#, r#"","d":[true,true]}"#);
    check(&mut object, r#"{"a":"x","#, r#""d":[true,true]}"#);
    check(&mut object, r#"{"a":"x","b"#, r#"":{"c":"no"},"d":[true,true]}"#);
    check(&mut object, r#"{"a":"x","b":{"c":"l"#, r#"ong"},"d":[true,true]}"#);
    check(&mut object, r#"{"a":"x","d":[f"#, "alse,true]}");
    check(&mut object, r#"{"a":"x","d":[true,true]}"#, "");
    assert_eq!(object.distance_after(br#"{"z"#), None);
    let mut tree = progress(&schema(json!({"$ref": "#/$defs/t", "$defs": {"t": {"anyOf": [
        {"type": "array", "items": {"$ref": "#/$defs/t"}, "minItems": 2}, {"type": "null"}]}}})));
    check(&mut tree, "[[", "null,null],null]");
    let mut number =
        progress(&schema(json!({"type": "integer", "multipleOf": 97, "minimum": 900, "maximum": 999})));
    check(&mut number, "9", "70");
    check(&mut progress(&Grammar::Regex("(ab)+c{3}".into())), "aba", "bccc");
}

#[test]
fn an_automaton_at_its_limit_is_begun_anew_within_an_answer() {
    let mut progress =
        progress(&schema(json!({"type": "array", "items": {"type": "string", "pattern": "^[a-f]+-x$"}})));
    progress.read(b"[\"ab");
    let before = progress.ending_after(b"c");
    progress.endings.with(|_, lexemes| lexemes.exhaust());
    assert_eq!(progress.ending_after(b"c"), before);
    progress.endings.with(|_, lexemes| lexemes.exhaust());
    progress.read(b"cd-x\",\"f");
    assert_eq!(progress.ending_after(b"").as_deref(), Some(&b"-x\"]"[..]));
    assert!(progress.is_known());
}

#[test]
fn a_grammar_without_an_end_is_refused() {
    let bytes = (0..=u8::MAX).map(|byte| vec![byte]).chain([Vec::new()]);
    let table = TokenTable::new(bytes, &[], &[256], Forcing::Off).unwrap();
    let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
    let endless = json!({"$ref": "#/$defs/a", "$defs": {"a": {
        "type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}}});
    let told = grammars.compile(&schema(endless)).unwrap_err().to_string();
    assert!(told.contains("forever"), "{told}");
}
