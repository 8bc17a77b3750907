//! Reads from an answer's headers what the ledger keeps of them: the upstream's id of the request, and its rate limits.

use std::sync::Arc;
use std::time::SystemTime;

use bantam_backend::UpstreamNotes;
use bantam_types::{RateLimit, RateLimits};
use http::HeaderMap;

/// Headers that hold an id, the most telling first. Those of a proxy before the provider come last.
const IDS: [&str; 9] = [
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "apim-request-id",
    "x-ms-request-id",
    "x-goog-request-id",
    "x-generation-id",
    "x-correlation-id",
    "cf-ray",
];
/// What the names of headers that tell limits begin with.
const LIMITS: [&str; 3] = ["x-ratelimit", "anthropic-ratelimit", "ratelimit"];
/// The longest id that is kept.
const ID_BYTES_MAX: usize = 128;

/// Reads the headers of an answer, whatever its status.
pub(crate) fn read(headers: &HeaderMap) -> Option<Arc<UpstreamNotes>> {
    // Looking each name up would take longer than all else that is done with the headers; most answers have few of them.
    let has_limits = headers.keys().any(|name| LIMITS.iter().any(|begin| name.as_str().starts_with(begin)));
    let rate_limits = if has_limits {
        RateLimits { requests: requests(headers), tokens: tokens(headers) }.told()
    } else {
        None
    };
    UpstreamNotes { request_id: request_id(headers), rate_limits }.told()
}

