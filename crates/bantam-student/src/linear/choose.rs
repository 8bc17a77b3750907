//! Turns logits into a prediction.

use super::exponential::exp;
use super::model::Model;
use crate::prediction::{Choice, Prediction};

/// Returns the prediction for `logits` before temperature. A text without `known` n-grams is out of scope.
pub(crate) fn choose<'a>(model: &Model, labels: &'a [String], logits: &[f32], known: bool) -> Prediction<'a> {
    let inverse = 1.0 / model.temperature;
    let (mut best, mut second) = if logits[1] > logits[0] { (1, 0) } else { (0, 1) };
    for (class, &logit) in logits.iter().enumerate().skip(2) {
        if logit > logits[best] {
            (best, second) = (class, best);
        } else if logit > logits[second] {
            second = class;
        }
    }
    let highest = logits[best];
    let total: f32 = logits.iter().map(|logit| exp((logit - highest) * inverse)).sum();
    let choice = |index: usize| Choice {
        label: labels[index].as_str(),
        index,
        probability: exp((logits[index] - highest) * inverse) / total,
    };
    let (first, runner_up) = (choice(best), choice(second));
    let refused = model.out_of_scope == Some(best as u32);
    Prediction {
        label: first.label,
        index: first.index,
        probability: first.probability,
        margin: first.probability - runner_up.probability,
        runner_up,
        out_of_scope: refused || !known || first.probability < model.scope_threshold,
    }
}
