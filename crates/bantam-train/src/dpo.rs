//! Direct preference optimisation (DPO, <https://arxiv.org/abs/2305.18290>): makes one of two answers more likely than
//! the other, relative to the base without its adapter.

use bantam_kernels::Pool;
use std::sync::{Mutex, PoisonError};

use crate::decoder::{DecoderNetwork, DecoderNetworkScratch, Target};
use crate::encoder::Packed;
use crate::layout::Layout;
use crate::random::Key;
use crate::run::Objective;
use crate::sft::TokenRow;
use crate::teach::Judged;

/// Two answers to one question, each preceded by the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    /// The preferred answer.
    pub chosen: TokenRow,
    /// The rejected answer.
    pub rejected: TokenRow,
}

/// Preference training of one network.
#[derive(Debug)]
pub struct Dpo {
    network: DecoderNetwork,
    layout: Layout,
    pairs: Vec<Preference>,
    /// The number of pairs at the front that are trained on; the rest are held out.
    training_pairs: usize,
    /// For each pair, the base's log-probability of the chosen answer minus that of the rejected one.
    references: Vec<f64>,
    beta: f64,
}

/// A thread's buffers.
#[derive(Debug, Default)]
pub struct DpoScratch {
    packed: Packed,
    targets: Vec<Target>,
    losses: Vec<f64>,
    network: DecoderNetworkScratch,
}

impl Dpo {
    /// Returns the training of `pairs`, which `beta` keeps close to the base. Computes the base's log-probabilities of
    /// all pairs first, on the threads of `pool`.
    ///
    /// # Panics
    /// If a row has an id outside the vocabulary or no token to train on, or the network has no adapter.
    pub fn new(
        mut network: DecoderNetwork,
        layout: Layout,
        pairs: Vec<Preference>,
        beta: f64,
        pool: &Pool,
    ) -> Self {
        let vocabulary = network.config().vocabulary;
        let fits = |row: &TokenRow| row.terms() > 0 && row.ids.iter().all(|id| (*id as usize) < vocabulary);
        assert!(pairs.iter().all(|pair| fits(&pair.chosen) && fits(&pair.rejected)), "rows fit the network");
        assert!(!network.is_whole(), "the base without its adapter is the reference");
        let references = network.without_adapter(|base| margins(base, &[], &pairs, pool));
        let training_pairs = pairs.len();
        Self { network, layout, pairs, training_pairs, references, beta }
    }

    /// Holds out the last `count` pairs: they are evaluated and never trained on.
    #[must_use]
    pub fn judged_on_last(self, count: usize) -> Self {
        Self { training_pairs: self.pairs.len().saturating_sub(count), ..self }
    }

    /// Returns the loss of a pair whose log-probabilities differ by `margin`, and its negative derivative.
    fn loss(&self, pair: usize, margin: f64) -> (f64, f64) {
        let scaled = self.beta * (margin - self.references[pair]);
        // -log sigmoid, without overflow.
        let loss = (-scaled).max(0.0) + (-scaled.abs()).exp().ln_1p();
        (loss, self.beta / (1.0 + scaled.exp()))
    }

    /// Returns the network.
    pub fn network(&self) -> &DecoderNetwork {
        &self.network
    }
}

/// Packs pairs, the chosen answer first, and returns how many targets each chosen answer has.
fn pack(pairs: &[(&Preference, Option<Key>)], packed: &mut Packed, targets: &mut Vec<Target>) -> Vec<usize> {
    packed.clear();
    targets.clear();
    let pack = |(pair, key): &(&Preference, Option<Key>)| {
        pair.chosen.pack(*key, packed, targets);
        pair.rejected.pack(*key, packed, targets);
        pair.chosen.terms()
    };
    pairs.iter().map(pack).collect()
}

/// Returns each pair's log-probability of the chosen answer minus that of the rejected one.
fn margins(network: &DecoderNetwork, parameters: &[f32], pairs: &[Preference], pool: &Pool) -> Vec<f64> {
    let found: Vec<Mutex<f64>> = pairs.iter().map(|_| Mutex::default()).collect();
    let scratch: Vec<Mutex<DpoScratch>> = (0..pool.threads()).map(|_| Mutex::default()).collect();
    pool.run(pairs.len(), |thread, index| {
        let mut scratch = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
        let DpoScratch { packed, targets, losses, network: work } = &mut *scratch;
        let chosen = pack(&[(&pairs[index], None)], packed, targets)[0];
        losses.clear();
        network.forward(parameters, packed, work);
        network.losses(parameters, targets, losses, work);
        *found[index].lock().unwrap_or_else(PoisonError::into_inner) = margin(losses, chosen);
    });
    found.into_iter().map(|margin| margin.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

impl Judged for Dpo {
    fn held_out_loss(&self, parameters: &[f32], pool: &Pool) -> Option<f64> {
        let margins = margins(&self.network, parameters, &self.pairs[self.training_pairs..], pool);
        let losses = margins
            .iter()
            .enumerate()
            .map(|(index, margin)| self.loss(self.training_pairs + index, *margin).0);
        (!margins.is_empty()).then(|| losses.sum::<f64>() / margins.len() as f64)
    }
}

/// Returns the log-probability of the first `chosen` tokens minus that of the others.
fn margin(losses: &[f64], chosen: usize) -> f64 {
    losses[chosen..].iter().sum::<f64>() - losses[..chosen].iter().sum::<f64>()
}

impl Objective for Dpo {
    type Scratch = DpoScratch;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn rows(&self) -> usize {
        self.training_pairs
    }

    fn tokens(&self, row: usize) -> usize {
        self.pairs[row].chosen.ids.len() + self.pairs[row].rejected.ids.len()
    }

    fn terms(&self, _: usize) -> usize {
        1
    }

    fn add_gradient(
        &self,
        parameters: &[f32],
        rows: &[(usize, Key)],
        factor: f32,
        scratch: &mut DpoScratch,
        gradient: &mut [f32],
    ) -> f64 {
        let DpoScratch { packed, targets, losses, network } = scratch;
        let pairs: Vec<_> = rows.iter().map(|(row, key)| (&self.pairs[*row], Some(*key))).collect();
        let chosen = pack(&pairs, packed, targets);
        losses.clear();
        self.network.forward(parameters, packed, network);
        // The factors of the sequences are known only after this call. Gradients are linear in them, so the rows are
        // scaled afterwards.
        self.network.token_losses(parameters, (targets, 1.0), losses, gradient, network);
        let (mut sum, mut first, mut start) = (0.0, 0, 0);
        for (index, (row, _)) in rows.iter().enumerate() {
            let count = self.pairs[*row].chosen.terms() + self.pairs[*row].rejected.terms();
            let (loss, slope) = self.loss(*row, margin(&losses[first..first + count], chosen[index]));
            sum += loss;
            let pull = slope * f64::from(factor);
            let [middle, end] = [packed.ends[2 * index], packed.ends[2 * index + 1]];
            self.network.scale_rows(start..middle, pull as f32, network);
            self.network.scale_rows(middle..end, -pull as f32, network);
            (first, start) = (first + count, end);
        }
        self.network.backward(parameters, packed, gradient, network);
        sum
    }
}
