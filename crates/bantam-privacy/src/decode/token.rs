//! Long tokens that decode to text: base64 and hex.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use data_encoding::HEXLOWER_PERMISSIVE;

use crate::view::{TOKEN_BYTES_MIN, next_long_token};

/// Decodes unpadded base64 in the standard alphabet, also if it was cut off in the middle of a byte.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// The result of decoding one long token.
pub(crate) enum Decoded {
    /// It holds these texts, perhaps starting at its second, third or fourth character.
    Text(Vec<String>),
    /// It is long and looks encoded or random, but does not decode to text.
    Opaque,
    /// It is a word, a path, a number or a hash.
    Nothing,
}

/// The shortest run that is opaque if it does not decode to text; a SHA-512 in hex has 128 characters.
const OPAQUE_BYTES_MIN: usize = 129;

/// The shortest run of mixed letters and digits that counts as a key rather than a name.
const RANDOM_BYTES_MIN: usize = 40;

/// Lines of encoded text that are at least this long continue on the next line.
const WRAPPED_BYTES_MIN: usize = 60;

/// Finds the next long token at or after `from`, joins its wrapped lines, and decodes it.
pub(crate) fn next_decoded(text: &str, from: usize) -> Option<(Range<usize>, Decoded)> {
    let bytes = text.as_bytes();
    let first = next_long_token(bytes, from)?;
    let mut joined = first.clone();
    let mut last_bytes = first.len();
    let mut lines: Option<Vec<u8>> = None;
    while last_bytes >= WRAPPED_BYTES_MIN
        && let Some(start) = after_line_break(bytes, joined.end)
    {
        let length = bytes[start..].iter().take_while(|&&byte| is_base64(byte)).count();
        if length == 0 {
            break;
        }
        let lines = lines.get_or_insert_with(|| bytes[joined.clone()].to_vec());
        lines.extend_from_slice(&bytes[start..start + length]);
        joined.end = start + length;
        last_bytes = length;
    }
    let token = lines.as_deref().unwrap_or(&bytes[joined.clone()]);
    Some((joined, decoded(token)))
}

/// Returns where the next line begins, if this one ends at `end`.
fn after_line_break(bytes: &[u8], end: usize) -> Option<usize> {
    let rest = bytes.get(end..)?;
    let length = if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) };
    (length > 0).then_some(end + length)
}

/// Decodes the parts between full stops as base64 and hex, or else the pieces between other marks.
fn decoded(token: &[u8]) -> Decoded {
    let mut texts = Vec::new();
    let mut opaque = false;
    for part in token.split(|&byte| byte == b'.').filter(|part| part.len() >= TOKEN_BYTES_MIN) {
        let before = texts.len();
        decode_into(part, &mut texts);
        if texts.len() == before {
            for piece in part.split(|byte| !byte.is_ascii_alphanumeric()) {
                if piece.len() >= TOKEN_BYTES_MIN && piece.len() < part.len() {
                    decode_into(piece, &mut texts);
                }
            }
        }
        opaque |= texts.len() == before && is_opaque(part);
    }
    match (texts.is_empty(), opaque) {
        (false, _) => Decoded::Text(texts),
        (true, true) => Decoded::Opaque,
        (true, false) => Decoded::Nothing,
    }
}

fn decode_into(part: &[u8], texts: &mut Vec<String>) {
    if let Some(text) = hex(part) {
        texts.push(text);
    }
    let standard: Vec<u8> = part.iter().map(|&byte| standard_alphabet(byte)).collect();
    // Text before the token, or a cut through its middle, may have shifted it.
    texts.extend((0..4).filter_map(|skip| base64(&standard[skip..])));
}

/// Decodes the hex digits at the start of `part`.
fn hex(part: &[u8]) -> Option<String> {
    let part = part.strip_prefix(b"0x").unwrap_or(part);
    let digits = part.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits < part.len().min(TOKEN_BYTES_MIN) {
        return None;
    }
    decoded_text(&part[..digits - digits % 2], 2 * PROBE_BYTES, |digits| {
        HEXLOWER_PERMISSIVE.decode(digits).ok()
    })
}

const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Maps the URL alphabet to the standard one; a token may mix both.
const fn standard_alphabet(byte: u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        _ => byte,
    }
}

/// Decodes base64; a single character at the end, which holds no whole byte, is dropped.
fn base64(part: &[u8]) -> Option<String> {
    let whole = part.len() - usize::from(part.len() % 4 == 1);
    decoded_text(&part[..whole], PROBE_BYTES / 3 * 4, |part| BASE64.decode(part).ok())
}

/// How many decoded bytes decide whether the rest is worth decoding.
const PROBE_BYTES: usize = 12;

