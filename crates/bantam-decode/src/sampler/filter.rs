//! The filters over candidates, and the draw.

use crate::softmax::weight;

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

/// Returns the token with the largest logit above minus infinity, the lowest where several are the largest.
pub(super) fn largest(logits: impl Iterator<Item = (f32, u32)>) -> Option<u32> {
    let mut best = (f32::NEG_INFINITY, None);
    for (logit, token) in logits {
        if logit > best.0 {
            best = (logit, Some(token));
        }
    }
    best.1
}

/// Adds all candidates, or the `top_k` first of them by [`order`], in no order; 0 adds all.
///
/// It reads the row once: candidates are collected up to a block above `top_k`, then selected down to `top_k`,
/// and from then on only what beats the worst of them is collected. A full sort of 152 k is 50 times the work.
pub(super) fn gather(candidates: &mut Vec<Candidate>, all: impl Iterator<Item = Candidate>, top_k: usize) {
    if top_k == 0 {
        candidates.extend(all);
        return;
    }
    let room = top_k + top_k.max(64);
    let mut floor = f32::NEG_INFINITY;
    for candidate in all {
        // Equals must stay in: their order is decided by the selection.
        if candidate.logit >= floor {
            candidates.push(candidate);
            if candidates.len() >= room {
                candidates.select_nth_unstable_by(top_k - 1, order);
                candidates.truncate(top_k);
                floor = candidates[top_k - 1].logit;
            }
        }
    }
    if candidates.len() > top_k {
        candidates.select_nth_unstable_by(top_k - 1, order);
        candidates.truncate(top_k);
    }
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
    let sum: f64 = candidates.iter().map(|candidate| weight(candidate.logit - max)).sum();
    let mut left = unit * sum;
    let mut last = None;
    for candidate in candidates.iter() {
        let weight = weight(candidate.logit - max);
        if weight == 0.0 {
            continue;
        }
        last = Some(candidate.token);
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    // Rounding can leave a crumb behind the last one.
    last
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
