//! Numbers for people.

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

/// Returns a number of parameters for people, such as `1.7B`.
pub fn parameters_text(parameters: u64) -> String {
    let number = parameters as f64;
    match parameters {
        0..1_000_000 => format!("{:.0}K", number / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0}M", number / 1e6),
        _ => format!("{:.1}B", number / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(
            [12, 12_345, 1_500_000, 2_340_000_000].map(bytes_text),
            ["12 B", "12 kB", "2 MB", "2.3 GB"]
        );
        assert_eq!([600_000_000, 1_720_000_000].map(parameters_text), ["600M", "1.7B"]);
    }
}
