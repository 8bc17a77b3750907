use bantam_decode::{Forcing, GrammarLimits, Grammars, JsonLayout};
use serde_json::json;

use super::harness::{accepts_text, answer, compile, table, validator};

/// Formats with instances that must be accepted.
const FORMATS: [(&str, &[&str]); 14] = [
    ("date-time", &["2024-02-29T23:59:59.5+01:00", "1999-12-31T23:59:60Z"]),
    ("date", &["2000-02-29", "2023-04-30", "1900-01-31"]),
    ("time", &["00:00:00Z", "23:59:59-08:30"]),
    ("duration", &["P1Y2M3DT4H5M6S", "PT36H", "P4W"]),
    ("email", &["ada.lovelace@mail.example.org", "a+b@x-y.de"]),
    ("hostname", &["localhost", "a-b.example.com"]),
    ("ipv4", &["127.0.0.1", "255.255.255.255"]),
    ("ipv6", &["::1", "fe80::1:2", "1:2:3:4:5:6:7:8", "::"]),
    ("uri", &["https://user@example.com:8080/a/b?c=d#e", "urn:isbn:0451450523", "mailto:a@b.c"]),
    ("uri-reference", &["/a/b?c", "../x", "#top", "https://example.com"]),
    ("uuid", &["123e4567-e89b-12d3-a456-426614174000"]),
    ("json-pointer", &["", "/a~1b/0"]),
    ("relative-json-pointer", &["0#", "1/a"]),
    ("byte", &["", "QUJD", "QUI="]),
];

#[test]
fn formats_agree_with_an_independent_validator() {
    let table = table(Forcing::Off);
    let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
    for (format, instances) in FORMATS {
        let schema = json!({"type": "string", "format": format});
        let grammar = compile(&grammars, &schema, JsonLayout::Compact).unwrap();
        let validator = validator(&schema).unwrap();
        for instance in instances {
            let instance = json!(instance);
            assert!(validator.is_valid(&instance), "{format}: {instance}");
            assert!(accepts_text(&grammar, &instance.to_string()), "{format}: {instance}");
        }
        let mut ended = 0;
        for seed in 1..60 {
            let Some(text) = answer(&table, &grammar, seed, 5 + seed as usize / 4).unwrap() else { continue };
            ended += 1;
            let value = serde_json::from_str(&text).unwrap();
            assert!(validator.is_valid(&value), "{format}: {text}");
        }
        assert!(ended > 50, "{format}: {ended} of 59 answers ended");
    }
}

#[test]
fn nonexistent_dates_are_refused() {
    let table = table(Forcing::Off);
    let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
    let grammar =
        compile(&grammars, &json!({"format": "date", "type": "string"}), JsonLayout::Compact).unwrap();
    for day in
        ["2023-02-29", "1900-02-29", "2024-02-30", "2024-04-31", "2024-13-01", "2024-00-10", "2024-01-00"]
    {
        assert!(!accepts_text(&grammar, &format!("\"{day}\"")), "{day}");
    }
}
