//! Learning to answer: the tokens of answers are learnt, those of questions are only read.

use crate::decoder::{DecoderNetwork, DecoderNetworkScratch, Target};
use crate::encoder::Packed;
use crate::layout::Layout;
use crate::random::Key;
use crate::run::Objective;

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
        let vocabulary = network.config().vocabulary;
        let fits = |row: &TokenRow| {
            row.terms() > 0
                && row.ids.len() == row.is_learnt.len()
                && row.ids.iter().all(|id| (*id as usize) < vocabulary)
        };
        assert!(rows.iter().all(fits), "rows fit the network");
        Self { network, layout, rows }
    }

    /// Returns the network.
    pub fn network(&self) -> &DecoderNetwork {
        &self.network
    }

    /// Returns the mean loss of a learnt token over `rows`, nothing dropped: what early stopping looks at.
    pub fn evaluate(&self, parameters: &[f32], rows: &[TokenRow]) -> f64 {
        let (mut scratch, mut losses) = (DecoderNetworkScratch::default(), Vec::new());
        for row in rows {
            let (mut packed, mut targets) = (Packed::default(), Vec::new());
            row.pack(None, &mut packed, &mut targets);
            self.network.forward(parameters, &packed, &mut scratch);
            self.network.losses(parameters, &targets, &mut losses, &mut scratch);
        }
        losses.iter().sum::<f64>() / losses.len().max(1) as f64
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
