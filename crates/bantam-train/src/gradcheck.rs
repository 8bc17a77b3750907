//! Checks gradients against finite differences, for tests.

use crate::random::Key;

/// Returns normally distributed numbers.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64).map(|index| Key::new(seed).normal(index)).collect()
}

/// Checks a function's gradient. `function` takes inputs and one weight per output, and returns the outputs and the
/// gradient of their weighted sum. That gradient must match the central difference of the weighted sum with step
/// `step`, within `tolerance` times the larger of 1 and the slope.
#[track_caller]
pub(crate) fn check(
    inputs: &[f32],
    step: f32,
    tolerance: f64,
    function: impl Fn(&[f32], &[f32]) -> (Vec<f32>, Vec<f32>),
) {
    let weights = numbers(4096, 99);
    let (outputs, gradient) = function(inputs, &weights);
    assert!(outputs.len() <= weights.len() && gradient.len() == inputs.len(), "the lengths match");
    let value = |inputs: &[f32]| -> f64 {
        let (outputs, _) = function(inputs, &weights);
        outputs.iter().zip(&weights).map(|(output, weight)| f64::from(*output) * f64::from(*weight)).sum()
    };
    for index in 0..inputs.len() {
        let at = |difference: f32| {
            let mut moved = inputs.to_vec();
            moved[index] += difference;
            (value(&moved), f64::from(moved[index]))
        };
        let ((high, right), (low, left)) = (at(step), at(-step));
        let slope = (high - low) / (right - left);
        let found = f64::from(gradient[index]);
        assert!(
            (found - slope).abs() <= tolerance * slope.abs().max(1.0),
            "input {index} of {}: gradient {found}, slope {slope}",
            inputs.len()
        );
    }
}