fn request_id(headers: &HeaderMap) -> Option<Arc<str>> {
    let is_id = |text: &&str| {
        !text.is_empty() && text.len() <= ID_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let told = headers.iter().filter_map(|(name, value)| {
        let rank = IDS.iter().position(|id| name == id)?;
        Some((rank, value.to_str().ok().map(str::trim).filter(is_id)?))
    });
    told.min_by_key(|(rank, _)| *rank).map(|(_, id)| id.into())
}

fn requests(headers: &HeaderMap) -> RateLimit {
    let first = |names: [&str; 4]| names.into_iter().find_map(|name| text(headers, name));
    let own = limit(
        first([
            "x-ratelimit-limit-requests",
            "anthropic-ratelimit-requests-limit",
            "x-ratelimit-limit",
            "ratelimit-limit",
        ]),
        first([
            "x-ratelimit-remaining-requests",
            "anthropic-ratelimit-requests-remaining",
            "x-ratelimit-remaining",
            "ratelimit-remaining",
        ]),
        first([
            "x-ratelimit-reset-requests",
            "anthropic-ratelimit-requests-reset",
            "x-ratelimit-reset",
            "ratelimit-reset",
        ]),
    );
    if own == RateLimit::default() { combined(headers) } else { own }
}

fn tokens(headers: &HeaderMap) -> RateLimit {
    let first = |names: [&str; 3]| names.into_iter().find_map(|name| text(headers, name));
    limit(
        first([
            "x-ratelimit-limit-tokens",
            "anthropic-ratelimit-tokens-limit",
            "anthropic-ratelimit-input-tokens-limit",
        ]),
        first([
            "x-ratelimit-remaining-tokens",
            "anthropic-ratelimit-tokens-remaining",
            "anthropic-ratelimit-input-tokens-remaining",
        ]),
        first([
            "x-ratelimit-reset-tokens",
            "anthropic-ratelimit-tokens-reset",
            "anthropic-ratelimit-input-tokens-reset",
        ]),
    )
}

/// Reads `RateLimit` and `RateLimit-Policy` in the forms that drafts of the IETF have had: `"name";r=50;t=30` with
/// `"name";q=100;w=60`, and `limit=100, remaining=50, reset=30`.
fn combined(headers: &HeaderMap) -> RateLimit {
    let value_of = |name: &str, keys: [&str; 2]| {
        let value = text(headers, name)?;
        let parameters = value.split([';', ',']).filter_map(|parameter| parameter.trim().split_once('='));
        let found = parameters.into_iter().find(|(key, _)| keys.contains(&key.trim()));
        found.map(|(_, value)| value.trim())
    };
    limit(
        value_of("ratelimit-policy", ["q", "quota"]).or_else(|| value_of("ratelimit", ["limit", "q"])),
        value_of("ratelimit", ["r", "remaining"]),
        value_of("ratelimit", ["t", "reset"]),
    )
}

fn limit(limit: Option<&str>, remaining: Option<&str>, reset: Option<&str>) -> RateLimit {
    RateLimit {
        limit: limit.and_then(count),
        remaining: remaining.and_then(count),
        resets_in_ms: reset.and_then(|text| milliseconds(text, SystemTime::now())),
    }
}

/// Reads a count; of several, as in `100, 100;w=60`, the first.
fn count(text: &str) -> Option<u64> {
    text.split([',', ';']).next()?.trim().parse().ok()
}

/// Reads how long it is until a limit is whole again: `6m0s` and `17ms`, seconds, a time of the Unix epoch in seconds or
/// milliseconds, or a date of RFC 3339.
fn milliseconds(text: &str, now: SystemTime) -> Option<u64> {
    let text = text.trim();
    let now_ms = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis() as f64;
    let ms = match text.parse::<f64>() {
        Ok(number) if number >= 1e12 => number - now_ms,
        Ok(number) if number >= 1e9 => number * 1e3 - now_ms,
        Ok(seconds) => seconds * 1e3,
        Err(_) => match text.parse::<jiff::Timestamp>() {
            Ok(time) => time.as_millisecond() as f64 - now_ms,
            Err(_) => spelled(text)?,
        },
    };
    // Whatever is longer than a year is not a pause.
    (ms.is_finite() && ms < 3.2e10).then(|| ms.max(0.0).round() as u64)
}

/// Reads a length of time as Go writes it, in milliseconds.
fn spelled(text: &str) -> Option<f64> {
    let (mut total, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|char: char| char.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit_ms = match unit {
            "ns" => 1e-6,
            "us" | "µs" => 1e-3,
            "ms" => 1.0,
            "s" => 1e3,
            "m" => 60e3,
            "h" => 3_600e3,
            "d" => 86_400e3,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * unit_ms;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        lines.iter().map(line).collect()
    }

    fn told(limit: u64, remaining: u64, resets_in_ms: u64) -> RateLimit {
        RateLimit { limit: Some(limit), remaining: Some(remaining), resets_in_ms: Some(resets_in_ms) }
    }

    #[test]
    fn limits_are_read_as_providers_write_them() {
        let none = RateLimit::default();
        for (lines, requests, tokens) in [
            (
                &[
                    ("x-ratelimit-limit-requests", "5000"),
                    ("x-ratelimit-remaining-requests", "4999"),
                    ("x-ratelimit-reset-requests", "12ms"),
                    ("x-ratelimit-limit-tokens", "160000"),
                    ("x-ratelimit-remaining-tokens", "159976"),
                    ("x-ratelimit-reset-tokens", "6m0.5s"),
                ][..],
                told(5000, 4999, 12),
                told(160_000, 159_976, 360_500),
            ),
            (
                &[
                    ("ratelimit-limit", "100, 100;w=60"),
                    ("ratelimit-remaining", "7"),
                    ("ratelimit-reset", "1.5"),
                ],
                told(100, 7, 1_500),
                none,
            ),
            (
                &[("ratelimit", "\"default\";r=50;t=30"), ("ratelimit-policy", "\"default\";q=100;w=60")],
                told(100, 50, 30_000),
                none,
            ),
            (&[("ratelimit", "limit=10, remaining=4, reset=2")], told(10, 4, 2_000), none),
            (&[("x-ratelimit-remaining-tokens", "many"), ("x-ratelimit-reset-tokens", "soon")], none, none),
            (&[], none, none),
        ] {
            let read = read(&headers(lines)).and_then(|notes| notes.rate_limits).unwrap_or_default();
            assert_eq!((read.requests, read.tokens), (requests, tokens), "{lines:?}");
        }
        let dated = headers(&[
            ("anthropic-ratelimit-tokens-reset", "2999-01-01T00:00:00Z"),
            ("anthropic-ratelimit-requests-reset", "2020-01-01T00:00:00Z"),
        ]);
        let limits = read(&dated).unwrap().rate_limits.unwrap();
        assert_eq!(
            (limits.tokens.resets_in_ms, limits.requests.resets_in_ms),
            (None, Some(0)),
            "a pause of centuries is none"
        );
    }

    #[test]
    fn a_reset_may_be_a_length_a_time_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        for (text, expected) in [
            ("17ms", Some(17)),
            ("1h2m3s", Some(3_723_000)),
            ("2m59.56s", Some(179_560)),
            ("7.66", Some(7_660)),
            ("0", Some(0)),
            ("1767225605", Some(5_000)),
            ("1767225600250", Some(250)),
            ("2026-01-01T00:00:09.5Z", Some(9_500)),
            ("2026-01-01T01:00:00+01:00", Some(0)),
            ("", None),
            ("s", None),
            ("5 minutes", None),
            ("-1", Some(0)),
            ("inf", None),
            ("NaN", None),
        ] {
            assert_eq!(milliseconds(text, now), expected, "{text}");
        }
    }

    #[test]
    fn the_id_is_the_most_telling_one_and_short() {
        let id = |lines: &[(&'static str, &str)]| {
            read(&headers(lines)).and_then(|notes| notes.request_id.as_deref().map(str::to_owned))
        };
        assert_eq!(id(&[("cf-ray", "9-FRA"), ("x-request-id", "req_1")]).as_deref(), Some("req_1"));
        assert_eq!(id(&[("cf-ray", "9-FRA"), ("request-id", "req_2")]).as_deref(), Some("req_2"));
        assert_eq!(id(&[("apim-request-id", "a"), ("cf-ray", "9-FRA")]).as_deref(), Some("a"));
        assert_eq!(id(&[("cf-ray", "9-FRA")]).as_deref(), Some("9-FRA"));
        let long = "x".repeat(129);
        for bad in ["", "two words", &long] {
            assert_eq!(id(&[("x-request-id", bad), ("cf-ray", "9")]).as_deref(), Some("9"), "{bad}");
        }
        assert_eq!(id(&[("content-type", "text/html")]), None);
    }

    proptest! {
        #[test]
        fn no_header_is_too_much(value in "[ -~]{0,60}") {
            let names = ["x-ratelimit-reset-requests", "ratelimit", "ratelimit-policy", "x-request-id", "ratelimit-limit"];
            for name in names {
                let value = HeaderValue::from_str(&value).unwrap();
                read(&HeaderMap::from_iter([(HeaderName::from_static(name), value)]));
            }
        }
    }
}
