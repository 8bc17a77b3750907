//! The filters over candidates, and the draw.

use std::ops::Range;

use crate::softmax::{self, weight};

/// A token that may be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) logit: f32,
    pub(super) token: u32,
}

/// The higher logit first, the lower token first where logits are equal: one order, so that what is drawn does
/// not depend on how the candidates were selected.
fn order(one: &Candidate, other: &Candidate) -> std::cmp::Ordering {
    other.logit.total_cmp(&one.logit).then(one.token.cmp(&other.token))
}

pub(super) fn sort(candidates: &mut [Candidate]) {
    candidates.sort_unstable_by(order);
}

/// Returns the token with the largest logit above minus infinity, the lowest where several are the largest. `runs`
/// are the tokens that count, in order.
pub(super) fn largest(logits: &[f32], runs: &[Range<usize>]) -> Option<u32> {
    let mut best = (f32::NEG_INFINITY, None);
    for run in runs {
        let logits = &logits[run.clone()];
        let max = softmax::largest(logits);
        if max > best.0 {
            best = (max, logits.iter().position(|logit| *logit == max).map(|place| run.start + place));
        }
    }
    best.1.map(|place| place as u32)
}

/// Adds all candidates of the `runs`, or the `top_k` first of them by [`order`], in no order; 0 adds all, in that of
/// their tokens. `keep` returns what a logit counts as, and nothing for one that does not count.
///
/// It reads the row once: candidates are collected up to a block above `top_k`, then selected down to `top_k`,
/// and from then on only what beats the worst of them is collected. A full sort of 152 k is 50 times the work.
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
            // Equals must stay in: their order is decided by the selection.
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

/// Returns the token at `unit` (0 to 1) of all in the `runs` that `min_p` leaves; `None` where all logits are minus
/// infinity. It is what [`draw`] returns of the same candidates, to the bit, without making a list of them.
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
    // Quotients are in the order of the logits, so the largest one is that of the largest logit.
    let max = max / temperature;
    weights.clear();
    runs.iter().for_each(|run| softmax::add_weights(weights, &logits[run.clone()], temperature, max));
    if min_p > 0.0 {
        weights.iter_mut().filter(|weight| **weight < min_p).for_each(|weight| *weight = 0.0);
    }
    let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    let place = place_at(unit * sum, weights.iter().map(|weight| f64::from(*weight)))?;
    let mut before = 0;
    let run = runs.iter().find(|run| {
        before += run.len();
        place < before
    })?;
    Some((run.end - (before - place)) as u32)
}

/// Returns the place of the weight at which their sum comes above `left`, or of the last above 0.
fn place_at(mut left: f64, weights: impl Iterator<Item = f64>) -> Option<usize> {
    let mut last = None;
    for (place, weight) in weights.enumerate() {
        if weight == 0.0 {
            continue;
        }
        last = Some(place);
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    // Rounding can leave a crumb behind the last one.
    last
}

/// Applies `top_p` and `min_p`, and returns the token at `unit` (0 to 1) of what is left; `None` where nothing
/// was given.
pub(super) fn draw(candidates: &mut Vec<Candidate>, top_p: f32, min_p: f32, unit: f64) -> Option<u32> {
    let max = candidates.iter().fold(f32::NEG_INFINITY, |max, candidate| max.max(candidate.logit));
    if max == f32::NEG_INFINITY {
        return None;
    }
    if top_p < 1.0 {
        keep_top(candidates, max, f64::from(top_p));
    } else {
        // Selection leaves them in an order of its own; the draw needs one that only the logits decide.
        candidates.sort_unstable_by_key(|candidate| candidate.token);
    }
    if min_p > 0.0 {
        candidates.retain(|candidate| weight(candidate.logit - max) >= f64::from(min_p));
    }
    let weights = || candidates.iter().map(|candidate| weight(candidate.logit - max));
    let sum: f64 = weights().sum();
    place_at(unit * sum, weights()).map(|place| candidates[place].token)
}

/// Keeps the fewest first candidates whose weights reach `share` of all, sorted. Only as many are sorted as are
/// kept, in blocks that grow fourfold.
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
        for place in start..end {
            reached += weight(candidates[place].logit - max);
            if reached >= target {
                candidates.truncate(place + 1);
                return;
            }
        }
        (start, block) = (end, block * 4);
    }
}
