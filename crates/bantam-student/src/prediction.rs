//! What a classifier answers.

/// A label and how likely it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice<'a> {
    /// One of the student's labels.
    pub label: &'a str,
    /// Its place among the student's labels.
    pub index: usize,
    /// Calibrated probability.
    pub probability: f32,
}

/// The answer to one text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction<'a> {
    /// The likeliest label; always one of the student's, also when the text is out of scope.
    pub label: &'a str,
    /// Its place among the student's labels.
    pub index: usize,
    /// Calibrated probability that `label` is right.
    pub probability: f32,
    /// How far `probability` is above the runner-up's.
    pub margin: f32,
    /// The second likeliest label.
    pub runner_up: Choice<'a>,
    /// True when the text seems to belong to none of the in-scope labels: the out-of-scope label won, or the
    /// likeliest in-scope label is less likely than the threshold learnt, or the text holds nothing known at all.
    pub out_of_scope: bool,
}
