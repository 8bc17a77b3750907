//! Dual coordinate ascent for L2-regularised multinomial logistic regression.
//!
//! Minimises `½‖W‖² + C Σ loss`. At the minimum `W = C Σ xᵢ (yᵢ - pᵢ)ᵀ`: every row pulls on the weights by the
//! difference between its target and its own probabilities. Each step takes one row and sets its pull to the optimum
//! with all others fixed. L-BFGS needs eighty passes, because a few n-grams common to all texts slow it down; this
//! converges in about fifteen. It is sequential, so several models are fitted in parallel, one per thread, each with
//! the same result at any number of threads.

use bantam_types::Cancel;

use super::exponential::exp;
use super::matrix::{Dense, Row, Sparse, Weights, stride};
use super::shuffle::Shuffler;

/// Bounds on the rounds of the two nested searches of one step; both converge in a handful of rounds.
const SHIFT_ROUNDS_MAX: usize = 30;
const LOGARITHM_ROUNDS_MAX: usize = 12;
/// A step is exact once the probabilities sum to one within this.
const SUM_TOLERANCE: f32 = 3e-4;
/// Below this `pull · p`, a level is its exponential with one correction.
const SMALL: f32 = 1e-2;

/// The problem to solve.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Problem<'a> {
    /// The n-grams of the rows in `rows`.
    pub(crate) design: &'a Sparse,
    /// The dense features of all rows.
    pub(crate) dense: &'a Dense,
    /// The rows to train on, as indices into `dense`.
    pub(crate) rows: &'a [usize],
    /// The class of each of these rows.
    pub(crate) targets: &'a [u32],
    pub(crate) classes: usize,
    pub(crate) cost: f32,
    pub(crate) passes_max: usize,
    /// Stops when a pass changes the rows' probabilities by less than this, summed over classes, on average.
    pub(crate) tolerance: f32,
    /// Decides the order in which a pass visits the rows.
    pub(crate) seed: u64,
}

impl<'a> Problem<'a> {
    /// Returns the features of one row.
    fn row(&self, row: usize) -> Row<'a> {
        Row { sparse: self.design.row(row), dense: self.dense.row(self.rows[row]) }
    }
}

/// The minimum, or the point reached within the allowed passes.
#[derive(Debug)]
pub(crate) struct Solution {
    pub(crate) weights: Weights,
    pub(crate) passes: usize,
    pub(crate) converged: bool,
}

/// Finds the minimum; `on_pass` receives each pass's number and how much it changed the probabilities. Once cancelled,
/// it returns the solution so far after the current pass.
pub(crate) fn solve(problem: &Problem<'_>, on_pass: &mut dyn FnMut(usize, f32), cancel: &Cancel) -> Solution {
    let rows = problem.targets.len();
    let stride = stride(problem.classes);
    let mut weights = Weights::zero(problem.design.columns, problem.dense.width, problem.classes);
    let mut probabilities = vec![0.0f32; rows * problem.classes];
    for (row, &target) in probabilities.chunks_exact_mut(problem.classes).zip(problem.targets) {
        row[target as usize] = 1.0;
    }
    let mut order: Vec<usize> = (0..rows).collect();
    let mut shuffler = Shuffler::new(problem.seed);
    let (mut logits, mut change) = (vec![0.0f32; stride], vec![0.0f32; stride]);
    let (mut goal, mut levels) = (vec![0.0f32; problem.classes], vec![0.0f32; problem.classes]);
    for pass in 1..=problem.passes_max {
        shuffler.shuffle(&mut order);
        let mut moved = 0.0f64;
        for &row in &order {
            let entries = problem.row(row);
            let pull = problem.cost * entries.square();
            let target = problem.targets[row] as usize;
            let own = &mut probabilities[row * problem.classes..][..problem.classes];
            weights.logits(entries, &mut logits);
            // The logits without this row's own pull, plus what its target would add at full pull.
            for ((goal, logit), own) in goal.iter_mut().zip(&logits).zip(own.iter()) {
                *goal = logit + pull * own;
            }
            balance(&mut goal, &mut levels, target, own[target], pull);
            let mut row_moved = 0.0;
            for ((change, goal), own) in change.iter_mut().zip(&goal).zip(own.iter_mut()) {
                *change = problem.cost * (*own - goal);
                row_moved += (*own - goal).abs();
                *own = *goal;
            }
            weights.add(entries, &change);
            moved += f64::from(row_moved);
        }
        let moved = (moved / rows.max(1) as f64) as f32;
        on_pass(pass, moved);
        if cancel.is_cancelled() {
            return Solution { weights, passes: pass, converged: false };
        }
        if moved <= problem.tolerance {
            return Solution { weights, passes: pass, converged: true };
        }
    }
    Solution { weights, passes: problem.passes_max, converged: false }
}

