//! Keywords that a grammar can honour only by construction, against an independent validator.

use bantam_decode::{Forcing, GrammarLimits, Grammars};
use serde_json::{Value, json};

use super::harness::{Tally, table};

/// Checks random answers and these instances against the validator, and that the first are accepted.
fn check(schema: Value, accepted: &[Value], refused: &[Value]) {
    let table = table(Forcing::LongestMatch);
    let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
    let mut tally = Tally::default();
    let instances: Vec<&Value> = accepted.iter().chain(refused).collect();
    tally.add("schema", &schema, &instances, &grammars, &table, 12);
    assert_eq!((tally.compiled, tally.unjudged), (1, 0), "{schema}: {:?}", tally.reasons);
    assert_eq!(
        (&tally.invalid, &tally.invalid_accepted, &tally.stuck),
        (&vec![], &vec![], &vec![]),
        "{schema}"
    );
    assert_eq!(tally.valid_refused, [""; 0], "{schema}");
    assert_eq!((tally.valid_accepted, tally.invalid_refused), (accepted.len(), refused.len()), "{schema}");
    assert!(tally.unfinished.len() < 12, "{schema}");
}

#[test]
fn exactly_one_branch_matches() {
    let object = |branches: Value| json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "oneOf": branches});
    check(
        object(json!([{"required": ["a"]}, {"required": ["b"]}])),
        &[json!({"a": 1}), json!({"b": 1}), json!({"b": 2, "c": null})],
        &[json!({"a": 1, "b": 1}), json!({}), json!({"c": 1})],
    );
    check(
        object(json!([{"required": ["a"]}, {"required": ["b"]}, {"required": ["c"]}])),
        &[json!({"a": 1}), json!({"c": 1})],
        &[json!({"a": 1, "c": 1}), json!({"a": 1, "b": 1, "c": 1})],
    );
    check(
        object(json!([{"properties": {"a": {"enum": [1, 2]}}}, {"properties": {"a": {"enum": [2, 3]}}}])),
        &[json!({"a": 1}), json!({"a": 3, "b": 1})],
        &[json!({"a": 2}), json!({}), json!({"a": 4})],
    );
    check(
        json!({"oneOf": [{"type": ["string", "null"]}, {"type": ["string", "boolean"]}]}),
        &[json!(null), json!(true)],
        &[json!("x"), json!(1)],
    );
    check(
        json!({"oneOf": [{"type": "string", "pattern": "^https?://.+$"}, {"type": "string", "pattern": "^\\./.+$"}]}),
        &[json!("http://x"), json!("./x")],
        &[json!("x"), json!("./")],
    );
    check(
        json!({"oneOf": [{"type": "string", "pattern": "^[a-f\\d]{4}$"}, {"enum": ["", "0000", "none"]}]}),
        &[json!(""), json!("none")],
        &[json!("0000"), json!("xxxx")],
    );
    check(
        json!({"oneOf": [{"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "number"}}]}),
        &[json!(["a"]), json!([1, 2])],
        &[json!([]), json!(["a", 1])],
    );
    check(
        json!({"type": "integer", "oneOf": [{"minimum": 10}, {"maximum": 20}]}),
        &[json!(3), json!(30)],
        &[json!(15), json!(10)],
    );
    check(
        json!({"oneOf": [
            {"type": "object", "properties": {"k": {"type": "integer"}}, "additionalProperties": false},
            {"type": "object", "properties": {"l": {"type": "integer"}}, "additionalProperties": false}]}),
        &[json!({"k": 1}), json!({"l": 1})],
        &[json!({}), json!({"k": 1, "l": 1})],
    );
}

#[test]
fn what_is_excluded_does_not_occur() {
    check(
        json!({"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "not": {"required": ["a"]}}),
        &[json!({"b": null}), json!({})],
        &[json!({"a": null}), json!({"a": null, "b": null})],
    );
    check(
        json!({"not": {"type": ["string", "array", "object"]}}),
        &[json!(1), json!(null)],
        &[json!("x"), json!([])],
    );
    check(
        json!({"enum": ["a", "bb", "c"], "not": {"const": "bb"}}),
        &[json!("a"), json!("c")],
        &[json!("bb")],
    );
}

#[test]
fn a_case_holds_where_its_condition_does() {
    let schema = json!({
        "type": "object",
        "properties": {"kind": {"enum": ["card", "cash"]}, "number": {"type": "integer"}},
        "required": ["kind"],
        "if": {"properties": {"kind": {"const": "card"}}},
        "then": {"required": ["number"]},
        "else": {"properties": {"number": false}}
    });
    check(
        schema,
        &[json!({"kind": "card", "number": 4}), json!({"kind": "cash"})],
        &[json!({"kind": "card"}), json!({"kind": "cash", "number": 4})],
    );
    check(
        json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "if": {"required": ["a"]}, "then": {"required": ["b"]}}),
        &[json!({"a": 1, "b": 2}), json!({"b": 2}), json!({})],
        &[json!({"a": 1})],
    );
}

#[test]
fn items_differ_from_each_other() {
    let unique = |items: Value| json!({"type": "array", "items": items, "uniqueItems": true});
    check(
        unique(json!({"enum": ["a", "b", "c", "a"]})),
        &[json!([]), json!(["b"]), json!(["a", "c"]), json!(["a", "b", "c"])],
        &[json!(["a", "a"]), json!(["a", "b", "b"])],
    );
    check(unique(json!({"type": "boolean"})), &[json!([true, false]), json!([])], &[json!([true, true])]);
    let mut some = unique(json!({"enum": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]}));
    (some["minItems"], some["maxItems"]) = (json!(1), json!(3));
    check(some, &[json!([3]), json!([1, 14])], &[json!([]), json!([2, 2]), json!([1, 2, 3, 4])]);
}

#[test]
fn names_keep_to_their_condition() {
    let names = |condition: Value| json!({"type": "object", "properties": {"x1": {"type": "null"}, "long": {"type": "null"}}, "propertyNames": condition});
    check(
        names(json!({"pattern": "^[a-z][0-9]$"})),
        &[json!({"x1": null}), json!({"y2": [1]}), json!({})],
        &[json!({"long": null}), json!({"z": 1})],
    );
    check(
        names(json!({"enum": ["x1", "q"]})),
        &[json!({"x1": null, "q": 3})],
        &[json!({"long": null}), json!({"p": 1})],
    );
    check(names(json!({"maxLength": 2})), &[json!({"ab": 1})], &[json!({"abc": 1})]);
}

#[test]
fn properties_are_counted() {
    let closed = |least: u64, most: u64| {
        json!({"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}, "d": {"type": "null"}},
            "additionalProperties": false, "minProperties": least, "maxProperties": most})
    };
    let with =
        |names: &[&str]| Value::Object(names.iter().map(|name| ((*name).to_owned(), Value::Null)).collect());
    check(
        closed(2, 3),
        &[with(&["a", "b"]), with(&["b", "c", "d"])],
        &[with(&["a"]), with(&[]), with(&["a", "b", "c", "d"])],
    );
    let open = json!({"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "maxProperties": 1});
    check(open, &[with(&["b"]), with(&[])], &[with(&["a", "b"]), with(&["a", "z"])]);
}

#[test]
fn formats_of_no_draft_are_annotations_and_others_are_kept() {
    check(json!({"type": "string", "format": "topic"}), &[json!("any text"), json!("")], &[json!(1)]);
    check(json!({"type": "string", "format": "iri"}), &[json!("https://example.com/a")], &[json!("no iri")]);
    check(json!({"type": "string", "format": "idn-email"}), &[json!("a@example.com")], &[json!(1)]);
    check(json!({"type": "string", "format": "uri-template"}), &[json!("/a/{b}{?c,d}")], &[json!("/{")]);
}
