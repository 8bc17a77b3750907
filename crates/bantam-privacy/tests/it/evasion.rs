//! No disguise of any kind may lower the label.

use base64::Engine as _;

use bantam_privacy::FindingKind;
use bantam_types::Label;

use crate::{scan, scanner};

/// Values of each kind, with the lowest label allowed.
const VALUES: [(FindingKind, Label, &str); 18] = [
    (FindingKind::Email, Label::Confidential, "jane.doe@example.com"),
    (FindingKind::Phone, Label::Confidential, "+44 7700 900 123"),
    (FindingKind::Phone, Label::Confidential, "212-555-0143"),
    (FindingKind::PaymentCard, Label::Restricted, "4111 1111 1111 1111"),
    (FindingKind::PaymentCard, Label::Restricted, "378282246310005"),
    (FindingKind::CardLike, Label::Confidential, "4111 1111 1111 1112"),
    (FindingKind::Iban, Label::Restricted, "DE89370400440532013000"),
    (FindingKind::Iban, Label::Restricted, "GB82 WEST 1234 5698 7654 32"),
    (FindingKind::IbanLike, Label::Confidential, "DE89370400440532013001"),
    (FindingKind::UsSsn, Label::Restricted, "536-22-1234"),
    (FindingKind::IpAddress, Label::Confidential, "81.2.69.142"),
    (FindingKind::IpAddress, Label::Confidential, "2a02:2f0b:8a1c::17"),
    (FindingKind::MacAddress, Label::Confidential, "3c:22:fb:9a:10:0e"),
    (FindingKind::Secret, Label::Restricted, "sk-ant-api03-Zk3vT9q0LmXw27HdYp51"),
    (FindingKind::Secret, Label::Restricted, "AKIAZ7Q2M4T9X1C5V8B3"),
    (FindingKind::Secret, Label::Restricted, "AKIAQODZVCHXMTXQYAHI"),
    (FindingKind::Secret, Label::Restricted, "password=Tr0ub4dor"),
    (FindingKind::Dictionary, Label::Restricted, "Project Falcon"),
];

/// Checks that every value is found after `disguise`.
#[track_caller]
fn check(name: &str, disguise: impl Fn(&str) -> Vec<String>) {
    let mut missed = Vec::new();
    for (kind, label, value) in VALUES {
        let pieces = disguise(value);
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let findings = scan(&pieces);
        if findings.count(kind) == 0 || findings.label() < label {
            missed.push(format!("{kind} {value}: {findings} in {pieces:?}"));
        }
    }
    assert!(missed.is_empty(), "{name} hides:\n{}", missed.join("\n"));
}

fn in_text(value: &str) -> Vec<String> {
    vec![format!("Please note {value} for later.")]
}

fn each_char(value: &str, disguise: impl Fn(char) -> String) -> String {
    value.chars().map(disguise).collect()
}

#[test]
fn plain_values_are_found() {
    check("plain", |value| vec![value.to_owned()]);
    check("in a sentence", in_text);
    check("in quotes", |value| vec![format!("{{\"a\":\"{value}\"}}")]);
    check("in brackets", |value| vec![format!("({value})")]);
}

#[test]
fn case_does_not_hide() {
    check("upper case", |value| in_text(&value.to_uppercase()));
    check("lower case", |value| in_text(&value.to_lowercase()));
}

#[test]
fn invisible_characters_do_not_hide() {
    for invisible in ["\u{200b}", "\u{ad}", "\u{2060}", "\u{feff}", "\u{fe0f}"] {
        check("invisible", |value| in_text(&each_char(value, |c| format!("{c}{invisible}"))));
    }
}

#[test]
fn wide_forms_do_not_hide() {
    let wide = |c: char| match c {
        '!'..='~' => char::from_u32(u32::from(c) + 0xfee0).unwrap(),
        c => c,
    };
    check("full width", |value| in_text(&each_char(value, |c| wide(c).to_string())));
}

#[test]
fn digits_of_other_scripts_do_not_hide() {
    for zero in [0x660, 0x6f0, 0x966, 0x1d7ce] {
        let other = |c: char| c.to_digit(10).map_or(c, |digit| char::from_u32(zero + digit).unwrap());
        check("digits", |value| in_text(&each_char(value, |c| other(c).to_string())));
    }
}

#[test]
fn look_alike_letters_do_not_hide() {
    let alike = |c: char| match c {
        'a' => 'а',
        'c' => 'с',
        'e' => 'е',
        'o' => 'о',
        'p' => 'р',
        'x' => 'х',
        'y' => 'у',
        'A' => 'А',
        'E' => 'Е',
        'K' => 'К',
        'P' => 'Р',
        'T' => 'Т',
        '-' => '‐',
        ' ' => '\u{a0}',
        '.' => '․',
        c => c,
    };
    check("look-alikes", |value| in_text(&each_char(value, |c| alike(c).to_string())));
}

