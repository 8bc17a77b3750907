//! Gradients against differences of the function itself, for tests.

use crate::random::Key;

/// Numbers of a normal distribution.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64).map(|index| Key::new(seed).normal(index)).collect()
}

/// Checks a function's gradient. `function` takes inputs and one weight for each output and returns the outputs and
/// the gradient of the weighted sum of outputs; that gradient must be the slope of the weighted sum, measured with
/// steps of `step` to both sides, within `tolerance` of the larger of 1 and the slope.
#[track_caller]
pub(crate) fn check(
    inputs: &[f32],
    step: f32,
    tolerance: f64,
    function: impl Fn(&[f32], &[f32]) -> (Vec<f32>, Vec<f32>),
) {
    let weights = numbers(4096, 99);
    let (outputs, gradient) = function(inputs, &weights);
    assert!(outputs.len() <= weights.len() && gradient.len() == inputs.len(), "the lengths fit");
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
