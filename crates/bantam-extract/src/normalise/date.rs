//! Dates.

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Returns a date as `YYYY-MM-DD`.
///
/// Reads `2026-11-05` (also with `/` or `.`), numeric day and month if only one of them can be the day or full stops
/// separate them (`5.11.2026`), and month names with day and year on either side. `05/11/2026` could mean two days, so
/// it returns `None`, as does a date without a year.
pub fn date(text: &str) -> Option<String> {
    let separators = |symbol: char| symbol.is_whitespace() || matches!(symbol, ',' | '/' | '-' | '.');
    let parts: Vec<&str> =
        text.split(separators).filter(|part| !part.is_empty() && !part.eq_ignore_ascii_case("of")).collect();
    let [first, second, third] = parts[..] else { return None };
    if let Some(month) = month(second) {
        // 5 November 2026
        return iso_date(year(third)?, month, day(first)?);
    }
    if let Some(month) = month(first) {
        // November 5, 2026
        return iso_date(year(third)?, month, day(second)?);
    }
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?;
    if first.len() == 4 {
        return iso_date(year(first)?, number(second)?, number(third)?);
    }
    let (one, two): (i8, i8) = (number(first)?, number(second)?);
    let has_stops = text.trim().bytes().filter(|byte| *byte == b'.').count() == 2;
    match (has_stops || one > 12 || one == two, two > 12) {
        (true, false) => iso_date(year(third)?, two, one),
        (false, true) => iso_date(year(third)?, one, two),
        _ => None,
    }
}

fn month(text: &str) -> Option<i8> {
    let lower = text.to_ascii_lowercase();
    let is_start =
        |name: &str| lower.len() >= 3 && (name.starts_with(&lower) || lower == "sept" && name == "september");
    let index = MONTHS.iter().position(|name| is_start(name))?;
    i8::try_from(index + 1).ok()
}

fn day(text: &str) -> Option<i8> {
    let lower = text.to_ascii_lowercase();
    let bare =
        ["st", "nd", "rd", "th"].iter().find_map(|ending| lower.strip_suffix(ending)).unwrap_or(&lower);
    bare.bytes().all(|byte| byte.is_ascii_digit()).then(|| bare.parse().ok())?
}

fn year(text: &str) -> Option<i16> {
    (text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Returns the date if it exists in the calendar; the year 0 does not.
fn iso_date(year: i16, month: i8, day: i8) -> Option<String> {
    jiff::civil::Date::new(year, month, day).ok().filter(|date| date.year() > 0).map(|date| date.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_common_ways_to_write_a_date() {
        for text in [
            "2026-11-05",
            "2026/11/5",
            "5.11.2026",
            "05. 11. 2026",
            "5 November 2026",
            "5th of Nov. 2026",
            "November 5, 2026",
            "nov 5th 2026",
            "05-Nov-2026",
        ] {
            assert_eq!(date(text).as_deref(), Some("2026-11-05"), "{text}");
        }
        assert_eq!(date("13/2/2026").as_deref(), Some("2026-02-13"));
        assert_eq!(date("2/13/2026").as_deref(), Some("2026-02-13"));
        assert_eq!(date("3/3/2026").as_deref(), Some("2026-03-03"));
        assert_eq!(date("29 Feb 2028").as_deref(), Some("2028-02-29"));
    }

    #[test]
    fn rejects_ambiguous_and_impossible_dates() {
        for text in [
            "05/11/2026",
            "29 Feb 2026",
            "31.4.2026",
            "5 November",
            "tomorrow",
            "",
            "13/13/2026",
            "5/11/26",
            "2026-00-10",
            "ma 5 2026",
            "0 May 2026",
            "5 May 0000",
            "300/5/2026",
            "+5 May 2026",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
    }
}
