//! The filters over candidates, and the random draw.

use std::ops::Range;

use crate::softmax::{self, weight};

/// A token that may be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) logit: f32,
    pub(super) token: u32,
}

/// Orders candidates by descending logit, then ascending token. The order is total, so that draws do not depend on
/// how the candidates were selected.
fn order(one: &Candidate, other: &Candidate) -> std::cmp::Ordering {
    other.logit.total_cmp(&one.logit).then(one.token.cmp(&other.token))
}

pub(super) fn sort(candidates: &mut [Candidate]) {
    candidates.sort_unstable_by(order);
}

/// Returns the token with the largest logit above minus infinity, or the lowest token of several. `runs` lists the
/// allowed tokens, in order.
pub(super) fn largest(logits: &[f32], runs: &[Range<usize>]) -> Option<u32> {
    let mut best = (f32::NEG_INFINITY, None);
    for run in runs {
        let logits = &logits[run.clone()];
        let max = softmax::largest(logits);
        if max > best.0 {
            best = (max, logits.iter().position(|logit| *logit == max).map(|index| run.start + index));
        }
    }
    best.1.map(|index| index as u32)
}

/// Adds all candidates of the `runs` in token order if `top_k` is 0, or else the first `top_k` by [`order`],
/// unsorted. `keep` maps a logit to the one to use, or to `None` to skip the token.
///
/// Reads the row once: collects candidates up to a block above `top_k`, selects the best `top_k`, and from then on
/// collects only candidates that beat the worst of them. A full sort of 152 k is 50 times the work.
pub(super) fn gather(
    candidates: &mut Vec<Candidate>,
    logits: &[f32],
    runs: &[Range<usize>],
    top_k: usize,
    keep: impl Fn(f32) -> Option<f32>,
) {
    let room = if top_k == 0 { usize::MAX } else { top_k + top_k.max(64) };
    let mut floor = f32::NEG_INFINITY;
    for run in runs {
        for (token, logit) in (run.start as u32..).zip(&logits[run.clone()]) {
            // Keep equals: the selection decides their order.
            let Some(logit) = keep(*logit).filter(|logit| *logit >= floor) else { continue };
            candidates.push(Candidate { logit, token });
            if candidates.len() >= room {
                candidates.select_nth_unstable_by(top_k - 1, order);
                candidates.truncate(top_k);
                floor = candidates[top_k - 1].logit;
            }
        }
    }
    if top_k > 0 && candidates.len() > top_k {
        candidates.select_nth_unstable_by(top_k - 1, order);
        candidates.truncate(top_k);
    }
}

/// Draws the token at `unit` (0 to 1) among all tokens of the `runs` that `min_p` leaves; `None` if all logits are
/// minus infinity. Gives exactly the result of [`draw`] on the same candidates, without making a list of them.
pub(super) fn draw_any(
    logits: &[f32],
    runs: &[Range<usize>],
    temperature: f32,
    min_p: f32,
    unit: f64,
    weights: &mut Vec<f32>,
) -> Option<u32> {
    let max = runs.iter().fold(f32::NEG_INFINITY, |max, run| max.max(softmax::largest(&logits[run.clone()])));
    if max == f32::NEG_INFINITY {
        return None;
    }
    // Division keeps the order, so the largest quotient belongs to the largest logit.
    let max = max / temperature;
    weights.clear();
    runs.iter().for_each(|run| softmax::add_weights(weights, &logits[run.clone()], temperature, max));
    if min_p > 0.0 {
        weights.iter_mut().filter(|weight| **weight < min_p).for_each(|weight| *weight = 0.0);
    }
    let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    let index = index_at(unit * sum, weights.iter().map(|weight| f64::from(*weight)))?;
    let mut before = 0;
    let run = runs.iter().find(|run| {
        before += run.len();
        index < before
    })?;
    Some((run.end - (before - index)) as u32)
}

/// Returns the index at which the running sum of weights exceeds `left`, or the last index with a positive weight.
fn index_at(mut left: f64, weights: impl Iterator<Item = f64>) -> Option<usize> {
    let mut last = None;
    for (index, weight) in weights.enumerate() {
        if weight == 0.0 {
            continue;
        }
        last = Some(index);
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    // Rounding can leave a remainder after the last weight.
    last
}

/// Applies `top_p` and `min_p`, and returns the token at `unit` (0 to 1) of the rest; `None` if there are no
/// candidates.
pub(super) fn draw(candidates: &mut Vec<Candidate>, top_p: f32, min_p: f32, unit: f64) -> Option<u32> {
    let max = candidates.iter().fold(f32::NEG_INFINITY, |max, candidate| max.max(candidate.logit));
    if max == f32::NEG_INFINITY {
        return None;
    }
    if top_p < 1.0 {
        keep_top(candidates, max, f64::from(top_p));
    } else {
        // Selection leaves them in an arbitrary order; the draw needs one that depends only on the logits.
        candidates.sort_unstable_by_key(|candidate| candidate.token);
    }
    if min_p > 0.0 {
        candidates.retain(|candidate| weight(candidate.logit - max) >= f64::from(min_p));
    }
    let weights = || candidates.iter().map(|candidate| weight(candidate.logit - max));
    let sum: f64 = weights().sum();
    index_at(unit * sum, weights()).map(|index| candidates[index].token)
}

/// Keeps the fewest first candidates whose weights reach `share` of the total, sorted. Sorts only as many as needed,
/// in blocks that grow fourfold.
fn keep_top(candidates: &mut Vec<Candidate>, max: f32, share: f64) {
    let sum: f64 = candidates.iter().map(|candidate| weight(candidate.logit - max)).sum();
    let target = share * sum;
    let (mut start, mut block, mut reached) = (0, 64, 0.0);
    while start < candidates.len() {
        let end = candidates.len().min(start + block);
        if end < candidates.len() {
            candidates[start..].select_nth_unstable_by(end - start - 1, order);
        }
        sort(&mut candidates[start..end]);
        for index in start..end {
            reached += weight(candidates[index].logit - max);
            if reached >= target {
                candidates.truncate(index + 1);
                return;
            }
        }
        (start, block) = (end, block * 4);
    }
}
