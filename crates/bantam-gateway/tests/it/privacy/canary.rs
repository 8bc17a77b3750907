//! Canaries: values that must be found, made from a number, in the disguises that requests allow.

use serde_json::{Value, json};

/// How many kinds of values there are.
pub(super) const KINDS: u64 = 11;

/// Where and how a request carries its canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disguise {
    Plain,
    Base64,
    Base64OfSentence,
    Percent,
    Base64OfPercent,
    JsonEscapes,
    ZeroWidth,
    Split,
    SplitOverRoles,
    SystemMessage,
    ToolArguments,
    ToolResult,
    ToolDescription,
    FilePart,
    FileName,
    JsonKey,
    Metadata,
    User,
    Stop,
}

pub(super) const DISGUISES: [Disguise; 19] = [
    Disguise::Plain,
    Disguise::Base64,
    Disguise::Base64OfSentence,
    Disguise::Percent,
    Disguise::Base64OfPercent,
    Disguise::JsonEscapes,
    Disguise::ZeroWidth,
    Disguise::Split,
    Disguise::SplitOverRoles,
    Disguise::SystemMessage,
    Disguise::ToolArguments,
    Disguise::ToolResult,
    Disguise::ToolDescription,
    Disguise::FilePart,
    Disguise::FileName,
    Disguise::JsonKey,
    Disguise::Metadata,
    Disguise::User,
    Disguise::Stop,
];

/// A unique sensitive value.
pub(super) struct Canary {
    pub(super) value: String,
}

/// A request with a canary, and the forms in which the canary stands in its bytes.
pub(super) struct Dressed {
    pub(super) body: String,
    pub(super) sent: Vec<String>,
}

