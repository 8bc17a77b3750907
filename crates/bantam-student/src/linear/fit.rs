//! Fits the final model, and one model per fold for held-out predictions.

use bantam_types::Cancel;

use super::calibrate::HeldOut;
use super::config::LinearConfig;
use super::matrix::{Dense, Row, Sparse, stride};
use super::model::quantise;
use super::solve::{Problem, Solution, solve};
use super::train::Progress;
use super::vocabulary::{Counts, Vocabulary, Weighting};
use super::{folds, parallel};

/// The rows and settings of one training run.
pub(crate) struct Fitting<'a> {
    pub(crate) config: &'a LinearConfig,
    pub(crate) vocabulary: &'a Vocabulary,
    pub(crate) counts: &'a Counts,
    /// The dense features of every row, if there are any.
    pub(crate) dense: &'a Dense,
    pub(crate) targets: &'a [u32],
    pub(crate) classes: usize,
    /// Cancels all models; the caller then discards the result.
    pub(crate) cancel: &'a Cancel,
}

/// The model that the student keeps.
pub(crate) struct FinalModel {
    pub(crate) weighting: Weighting,
    pub(crate) scales: Vec<f32>,
    pub(crate) weights: Vec<i8>,
    /// One row of padded classes for each dense feature.
    pub(crate) dense: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) passes: usize,
    pub(crate) converged: bool,
}

/// The result of one job: the final model, or a fold's held-out logits.
enum JobResult {
    Final(Box<FinalModel>),
    Fold { targets: Vec<u32>, logits: Vec<f32> },
}

impl Fitting<'_> {
    /// Returns the final model, and every row's held-out logits.
    pub(crate) fn fit_all(
        &self,
        texts: &[&str],
        on_progress: &mut dyn FnMut(Progress),
    ) -> Option<(FinalModel, HeldOut)> {
        let folds = self.config.folds;
        let assigned = folds::assign(texts, self.targets, self.classes, folds, self.config.seed);
        let jobs = std::iter::once(None).chain((0..folds).map(Some)).collect();
        let work = |fold: Option<usize>, send: &mut dyn FnMut(Progress)| match fold {
            None => Some(JobResult::Final(Box::new(self.fit_final(send)))),
            Some(fold) => self.fit_fold(fold, &assigned, send),
        };
        let mut held_out = HeldOut { classes: self.classes, ..HeldOut::default() };
        let mut fitted = None;
        for part in parallel::run(self.config.threads, jobs, work, on_progress) {
            match part {
                Some(JobResult::Final(last)) => fitted = Some(*last),
                Some(JobResult::Fold { targets, logits }) => {
                    held_out.targets.extend(targets);
                    held_out.logits.extend(logits);
                }
                None => {}
            }
        }
        fitted.map(|fitted| (fitted, held_out))
    }

    /// Returns the logits of one fold's rows under a model fitted to all other rows.
    fn fit_fold(&self, fold: usize, assigned: &[usize], send: &mut dyn FnMut(Progress)) -> Option<JobResult> {
        let (inside, outside): (Vec<usize>, Vec<usize>) =
            (0..self.targets.len()).partition(|&row| assigned[row] != fold);
        if inside.is_empty() || outside.is_empty() {
            return None;
        }
        let weighting = self.weighting(&inside);
        let (design, targets) = self.design(&weighting, &inside);
        let weights = self.solve(&design, &inside, &targets, fold + 2, send).weights;
        let (design, targets) = self.design(&weighting, &outside);
        let mut logits = Vec::with_capacity(outside.len() * self.classes);
        let mut row_logits = vec![0.0; stride(self.classes)];
        for (row, &dense) in outside.iter().enumerate() {
            let row = Row { sparse: design.row(row), dense: self.dense.row(dense) };
            weights.logits(row, &mut row_logits);
            logits.extend_from_slice(&row_logits[..self.classes]);
        }
        Some(JobResult::Fold { targets, logits })
    }

    /// Fits the final model to all rows, and quantises its weights to bytes.
    fn fit_final(&self, send: &mut dyn FnMut(Progress)) -> FinalModel {
        let all: Vec<usize> = (0..self.targets.len()).collect();
        let weighting = self.weighting(&all);
        let (design, targets) = self.design(&weighting, &all);
        let solution = self.solve(&design, &all, &targets, 1, send);
        let features = design.columns;
        let mut weights = vec![0i8; features * stride(self.classes)];
        let rows = weights.chunks_exact_mut(stride(self.classes)).enumerate();
        let scales = rows.map(|(feature, row)| quantise(solution.weights.row(feature), row)).collect();
        FinalModel {
            weighting,
            scales,
            weights,
            dense: (0..self.dense.width).flat_map(|number| solution.weights.dense(number)).copied().collect(),
            bias: solution.weights.intercept()[..self.classes].to_vec(),
            passes: solution.passes,
            converged: solution.converged,
        }
    }

    fn solve(
        &self,
        design: &Sparse,
        rows: &[usize],
        targets: &[u32],
        model: usize,
        send: &mut dyn FnMut(Progress),
    ) -> Solution {
        let problem = Problem {
            design,
            dense: self.dense,
            rows,
            targets,
            classes: self.classes,
            cost: self.config.cost,
            passes_max: self.config.passes_max,
            tolerance: self.config.tolerance,
            seed: self.config.seed,
        };
        let (models, passes_max) = (self.config.folds + 1, self.config.passes_max);
        let mut on_pass = |pass, moved| send(Progress { model, models, pass, passes_max, moved });
        solve(&problem, &mut on_pass, self.cancel)
    }

    fn weighting(&self, rows: &[usize]) -> Weighting {
        Weighting::learn(
            self.counts,
            self.vocabulary.keys.len(),
            rows.iter().copied(),
            self.config.document_rows_min,
            [self.config.word_weight, self.config.char_weight],
        )
    }

    fn design(&self, weighting: &Weighting, rows: &[usize]) -> (Sparse, Vec<u32>) {
        let design = weighting.design(self.counts, self.vocabulary.words, rows.iter().copied());
        (design, rows.iter().map(|&row| self.targets[row]).collect())
    }
}
