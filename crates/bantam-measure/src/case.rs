//! One case: something that is timed often.

use std::time::Instant;

use bantam_types::Cancel;

use crate::{MeasureError, check};

/// Runs that warm up and do not count.
const WARM_UP: usize = 2;

/// What one case took.
pub(crate) struct Case {
    pub(crate) name: String,
    /// What is timed, in words.
    pub(crate) about: &'static str,
    pub(crate) milliseconds: Vec<f64>,
    /// Tokens that one run handles.
    pub(crate) tokens: usize,
    /// Which of the machine's limits it is near to, and how near: a share from 0 to 1.
    pub(crate) share: Option<(f64, &'static str)>,
}

impl Case {
    /// Returns the nearest rank.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        percentile(&self.milliseconds, share)
    }
}

/// Returns the nearest rank of some numbers.
pub(crate) fn percentile(numbers: &[f64], share: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Times `run` often: some runs to warm up, then `times` that count. Returns milliseconds.
pub(crate) fn time(
    times: usize,
    cancel: &Cancel,
    mut run: impl FnMut() -> Result<(), MeasureError>,
) -> Result<Vec<f64>, MeasureError> {
    let mut milliseconds = Vec::with_capacity(times);
    for round in 0..WARM_UP + times {
        check(cancel)?;
        let begun = Instant::now();
        run()?;
        if round >= WARM_UP {
            milliseconds.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let numbers: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((percentile(&numbers, 0.5), percentile(&numbers, 0.99)), (50.0, 99.0));
        assert!(percentile(&[], 0.5).is_nan());
    }

    #[test]
    fn runs_that_warm_up_do_not_count_and_a_request_to_stop_is_heard() {
        let (cancel, mut runs) = (Cancel::new(), 0);
        let taken = time(3, &cancel, || {
            runs += 1;
            Ok(())
        });
        assert_eq!((taken.unwrap().len(), runs), (3, 5));
        cancel.cancel();
        assert!(matches!(time(3, &cancel, || Ok(())), Err(MeasureError::Cancelled)));
    }
}
