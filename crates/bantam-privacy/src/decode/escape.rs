//! Resolves percent, HTML and backslash escapes in one pass.
//!
//! Nesting of one kind (`%2540`, `&amp;#64;`, `\\\\u0040`) is resolved at once
//! and so costs no depth; only nesting of different kinds does.

/// Returns `text` with its escapes resolved, or `None` if it has none.
pub(crate) fn unescaped(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out: Option<Vec<u8>> = None;
    let (mut copied, mut at) = (0, 0);
    while at < bytes.len() {
        let step = match bytes[at] {
            b'%' => percent(bytes, at),
            b'&' => entity(bytes, at),
            b'\\' => backslash(bytes, at),
            _ => {
                at += 1;
                continue;
            }
        };
        if let Some(decoded) = step.decoded {
            let out = out.get_or_insert_with(|| Vec::with_capacity(bytes.len()));
            out.extend_from_slice(&bytes[copied..at]);
            decoded.write(out);
            copied = step.end;
        }
        at = step.end;
    }
    let mut out = out?;
    out.extend_from_slice(&bytes[copied..]);
    Some(
        String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

/// Where reading continues, and the value of the escape before it, if there was one.
struct Step {
    end: usize,
    decoded: Option<EscapeValue>,
}

impl Step {
    const fn plain(end: usize) -> Self {
        Self { end, decoded: None }
    }

    fn char(code: u32, end: usize) -> Self {
        Self { end, decoded: char::from_u32(code).map(EscapeValue::Char) }
    }
}

/// The value of one escape. Percent and octal escapes are bytes, several of which may form a character.
enum EscapeValue {
    Byte(u8),
    Char(char),
}

impl EscapeValue {
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Byte(byte) => out.push(byte),
            Self::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn percent(bytes: &[u8], at: usize) -> Step {
    let mut at = at + 1;
    if matches!(bytes.get(at), Some(b'u' | b'U')) {
        return number(bytes, at + 1, 16, 4, 4).map_or(Step::plain(at), |(code, end)| Step::char(code, end));
    }
    while bytes.get(at..at + 2) == Some(b"25") && number(bytes, at + 2, 16, 2, 2).is_some() {
        at += 2;
    }
    match number(bytes, at, 16, 2, 2) {
        Some((code, end)) => Step { end, decoded: u8::try_from(code).ok().map(EscapeValue::Byte) },
        None => Step::plain(at),
    }
}

fn entity(bytes: &[u8], at: usize) -> Step {
    let mut at = at + 1;
    while let Some(rest) = bytes.get(at..).and_then(|rest| rest.strip_prefix(b"amp;")) {
        if !matches!(rest.first(), Some(b'#' | b'a'..=b'z' | b'A'..=b'Z')) {
            break;
        }
        at += 4;
    }
    if bytes.get(at) == Some(&b'#') {
        let hex = matches!(bytes.get(at + 1), Some(b'x' | b'X'));
        let (start, radix) = if hex { (at + 2, 16) } else { (at + 1, 10) };
        return number(bytes, start, radix, 1, 10).map_or(Step::plain(at + 1), |(code, end)| {
            Step::char(code, end + usize::from(bytes.get(end) == Some(&b';')))
        });
    }
    let name = bytes.get(at..(at + 10).min(bytes.len())).unwrap_or_default();
    let Some(length) = name.iter().position(|&byte| byte == b';') else { return Step::plain(at) };
    named(&name[..length]).map_or(Step::plain(at), |c| Step::char(u32::from(c), at + length + 1))
}

/// The entities that could occur inside a value; others are left as they are.
fn named(name: &[u8]) -> Option<char> {
    Some(match name {
        b"commat" => '@',
        b"period" => '.',
        b"colon" => ':',
        b"sol" => '/',
        b"bsol" => '\\',
        b"percnt" => '%',
        b"plus" => '+',
        b"equals" => '=',
        b"num" => '#',
        b"lowbar" => '_',
        b"hyphen" | b"dash" | b"ndash" | b"mdash" | b"minus" => '-',
        b"lpar" => '(',
        b"rpar" => ')',
        b"quot" => '"',
        b"apos" => '\'',
        b"lt" => '<',
        b"gt" => '>',
        b"nbsp" | b"ensp" | b"emsp" | b"thinsp" => ' ',
        b"Tab" => '\t',
        b"NewLine" => '\n',
        b"shy" => '\u{ad}',
        b"zwj" | b"zwnj" => '\u{200b}',
        _ => return None,
    })
}

fn backslash(bytes: &[u8], at: usize) -> Step {
    let run = bytes[at..].iter().position(|&byte| byte != b'\\');
    let at = run.map_or(bytes.len(), |length| at + length);
    let plain = Step::plain(at);
    let Some(&letter) = bytes.get(at) else { return plain };
    match letter {
        b'u' if bytes.get(at + 1) == Some(&b'{') => match number(bytes, at + 2, 16, 1, 6) {
            Some((code, end)) if bytes.get(end) == Some(&b'}') => Step::char(code, end + 1),
            _ => plain,
        },
        b'u' => number(bytes, at + 1, 16, 4, 4).map_or(plain, |(code, end)| utf16(bytes, code, end)),
        b'U' => number(bytes, at + 1, 16, 8, 8).map_or(plain, |(code, end)| Step::char(code, end)),
        b'x' => number(bytes, at + 1, 16, 2, 2).map_or(plain, |(code, end)| Step::char(code, end)),
        b'n' | b'r' => Step::char(u32::from('\n'), at + 1),
        b't' => Step::char(u32::from('\t'), at + 1),
        b'"' | b'\'' | b'/' | b'@' | b'.' | b'-' | b'_' | b'+' => Step::char(u32::from(letter), at + 1),
        b'0'..=b'3' => number(bytes, at, 8, 3, 3).map_or(plain, |(code, end)| Step {
            end,
            decoded: u8::try_from(code).ok().map(EscapeValue::Byte),
        }),
        _ => plain,
    }
}

/// Combines a surrogate pair; a lone surrogate is left as it is.
fn utf16(bytes: &[u8], code: u32, end: usize) -> Step {
    if !(0xd800..0xdc00).contains(&code) {
        return Step::char(code, end);
    }
    let run = bytes[end..].iter().take_while(|&&byte| byte == b'\\').count();
    let second = (run > 0 && bytes.get(end + run) == Some(&b'u')).then_some(end + run + 1);
    match second.and_then(|start| number(bytes, start, 16, 4, 4)) {
        Some((low @ 0xdc00..=0xdfff, end)) => {
            Step::char(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00), end)
        }
        _ => Step::plain(end),
    }
}

/// Reads a number of `digits_min` to `digits_max` digits, and returns it and where it ends.
fn number(
    bytes: &[u8],
    start: usize,
    radix: u32,
    digits_min: usize,
    digits_max: usize,
) -> Option<(u32, usize)> {
    let mut value = 0u32;
    let mut end = start;
    while end < start + digits_max {
        let Some(digit) = bytes.get(end).and_then(|&byte| char::from(byte).to_digit(radix)) else { break };
        value = value.saturating_mul(radix).saturating_add(digit);
        end += 1;
    }
    (end >= start + digits_min).then_some((value, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        assert_eq!(unescaped(input).as_deref().unwrap_or(input), expected, "{input}");
    }

    #[test]
    fn resolves_each_kind_of_escape() {
        check("bob%40example%2Ecom", "bob@example.com");
        check("bob&#64;example&#x2e;com &commat;", "bob@example.com @");
        check(r"bob\u0040example\x2ecom\n\100", "bob@example.com\n@");
        check(r"\u{62}\U00000062%u0062", "bbb");
        check("caf%C3%A9", "café");
        check(r"\ud83d\ude00", "😀");
    }

    #[test]
    fn resolves_nesting_of_one_kind_at_once() {
        check("bob%25252540x", "bob@x");
        check("bob&amp;amp;#64;x", "bob@x");
        check(r"bob\\\\u0040x", "bob@x");
    }

    #[test]
    fn leaves_other_text_alone() {
        for text in ["100% sure", "a & b && c", r"C:\Windows", "%", "&", r"\", "%2", "&#;", r"\u12", "&amp;"]
        {
            assert_eq!(unescaped(text), None, "{text}");
        }
    }

    #[test]
    fn accepts_incomplete_characters() {
        check("%ff", "\u{fffd}");
        check(r"\ud83d x", r"\ud83d x");
    }
}
