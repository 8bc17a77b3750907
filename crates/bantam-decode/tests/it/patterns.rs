use bantam_decode::{Forcing, GrammarLimits, Grammars, JsonLayout};
use serde_json::json;

use super::harness::{SeededRandom, accepts_text, compile, table, validator};

/// Expressions that engines read differently, each with letters for making strings. `\<` is missing: the standard
/// treats it as a character, the validator as the start of a word.
const PATTERNS: [(&str, &str); 25] = [
    ("^a|b$", "abc"),
    ("^(a|b)$", "ab"),
    ("(^a|b)c", "abc"),
    ("a(b|c$)", "abc"),
    ("^$", "a"),
    ("", "ab"),
    ("^[[a]+$", "[a&"),
    ("^[a&&b]+$", "ab&"),
    ("^[a~~b]+$", "ab~"),
    ("^[+--]+$", "+,-."),
    ("^[\\w-.]+$", "a_-.!"),
    ("^[^\\W]+$", "a_-.!"),
    ("^\\d{2,3}$", "12"),
    ("^a{2}b?$", "ab"),
    ("^a{,2}$", "a{,2}"),
    ("^x*?y+?$", "xy"),
    ("^(?:ab|c)+$", "abc"),
    ("^[\\]\\\\]$", "]\\"),
    ("^a/b$", "a/b"),
    ("^\\S+\\s\\S+$", "a \t"),
    ("^.a.$", "ab\n"),
    ("^[^a-c]$", "abcd"),
    ("^\\u0061\\x62$", "abc"),
    ("\\.(png|jpe?g)$", ".pngje"),
    ("^([a-c]|[x-z]\\-)+$", "acxz-"),
];

#[test]
fn patterns_agree_with_an_independent_engine() {
    let table = table(Forcing::Off);
    let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
    let mut random = SeededRandom::new(5);
    let (mut accepted, mut refused) = (0, 0);
    for (pattern, letters) in PATTERNS {
        let schema = json!({"type": "string", "pattern": pattern});
        let grammar = compile(&grammars, &schema, JsonLayout::Compact).unwrap();
        // The validator refuses expressions that are valid only under the older rules.
        let Ok(validator) = validator(&schema) else { continue };
        let letters: Vec<char> = letters.chars().collect();
        for _ in 0..120 {
            let length = random.next() % 6;
            let text: String =
                (0..length).map(|_| letters[(random.next() % letters.len() as u64) as usize]).collect();
            let instance = json!(text);
            let expected = validator.is_valid(&instance);
            assert_eq!(accepts_text(&grammar, &instance.to_string()), expected, "{pattern} on {instance}");
            accepted += usize::from(expected);
            refused += usize::from(!expected);
        }
    }
    assert!(accepted > 500 && refused > 500, "{accepted} and {refused}");
}
