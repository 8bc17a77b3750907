//! The K types: blocks of 256 values in groups with low-precision scales.
//!
//! For each group, a scale (and a minimum) with a small weighted squared error is searched: from several starting
//! scales, the values are rounded, and scale and minimum are solved by least squares. Large values weigh more, as in
//! ggml. Then the scales themselves are rounded, and the neighbours of the rounded scales are tried, which ggml does
//! not do.

use half::f16;

/// Values per block.
const BLOCK: usize = 256;
/// Number of starting scales tried on either side of the plain one, and their spacing.
const STARTS: i32 = 10;
const START_STEP: f32 = 0.1;
/// The largest scale and minimum of a group in Q4_K and Q5_K.
const SIX_BITS: f32 = 63.0;

/// The parameters of a group, `x ≈ scale * q - minimum`, with the least weighted error found.
#[derive(Clone, Copy, Debug, Default)]
struct GroupFit {
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
        let (group, offset) = (index / 32, index % 32);
        block[16 + group / 2 * 32 + offset] |= number << (group % 2 * 4);
    }
    block
}

/// Returns the bytes of a Q5_K block.
pub(super) fn q5_k(values: &[f32; BLOCK]) -> [u8; 176] {
    let (head, numbers) = affine(values, 31.0);
    let mut block = [0; 176];
    block[..16].copy_from_slice(&head);
    for (index, number) in numbers.iter().enumerate() {
        let (group, offset) = (index / 32, index % 32);
        block[48 + group / 2 * 32 + offset] |= (number & 15) << (group % 2 * 4);
        block[16 + offset] |= (number >> 4) << group;
    }
    block
}

/// Returns the first 16 bytes of a block, with scales and minima, and its values in `0..=levels`.
fn affine(values: &[f32; BLOCK], levels: f32) -> ([u8; 16], [u8; BLOCK]) {
    let weights = weights(values);
    let groups = || values.as_chunks::<32>().0.iter().zip(weights.as_chunks::<32>().0);
    let mut fits = [GroupFit::default(); 8];
    for (fit, (values, weights)) in fits.iter_mut().zip(groups()) {
        *fit = fit_affine(values, weights, levels);
    }
    let largest = |part: fn(&GroupFit) -> f32| fits.iter().map(part).fold(0.0, f32::max);
    let scale = f16::from_f32(largest(|fit| fit.scale) / SIX_BITS);
    let minimum = f16::from_f32(largest(|fit| fit.minimum) / SIX_BITS);
    let (unit, minimum_unit) = (scale.to_f32(), minimum.to_f32());
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

/// Offsets to the neighbours of a rounded scale and minimum, starting with no offset.
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

/// Packs six-bit scales and minima: four of each as whole bytes, with the upper bits of the others in the spare bits.
fn head(scale: f16, minimum: f16, scales: [u8; 8], minima: [u8; 8]) -> [u8; 16] {
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

/// Returns the weight of each value: its magnitude plus the block's root mean square.
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
        let difference = factor * rounded(*value, factor, offset, levels) - offset - value;
        weight * difference * difference
    };
    values.iter().zip(weights).map(one).sum()
}

/// Fits `x ≈ scale * q - minimum` with `q` in `0..=levels` and a minimum of at least 0.
fn fit_affine(values: &[f32; 32], weights: &[f32; 32], levels: f32) -> GroupFit {
    let lowest = values.iter().copied().fold(0.0, f32::min);
    let highest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if highest <= lowest {
        return GroupFit { minimum: -lowest, ..GroupFit::default() };
    }
    let plain = (highest - lowest) / levels;
    let mut best =
        GroupFit { scale: plain, minimum: -lowest, error: error_of(values, weights, plain, -lowest, levels) };
    for start in -STARTS..=STARTS {
        let start = (highest - lowest) / (levels + START_STEP * start as f32);
        let Some((scale, minimum)) = least_squares(values, weights, start, -lowest, levels) else { continue };
        let error = error_of(values, weights, scale, minimum, levels);
        if error < best.error {
            best = GroupFit { scale, minimum, error };
        }
    }
    best
}

/// Rounds with a scale and a minimum, and returns the best scale and minimum for the rounded values.
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
    // The largest scale becomes -128, so that the whole range of a signed byte is used.
    let scale = f16::from_f32(largest / -128.0);
    block[208..].copy_from_slice(&scale.to_le_bytes());
    let unit = scale.to_f32();
    for (group, values) in groups.iter().enumerate() {
        let near = if unit == 0.0 { 0.0 } else { (fits[group] / unit).round() };
        let error = |of: f32| symmetric_error(values, unit * of);
        let candidates = [near, near - 1.0, near + 1.0].map(|of| of.clamp(-128.0, 127.0));
        let best = candidates.into_iter().min_by(|a, b| error(*a).total_cmp(&error(*b))).unwrap_or(near);
        block[192 + group] = (best as i8).cast_unsigned();
        for (offset, value) in values.iter().enumerate() {
            let number = (symmetric(*value, unit * best) + 32.0) as u8;
            let index = group * 16 + offset;
            let (half, run, offset) = (index / 128, index % 128 / 32, index % 32);
            block[half * 64 + run % 2 * 32 + offset] |= (number & 15) << (run / 2 * 4);
            block[128 + half * 32 + offset] |= (number >> 4) << (run * 2);
        }
    }
    block
}

fn symmetric(value: f32, factor: f32) -> f32 {
    if factor == 0.0 { 0.0 } else { (value / factor).round().clamp(-32.0, 31.0) }
}

/// Returns the squared error, weighted by each value's square, like ggml.
fn symmetric_error(values: &[f32; 16], factor: f32) -> f32 {
    let one = |value: &f32| {
        let difference = factor * symmetric(*value, factor) - value;
        value * value * difference * difference
    };
    values.iter().map(one).sum()
}

/// Returns the scale, of either sign, with the least error of those tried.
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
