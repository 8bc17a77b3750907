//! Confidence intervals and percentiles.

/// Returns the 95 % Wilson score interval for `successes` out of `trials`.
///
/// Source: Wilson, *Probable inference, the law of succession, and statistical inference*, 1927.
pub fn wilson(successes: u64, trials: u64) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    const Z: f64 = 1.959_963_984_540_054;
    let n = trials as f64;
    let rate = successes as f64 / n;
    let centre = rate + Z * Z / (2.0 * n);
    let spread = Z * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0))
}

/// Returns the `share` quantile of `sorted` by nearest rank, which is always an observed value.
pub fn nearest_rank(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_matches_a_reference_implementation() {
        // Checked against scipy.stats.binomtest(...).proportion_ci(method="wilson").
        let (low, high) = wilson(95, 100);
        assert!((low - 0.888_249).abs() < 1e-5 && (high - 0.978_456).abs() < 1e-5, "{low} {high}");
        assert_eq!(wilson(0, 0), (0.0, 1.0));
        assert!(wilson(10, 10).1 <= 1.0 && wilson(0, 10).0 >= 0.0);
    }

    #[test]
    fn percentiles_are_observed_values() {
        let sorted: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(nearest_rank(&sorted, 0.5), Some(10.0));
        assert_eq!(nearest_rank(&sorted, 0.95), Some(19.0));
        assert_eq!(nearest_rank(&sorted, 1.0), Some(20.0));
        assert_eq!(nearest_rank(&[], 0.5), None);
    }
}
