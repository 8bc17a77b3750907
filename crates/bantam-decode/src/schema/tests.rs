use super::*;

const LIMITS: SchemaLimits = SchemaLimits { depth_max: 64, subschemas_max: 10_000, pattern_bytes_max: 4_096 };

fn refusal(schema: Value) -> SchemaError {
    lower(&schema, &LIMITS).expect_err(&schema.to_string())
}

fn lowered(schema: Value) -> Value {
    lower(&schema, &LIMITS).unwrap_or_else(|error| panic!("{schema}: {error}"))
}

#[test]
fn unsupported_keywords_are_refused_with_their_path() {
    for (keyword, value) in [
        ("not", json!({})),
        ("not", json!(true)),
        ("uniqueItems", json!(true)),
        ("contains", json!({"type": "null"})),
        ("propertyNames", json!({"pattern": "^a", "maxLength": 3})),
        ("unevaluatedProperties", json!(false)),
        ("unevaluatedItems", json!(false)),
        ("$dynamicRef", json!("#node")),
        ("$recursiveRef", json!("#")),
        ("extends", json!({})),
        ("format", json!("regex")),
        ("pattern", json!("(?!a)b")),
        ("minProperties", json!(2)),
        ("oneOf", json!([{"type": "integer"}, {"type": "number"}])),
        ("multipleOf", json!(0.000_001)),
        ("multipleOf", json!(0)),
        ("minimum", json!(9_007_199_254_740_993i64)),
        ("const", json!("a\u{1}b")),
        ("enum", json!([[18_446_744_073_709_551_615u64]])),
        ("type", json!("int")),
        ("required", json!(true)),
        ("minLength", json!(-1)),
        ("anyOf", json!([])),
        ("prefixItems", json!({})),
        ("properties", json!([])),
        ("$ref", json!("https://example.com/other.json")),
        ("$ref", json!("#/nowhere")),
    ] {
        let schema = json!({"type": "object", "properties": {"a/b": {"items": {keyword: value}}}});
        let error = refusal(schema.clone());
        assert_eq!(
            (error.keyword.as_str(), error.pointer.as_str()),
            (keyword, "/properties/a~1b/items"),
            "{schema}"
        );
    }
    let error = refusal(json!({"type": "string", "if": {"pattern": "a"}, "then": {"minLength": 3}}));
    assert_eq!(
        error.to_string(),
        "`if` at the root: no way to fail it was found that an answer can be held to: write each case as a branch of \
         anyOf"
    );
}

#[test]
fn keywords_without_requirements_are_accepted() {
    for schema in [
        json!({"title": "t", "description": "d", "default": 1, "examples": [1], "$comment": "c", "deprecated": true}),
        json!({"readOnly": true, "x-order": 3, "nullable": true, "contentMediaType": "text/html", "$anchor": "a"}),
        json!({"uniqueItems": false, "unevaluatedProperties": true, "propertyNames": {}, "dependentRequired": {}}),
        json!({"if": {"type": "object"}, "minContains": 3, "not": false, "minProperties": 0}),
        json!({"x-guidance": {"lenient": true}}),
        json!({"format": "chickenbutt"}),
        json!(true),
    ] {
        assert_eq!(lowered(schema), json!({}));
    }
}

#[test]
fn lowered_schemas_contain_only_supported_keywords() {
    let schema = lowered(json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
        "properties": {
            "n": {"type": "number", "minimum": 0, "exclusiveMinimum": true},
            "d": {"type": "string", "format": "date", "x-guidance": {"lenient": true}},
            "t": {"type": "array", "items": [{"type": "null"}], "additionalItems": false}
        },
        "title": "gone"
    }));
    assert_eq!(
        schema["properties"]["n"],
        json!({"type": ["number"], "exclusiveMinimum": 0.0, "exclusiveMaximum": 1e18})
    );
    assert!(schema["properties"]["d"]["pattern"].as_str().unwrap().starts_with("^(?:"));
    assert_eq!(schema["properties"]["d"].as_object().unwrap().len(), 2);
    assert_eq!(
        schema["properties"]["t"],
        json!({"type": ["array"], "prefixItems": [{"type": ["null"]}], "items": false})
    );
    assert!(schema.get("title").is_none());
}

