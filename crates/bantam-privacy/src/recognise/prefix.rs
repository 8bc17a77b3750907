//! Keys and tokens with a known prefix.

use bantam_types::Label;

use crate::findings::{FindingKind, Tally};
use crate::view::{View, looked_at, next_long_token};

/// Prefixes in lower case, each with the fewest characters that follow it in a real key.
///
/// Case is ignored: a key in the wrong case does not work, but whoever changed
/// it can change it back.
const PREFIXES: [(&str, usize); 62] = [
    ("sk-", 20),
    ("sk_live_", 10),
    ("sk_test_", 10),
    ("rk_live_", 10),
    ("rk_test_", 10),
    ("whsec_", 20),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghu_", 30),
    ("ghs_", 30),
    ("ghr_", 30),
    ("github_pat_", 22),
    ("glpat-", 20),
    ("gldt-", 20),
    ("glrt-", 20),
    ("glptt-", 20),
    ("xoxa-", 10),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxr-", 10),
    ("xoxs-", 10),
    ("xoxe.", 10),
    ("xapp-", 10),
    ("hooks.slack.com/services/", 10),
    ("akia", 16),
    ("asia", 16),
    ("abia", 16),
    ("acca", 16),
    ("aiza", 30),
    ("ya29.", 20),
    ("gocspx-", 20),
    ("npm_", 30),
    ("pypi-", 40),
    ("hf_", 30),
    ("sg.", 40),
    ("gsk_", 30),
    ("xai-", 30),
    ("r8_", 30),
    ("pplx-", 30),
    ("nvapi-", 30),
    ("dapi", 32),
    ("tvly-", 20),
    ("hvs.", 24),
    ("hvb.", 24),
    ("atatt3", 40),
    ("shpat_", 32),
    ("shpss_", 32),
    ("shpca_", 32),
    ("dop_v1_", 40),
    ("doo_v1_", 40),
    ("dckr_pat_", 20),
    ("lin_api_", 30),
    ("figd_", 30),
    ("sq0atp-", 20),
    ("sq0csp-", 30),
    ("sntrys_", 30),
    ("glsa_", 30),
    ("rubygems_", 40),
    ("lsv2_", 30),
    ("sbp_", 30),
    ("ntn_", 30),
    ("age-secret-key-1", 40),
];

/// The start of a JSON object in base64, which is the header of a JSON web token.
const JWT: &str = "eyj";

/// The most bytes of a key that are examined.
const KEY_BYTES_MAX: usize = 512;

/// How many letters and digits in a row make a key without any digit.
const UNBROKEN_MIN: usize = 20;

/// Examines the start of every word inside every long token, and returns whether there are long tokens.
pub(super) fn scan(view: View<'_>, tally: &mut Tally) -> bool {
    let bytes = view.bytes();
    let mut from = 0;
    while let Some(token) = next_long_token(bytes, from) {
        from = token.end;
        let bytes = &bytes[token];
        let mut token = Token::new(bytes);
        let mut at = 0;
        while at < bytes.len() {
            let starts_word = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
            let length = if starts_word { token.key_length(at) } else { None };
            if let Some(length) = length {
                tally.add(FindingKind::Secret, Label::Restricted, &bytes[at..at + length]);
            }
            at += length.unwrap_or(1);
        }
    }
    from > 0
}

/// A long token whose words are looked at from left to right.
///
/// Keys may begin at every second byte and each may be as long as [`KEY_BYTES_MAX`]. So what has been found ahead of one
/// word is remembered for the next ones, and no byte is looked at more than a few times.
struct Token<'a> {
    bytes: &'a [u8],
    slash: Ahead,
    mark: Ahead,
    digit: Ahead,
    unbroken: Ahead,
    /// Where the three parts of a JSON web token end.
    stops: [Ahead; 3],
}

/// The end of the first thing of some kind that was found at or behind some position.
#[derive(Default)]
struct Ahead {
    /// Where it was searched from, and where it ends; it has not been searched for yet without this.
    found: Option<(usize, usize)>,
}

impl Ahead {
    /// Returns the position of the first byte from `from` on for which `is_wanted` is true, or the length if it is for no byte.
    fn byte(&mut self, bytes: &[u8], from: usize, is_wanted: impl Fn(u8) -> bool) -> usize {
        if let Some((searched_from, at)) = self.found
            && (searched_from..=at).contains(&from)
        {
            return at;
        }
        let rest = bytes.get(from..).unwrap_or_default();
        let length = rest.iter().position(|&byte| is_wanted(byte)).unwrap_or(rest.len());
        looked_at(length);
        self.found = Some((from, from + length));
        from + length
    }

    /// Returns the end of the first [`UNBROKEN_MIN`] letters and digits in a row at or behind `from`, if there are any.
    fn unbroken(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        let none = bytes.len() + UNBROKEN_MIN;
        let known =
            self.found.filter(|(searched_from, end)| *searched_from <= from && from + UNBROKEN_MIN <= *end);
        let end = known.map_or_else(
            || {
                let mut run = 0;
                let rest = bytes.get(from..).unwrap_or_default();
                let last = rest.iter().position(|byte| {
                    run = if byte.is_ascii_alphanumeric() { run + 1 } else { 0 };
                    run == UNBROKEN_MIN
                });
                looked_at(last.unwrap_or(rest.len()));
                let end = last.map_or(none, |last| from + last + 1);
                self.found = Some((from, end));
                end
            },
            |(_, end)| end,
        );
        (end < none).then_some(end)
    }
}