/// Decodes `encoded` if its first `probe` characters decode to text, so that other tokens cost little.
fn decoded_text(encoded: &[u8], probe: usize, decode: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<String> {
    match encoded.get(..probe) {
        Some(probe) if !is_text(&decode(probe)?) => None,
        _ => text_of(decode(encoded)?),
    }
}

fn text_of(bytes: Vec<u8>) -> Option<String> {
    if bytes.len() < 6 || !is_text(&bytes) {
        return None;
    }
    Some(
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

/// Returns whether `bytes` read as text: mostly printable ASCII, or almost entirely valid UTF-8.
///
/// A character that is cut off at the end does not count against them.
fn is_text(bytes: &[u8]) -> bool {
    let ascii = bytes.iter().filter(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()).count();
    if ascii * 4 >= bytes.len() * 3 {
        return true;
    }
    let (mut valid, mut bad, mut last) = (0, 0, 0);
    for chunk in bytes.utf8_chunks() {
        let controls = chunk.valid().chars().filter(|c| c.is_control() && !c.is_whitespace()).count();
        valid += chunk.valid().len();
        bad += last + controls;
        last = chunk.invalid().len();
    }
    bad * 8 <= valid
}

fn is_opaque(part: &[u8]) -> bool {
    let mut counts = [0u32; 256];
    for &byte in part {
        counts[usize::from(byte)] += 1;
    }
    let total =
        |range: std::ops::RangeInclusive<u8>| -> u32 { range.map(|byte| counts[usize::from(byte)]).sum() };
    let (digits, upper, lower) = (total(b'0'..=b'9'), total(b'A'..=b'Z'), total(b'a'..=b'z'));
    let mixed = digits > 0 && (upper > 0 || lower > 0);
    if part.len() >= OPAQUE_BYTES_MIN && mixed && entropy_bits(&counts, part.len()) > 3.0 {
        return true;
    }
    let marks = part.len().saturating_sub((digits + upper + lower) as usize);
    part.len() >= RANDOM_BYTES_MIN
        && marks <= 3
        && digits.min(upper).min(lower) >= 3
        && entropy_bits(&counts, part.len()) > 4.3
}

/// Returns the entropy in bits per character.
fn entropy_bits(counts: &[u32; 256], length: usize) -> f64 {
    let length = u32::try_from(length).map_or(f64::MAX, f64::from);
    let share = |&count: &u32| f64::from(count) / length;
    counts.iter().map(share).filter(|&share| share > 0.0).map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &[&str]) {
        let mut found = Vec::new();
        let mut from = 0;
        while let Some((range, decoded)) = next_decoded(input, from) {
            from = range.end;
            match decoded {
                Decoded::Text(texts) => found.extend(texts),
                Decoded::Opaque => found.push("opaque".to_owned()),
                Decoded::Nothing => {}
            }
        }
        assert_eq!(found, expected, "{input}");
    }

    #[test]
    fn decodes_base64_in_both_alphabets_and_at_any_shift() {
        check("see Ym9iQGV4YW1wbGUuY29t now", &["bob@example.com"]);
        check("xYm9iQGV4YW1wbGUuY29t", &["bob@example.com"]);
        check("PDw_Pz8-Pj4gYm9iQHg_Pz8", &["<<???>>> bob@x???"]);
    }

    #[test]
    fn decodes_hex() {
        check("626f62406578616d706c652e636f6d", &["bob@example.com"]);
        check("0x626f62406578616d706c652e636f6d", &["bob@example.com"]);
    }

    #[test]
    fn joins_wrapped_lines() {
        let line = "QSBsb25nIGxldHRlciB0aGF0IGdvZXMgb24gYW5kIG9uIGFuZCBvbiB1bnRpbCBib2JA";
        check(
            &format!("{line}\r\nZXhhbXBsZS5jb20\n"),
            &["A long letter that goes on and on and on until bob@example.com"],
        );
    }

    #[test]
    fn leaves_words_hashes_and_identifiers_alone() {
        for text in [
            "internationalisation-of-everything",
            "d41d8cd98f00b204e9800998ecf8427e",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "550e8400-e29b-41d4-a716-446655440000",
            "usr/local/share/applications/somewhere",
            "org.springframework.context.annotation.Configuration",
            "-------------------------------------------------",
        ] {
            check(text, &[]);
        }
    }

    #[test]
    fn long_noise_is_opaque() {
        check(&"a9F/kQ2+Zx".repeat(13), &["opaque"]);
        check("wJ4lrXUtn7EMI1K8MDENG0bPxRfiCYzz9kLm3Qv5", &["opaque"]);
    }
}
