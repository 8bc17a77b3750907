//! Scores paths after a prompt, merged into as few branches as cover them all.

use std::collections::VecDeque;

use super::request::ScorePath;
use crate::prefix::PageTable;

/// The remaining work of a request for scores.
#[derive(Debug)]
pub(super) struct Scoring {
    paths: Vec<ScorePath>,
    found: Vec<Vec<(u32, f32)>>,
    /// Paths that end at the end of the prompt.
    at_prompt: Vec<usize>,
    /// Branches that have not run yet.
    pub(super) branches: VecDeque<Branch>,
}

/// A path that is not a prefix of another, together with all its prefixes.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) tokens: Vec<u32>,
    /// The first token whose row is needed.
    pub(super) first: usize,
    /// Which paths are read at which token.
    reads: Vec<(usize, usize)>,
    /// The prompt's whole pages and the branch's own pages, while it is in a step.
    pub(super) table: PageTable,
}

impl Scoring {
    /// Merges paths into branches.
    pub(super) fn new(paths: Vec<ScorePath>) -> Self {
        let mut sorted: Vec<&[u32]> =
            paths.iter().map(|path| path.tokens.as_slice()).filter(|tokens| !tokens.is_empty()).collect();
        sorted.sort_unstable();
        sorted.dedup();
        // A path that is a prefix of others comes right before one of them.
        let is_last = |(index, tokens): &(usize, &&[u32])| {
            sorted.get(index + 1).is_none_or(|next| !next.starts_with(tokens))
        };
        let mut branches: Vec<Branch> = sorted
            .iter()
            .enumerate()
            .filter(is_last)
            .map(|(_, tokens)| Branch {
                tokens: tokens.to_vec(),
                first: tokens.len(),
                reads: Vec::new(),
                table: PageTable::default(),
            })
            .collect();
        for (index, path) in paths.iter().enumerate().filter(|(_, path)| !path.tokens.is_empty()) {
            let at = branches.partition_point(|branch| branch.tokens < path.tokens);
            if let Some(branch) = branches.get_mut(at) {
                branch.first = branch.first.min(path.tokens.len() - 1);
                branch.reads.push((index, path.tokens.len() - 1));
            }
        }
        let at_prompt = (0..paths.len()).filter(|index| paths[*index].tokens.is_empty()).collect();
        let found = vec![Vec::new(); paths.len()];
        Self { paths, found, at_prompt, branches: branches.into() }
    }

    /// Reads the row after the prompt's last token.
    pub(super) fn read_prompt(&mut self, row: &[f32]) {
        if self.at_prompt.is_empty() {
            return;
        }
        let total = log_sum_exp(row);
        for path in std::mem::take(&mut self.at_prompt) {
            self.found[path] = log_probabilities(row, total, &self.paths[path].next);
        }
    }

    /// Reads the rows of a branch, starting at the first that is needed.
    pub(super) fn read_branch(&mut self, branch: &Branch, rows: &[f32], vocabulary: usize) {
        let mut totals: Vec<Option<f32>> = vec![None; branch.tokens.len()];
        for (path, at) in &branch.reads {
            let start = (at - branch.first) * vocabulary;
            let Some(row) = rows.get(start..start + vocabulary) else { continue };
            let total = *totals[*at].get_or_insert_with(|| log_sum_exp(row));
            self.found[*path] = log_probabilities(row, total, &self.paths[*path].next);
        }
    }

    /// Returns whether everything was read, provided that the prompt's row was.
    pub(super) fn is_over(&self) -> bool {
        self.branches.is_empty()
    }

    /// Returns the log-probabilities.
    pub(super) fn into_found(self) -> Vec<Vec<(u32, f32)>> {
        self.found
    }
}

fn log_probabilities(row: &[f32], total: f32, tokens: &[u32]) -> Vec<(u32, f32)> {
    tokens.iter().filter_map(|token| Some((*token, row.get(*token as usize)? - total))).collect()
}

/// Returns log-sum-exp, with an error of about 1e-6.
fn log_sum_exp(row: &[f32]) -> f32 {
    const LANES: usize = 16;
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !most.is_finite() {
        return most;
    }
    let mut total = 0.0_f64;
    // Sum in short runs, so that f32 is precise enough within a run and the loop is vectorised.
    for run in row.chunks(LANES * 64) {
        let mut sums = [0.0_f32; LANES];
        let mut lanes = run.chunks_exact(LANES);
        for numbers in &mut lanes {
            for (sum, number) in sums.iter_mut().zip(numbers) {
                *sum += exp_below_zero(number - most);
            }
        }
        for (sum, number) in sums.iter_mut().zip(lanes.remainder()) {
            *sum += exp_below_zero(number - most);
        }
        total += sums.iter().map(|sum| f64::from(*sum)).sum::<f64>();
    }
    (f64::from(most) + total.ln()) as f32
}

/// Returns e^number for a number of at most 0; clamped below -87, to about 1e-38.
///
/// 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]: the Taylor series up to x^6, with a relative error below 2e-7.
/// Without branches or calls, so that the compiler vectorises it.
fn exp_below_zero(number: f32) -> f32 {
    let number = number.max(-87.0);
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest whole number.
    let whole = (number * std::f32::consts::LOG2_E + 12_582_912.0) - 12_582_912.0;
    let x = number - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let series = 1.0 / 120.0 + x * (1.0 / 720.0);
    let series = 1.0 / 6.0 + x * (1.0 / 24.0 + x * series);
    let series = 1.0 + x * (1.0 + x * (0.5 + x * series));
    series * f32::from_bits(((whole as i32 + 127) << 23) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A branch's tokens, its first row, and which paths are read at which token.
    type Cut<'a> = (&'a [u32], usize, &'a [(usize, usize)]);

    fn path(tokens: &[u32]) -> ScorePath {
        ScorePath { tokens: tokens.to_vec(), next: vec![0] }
    }

    #[test]
    fn branches_are_the_longest_paths_and_read_every_path_once() {
        let paths: Vec<ScorePath> =
            [&[][..], &[5], &[5, 1], &[5, 2], &[5, 2, 9], &[7], &[7]].map(path).to_vec();
        let scoring = Scoring::new(paths);
        let found: Vec<Cut<'_>> = scoring
            .branches
            .iter()
            .map(|branch| (branch.tokens.as_slice(), branch.first, branch.reads.as_slice()))
            .collect();
        let expected: [Cut<'_>; 3] = [
            (&[5, 1], 0, &[(1, 0), (2, 1)]),
            (&[5, 2, 9], 1, &[(3, 1), (4, 2)]),
            (&[7], 0, &[(5, 0), (6, 0)]),
        ];
        assert_eq!(found, expected);
        assert_eq!(scoring.at_prompt, [0]);
    }

    #[test]
    fn log_sum_exp_matches_f64() {
        let mut seed = 7_u32;
        for length in [1, 15, 16, 17, 1500, 50_000] {
            let row: Vec<f32> = (0..length)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 8) as f32 / 400_000.0 - 30.0
                })
                .collect();
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|number| f64::from(number - most).exp()).sum();
            let expected = f64::from(most) + sum.ln();
            assert!((f64::from(log_sum_exp(&row)) - expected).abs() < 3e-6, "{length}");
        }
        assert!(log_sum_exp(&[f32::NEG_INFINITY, 0.0]).abs() < 1e-6);
        assert!(log_sum_exp(&[f32::NAN, f32::INFINITY]).is_infinite());
    }
}
