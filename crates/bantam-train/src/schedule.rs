//! The learning-rate schedule.

use std::f64::consts::PI;

/// A linear warm-up, then a cosine decay to zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The highest rate.
    pub peak: f64,
    /// Warm-up steps.
    pub warmup: u64,
    /// Total number of steps.
    pub steps: u64,
}

impl Schedule {
    /// Returns the rate of a step, counted from 0, as in transformers' `get_cosine_schedule_with_warmup`.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * step as f64 / self.warmup as f64;
        }
        let rest = (self.steps - self.warmup.min(self.steps)).max(1) as f64;
        let done = ((step - self.warmup) as f64 / rest).min(1.0);
        self.peak * 0.5 * (1.0 + (PI * done).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_linearly_and_falls_as_a_cosine() {
        let schedule = Schedule { peak: 2.0, warmup: 4, steps: 12 };
        let rates: Vec<f64> = [0, 1, 4, 8, 12, 20].into_iter().map(|step| schedule.rate(step)).collect();
        for (found, expected) in rates.iter().zip([0.0, 0.5, 2.0, 1.0, 0.0, 0.0]) {
            assert!((found - expected).abs() < 1e-12, "{rates:?}");
        }
        assert_eq!(Schedule { peak: 1.0, warmup: 0, steps: 0 }.rate(0), 1.0);
    }
}
