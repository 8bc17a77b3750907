//! Passwords and keys assigned to a name: `password = "..."`, `API_KEY: ...`, `Bearer ...`.

use bantam_types::Label;

use super::cue::{Cue, Cues};
use crate::findings::{FindingKind, Tally};
use crate::view::{View, looked_at};

/// The most bytes of a name after the cue: `password_for_the_database`.
const NAME_BYTES_MAX: usize = 24;

/// The most bytes of a value that are examined; longer values are judged by their start.
const VALUE_BYTES_MAX: usize = 256;

/// Examines what follows each cue, and returns whether separators are spelled out.
pub(super) fn scan(view: View<'_>, cues: &Cues, tally: &mut Tally) -> bool {
    let bytes = view.bytes();
    let mut spelled = false;
    for (cue, end) in cues.find(view.lower) {
        match cue {
            Cue::Spelled => spelled = true,
            Cue::PrivateKey => private_key(bytes, end, tally),
            Cue::Bearer => judge(&value(&bytes[end..]), cue, tally),
            Cue::Password | Cue::Key => {
                if let Some(assigned) = assigned(&bytes[end..]) {
                    judge(&assigned, cue, tally);
                }
            }
        }
    }
    spelled
}

/// An assigned value, and how it is written.
struct Assignment<'a> {
    value: &'a [u8],
    /// In quotes, or after an equals sign, or alone on the rest of its line.
    is_firm: bool,
    quoted: bool,
}

/// Reads the rest of the name, the assignment mark and the value.
fn assigned(rest: &[u8]) -> Option<Assignment<'_>> {
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let name = rest.iter().take(NAME_BYTES_MAX).take_while(is_name).count();
    let rest =
        skip(&rest[name..], 4, |byte| matches!(byte, b'"' | b'\'' | b']' | b' ' | b'\t' | b'`' | b'*'));
    let after_is = rest.strip_prefix(b"is").filter(|rest| rest.first() <= Some(&b':'));
    let marked = after_is.unwrap_or(rest);
    let marks = marked.iter().take(2).take_while(|&&byte| matches!(byte, b':' | b'=' | b'>')).count();
    if marks == 0 && after_is.is_none() {
        return None;
    }
    let (marks, rest) = marked.split_at(marks);
    let equals = marks.contains(&b'=');
    let mut assigned = value(skip(rest, 6, |byte| matches!(byte, b' ' | b'\t' | b'*' | b'=' | b'>')));
    assigned.is_firm = equals || assigned.quoted || (assigned.is_firm && !marks.is_empty());
    Some(assigned)
}

fn skip(bytes: &[u8], most: usize, what: impl Fn(u8) -> bool) -> &[u8] {
    &bytes[bytes.iter().take(most).take_while(|&&byte| what(byte)).count()..]
}

/// Reads a quoted value, or one that ends at whitespace or a mark.
fn value(rest: &[u8]) -> Assignment<'_> {
    let quote = rest.first().copied().filter(|byte| matches!(byte, b'"' | b'\'' | b'`'));
    let rest = if quote.is_some() { &rest[1..] } else { rest };
    let ends = |byte: u8| match quote {
        Some(quote) => byte == quote || byte == b'\n',
        None => byte <= b' ' || matches!(byte, b'"' | b'\'' | b'`' | b',' | b';' | b')' | b']' | b'}'),
    };
    looked_at(VALUE_BYTES_MAX.min(rest.len()));
    let length = rest.iter().take(VALUE_BYTES_MAX).take_while(|&&byte| !ends(byte)).count();
    let value = &rest[..length];
    let is_firm = quote.is_some() || matches!(rest.get(length), None | Some(b'\n' | b'\r'));
    let value = if quote.is_some() { value } else { trim_sentence(value) };
    Assignment { value, is_firm, quoted: quote.is_some() }
}

fn trim_sentence(value: &[u8]) -> &[u8] {
    match value {
        [rest @ .., b'.' | b'?'] => rest,
        _ => value,
    }
}

fn judge(assigned: &Assignment<'_>, cue: Cue, tally: &mut Tally) {
    let value = assigned.value;
    if value.len() < 4 || is_placeholder(value) {
        return;
    }
    let letters = value.iter().any(u8::is_ascii_alphabetic);
    let digits = value.iter().any(u8::is_ascii_digit);
    let marks = value
        .iter()
        .any(|byte| matches!(byte, b'!' | b'@' | b'#' | b'$' | b'%' | b'^' | b'&' | b'*' | b'?' | b'+'));
    let spaced = value.contains(&b' ');
    let varied = value.len() >= 6 && !spaced && letters && (digits || marks);
    let long = value.len() >= 20 && !spaced && !value.contains(&b'.') && (digits || cue != Cue::Key);
    let numeric = cue == Cue::Password && value.len() >= 6 && !letters;
    if varied || long || (numeric && assigned.is_firm) {
        tally.add(FindingKind::Secret, Label::Restricted, value);
    } else if assigned.is_firm
        && !spaced
        && (cue == Cue::Password || letters && cue == Cue::Key && value.len() >= 8)
    {
        tally.add(FindingKind::SecretLike, Label::Confidential, value);
    }
}

/// Returns whether a value is a type, call, lookup or placeholder: code that mentions a secret without holding it.
fn is_placeholder(value: &[u8]) -> bool {
    const WORDS: [&[u8]; 16] = [
        b"none",
        b"null",
        b"nil",
        b"true",
        b"false",
        b"string",
        b"str",
        b"text",
        b"undefined",
        b"optional",
        b"bytes",
        b"required",
        b"redacted",
        b"self",
        b"this",
        b"varchar",
    ];
    let head: &[u8] = value.split(|byte| !byte.is_ascii_alphanumeric()).next().unwrap_or_default();
    let lookup =
        [b"os.".as_slice(), b"env", b"process.", b"config", b"settings", b"self.", b"this.", b"request"];
    WORDS.contains(&head)
        || value.contains(&b'(')
        || value.starts_with(b"${")
        || value.starts_with(b"<")
        || value.starts_with(b"{")
        || lookup.iter().any(|start| value.starts_with(start))
        || value.iter().all(|byte| matches!(byte, b'*' | b'x' | b'.' | b'_' | b'-' | b'='))
}

/// Counts `-----BEGIN ... PRIVATE KEY`.
fn private_key(bytes: &[u8], end: usize, tally: &mut Tally) {
    let before = &bytes[end.saturating_sub(48)..end];
    if before.windows(6).any(|window| window == b"begin " || window == b"-begin") {
        let body = &bytes[end..bytes.len().min(end + 64)];
        tally.add(FindingKind::Secret, Label::Restricted, body);
    }
}
