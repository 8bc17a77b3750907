//! Numbers and amounts of money.

const WORDS: [&str; 13] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
];

/// Returns the number in a text such as `1,234.50`, `RM 12.00`, `12,50 EUR`, `€1.234,56`, `-3` or `twelve`.
///
/// A currency on one side is dropped. If there are two kinds of separator, the last one is the decimal separator. A
/// single comma before exactly three digits separates thousands (`1,234`). A single point before exactly three digits
/// (`1.234`) could be either, so it returns `None`.
pub fn amount(text: &str) -> Option<f64> {
    let trimmed = text.trim();
    if let Some(number) = WORDS.iter().position(|word| trimmed.eq_ignore_ascii_case(word)) {
        return Some(number as f64);
    }
    let is_part =
        |symbol: char| symbol.is_ascii_digit() || matches!(symbol, '.' | ',' | '\'' | '\u{a0}' | ' ');
    let start = trimmed.find(|symbol: char| symbol.is_ascii_digit())?;
    let end = trimmed.rfind(|symbol: char| symbol.is_ascii_digit())? + 1;
    let (before, digits, after) = (trimmed.get(..start)?, trimmed.get(start..end)?, trimmed.get(end..)?);
    let (before, is_negative) = match before.trim().strip_suffix(['-', '\u{2212}']) {
        Some(before) => (before.trim(), true),
        None => (before.trim(), false),
    };
    let after = after.trim().trim_end_matches(".-").trim_end_matches("-");
    let is_currency = |side: &str| {
        side.chars().count() <= 4
            && side.chars().all(|symbol| symbol.is_alphabetic() || "$€£¥₹.".contains(symbol))
    };
    if !digits.chars().all(is_part)
        || !is_currency(before)
        || !is_currency(after)
        || !(before.is_empty() || after.is_empty())
    {
        return None;
    }
    let number: f64 = plain(digits)?.parse().ok()?;
    Some(if is_negative { -number } else { number })
}

/// Returns the whole number in a text, read as by [`amount`].
pub fn whole(text: &str) -> Option<i64> {
    let number = amount(text)?;
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

/// Returns the digits with a decimal point and without thousands separators.
fn plain(digits: &str) -> Option<String> {
    let marks: Vec<char> = digits.chars().filter(|symbol| !symbol.is_ascii_digit()).collect();
    let decimal = match marks.last() {
        None => None,
        Some(last) if marks.iter().all(|mark| mark == last) => {
            let behind = digits.len() - digits.rfind(*last)? - last.len_utf8();
            match (last, marks.len(), behind) {
                (',', 1, 3) => None,
                ('.', 1, 3) => return None,
                ('.' | ',', 1, _) => Some(*last),
                (_, _, 3) => None,
                _ => return None,
            }
        }
        Some(last @ ('.' | ',')) if marks.iter().filter(|mark| *mark == last).count() == 1 => Some(*last),
        _ => return None,
    };
    let (whole, decimals) = match decimal {
        Some(mark) => digits.rsplit_once(mark)?,
        None => (digits, ""),
    };
    let groups: Vec<&str> = whole.split(|symbol: char| !symbol.is_ascii_digit()).collect();
    let are_thousands = groups.len() == 1
        || (groups.iter().skip(1).all(|group| group.len() == 3) && (1..=3).contains(&groups[0].len()));
    are_thousands.then(|| {
        if decimals.is_empty() { groups.concat() } else { format!("{}.{decimals}", groups.concat()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_amounts_with_currencies_and_separators() {
        let pairs = [
            ("1,234.50", 1234.5),
            ("RM 12.00", 12.0),
            ("12,50 EUR", 12.5),
            ("€1.234,56", 1234.56),
            ("$5", 5.0),
            ("1,234", 1234.0),
            ("1 234 567,8", 1_234_567.8),
            ("1'000", 1000.0),
            ("-3", -3.0),
            ("Twelve", 12.0),
            ("0.5", 0.5),
            ("42", 42.0),
            ("1.234.567", 1_234_567.0),
        ];
        for (text, expected) in pairs {
            assert_eq!(amount(text), Some(expected), "{text}");
        }
        assert_eq!((whole("twelve"), whole("1,234"), whole("1.50")), (Some(12), Some(1234), None));
    }

    #[test]
    fn rejects_ambiguous_numbers_and_other_text() {
        for text in [
            "1.234",
            "",
            "EUR",
            "1,23,4",
            "12-15",
            "2 or 3",
            "1.2.3",
            "RM 5 EUR",
            "about 5 lamps",
            "12,34,567.1.2",
        ] {
            assert_eq!(amount(text), None, "{text}");
        }
    }
}
