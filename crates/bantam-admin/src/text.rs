//! Numbers, times and tables for people.

mod table;

use std::time::Duration;

use bantam_types::Usd;
pub use table::table;

/// Returns bytes for people, such as `639 MB`.
pub fn bytes_text(bytes: u64) -> String {
    let number = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.0} kB", number / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0} MB", number / 1e6),
        _ => format!("{:.1} GB", number / 1e9),
    }
}

/// Returns an amount for people: four decimals, more for the very small and two for the large.
pub fn dollars_text(amount: Usd) -> String {
    let dollars = amount.as_dollars();
    let decimals = match dollars.abs() {
        small if small != 0.0 && small < 0.01 => 6,
        large if large >= 100.0 => 2,
        _ => 4,
    };
    let sign = if dollars < 0.0 { "-" } else { "" };
    format!("{sign}${:.decimals$}", dollars.abs())
}

/// Returns microseconds as milliseconds for people.
pub fn milliseconds_text(us: u64) -> String {
    let ms = us as f64 / 1000.0;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

/// Returns a number of parameters for people, such as `1.7B`.
pub fn parameters_text(parameters: u64) -> String {
    let number = parameters as f64;
    match parameters {
        0..1_000_000 => format!("{:.0}K", number / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0}M", number / 1e6),
        _ => format!("{:.1}B", number / 1e9),
    }
}

/// Reads a number of parameters as people write it, such as `300k` or `1.5M`; `None` where it is not one.
pub fn read_parameters(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (digits, times) = match lower.strip_suffix('m') {
        Some(digits) => (digits, 1e6),
        None => lower.strip_suffix('k').map_or((&*lower, 1.0), |digits| (digits, 1e3)),
    };
    let number = digits.parse::<f64>().ok()? * times;
    (number >= 0.0 && number.is_finite()).then_some(number as u64)
}

/// Writes a text as a shell reads it as one word.
pub fn shell_word(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte));
    if is_plain && !text.is_empty() { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Returns how long it is until a time, such as `in 5 min`.
pub(crate) fn until_text(left: Duration) -> String {
    match left.as_secs() {
        seconds @ 0..120 => format!("in {seconds} s"),
        seconds @ 120..7_200 => format!("in {} min", seconds / 60),
        seconds => format!("in {} h", seconds / 3_600),
    }
}

/// Returns how long ago something was, such as `2 hours ago`.
pub fn age_text(age: Duration) -> String {
    let seconds = age.as_secs();
    let (count, unit) = match seconds {
        0..60 => return "just now".to_owned(),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

/// Returns a text that cannot command a terminal: control characters but for line breaks and tabs are replaced.
pub fn printable(text: &str) -> String {
    let is_command = |letter: &char| letter.is_control() && !matches!(letter, '\n' | '\t');
    text.chars().map(|letter| if is_command(&letter) { '\u{FFFD}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_the_digits_that_matter() {
        for (picodollars, text) in [
            (1_250_000, "$0.000001"),
            (-2_500_000_000_000, "-$2.5000"),
            (0, "$0.0000"),
            (1_234_567_000_000_000, "$1234.57"),
        ] {
            assert_eq!(dollars_text(Usd::from_picodollars(picodollars)), text);
        }
        assert_eq!([2_345, 12_345].map(milliseconds_text), ["2.35 ms", "12 ms"]);
    }

    #[test]
    fn times_are_told_in_the_largest_unit_that_fits() {
        assert_eq!(
            [5, 60, 7_300, 200_000].map(|seconds| age_text(Duration::from_secs(seconds))),
            ["just now", "1 minute ago", "2 hours ago", "2 days ago"]
        );
        assert_eq!(
            [5, 600, 7_300].map(|seconds| until_text(Duration::from_secs(seconds))),
            ["in 5 s", "in 10 min", "in 2 h"]
        );
    }

    #[test]
    fn parameters_are_read_as_people_write_them() {
        assert_eq!(
            ["300k", "1.5M", "20000", "0"].map(read_parameters),
            [Some(300_000), Some(1_500_000), Some(20_000), Some(0)]
        );
        for wrong in ["", "many", "-1m", "k", "nan", "infm"] {
            assert_eq!(read_parameters(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn paths_are_written_as_a_shell_reads_them() {
        assert_eq!(shell_word("/home/a/.config/bantam.toml"), "/home/a/.config/bantam.toml");
        assert_eq!(shell_word("/it's here"), "'/it'\\''s here'");
    }

    #[test]
    fn what_a_model_writes_cannot_command_the_terminal() {
        assert_eq!(printable("a\n\t\u{1b}[2Jb\r\u{9b}"), "a\n\t\u{FFFD}[2Jb\u{FFFD}\u{FFFD}");
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(
            [12, 12_345, 1_500_000, 2_340_000_000].map(bytes_text),
            ["12 B", "12 kB", "2 MB", "2.3 GB"]
        );
        assert_eq!([600_000_000, 1_720_000_000].map(parameters_text), ["600M", "1.7B"]);
    }
}