/// Returns a number that looks random but is always the same for `number` and `salt`.
pub(super) fn mixed(number: u64, salt: u64) -> u64 {
    let mut mixed =
        (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xd1b5_4a32_d192_ed03);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Returns a harmless word that belongs to one request alone.
pub(super) fn word(number: u64) -> String {
    let mut word = "zuvi".to_owned();
    let mut rest = number;
    for _ in 0..4 {
        word.push(char::from(b"bdfgklmnprstvz"[(rest % 14) as usize]));
        rest /= 14;
        word.push(char::from(b"aeiou"[(rest % 5) as usize]));
        rest /= 5;
    }
    word
}

pub(super) fn canary(number: u64) -> Canary {
    let (random, count) = (mixed(number, 1), number / KINDS);
    let value = match number % KINDS {
        0 => format!("anna.{number:05}@post-{:05}.example.org", random % 100_000),
        1 => format!("+49 30 {:08}", 10_000_000 + random % 80_000_000),
        2 => format!("(212) 5{:02}-{:02}{:02}", count % 100, count / 100 % 100, random % 100),
        3 => card(random),
        4 => iban(random),
        5 => format!("{:03}-{:02}-{:04}", 100 + count % 500, 10 + count / 500, 1 + random % 9998),
        6 => format!("81.{}.{}.{}", 100 + count % 100, 100 + count / 100 % 100, 100 + random % 100),
        7 => format!(
            "sk-ant-api03-{}",
            symbols(random, 28, b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789")
        ),
        8 => format!("AKIA{}", symbols(random, 16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
        9 => format!(
            "ghp_{}",
            symbols(random, 36, b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
        ),
        _ => term(number).unwrap_or_default(),
    };
    Canary { value }
}

/// Returns the dictionary's term that is the canary of `number`, if that is its kind.
pub(super) fn term(number: u64) -> Option<String> {
    (number % KINDS == 10)
        .then(|| format!("Kestrel {}", symbols(mixed(number, 6), 9, b"abcdefghijklmnopqrstuvwxyz")))
}

fn symbols(random: u64, count: usize, alphabet: &[u8]) -> String {
    (0..count)
        .map(|at| char::from(alphabet[(mixed(random, at as u64) % alphabet.len() as u64) as usize]))
        .collect()
}

fn card(random: u64) -> String {
    let stem = format!("4{:014}", random % 100_000_000_000_000);
    let sum: u32 = stem
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, byte)| {
            let digit = u32::from(byte - b'0');
            if at % 2 == 1 { digit } else { digit * 2 / 10 + digit * 2 % 10 }
        })
        .sum();
    format!("{stem}{}", (10 - sum % 10) % 10)
}

fn iban(random: u64) -> String {
    let account = format!("{:018}", random % 1_000_000_000_000_000_000);
    // DE is 13 14 in the checksum, and the check digits stand as 00.
    let remainder =
        format!("{account}131400").bytes().fold(0, |rest, byte| (rest * 10 + u64::from(byte - b'0')) % 97);
    format!("DE{:02}{account}", 98 - remainder)
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let word =
            group.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for at in 0..4 {
            let symbol = ALPHABET[(word >> (18 - 6 * at)) as usize & 63];
            out.push(if at <= group.len() { char::from(symbol) } else { '=' });
        }
    }
    out
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Returns a request for `model` that carries `value` in its disguise and `word` as it is.
pub(super) fn dress(disguise: Disguise, model: &str, stream: bool, word: &str, value: &str) -> Dressed {
    let mut request = json!({"model": model, "stream": stream, "messages": []});
    let user = |text: String| json!({"role": "user", "content": text});
    let said = |inner: &str| user(format!("Please file this as {word}: {inner} and thank you."));
    let mut sent = vec![value.to_owned()];
    let mut messages = vec![user(format!("Please file this as {word}."))];
    match disguise {
        Disguise::Plain => messages = vec![said(value)],
        Disguise::Base64 => sent = vec![base64(value.as_bytes())],
        Disguise::Base64OfSentence => {
            sent = vec![base64(format!("My data are {value}, keep them.").as_bytes())];
        }
        Disguise::Percent => sent = vec![percent(value)],
        Disguise::Base64OfPercent => sent = vec![base64(percent(value).as_bytes())],
        Disguise::ZeroWidth => sent = vec![value.chars().flat_map(|symbol| [symbol, '\u{200b}']).collect()],
        // Written into the body below, where no encoder touches it.
        Disguise::JsonEscapes => {
            sent = vec![value.chars().map(|symbol| format!("\\u{:04x}", u32::from(symbol))).collect()];
        }
        Disguise::Split | Disguise::SplitOverRoles => {
            let (left, right) = value.split_at(value.len() / 2);
            let role = if disguise == Disguise::Split { "user" } else { "assistant" };
            messages = vec![
                user(format!("Please file this as {word}. The first part is {left}")),
                json!({"role": role, "content": format!("{right} and that is the end of it.")}),
                user("That was all.".to_owned()),
            ];
            sent = Vec::new();
        }
        Disguise::SystemMessage => {
            messages.insert(0, json!({"role": "system", "content": format!("Your user is {value}.")}));
        }
        Disguise::ToolArguments | Disguise::ToolResult => {
            let (argument, result) =
                if disguise == Disguise::ToolArguments { (value, "done") } else { ("all", value) };
            let arguments = json!({"query": argument}).to_string();
            let call = json!({"id": "call_1", "type": "function", "function": {"name": "lookup", "arguments": arguments}});
            messages.push(json!({"role": "assistant", "content": null, "tool_calls": [call]}));
            messages.push(json!({"role": "tool", "tool_call_id": "call_1", "content": result}));
        }
        Disguise::ToolDescription => {
            let function =
                json!({"name": "lookup", "description": format!("Looks up {value} for the user.")});
            request["tools"] = json!([{"type": "function", "function": function}]);
        }
        Disguise::FilePart => {
            let file =
                json!({"type": "file", "file": {"filename": format!("{value}.pdf"), "file_data": "data:,"}});
            messages = vec![json!({"role": "user", "content": [{"type": "text", "text": word}, file]})];
        }
        Disguise::FileName => messages = vec![said(&format!("/srv/letters/{value}.pdf"))],
        Disguise::JsonKey => request["metadata"] = json!({ value: "yes" }),
        Disguise::Metadata => request["metadata"] = json!({"note": value}),
        Disguise::User => request["user"] = value.into(),
        Disguise::Stop => request["stop"] = json!([value]),
    }
    if matches!(
        disguise,
        Disguise::Base64
            | Disguise::Base64OfSentence
            | Disguise::Percent
            | Disguise::Base64OfPercent
            | Disguise::ZeroWidth
    ) {
        messages = vec![said(&sent[0])];
    }
    if disguise == Disguise::JsonEscapes {
        messages = vec![said("PLACE")];
    }
    request["messages"] = Value::Array(messages);
    let body = request.to_string().replace("PLACE", sent.first().map_or("", String::as_str));
    Dressed { body, sent }
}

#[test]
fn canaries_are_unique_and_pass_their_checks() {
    let values: std::collections::HashSet<String> = (0..20_000).map(|number| canary(number).value).collect();
    assert_eq!(values.len(), 20_000);
    let words: std::collections::HashSet<String> = (0..40_000).map(word).collect();
    assert_eq!(words.len(), 40_000);
    assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
    assert_eq!(card(11_111_111_111_111), "4111111111111111");
    assert_eq!(iban(370_400_440_532_013_000), "DE89370400440532013000");
}
