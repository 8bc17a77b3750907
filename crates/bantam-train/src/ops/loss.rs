//! Cross-entropy over rows of logits.

use bantam_kernels::{Isa, Loops};

use super::numbers::{exp, sum};

/// Returns the summed cross-entropy of rows of `classes` logits, and replaces `logits` with the gradient of that sum
/// times `factor`. Label smoothing spreads a share of `smoothing` of each target evenly over all classes, as in torch.
/// Rows without a target do not count.
///
/// # Panics
/// If a target is not a class, or the lengths do not match.
pub fn cross_entropy(
    logits: &mut [f32],
    classes: usize,
    targets: &[Option<u32>],
    smoothing: f32,
    factor: f32,
) -> f64 {
    assert_eq!(logits.len(), classes * targets.len());
    assert!(targets.iter().flatten().all(|target| (*target as usize) < classes), "a target is not a class");
    Isa::best().run(CrossEntropy { logits, classes, targets, smoothing, factor })
}

struct CrossEntropy<'c> {
    logits: &'c mut [f32],
    classes: usize,
    targets: &'c [Option<u32>],
    smoothing: f32,
    factor: f32,
}

impl Loops for CrossEntropy<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let even = self.smoothing / self.classes as f32;
        let mut loss = 0.0;
        for (logits, target) in self.logits.chunks_exact_mut(self.classes).zip(self.targets) {
            let Some(target) = *target else {
                logits.fill(0.0);
                continue;
            };
            let target = target as usize;
            let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let target_logit = logits[target] - highest;
            let distance = sum(logits.len(), |class| logits[class] - highest);
            logits.iter_mut().for_each(|logit| *logit = exp(*logit - highest));
            let total = sum(logits.len(), |class| logits[class]);
            // The smoothed target distribution sums to 1, so the logarithm counts once.
            let expected_logit = (1.0 - self.smoothing) * target_logit + even * distance;
            loss += f64::from(total.ln() - expected_logit);
            for logit in logits.iter_mut() {
                *logit = (*logit / total - even) * self.factor;
            }
            logits[target] -= (1.0 - self.smoothing) * self.factor;
        }
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{check, numbers};

    #[test]
    fn the_gradient_matches_finite_differences() {
        for smoothing in [0.0, 0.2] {
            let targets = [Some(1), None, Some(4), Some(0)];
            check(&numbers(20, 1), 1e-2, 2e-3, |logits, weights| {
                let mut gradient = logits.to_vec();
                let loss = cross_entropy(&mut gradient, 5, &targets, smoothing, weights[0]);
                (vec![loss as f32], gradient)
            });
        }
    }

    #[test]
    fn the_loss_matches_torch() {
        let mut logits = vec![1.0, 2.0, 3.0, 0.5, 0.5, -1.0];
        let loss = cross_entropy(&mut logits, 3, &[Some(0), Some(1)], 0.1, 1.0);
        // torch.nn.functional.cross_entropy(..., label_smoothing=0.1, reduction="sum")
        assert!((loss - 3.156_522_2).abs() < 1e-4, "{loss}");
    }
}
