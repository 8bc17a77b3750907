//! From rows of logits to a distribution over labels.

use super::LabelTrie;
use crate::softmax::{RowError, log_sum};

/// A distribution over labels.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelScores {
    /// For each label the natural logarithm of the probability that the model writes exactly it (and then the
    /// terminator, where the trie has one).
    pub log_probabilities: Vec<f64>,
    /// For each label its share of what the model gives to all labels; the sum is 1.
    pub probabilities: Vec<f64>,
    /// The label with the largest share; the first one where several have it.
    pub best: usize,
    /// How far the largest share is ahead of the second largest, 0 to 1; 1 where there is one label only.
    pub margin: f64,
    /// The entropy of the shares in nats: 0 where one label has it all, the logarithm of the number of labels
    /// where all are alike.
    pub entropy: f64,
    /// The natural logarithm of the probability that the model writes any label at all: far below 0, the model
    /// wanted to say something else.
    pub log_mass: f64,
}

/// Why labels have no scores.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScoreLabelsError {
    /// There is not one row for each inner node.
    #[error(
        "{given} rows are given for {wanted} inner nodes: give one for each, in the order of inner_nodes"
    )]
    Rows {
        /// How many there are.
        given: usize,
        /// How many there should be.
        wanted: usize,
    },
    /// A row has no logit for a token of a label.
    #[error(
        "row {row} has {length} logits, none for token {token}: were the labels encoded for another model?"
    )]
    Token {
        /// The row.
        row: usize,
        /// How many logits it has.
        length: usize,
        /// The token.
        token: u32,
    },
    /// A row is no distribution.
    #[error("row {row}: {source}")]
    Row {
        /// The row.
        row: usize,
        /// What is wrong with it.
        source: RowError,
    },
    /// A place has no log-probability for a token of a label, or one that is none.
    #[error("place {place} has no log-probability for token {token}: ask for all of InnerNode::next")]
    Missing {
        /// The place among the inner nodes.
        place: usize,
        /// The token.
        token: u32,
    },
    /// The model gives all labels a probability of zero.
    #[error("all labels have probability zero: the rows forbid a token of each")]
    Impossible,
}

impl LabelTrie {
    /// Returns the exact distribution over labels, given the row of logits after the prompt and each inner
    /// node's path, in the order of [`Self::inner_nodes`]. Rows that are log-softmax already give the same.
    pub fn score(&self, rows: &[&[f32]]) -> Result<LabelScores, ScoreLabelsError> {
        if rows.len() != self.inner.len() {
            return Err(ScoreLabelsError::Rows { given: rows.len(), wanted: self.inner.len() });
        }
        self.sum_up(|place| {
            let row = rows[place];
            let sum = log_sum(row).map_err(|source| ScoreLabelsError::Row { row: place, source })?;
            Ok(move |token: u32| {
                let unknown = ScoreLabelsError::Token { row: place, length: row.len(), token };
                row.get(token as usize).map(|logit| sum.log_probability(*logit)).ok_or(unknown)
            })
        })
    }

    /// Returns the same from the log-probabilities of [`InnerNode::next`](super::InnerNode::next) alone, in the order
    /// of [`Self::inner_nodes`]: what an engine hands over when it keeps the rows to itself.
    pub fn score_next(&self, places: &[Vec<(u32, f32)>]) -> Result<LabelScores, ScoreLabelsError> {
        if places.len() != self.inner.len() {
            return Err(ScoreLabelsError::Rows { given: places.len(), wanted: self.inner.len() });
        }
        self.sum_up(|place| {
            Ok(move |token: u32| {
                let found = places[place].iter().find(|(known, log)| *known == token && *log <= 1e-3);
                found
                    .map(|(_, log)| f64::from(log.min(0.0)))
                    .ok_or(ScoreLabelsError::Missing { place, token })
            })
        })
    }

    /// Adds up log-probabilities along the labels. `at` is asked once for each inner node, parents first, and
    /// returns what a token's is there.
    fn sum_up<F: Fn(u32) -> Result<f64, ScoreLabelsError>>(
        &self,
        at: impl Fn(usize) -> Result<F, ScoreLabelsError>,
    ) -> Result<LabelScores, ScoreLabelsError> {
        let mut log_probabilities = vec![0.0f64; self.nodes.len()];
        for (place, node) in self.inner.iter().enumerate() {
            let log_probability = at(place)?;
            for (token, child) in &self.nodes[*node].children {
                log_probabilities[*child] = log_probabilities[*node] + log_probability(*token)?;
            }
        }
        distribution(self.ends.iter().map(|end| log_probabilities[*end]).collect())
    }
}

fn distribution(log_probabilities: Vec<f64>) -> Result<LabelScores, ScoreLabelsError> {
    let max = log_probabilities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return Err(ScoreLabelsError::Impossible);
    }
    let weights: Vec<f64> = log_probabilities.iter().map(|log| (log - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let probabilities: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
    let best = log_probabilities.iter().position(|log| *log == max).unwrap_or(0);
    let others = probabilities.iter().enumerate().filter(|(label, _)| *label != best);
    let second = others.map(|(_, probability)| *probability).fold(0.0, f64::max);
    // With p = e^(log - max) / sum, -p ln p needs no logarithm of a tiny number.
    let terms = probabilities.iter().zip(&log_probabilities);
    let entropy = terms.filter(|(p, _)| **p > 0.0).map(|(p, log)| p * (sum.ln() - (log - max))).sum::<f64>();
    Ok(LabelScores {
        best,
        margin: probabilities[best] - second,
        entropy: entropy.max(0.0),
        log_mass: max + sum.ln(),
        probabilities,
        log_probabilities,
    })
}