/// Replaces each goal with the probability `p` that satisfies `ln p + pull · p = goal - shift`, where `shift` makes
/// them sum to one: the row's optimum. `guess` is the target's current probability, which only saves rounds.
fn balance(goals: &mut [f32], levels: &mut [f32], target: usize, guess: f32, pull: f32) {
    let guess = guess.clamp(1e-6, 1.0);
    let highest = goals.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // At this shift the highest goal alone reaches one, so the sum is at least one: a lower bound.
    let lowest = highest - pull;
    let mut shift = (goals[target] - pull * guess - guess.ln()).max(lowest);
    for _ in 0..SHIFT_ROUNDS_MAX {
        set_levels(goals, shift, pull, levels);
        let (mut sum, mut slope) = (0.0f32, 0.0f32);
        for &p in levels.iter() {
            sum += p;
            slope += p / (1.0 + pull * p);
        }
        if (sum - 1.0).abs() <= SUM_TOLERANCE {
            break;
        }
        // Newton's method on the logarithm of the sum, which is nearly linear.
        let next = shift + sum.max(f32::MIN_POSITIVE).ln() * sum / slope.max(f32::MIN_POSITIVE);
        shift = next.max(lowest);
    }
    let sum: f32 = levels.iter().sum();
    for (goal, p) in goals.iter_mut().zip(levels.iter()) {
        *goal = p / sum;
    }
}

/// Sets each level to the `p` that satisfies `ln p + pull · p = goal - shift`.
fn set_levels(goals: &[f32], shift: f32, pull: f32, levels: &mut [f32]) {
    // Most are so small that the exponential with its first correction is exact enough, so one pass does them all.
    for (level, goal) in levels.iter_mut().zip(goals) {
        *level = exp((goal - shift).min(80.0));
    }
    for (level, goal) in levels.iter_mut().zip(goals) {
        let product = pull * *level;
        *level = if product < SMALL { *level * (1.0 - product) } else { large_level(goal - shift, pull) };
    }
}

/// Returns the `p` that satisfies `ln p + pull · p = goal`, if it is not small.
fn large_level(goal: f32, pull: f32) -> f32 {
    // Newton's method for the logarithm; the function is convex and rising, so it converges from above.
    let mut logarithm = goal.min((goal.max(1.0) / pull).ln());
    for _ in 0..LOGARITHM_ROUNDS_MAX {
        let p = exp(logarithm);
        let step = (logarithm + pull * p - goal) / (1.0 + pull * p);
        logarithm -= step;
        if step.abs() < 1e-4 {
            break;
        }
    }
    exp(logarithm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_solve_their_equation() {
        let goals = [-80.0f32, -20.0, -5.0, -1.0, 0.0, 0.5, 3.0, 40.0, 300.0];
        for pull in [0.5, 10.0, 300.0] {
            let mut levels = [0.0; 9];
            set_levels(&goals, 0.0, pull, &mut levels);
            for (goal, p) in goals.iter().zip(levels) {
                let back = p.ln() + pull * p;
                assert!((back - goal).abs() < 2e-3 * goal.abs().max(1.0), "{pull} {goal}: {back}");
            }
        }
    }

    #[test]
    fn balanced_probabilities_sum_to_one_whatever_the_guess() {
        for pull in [0.5, 30.0, 1000.0] {
            for guess in [0.0, 0.3, 1.0] {
                let mut goals = [3.0, -2.0, 40.0, 39.0, -300.0];
                let before = goals;
                balance(&mut goals, &mut [0.0; 5], 0, guess, pull);
                assert!((goals.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                let shift = |class: usize| before[class] - goals[class].ln() - pull * goals[class];
                assert!((shift(2) - shift(3)).abs() < 0.02 * pull.max(1.0), "{goals:?}");
            }
        }
    }

    #[test]
    fn reaches_the_minimum() {
        // Six rows, two columns, three classes that overlap.
        let rows = [[1.0, 0.0], [0.9, 0.2], [0.0, 1.0], [0.1, 0.8], [0.7, 0.7], [0.9, 0.1]];
        let targets = [0, 0, 1, 1, 2, 2];
        let entries = rows.iter().flat_map(|row| [(0, row[0]), (1, row[1])]).collect();
        let design = Sparse { offsets: (0..=6).map(|row| row * 2).collect(), entries, columns: 2 };
        let numbers = Dense { values: vec![0.5, -0.3, 0.1, 0.2, 0.0, 0.4], width: 1 };
        let problem = Problem {
            design: &design,
            dense: &numbers,
            rows: &[0, 1, 2, 3, 4, 5],
            targets: &targets,
            classes: 3,
            cost: 5.0,
            passes_max: 500,
            tolerance: 1e-6,
            seed: 7,
        };
        let solution = solve(&problem, &mut |_, _| {}, &Cancel::new());
        assert!(solution.converged);
        // At the minimum the weights equal the sum of all pulls.
        let mut pulls = Weights::zero(2, 1, 3);
        for (row, target) in targets.iter().enumerate() {
            let mut logits = vec![0.0; stride(3)];
            solution.weights.logits(problem.row(row), &mut logits);
            let total: f32 = logits[..3].iter().map(|logit| logit.exp()).sum();
            let mut change = vec![0.0; stride(3)];
            for class in 0..3 {
                let expected = f32::from(u8::from(class == *target as usize));
                change[class] = 5.0 * (expected - logits[class].exp() / total);
            }
            pulls.add(problem.row(row), &change);
        }
        for column in 0..=3 {
            for (pull, weight) in pulls.row(column).iter().zip(solution.weights.row(column)) {
                assert!((pull - weight).abs() < 0.01, "{pulls:?} {:?}", solution.weights);
            }
        }
    }
}
