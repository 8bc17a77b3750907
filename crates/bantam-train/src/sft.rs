//! Learning to answer: the tokens of answers are learnt, those of questions are only read.

use std::sync::{Mutex, PoisonError};

use bantam_kernels::Pool;

use crate::decoder::{DecoderNetwork, DecoderNetworkScratch, Target};
use crate::encoder::Packed;
use crate::layout::Layout;
use crate::random::Key;
use crate::run::Objective;
use crate::teach::Judged;

/// A text's tokens, and which of them are learnt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenRow {
    /// The tokens.
    pub ids: Vec<u32>,
    /// For each, whether it is learnt from what comes before it. The first has nothing before it, so it is not.
    pub is_learnt: Vec<bool>,
}

impl TokenRow {
    /// Adds tokens.
    pub fn push(&mut self, ids: &[u32], is_learnt: bool) {
        self.ids.extend_from_slice(ids);
        self.is_learnt.resize(self.ids.len(), is_learnt);
    }

    /// Returns how many tokens are learnt.
    pub fn terms(&self) -> usize {
        self.is_learnt.iter().skip(1).filter(|is_learnt| **is_learnt).count()
    }

    /// Returns how many tokens the network must read: none behind the last that a learnt one follows.
    fn inputs(&self) -> usize {
        self.is_learnt.iter().rposition(|is_learnt| *is_learnt).unwrap_or(0)
    }

    /// Adds the row to `packed`, and what is asked of it to `targets`.
    pub(crate) fn pack(&self, key: Option<Key>, packed: &mut Packed, targets: &mut Vec<Target>) {
        let (first, inputs) = (packed.ids.len(), self.inputs());
        packed.push(&self.ids[..inputs], key);
        let learnt = (1..=inputs).filter(|place| self.is_learnt[*place]);
        targets.extend(learnt.map(|place| Target { row: first + place - 1, token: self.ids[place] }));
    }
}

/// Answers to be learnt by one network.
#[derive(Debug)]
pub struct Sft {
    network: DecoderNetwork,
    layout: Layout,
    rows: Vec<TokenRow>,
    held_out: Vec<TokenRow>,
}

/// What a thread computes in.
#[derive(Debug, Default)]
pub struct SftScratch {
    packed: Packed,
    targets: Vec<Target>,
    losses: Vec<f64>,
    network: DecoderNetworkScratch,
}

impl Sft {
    /// Returns what learns the answers of `rows`.
    ///
    /// # Panics
    /// If a row has an id beyond the vocabulary, or learns nothing.
    pub fn new(network: DecoderNetwork, layout: Layout, rows: Vec<TokenRow>) -> Self {
        assert!(rows.iter().all(|row| fits(row, &network)), "rows fit the network");
        Self { network, layout, rows, held_out: Vec::new() }
    }

    /// Returns it with rows that it is judged on and never learns from.
    ///
    /// # Panics
    /// If a row has an id beyond the vocabulary, or learns nothing.
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
    /// The mean over all learnt tokens, nothing dropped.
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
        let (sum, terms) = found.fold((0.0, 0), |(sum, terms), (more, of)| (sum + more, terms + of));
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

    fn learn(
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
    fn only_what_leads_to_a_learnt_token_is_read() {
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
