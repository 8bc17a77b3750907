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

/// Returns a date as `YYYY-MM-DD`. Understood are `2026-11-05` (and with `/` or `.`), day and month in numbers where only
/// one of them can be the day or a full stop says so (`5.11.2026`), and months by name with day and year on either side.
/// `05/11/2026` may mean two days and is none; so is a date without a year.
pub fn date(text: &str) -> Option<String> {
    let separators = |symbol: char| symbol.is_whitespace() || matches!(symbol, ',' | '/' | '-' | '.');
    let parts: Vec<&str> =
        text.split(separators).filter(|part| !part.is_empty() && !part.eq_ignore_ascii_case("of")).collect();
    let [first, second, third] = parts[..] else { return None };
    if let Some(month) = month(second) {
        // 5 November 2026
        return written(year(third)?, month, day(first)?);
    }
    if let Some(month) = month(first) {
        // November 5, 2026
        return written(year(third)?, month, day(second)?);
    }
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?;
    if first.len() == 4 {
        return written(year(first)?, number(second)?, number(third)?);
    }
    let (one, two): (u32, u32) = (number(first)?, number(second)?);
    let has_stops = text.trim().bytes().filter(|byte| *byte == b'.').count() == 2;
    match (has_stops || one > 12 || one == two, two > 12) {
        (true, false) => written(year(third)?, two, one),
        (false, true) => written(year(third)?, one, two),
        _ => None,
    }
}

fn month(text: &str) -> Option<u32> {
    let small = text.to_ascii_lowercase();
    let is_start =
        |name: &str| small.len() >= 3 && (name.starts_with(&small) || small == "sept" && name == "september");
    let found = MONTHS.iter().position(|name| is_start(name))?;
    Some(found as u32 + 1)
}

fn day(text: &str) -> Option<u32> {
    let small = text.to_ascii_lowercase();
    let bare =
        ["st", "nd", "rd", "th"].iter().find_map(|ending| small.strip_suffix(ending)).unwrap_or(&small);
    bare.bytes().all(|byte| byte.is_ascii_digit()).then(|| bare.parse().ok())?
}

fn year(text: &str) -> Option<u32> {
    (text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// The date, if the calendar has it.
fn written(year: u32, month: u32, day: u32) -> Option<String> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (year > 0 && (1..=days).contains(&day)).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_ways_to_write_a_date_are_understood() {
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
    fn what_may_mean_two_days_or_none_is_no_date() {
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
            "+5 May 2026",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
    }
}
