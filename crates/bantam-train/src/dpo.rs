//! Learning preferences directly (DPO, <https://arxiv.org/abs/2305.18290>): of two answers one shall become likelier
//! than the other, measured against the base without its changes.

use bantam_kernels::Pool;
use std::sync::{Mutex, PoisonError};

use crate::decoder::{DecoderNetwork, DecoderNetworkScratch, Target};
use crate::encoder::Packed;
use crate::layout::Layout;
use crate::random::Key;
use crate::run::Objective;
use crate::sft::TokenRow;
use crate::teach::Judged;

/// Two answers to one question, each with the question before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    /// The better one.
    pub chosen: TokenRow,
    /// The other.
    pub rejected: TokenRow,
}

/// Preferences to be learnt by one network.
#[derive(Debug)]
pub struct Dpo {
    network: DecoderNetwork,
    layout: Layout,
    pairs: Vec<Preference>,
    /// The first pairs, which are learnt; the others judge.
    learnt: usize,
    /// For each pair, how much likelier the base finds the chosen answer, as a difference of log-probabilities.
    references: Vec<f64>,
    beta: f64,
}

/// What a thread computes in.
#[derive(Debug, Default)]
pub struct DpoScratch {
    packed: Packed,
    targets: Vec<Target>,
    losses: Vec<f64>,
    network: DecoderNetworkScratch,
}

impl Dpo {
    /// Returns what learns `pairs`, held to the base by `beta`. Asks the base about every pair first, on the threads
    /// of `pool`.
    ///
    /// # Panics
    /// If a row has an id beyond the vocabulary, or learns nothing, or all of the network is trained.
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
        assert!(!network.is_whole(), "the base is what changes are measured against");
        let references = network.without_changes(|base| margins(base, &[], &pairs, pool));
        let learnt = pairs.len();
        Self { network, layout, pairs, learnt, references, beta }
    }

    /// Returns it with the last `count` pairs held out: it is judged on them and never learns from them.
    #[must_use]
    pub fn judged_on_last(self, count: usize) -> Self {
        Self { learnt: self.pairs.len().saturating_sub(count), ..self }
    }

    /// The loss of a pair whose answers' log-probabilities are `margin` apart, and how fast it falls with that.
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

/// Packs pairs, the chosen answer first; returns for each how many targets that has.
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

/// How much likelier each pair's chosen answer is, as a difference of log-probabilities.
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
        let margins = margins(&self.network, parameters, &self.pairs[self.learnt..], pool);
        let losses =
            margins.iter().enumerate().map(|(index, margin)| self.loss(self.learnt + index, *margin).0);
        (!margins.is_empty()).then(|| losses.sum::<f64>() / margins.len() as f64)
    }
}

/// The log-probability of the first `chosen` tokens less that of the others.
fn margin(losses: &[f64], chosen: usize) -> f64 {
    losses[chosen..].iter().sum::<f64>() - losses[..chosen].iter().sum::<f64>()
}

impl Objective for Dpo {
    type Scratch = DpoScratch;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn rows(&self) -> usize {
        self.learnt
    }

    fn tokens(&self, row: usize) -> usize {
        self.pairs[row].chosen.ids.len() + self.pairs[row].rejected.ids.len()
    }

    fn terms(&self, _: usize) -> usize {
        1
    }

    fn learn(
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
        // As if each token's loss counted once; the sequences' own factors are known only after this, and linear.
        self.network.token_losses(parameters, (targets, 1.0), losses, gradient, network);
        let (mut sum, mut first, mut start) = (0.0, 0, 0);
        for (index, (row, _)) in rows.iter().enumerate() {
            let count = self.pairs[*row].chosen.terms() + self.pairs[*row].rejected.terms();
            let (loss, fall) = self.loss(*row, margin(&losses[first..first + count], chosen[index]));
            sum += loss;
            let pull = fall * f64::from(factor);
            let [middle, end] = [packed.ends[2 * index], packed.ends[2 * index + 1]];
            self.network.scale_rows(start..middle, pull as f32, network);
            self.network.scale_rows(middle..end, -pull as f32, network);
            (first, start) = (first + count, end);
        }
        self.network.backward(parameters, packed, gradient, network);
        sum
    }
}