impl<'a> Token<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            slash: Ahead::default(),
            mark: Ahead::default(),
            digit: Ahead::default(),
            unbroken: Ahead::default(),
            stops: Default::default(),
        }
    }

    /// Returns the length of the key that begins at `at`.
    fn key_length(&mut self, at: usize) -> Option<usize> {
        let bytes = self.bytes;
        let rest = &bytes[at..bytes.len().min(at + KEY_BYTES_MAX)];
        if rest.starts_with(JWT.as_bytes()) {
            return self.jwt_length(at, at + rest.len());
        }
        let first = rest.first()?;
        let (prefix, body_min) = PREFIXES
            .iter()
            .filter(|(prefix, _)| prefix.as_bytes().first() == Some(first))
            .find(|(prefix, _)| rest.starts_with(prefix.as_bytes()))?;
        let start = at + prefix.len();
        let mut end = at + rest.len();
        if !prefix.contains('/') {
            end = end.min(self.slash.byte(bytes, start, |byte| byte == b'/'));
        }
        // Many words start with a prefix that ends in a letter, so the rest of the key must be one piece.
        if prefix.as_bytes().last().is_some_and(u8::is_ascii_alphanumeric) {
            end = end.min(self.mark.byte(bytes, start, |byte| !byte.is_ascii_alphanumeric()));
        }
        let body_length = end.saturating_sub(start);
        // An AWS key is its prefix and 16 letters or digits; one in thirty has no digit at all, and hardly any
        // word of twenty letters starts with such a prefix.
        let aws = matches!(*prefix, "akia" | "asia" | "abia" | "acca") && body_length == 16;
        let varied = aws
            || self.digit.byte(bytes, start, |byte| byte.is_ascii_digit()) < end
            || self.unbroken.unbroken(bytes, start).is_some_and(|unbroken| unbroken <= end);
        (body_length >= *body_min && varied).then_some(end - at)
    }

    /// Returns the length of a JSON web token at `at`, which ends at `end` at the latest: two parts of base64 with a full
    /// stop between them, and perhaps a signature.
    fn jwt_length(&mut self, at: usize, end: usize) -> Option<usize> {
        let bytes = self.bytes;
        let mut part_end =
            |part: usize, start: usize| self.stops[part].byte(bytes, start, |byte| byte == b'.').min(end);
        let header = part_end(0, at);
        if header - at < 10 || header == end {
            return None;
        }
        let claims = part_end(1, header + 1);
        if claims - (header + 1) < 10 {
            return None;
        }
        let signature = if claims == end { end } else { part_end(2, claims + 1) };
        Some(signature - at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: bool) {
        let length = Token::new(text.as_bytes()).key_length(0);
        assert_eq!(length.is_some(), expected, "{text}");
        assert_eq!(length, plain_key_length(text.as_bytes()), "{text}");
    }

    #[test]
    fn a_key_may_lack_digits_but_a_word_is_not_a_key() {
        check("akiaqodzvchxmtxqyahi", true);
        check("asiaqodzvchxmtxqyah7 and more", true);
        check("asia short", false);
        check("asiapacificmarkets", false);
        check("sk-a-very-long-word-with-dashes-only", false);
    }

    /// Reads a key byte by byte, as the search ahead must not differ from.
    fn plain_key_length(rest: &[u8]) -> Option<usize> {
        let rest = &rest[..rest.len().min(KEY_BYTES_MAX)];
        if rest.starts_with(JWT.as_bytes()) {
            let mut parts = rest.split(|&byte| byte == b'.').map(<[u8]>::len);
            let (header, claims) = (parts.next()?, parts.next()?);
            let signature = parts.next().map_or(0, |signature| signature + 1);
            return (header >= 10 && claims >= 10).then_some(header + 1 + claims + signature);
        }
        let (prefix, body_min) = PREFIXES.iter().find(|(prefix, _)| rest.starts_with(prefix.as_bytes()))?;
        let in_one_piece = prefix.ends_with(|last: char| last.is_ascii_alphanumeric());
        let body = rest[prefix.len()..].split(|byte| {
            (*byte == b'/' && !prefix.contains('/')) || (in_one_piece && !byte.is_ascii_alphanumeric())
        });
        let body = body.into_iter().next()?;
        let unbroken = body.split(|byte| !byte.is_ascii_alphanumeric()).map(<[u8]>::len).max()?;
        let aws = matches!(*prefix, "akia" | "asia" | "abia" | "acca") && body.len() == 16;
        let varied = body.iter().any(u8::is_ascii_digit) || unbroken >= UNBROKEN_MIN || aws;
        (body.len() >= *body_min && varied).then_some(prefix.len() + body.len())
    }

    #[test]
    fn what_was_found_ahead_is_what_each_word_finds_alone() {
        const PARTS: [&str; 14] = [
            "sk-",
            "eyj",
            ".",
            "-",
            "/",
            "akia",
            "7",
            "abcdefghij",
            "abcdefghijklmnopqrst",
            "dapi",
            "a",
            "xoxb-",
            "hooks.slack.com/services/",
            "_",
        ];
        let mut state = 1_u64;
        let mut found = 0;
        for round in 0..400 {
            let mut text = String::new();
            for _ in 0..1 + round % 120 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(PARTS[(state >> 33) as usize % PARTS.len()]);
            }
            let bytes = text.as_bytes();
            let mut token = Token::new(bytes);
            for at in 0..bytes.len() {
                let length = token.key_length(at);
                assert_eq!(length, plain_key_length(&bytes[at..]), "{text} at {at}");
                found += usize::from(length.is_some());
            }
        }
        assert!(found > 1_000, "{found}");
    }
}
