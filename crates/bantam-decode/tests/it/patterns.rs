use bantam_decode::{Forcing, GrammarLimits, Grammars, JsonLayout};
use serde_json::json;

use super::harness::{Chance, compile, table, takes_text, validator};

/// Expressions whose parts are read in more than one way, with letters to make strings of. Not among them is
/// `\<`, a character by the standard, which the validator takes for the beginning of a word.
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
fn patterns_take_what_an_independent_engine_takes() {
    let table = table(Forcing::Off);
    let grammars = Grammars::new(&table, GrammarLimits::standard()).unwrap();
    let mut chance = Chance::new(5);
    let (mut taken, mut refused) = (0, 0);
    for (pattern, letters) in PATTERNS {
        let schema = json!({"type": "string", "pattern": pattern});
        let grammar = compile(&grammars, &schema, JsonLayout::Compact).unwrap();
        // It refuses what is an expression by the older rules only.
        let Ok(validator) = validator(&schema) else { continue };
        let letters: Vec<char> = letters.chars().collect();
        for _ in 0..120 {
            let length = chance.next() % 6;
            let text: String =
                (0..length).map(|_| letters[(chance.next() % letters.len() as u64) as usize]).collect();
            let instance = json!(text);
            let expected = validator.is_valid(&instance);
            assert_eq!(takes_text(&grammar, &instance.to_string()), expected, "{pattern} on {instance}");
            taken += usize::from(expected);
            refused += usize::from(!expected);
        }
    }
    assert!(taken > 500 && refused > 500, "{taken} and {refused}");
}