#[test]
fn references_follow_the_rules_of_their_draft() {
    let beside = |draft: &str| {
        lowered(json!({
            "$schema": draft, "properties": {"a": {"$ref": "#/definitions/x~1y%25", "type": "null"}},
            "definitions": {"x/y%": {"type": "string"}}
        }))
    };
    let old = beside("http://json-schema.org/draft-07/schema#");
    assert_eq!(old["properties"]["a"], json!({"$ref": "#/$defs/d0"}));
    assert_eq!(old["$defs"]["d0"], json!({"type": ["string"]}));
    let new = beside("https://json-schema.org/draft/2020-12/schema");
    assert_eq!(new["properties"]["a"], json!({"type": ["null"], "$ref": "#/$defs/d0"}));
    let anchored = lowered(json!({"$ref": "#here", "$defs": {"a": {"$anchor": "here", "type": "null"}}}));
    assert_eq!(anchored["$defs"]["d0"], json!({"type": ["null"]}));
    let tree = lowered(json!({"type": "object", "properties": {"child": {"$ref": "#"}}}));
    assert_eq!(tree["$defs"]["d0"]["properties"]["child"], json!({"$ref": "#/$defs/d0"}));
    let rebased = json!({"properties": {"a": {"$id": "other.json", "items": {"$ref": "#/$defs/a"}}}, "$defs": {"a": {}}});
    assert_eq!(refusal(rebased).pointer, "/properties/a/items");
    let looped = json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}});
    assert!(refusal(looped).reason.contains("lead back"));
}

#[test]
fn one_of_is_accepted_if_its_branches_are_disjoint() {
    let object = |kind: &str| json!({"properties": {"kind": {"const": kind}}, "required": ["kind"]});
    for branches in [
        json!([{"type": "string"}, {"type": ["null", "integer"]}]),
        json!([{"const": 1}, {"const": 2}, {"enum": ["a", "b"]}]),
        json!([{"type": "object", "allOf": [object("a")]}, {"type": "object", "allOf": [object("b")]}]),
        json!([{"$ref": "#/$defs/text"}, {"type": "number"}]),
    ] {
        let is_object = branches[0]["type"] == "object";
        let mut schema = json!({"oneOf": branches, "$defs": {"text": {"type": "string"}}});
        if is_object {
            schema["type"] = json!("object");
        }
        lowered(schema);
    }
    let shared = json!({"type": "object", "oneOf": [object("a"), object("b")]});
    lowered(shared);
    for branches in [
        json!([{"const": 1}, {"const": 1.0}]),
        json!([{"type": "integer"}, {"type": "number"}]),
        json!([{"type": "object"}, {"type": "object", "title": "the same"}]),
    ] {
        assert_eq!(refusal(json!({ "oneOf": branches })).keyword, "oneOf");
    }
}

#[test]
fn a_branch_of_one_of_excludes_the_others() {
    let without = |name: &str| json!({"type": ["object"], "properties": {name: false}});
    let one_of =
        |branches: Value| lowered(json!({"type": "object", "oneOf": branches}))["allOf"][0]["anyOf"].clone();
    let required = |name: &str| json!({"required": [name]});
    assert_eq!(
        one_of(json!([required("a"), required("b")])),
        json!([{"allOf": [required("a"), without("b")]}, {"allOf": [required("b"), without("a")]}])
    );
    let kind = |value: u8| json!({"properties": {"k": {"const": value}}});
    let with = |value: u8| json!({"type": ["object"], "required": ["k"], "properties": {"k": {"allOf": [{"enum": [value]}]}}});
    let narrowed = one_of(json!([kind(1), kind(2)]));
    assert_eq!(narrowed[0]["allOf"][1]["required"], with(1)["required"], "{narrowed}");
}

#[test]
fn what_a_range_beyond_what_is_written_lacks_is_said() {
    for (keyword, bound) in
        [("minimum", json!(1_000_000_000_000_000_000u64)), ("exclusiveMaximum", json!(-1e18))]
    {
        let error = refusal(json!({"type": "integer", keyword: bound}));
        assert_eq!(error.keyword, keyword);
        assert!(error.reason.contains("beyond 10^18"), "{error}");
    }
}

#[test]
fn limits_are_enforced() {
    let deep = (0..70).fold(json!({}), |inner, _| json!({ "items": inner }));
    assert!(refusal(deep).reason.contains("nested deeper than 64"));
    let wide: Vec<Value> = (0..10_001).map(|_| json!({})).collect();
    assert!(refusal(json!({ "anyOf": wide })).reason.contains("more than 10000 subschemas"));
    assert!(refusal(json!(false)).reason.contains("no JSON value"));
    assert!(refusal(json!(3)).reason.contains("object, true or false"));
    let multiples = json!({"allOf": [{"multipleOf": 65_521}, {"multipleOf": 65_519}, {"multipleOf": 7}]});
    assert_eq!(refusal(multiples).keyword, "multipleOf");
}
