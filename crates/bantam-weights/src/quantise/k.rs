//! The K types: blocks of 256 numbers whose groups have scales of few bits.
//!
//! For each group a scale (and a minimum) is looked for that makes the weighted squared error small: from several
//! starting scales, the numbers are rounded, and scale and minimum are solved for by least squares. Large numbers
//! weigh more, as in ggml. Then the scales themselves are rounded, and with the rounded ones their neighbours are
//! tried, which ggml does not do.

use crate::half::{f16_to_f32, f32_to_f16};

/// Numbers of a block.
const BLOCK: usize = 256;
/// Starting scales that are tried on either side of the plain one, and how far apart they are.
const STARTS: i32 = 10;
const START_STEP: f32 = 0.1;
/// The largest scale and minimum of a group of Q4_K and Q5_K.
const SIX_BITS: f32 = 63.0;

/// A group's fit: `x ≈ scale * q - minimum`, with the least weighted error found.
#[derive(Clone, Copy, Debug, Default)]
struct Fit {
    scale: f32,
    minimum: f32,
    error: f32,
}

/// Returns the bytes of a Q4_K block.
pub(super) fn q4_k(values: &[f32; BLOCK]) -> [u8; 144] {
    let (head, numbers) = affine(values, 15.0);
    let mut block = [0; 144];
    block[..16].copy_from_slice(&head);
    for (index, number) in numbers.iter().enumerate() {
        let (group, place) = (index / 32, index % 32);
        block[16 + group / 2 * 32 + place] |= number << (group % 2 * 4);
    }
    block
}

/// Returns the bytes of a Q5_K block.
pub(super) fn q5_k(values: &[f32; BLOCK]) -> [u8; 176] {
    let (head, numbers) = affine(values, 31.0);
    let mut block = [0; 176];
    block[..16].copy_from_slice(&head);
    for (index, number) in numbers.iter().enumerate() {
        let (group, place) = (index / 32, index % 32);
        block[48 + group / 2 * 32 + place] |= (number & 15) << (group % 2 * 4);
        block[16 + place] |= (number >> 4) << group;
    }
    block
}

/// Returns the first 16 bytes of a block with scales and minima, and its numbers in `0..=levels`.
fn affine(values: &[f32; BLOCK], levels: f32) -> ([u8; 16], [u8; BLOCK]) {
    let weights = weights(values);
    let groups = || values.as_chunks::<32>().0.iter().zip(weights.as_chunks::<32>().0);
    let mut fits = [Fit::default(); 8];
    for (fit, (values, weights)) in fits.iter_mut().zip(groups()) {
        *fit = fit_affine(values, weights, levels);
    }
    let largest = |part: fn(&Fit) -> f32| fits.iter().map(part).fold(0.0, f32::max);
    let scale = f32_to_f16(largest(|fit| fit.scale) / SIX_BITS);
    let minimum = f32_to_f16(largest(|fit| fit.minimum) / SIX_BITS);
    let (unit, minimum_unit) = (f16_to_f32(scale), f16_to_f32(minimum));
    let (mut scales, mut minima, mut numbers) = ([0; 8], [0; 8], [0; BLOCK]);
    for (group, (values, weights)) in groups().enumerate() {
        let near_scale = nearest(fits[group].scale, unit);
        let near_minimum = nearest(fits[group].minimum, minimum_unit);
        let mut best = f32::INFINITY;
        for (by_scale, by_minimum) in NEIGHBOURS {
            let (in_scale, in_minimum) = (near_scale + by_scale, near_minimum + by_minimum);
            if !(0.0..=SIX_BITS).contains(&in_scale) || !(0.0..=SIX_BITS).contains(&in_minimum) {
                continue;
            }
            let (factor, offset) = (unit * in_scale, minimum_unit * in_minimum);
            let error = error_of(values, weights, factor, offset, levels);
            if error < best {
                best = error;
                (scales[group], minima[group]) = (in_scale as u8, in_minimum as u8);
            }
        }
        let (factor, offset) = (unit * f32::from(scales[group]), minimum_unit * f32::from(minima[group]));
        for (number, value) in numbers[group * 32..].iter_mut().zip(values) {
            *number = rounded(*value, factor, offset, levels) as u8;
        }
    }
    (head(scale, minimum, scales, minima), numbers)
}

/// Neighbours of rounded scales and minima, themselves first.
const NEIGHBOURS: [(f32, f32); 9] = [
    (0.0, 0.0),
    (-1.0, 0.0),
    (1.0, 0.0),
    (0.0, -1.0),
    (0.0, 1.0),
    (-1.0, -1.0),
    (1.0, 1.0),
    (-1.0, 1.0),
    (1.0, -1.0),
];

fn nearest(value: f32, unit: f32) -> f32 {
    if unit > 0.0 { (value / unit).round().clamp(0.0, SIX_BITS) } else { 0.0 }
}

/// Packs six-bit scales and minima: four of each whole, the upper bits of the others in what is left.
fn head(scale: u16, minimum: u16, scales: [u8; 8], minima: [u8; 8]) -> [u8; 16] {
    let mut head = [0; 16];
    head[..2].copy_from_slice(&scale.to_le_bytes());
    head[2..4].copy_from_slice(&minimum.to_le_bytes());
    let packed = &mut head[4..];
    for group in 0..4 {
        let (upper_scale, upper_minimum) = (scales[group + 4] >> 4, minima[group + 4] >> 4);
        packed[group] = scales[group] | (upper_scale << 6);
        packed[group + 4] = minima[group] | (upper_minimum << 6);
        packed[group + 8] = (scales[group + 4] & 15) | ((minima[group + 4] & 15) << 4);
    }
    head
}

