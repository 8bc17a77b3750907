//! The predictions of a classifier.

/// A label and its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice<'a> {
    /// One of the student's labels.
    pub label: &'a str,
    /// Its index in the student's labels.
    pub index: usize,
    /// Its calibrated probability.
    pub probability: f32,
}

/// The prediction for one text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction<'a> {
    /// The most probable label; always one of the student's, even if the text is out of scope.
    pub label: &'a str,
    /// Its index in the student's labels.
    pub index: usize,
    /// The calibrated probability that `label` is right.
    pub probability: f32,
    /// How far `probability` is above the runner-up's.
    pub margin: f32,
    /// The second most probable label.
    pub runner_up: Choice<'a>,
    /// Whether the text seems to belong to no in-scope label: the out-of-scope label won, or the best in-scope label is
    /// below the learnt threshold, or the text contains nothing known.
    pub out_of_scope: bool,
}
