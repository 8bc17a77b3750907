//! Percentiles and medians.

/// Returns the smallest value that at least the share `rank` of `values` does not exceed (nearest rank), or
/// NaN if there are no values.
pub(crate) fn percentile(values: &[f64], rank: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let position = (sorted.len() as f64 * rank).ceil() as usize;
    sorted.get(position.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

/// Returns the middle value, or the mean of the middle two, or NaN if there are no values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match (sorted.get(half), half.checked_sub(1).and_then(|before| sorted.get(before))) {
        (Some(upper), Some(lower)) if sorted.len().is_multiple_of(2) => f64::midpoint(*lower, *upper),
        (Some(middle), _) => *middle,
        (None, _) => f64::NAN,
    }
}

/// Returns the smallest and the largest value.
pub(crate) fn spread(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::NAN, f64::NAN), |(low, high), value| (low.min(*value), high.max(*value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_observed_values() {
        let check = |count: u32, rank: f64, expected: f64| {
            let values: Vec<f64> = (1..=count).rev().map(f64::from).collect();
            assert!((percentile(&values, rank) - expected).abs() < 1e-9, "{count} {rank}");
        };
        check(100, 0.5, 50.0);
        check(100, 0.99, 99.0);
        check(101, 0.5, 51.0);
        check(10, 0.99, 10.0);
        check(1, 0.01, 1.0);
        check(7, 0.0, 1.0);
        check(7, 1.0, 7.0);
        assert!(percentile(&[], 0.5).is_nan());
    }

    #[test]
    fn the_median_of_an_even_count_is_the_mean_of_the_middle_two() {
        let check = |values: &[f64], expected: f64| assert!((median(values) - expected).abs() < 1e-9);
        check(&[3.0, 1.0, 2.0], 2.0);
        check(&[4.0, 1.0, 2.0, 3.0], 2.5);
        check(&[5.0], 5.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_spread_covers_every_value() {
        assert_eq!(spread(&[2.0, -1.0, 5.0]), (-1.0, 5.0));
        assert!(spread(&[]).0.is_nan());
    }
}