/// How much each number counts: its size and the block's.
fn weights(values: &[f32; BLOCK]) -> [f32; BLOCK] {
    let squares: f32 = values.iter().map(|value| value * value).sum();
    let typical = (squares / BLOCK as f32).sqrt();
    values.map(|value| typical + value.abs())
}

fn rounded(value: f32, factor: f32, offset: f32, levels: f32) -> f32 {
    if factor > 0.0 { ((value + offset) / factor).round().clamp(0.0, levels) } else { 0.0 }
}

fn error_of(values: &[f32; 32], weights: &[f32; 32], factor: f32, offset: f32, levels: f32) -> f32 {
    let one = |(value, weight): (&f32, &f32)| {
        let off = factor * rounded(*value, factor, offset, levels) - offset - value;
        weight * off * off
    };
    values.iter().zip(weights).map(one).sum()
}

/// Fits `x ≈ scale * q - minimum` with `q` in `0..=levels` and a minimum of at least 0.
fn fit_affine(values: &[f32; 32], weights: &[f32; 32], levels: f32) -> Fit {
    let lowest = values.iter().copied().fold(0.0, f32::min);
    let highest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if highest <= lowest {
        return Fit { minimum: -lowest, ..Fit::default() };
    }
    let plain = (highest - lowest) / levels;
    let mut best =
        Fit { scale: plain, minimum: -lowest, error: error_of(values, weights, plain, -lowest, levels) };
    for start in -STARTS..=STARTS {
        let start = (highest - lowest) / (levels + START_STEP * start as f32);
        let Some((scale, minimum)) = least_squares(values, weights, start, -lowest, levels) else { continue };
        let error = error_of(values, weights, scale, minimum, levels);
        if error < best.error {
            best = Fit { scale, minimum, error };
        }
    }
    best
}

/// Rounds with a scale and a minimum, and returns those that suit the rounded numbers best.
fn least_squares(
    values: &[f32; 32],
    weights: &[f32; 32],
    scale: f32,
    minimum: f32,
    levels: f32,
) -> Option<(f32, f32)> {
    let (mut w, mut wq, mut wqq, mut wx, mut wqx) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (value, weight) in values.iter().zip(weights) {
        let number = rounded(*value, scale, minimum, levels);
        w += weight;
        wq += weight * number;
        wqq += weight * number * number;
        wx += weight * value;
        wqx += weight * number * value;
    }
    let determinant = w * wqq - wq * wq;
    if determinant <= 0.0 {
        return None;
    }
    let (scale, lowest) = ((w * wqx - wq * wx) / determinant, (wqq * wx - wq * wqx) / determinant);
    if lowest <= 0.0 { Some((scale, -lowest)) } else { Some((wqx / wqq, 0.0)) }.filter(|fit| fit.0 > 0.0)
}

/// Returns the bytes of a Q6_K block.
pub(super) fn q6_k(values: &[f32; BLOCK]) -> [u8; 210] {
    let groups = values.as_chunks::<16>().0;
    let mut fits = [0.0_f32; 16];
    for (fit, values) in fits.iter_mut().zip(groups) {
        *fit = fit_symmetric(values);
    }
    let largest =
        fits.iter().copied().fold(0.0_f32, |most, fit| if fit.abs() > most.abs() { fit } else { most });
    let mut block = [0; 210];
    // The largest scale takes -128, so that all of a signed byte is used.
    let scale = f32_to_f16(largest / -128.0);
    block[208..].copy_from_slice(&scale.to_le_bytes());
    let unit = f16_to_f32(scale);
    for (group, values) in groups.iter().enumerate() {
        let near = if unit == 0.0 { 0.0 } else { (fits[group] / unit).round() };
        let error = |of: f32| symmetric_error(values, unit * of);
        let candidates = [near, near - 1.0, near + 1.0].map(|of| of.clamp(-128.0, 127.0));
        let best = candidates.into_iter().min_by(|a, b| error(*a).total_cmp(&error(*b))).unwrap_or(near);
        block[192 + group] = (best as i8).cast_unsigned();
        for (place, value) in values.iter().enumerate() {
            let number = (symmetric(*value, unit * best) + 32.0) as u8;
            let index = group * 16 + place;
            let (half, run, place) = (index / 128, index % 128 / 32, index % 32);
            block[half * 64 + run % 2 * 32 + place] |= (number & 15) << (run / 2 * 4);
            block[128 + half * 32 + place] |= (number >> 4) << (run * 2);
        }
    }
    block
}

fn symmetric(value: f32, factor: f32) -> f32 {
    if factor == 0.0 { 0.0 } else { (value / factor).round().clamp(-32.0, 31.0) }
}

/// Squared error, each weighted by the number's square as ggml does.
fn symmetric_error(values: &[f32; 16], factor: f32) -> f32 {
    let one = |value: &f32| {
        let off = factor * symmetric(*value, factor) - value;
        value * value * off * off
    };
    values.iter().map(one).sum()
}

/// Returns the scale, of either sign, with the least error among those tried.
fn fit_symmetric(values: &[f32; 16]) -> f32 {
    let largest = values
        .iter()
        .copied()
        .fold(0.0_f32, |most, value| if value.abs() > most.abs() { value } else { most });
    if largest == 0.0 {
        return 0.0;
    }
    let mut best = (f32::INFINITY, 0.0);
    for start in -STARTS..=STARTS {
        let start = largest / -(32.0 + START_STEP * start as f32);
        let (mut up, mut down) = (0.0, 0.0);
        for value in values {
            let (number, weight) = (symmetric(*value, start), value * value);
            up += weight * number * value;
            down += weight * number * number;
        }
        let solved = if down > 0.0 { up / down } else { start };
        for scale in [start, solved] {
            let error = symmetric_error(values, scale);
            if error < best.0 {
                best = (error, scale);
            }
        }
    }
    best.1
}