#[test]
fn escapes_do_not_hide() {
    check("percent", |value| in_text(&each_char(value, |c| format!("%{:02X}", u32::from(c)))));
    check("percent of marks", |value| {
        in_text(&each_char(value, |c| match c.is_alphanumeric() {
            true => c.to_string(),
            false => format!("%{:02x}", u32::from(c)),
        }))
    });
    check("percent twice", |value| in_text(&each_char(value, |c| format!("%25{:02X}", u32::from(c)))));
    check("JSON", |value| in_text(&each_char(value, |c| format!("\\u{:04x}", u32::from(c)))));
    check("JSON in JSON", |value| in_text(&each_char(value, |c| format!("\\\\u{:04x}", u32::from(c)))));
    check("HTML", |value| in_text(&each_char(value, |c| format!("&#{};", u32::from(c)))));
    check("HTML in hex", |value| in_text(&each_char(value, |c| format!("&#x{:x};", u32::from(c)))));
    check("line break before", |value| vec![format!("Dear all,\\n{value}\\nbye")]);
}

#[test]
fn encodings_do_not_hide() {
    check("base64", |value| in_text(&base64(value.as_bytes())));
    check("base64 of a sentence", |value| vec![base64(in_text(value)[0].as_bytes())]);
    check("base64 twice", |value| in_text(&base64(base64(value.as_bytes()).as_bytes())));
    check("base64 of percent", |value| {
        in_text(&base64(each_char(value, |c| format!("%{:02X}", u32::from(c))).as_bytes()))
    });
    check("hex", |value| in_text(&value.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()));
}

#[test]
fn splits_do_not_hide() {
    for pieces in 2..=4 {
        check("split", |value| split(value, pieces));
        check("split inside sentences", |value| {
            let mut parts = split(value, pieces);
            parts[0] = format!("The first part is {}", parts[0]);
            parts[pieces - 1].push_str(" and that is the end of it.");
            parts
        });
        check("split inside long texts", |value| {
            let mut parts = split(value, pieces);
            parts[0] = format!("{}{}", "The first part follows. ".repeat(60), parts[0]);
            parts[pieces - 1].push_str(&" And that is the end of it.".repeat(60));
            parts
        });
    }
    check("every character alone", |value| value.chars().map(String::from).collect());
}

#[test]
fn splits_at_spaces_do_not_hide() {
    check("split at spaces", |value| value.split(' ').map(str::to_owned).collect());
}

#[test]
fn keys_and_protocol_words_do_not_separate_values() {
    let scanner = scanner();
    for (kind, label, value) in VALUES {
        let mut scan = scanner.begin();
        for piece in split(value, 3) {
            scan.key("role");
            scan.value_apart("user");
            scan.key("content");
            scan.value(&piece);
        }
        let findings = scan.finish();
        assert!(findings.count(kind) > 0 && findings.label() >= label, "{kind} {value}: {findings}");
    }
}

#[test]
fn keys_are_examined() {
    for (kind, _, value) in VALUES {
        let scanner = scanner();
        let mut scan = scanner.begin();
        scan.key(value);
        assert!(scan.finish().count(kind) > 0, "{value}");
    }
}

#[test]
fn spelled_out_addresses_are_found() {
    for text in [
        "jane at example dot com",
        "jane.doe (at) example (dot) com",
        "jane[at]example[dot]com",
        "jane [at] example.com",
        "jane @ example . com",
        "JANE AT EXAMPLE DOT COM",
        "jane dot doe at gmail dot com",
        "write to jane at gmail.com",
        "jane{at}example{dot}com",
        "jane&commat;example&period;com",
    ] {
        let findings = scan(&[text]);
        assert!(
            findings.count(FindingKind::Email) > 0 && findings.label() >= Label::Confidential,
            "{text}: {findings}"
        );
    }
}

#[test]
fn separated_digits_are_found() {
    for text in [
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "4.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1",
        "41 11 11 11 11 11 11 11",
        "4111-1111-1111-1111",
        "4111.1111.1111.1111",
        "4111_1111_1111_1111",
        "4111\n1111\n1111\n1111",
        "4111 - 1111 - 1111 - 1111",
        "4111111111111111 12/29 123",
        "12/29 4111 1111 1111 1111 123",
        "flat 12 3782 822463 10005 12/29",
        "card4111111111111111end",
        "99994111111111111111000000",
    ] {
        assert_eq!(scan(&[text]).label(), Label::Restricted, "{text}");
    }
}

/// Cuts a text into pieces of about the same length.
fn split(value: &str, pieces: usize) -> Vec<String> {
    let chars: Vec<char> = value.chars().collect();
    let bounds: Vec<usize> = (0..=pieces).map(|piece| piece * chars.len() / pieces).collect();
    bounds.windows(2).map(|pair| chars[pair[0]..pair[1]].iter().collect()).collect()
}

fn base64(bytes: &[u8]) -> String {
    base64::prelude::BASE64_STANDARD.encode(bytes)
}
