//! Keys and tokens with a known prefix.

use bantam_types::Label;

use crate::findings::{FindingKind, Tally};
use crate::view::{View, next_long_token};

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

/// The most bytes of a key that are examined, which bounds the work for each word.
const KEY_BYTES_MAX: usize = 512;

/// Examines the start of every word inside every long token, and returns whether there are long tokens.
pub(super) fn scan(view: View<'_>, tally: &mut Tally) -> bool {
    let bytes = view.bytes();
    let mut from = 0;
    while let Some(token) = next_long_token(bytes, from) {
        from = token.end;
        let token = &bytes[token];
        let mut at = 0;
        while at < token.len() {
            let starts_word = at == 0 || !token[at - 1].is_ascii_alphanumeric();
            let rest = &token[at..token.len().min(at + KEY_BYTES_MAX)];
            let length = if starts_word { key_length(rest) } else { None };
            if let Some(length) = length {
                tally.add(FindingKind::Secret, Label::Restricted, &token[at..at + length]);
            }
            at += length.unwrap_or(1);
        }
    }
    from > 0
}

/// Returns the length of the key at the start of `rest`.
fn key_length(rest: &[u8]) -> Option<usize> {
    if rest.starts_with(JWT.as_bytes()) {
        return jwt_length(rest);
    }
    let first = rest.first()?;
    let (prefix, body_min) = PREFIXES
        .iter()
        .filter(|(prefix, _)| prefix.as_bytes().first() == Some(first))
        .find(|(prefix, _)| rest.starts_with(prefix.as_bytes()))?;
    let body = &rest[prefix.len()..];
    let body = &body[..body.iter().take_while(|&&byte| byte != b'/' || prefix.contains('/')).count()];
    let is_word = prefix.as_bytes().last().is_some_and(u8::is_ascii_alphanumeric);
    let body = match is_word {
        // Many words start with a prefix that ends in a letter, so the rest of the key must be one piece.
        true => &body[..body.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count()],
        false => body,
    };
    let unbroken = body.split(|byte| !byte.is_ascii_alphanumeric()).map(<[u8]>::len).max().unwrap_or(0);
    // An AWS key is its prefix and 16 letters or digits; one in thirty has no digit at all, and hardly any
    // word of twenty letters starts with such a prefix.
    let aws = matches!(*prefix, "akia" | "asia" | "abia" | "acca") && body.len() == 16;
    let varied = body.iter().any(u8::is_ascii_digit) || unbroken >= 20 || aws;
    (body.len() >= *body_min && varied).then_some(prefix.len() + body.len())
}

/// Returns the length of a JSON web token: two dot-separated parts of base64, and perhaps a signature.
fn jwt_length(rest: &[u8]) -> Option<usize> {
    let mut parts = rest.split(|&byte| byte == b'.');
    let (header, claims) = (parts.next()?, parts.next()?);
    (header.len() >= 10 && claims.len() >= 10)
        .then(|| header.len() + 1 + claims.len() + parts.next().map_or(0, |signature| signature.len() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: bool) {
        assert_eq!(key_length(text.as_bytes()).is_some(), expected, "{text}");
    }

    #[test]
    fn a_key_may_lack_digits_but_a_word_is_not_a_key() {
        check("akiaqodzvchxmtxqyahi", true);
        check("asiaqodzvchxmtxqyah7 and more", true);
        check("asia short", false);
        check("asiapacificmarkets", false);
        check("sk-a-very-long-word-with-dashes-only", false);
    }
}
