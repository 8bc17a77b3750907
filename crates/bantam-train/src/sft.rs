//! Supervised fine-tuning: trains on the tokens of answers and only reads those of questions.

use std::sync::{Mutex, PoisonError};

use bantam_kernels::Pool;

use crate::decoder::{DecoderNetwork, DecoderNetworkScratch, Target};
use crate::encoder::Packed;
use crate::layout::Layout;
use crate::random::Key;
use crate::run::Objective;
use crate::teach::Judged;

/// A text's tokens, and which of them are trained on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenRow {
    /// The tokens.
    pub ids: Vec<u32>,
    /// For each token, whether the network is trained to predict it. The first one is not, whatever its value, because
    /// nothing precedes it.
    pub is_learnt: Vec<bool>,
}

impl TokenRow {
    /// Adds tokens.
    pub fn push(&mut self, ids: &[u32], is_learnt: bool) {
        self.ids.extend_from_slice(ids);
        self.is_learnt.resize(self.ids.len(), is_learnt);
    }

    /// Returns the number of tokens that are trained on.
    pub fn terms(&self) -> usize {
        self.is_learnt.iter().skip(1).filter(|is_learnt| **is_learnt).count()
    }

    /// Returns how many tokens the network must read: all before the last one that is trained on.
    fn inputs(&self) -> usize {
        self.is_learnt.iter().rposition(|is_learnt| *is_learnt).unwrap_or(0)
    }

    /// Adds the row to `packed` and its targets to `targets`.
    pub(crate) fn pack(&self, key: Option<Key>, packed: &mut Packed, targets: &mut Vec<Target>) {
        let (first, inputs) = (packed.ids.len(), self.inputs());
        packed.push(&self.ids[..inputs], key);
        let trained = (1..=inputs).filter(|index| self.is_learnt[*index]);
        targets.extend(trained.map(|index| Target { row: first + index - 1, token: self.ids[index] }));
    }
}

/// Supervised fine-tuning of one network.
#[derive(Debug)]
pub struct Sft {
    network: DecoderNetwork,
    layout: Layout,
    rows: Vec<TokenRow>,
    held_out: Vec<TokenRow>,
}

/// A thread's buffers.
#[derive(Debug, Default)]
pub struct SftScratch {
    packed: Packed,
    targets: Vec<Target>,
    losses: Vec<f64>,
    network: DecoderNetworkScratch,
}

impl Sft {
    /// Returns the training on the answers of `rows`.
    ///
    /// # Panics
    /// If a row has an id outside the vocabulary or no token to train on.
    pub fn new(network: DecoderNetwork, layout: Layout, rows: Vec<TokenRow>) -> Self {
        assert!(rows.iter().all(|row| fits(row, &network)), "rows fit the network");
        Self { network, layout, rows, held_out: Vec::new() }
    }

    /// Adds held-out rows, which are evaluated and never trained on.
    ///
    /// # Panics
    /// If a row has an id outside the vocabulary or no token to train on.
    #[must_use]
    pub fn judged_on(self, held_out: Vec<TokenRow>) -> Self {
        assert!(held_out.iter().all(|row| fits(row, &self.network)), "rows fit the network");
        Self { held_out, ..self }
    }

    /// Returns the network.
    pub fn network(&self) -> &DecoderNetwork {
        &self.network
    }
}

fn fits(row: &TokenRow, network: &DecoderNetwork) -> bool {
    let vocabulary = network.config().vocabulary;
    row.terms() > 0
        && row.ids.len() == row.is_learnt.len()
        && row.ids.iter().all(|id| (*id as usize) < vocabulary)
}

impl Judged for Sft {
    /// The mean over all tokens that are trained on, without dropout.
    fn held_out_loss(&self, parameters: &[f32], pool: &Pool) -> Option<f64> {
        let found: Vec<Mutex<(f64, usize)>> = self.held_out.iter().map(|_| Mutex::default()).collect();
        let scratch: Vec<Mutex<SftScratch>> = (0..pool.threads()).map(|_| Mutex::default()).collect();
        pool.run(found.len(), |thread, index| {
            let mut scratch = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
            let SftScratch { packed, targets, losses, network } = &mut *scratch;
            packed.clear();
            targets.clear();
            losses.clear();
            self.held_out[index].pack(None, packed, targets);
            self.network.forward(parameters, packed, network);
            self.network.losses(parameters, targets, losses, network);
            *found[index].lock().unwrap_or_else(PoisonError::into_inner) =
                (losses.iter().sum(), losses.len());
        });
        let found = found.into_iter().map(|found| found.into_inner().unwrap_or_else(PoisonError::into_inner));
        let (sum, terms) = found.fold((0.0, 0), |(sum, terms), (loss, count)| (sum + loss, terms + count));
        (terms > 0).then(|| sum / terms as f64)
    }
}

impl Objective for Sft {
    type Scratch = SftScratch;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn tokens(&self, row: usize) -> usize {
        self.rows[row].inputs()
    }

    fn terms(&self, row: usize) -> usize {
        self.rows[row].terms()
    }

    fn add_gradient(
        &self,
        parameters: &[f32],
        rows: &[(usize, Key)],
        factor: f32,
        scratch: &mut SftScratch,
        gradient: &mut [f32],
    ) -> f64 {
        let SftScratch { packed, targets, losses, network } = scratch;
        packed.clear();
        targets.clear();
        losses.clear();
        rows.iter().for_each(|(row, key)| self.rows[*row].pack(Some(*key), packed, targets));
        self.network.forward(parameters, packed, network);
        self.network.token_losses(parameters, (targets, factor), losses, gradient, network);
        self.network.backward(parameters, packed, gradient, network);
        losses.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_after_the_last_trained_one_are_not_read() {
        let mut row = TokenRow::default();
        row.push(&[1, 2], false);
        row.push(&[3], true);
        row.push(&[4], false);
        row.push(&[5], true);
        row.push(&[6], false);
        let (mut packed, mut targets) = (Packed::default(), Vec::new());
        packed.push(&[9, 9], None);
        row.pack(None, &mut packed, &mut targets);
        assert_eq!(packed.ids, [9, 9, 1, 2, 3, 4]);
        assert_eq!(targets, [Target { row: 3, token: 3 }, Target { row: 5, token: 5 }]);
        assert_eq!(row.terms(), 2);
    }
}
