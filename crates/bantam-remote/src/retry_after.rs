//! How long an upstream asks to wait, in each of the forms that are in use.

use std::time::{Duration, SystemTime};

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName};

/// What OpenAI and Azure send beside `retry-after`: milliseconds.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// What OpenAI and Anthropic send to say whether a repeat makes sense.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// The longest pause that is believed.
const PAUSE_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Returns the pause that the headers ask for: `retry-after-ms`, or `retry-after` as seconds, whole or decimal, or as a
/// date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &HeaderName| text(headers, name)?.parse::<f64>().ok();
    let milliseconds = number(&RETRY_AFTER_MS).map(|milliseconds| milliseconds / 1_000.0);
    let pause = milliseconds.and_then(pause).or_else(|| number(&RETRY_AFTER).and_then(pause));
    pause.or_else(|| until_date(headers)).map(|pause| pause.min(PAUSE_MAX))
}

/// Returns whether the upstream says that a repeat would not help.
pub(crate) fn is_final(headers: &HeaderMap) -> bool {
    text(headers, &SHOULD_RETRY).is_some_and(|word| word.eq_ignore_ascii_case("false"))
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn pause(seconds: f64) -> Option<Duration> {
    (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(PAUSE_MAX))
}

/// Returns the time from the answer's own date to the one that it names, so that clocks need not agree. A date that has
/// passed asks for no pause.
fn until_date(headers: &HeaderMap) -> Option<Duration> {
    let date = |name: &HeaderName| httpdate::parse_http_date(text(headers, name)?).ok();
    let until = date(&RETRY_AFTER)?;
    let now = date(&DATE).unwrap_or_else(SystemTime::now);
    Some(until.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn check(pairs: &[(&'static str, &str)], expected_ms: Option<u64>) {
        assert_eq!(retry_after(&headers(pairs)), expected_ms.map(Duration::from_millis), "{pairs:?}");
    }

    #[test]
    fn every_form_of_a_pause_is_read() {
        const DATE: (&str, &str) = ("date", "Tue, 01 Dec 2026 10:00:00 GMT");
        check(&[], None);
        check(&[("retry-after", "7")], Some(7_000));
        check(&[("retry-after", " 60 ")], Some(60_000));
        check(&[("retry-after", "0")], Some(0));
        check(&[("retry-after", "1.5")], Some(1_500));
        check(&[("retry-after", "0.25")], Some(250));
        check(&[("retry-after-ms", "250")], Some(250));
        check(&[("retry-after-ms", "250"), ("retry-after", "9")], Some(250));
        check(&[("retry-after-ms", "soon"), ("retry-after", "9")], Some(9_000));
        // The three forms of dates, from the answer's own date on.
        check(&[DATE, ("retry-after", "Tue, 01 Dec 2026 10:00:07 GMT")], Some(7_000));
        check(&[DATE, ("retry-after", "Tuesday, 01-Dec-26 10:01:00 GMT")], Some(60_000));
        check(&[DATE, ("retry-after", "Tue Dec  1 10:00:09 2026")], Some(9_000));
        check(&[DATE, ("retry-after", "Tue, 01 Dec 2026 09:00:00 GMT")], Some(0));
        check(&[("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT")], Some(0));
        // More than anybody means, and what nobody can mean.
        check(&[("retry-after", "1e300")], Some(30 * 24 * 3_600_000));
        check(&[("retry-after", "inf")], Some(30 * 24 * 3_600_000));
        for nonsense in ["soon", "-1", "NaN", "", "7 s", "Tue, 01 Dec"] {
            check(&[("retry-after", nonsense)], None);
        }
    }

    #[test]
    fn a_date_without_the_answer_s_own_is_counted_from_now() {
        let until = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let pause = retry_after(&headers(&[("retry-after", &until)])).unwrap();
        assert!(pause <= Duration::from_secs(101) && pause > Duration::from_secs(40), "{pause:?}");
    }

    #[test]
    fn only_a_clear_no_is_final() {
        for (value, expected) in [("false", true), ("False", true), ("true", false), ("", false)] {
            assert_eq!(is_final(&headers(&[("x-should-retry", value)])), expected, "{value}");
        }
        assert!(!is_final(&HeaderMap::new()));
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(value in "[ -~]{0,40}") {
            let asked = retry_after(&headers(&[("retry-after", &value)]));
            prop_assert!(asked.is_none_or(|pause| pause <= PAUSE_MAX));
        }
    }
}
