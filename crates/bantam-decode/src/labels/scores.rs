//! Turns rows of logits into a distribution over labels.

use super::LabelTrie;
use crate::softmax::{RowError, log_sum};

/// A distribution over labels.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelScores {
    /// For each label, the natural logarithm of the probability that the model writes exactly it, and then the
    /// terminator if the trie has one.
    pub log_probabilities: Vec<f64>,
    /// For each label, its share of the probability that the model gives to all labels; the shares sum to 1.
    pub probabilities: Vec<f64>,
    /// The label with the largest share; the first of equals.
    pub best: usize,
    /// The largest share minus the second largest, 0 to 1; 1 if there is only one label.
    pub margin: f64,
    /// The entropy of the shares in nats: 0 if one label has all, the logarithm of the number of labels if all are
    /// equal.
    pub entropy: f64,
    /// The natural logarithm of the probability that the model writes any label at all. Far below 0, the model wanted
    /// to write something else.
    pub log_mass: f64,
}

/// Why labels cannot be scored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScoreLabelsError {
    /// The number of rows differs from the number of inner nodes.
    #[error("got {given} rows for {wanted} inner nodes: pass one for each, in the order of inner_nodes")]
    Rows {
        /// Number of rows.
        given: usize,
        /// Number of inner nodes.
        wanted: usize,
    },
    /// A row has no logit for a label's token.
    #[error(
        "row {row} has only {length} logits, but token {token} is needed: were the labels encoded for another model?"
    )]
    Token {
        /// The row's index.
        row: usize,
        /// Number of its logits.
        length: usize,
        /// The token.
        token: u32,
    },
    /// A row is not a distribution.
    #[error("row {row}: {source}")]
    Row {
        /// The row's index.
        row: usize,
        /// What is wrong with it.
        source: RowError,
    },
    /// A node has no log-probability for a label's token, or an invalid one.
    #[error(
        "inner node {index} has no valid log-probability for token {token}: request all tokens of InnerNode::next"
    )]
    Missing {
        /// The index of the inner node.
        index: usize,
        /// The token.
        token: u32,
    },
    /// The model gives all labels a probability of zero.
    #[error("all labels have probability zero: each contains a token whose logit is minus infinity")]
    Impossible,
}

impl LabelTrie {
    /// Returns the exact distribution over labels, given the row of logits after the prompt plus each inner node's
    /// path, in the order of [`Self::inner_nodes`]. Log-softmax rows give the same result.
    pub fn score(&self, rows: &[&[f32]]) -> Result<LabelScores, ScoreLabelsError> {
        if rows.len() != self.inner.len() {
            return Err(ScoreLabelsError::Rows { given: rows.len(), wanted: self.inner.len() });
        }
        self.sum_up(|index| {
            let row = rows[index];
            let sum = log_sum(row).map_err(|source| ScoreLabelsError::Row { row: index, source })?;
            Ok(move |token: u32| {
                let unknown = ScoreLabelsError::Token { row: index, length: row.len(), token };
                row.get(token as usize).map(|logit| sum.log_probability(*logit)).ok_or(unknown)
            })
        })
    }

    /// Returns the same from only the log-probabilities of [`InnerNode::next`](super::InnerNode::next), in the order
    /// of [`Self::inner_nodes`], for engines that do not return whole rows.
    pub fn score_next(&self, nodes: &[Vec<(u32, f32)>]) -> Result<LabelScores, ScoreLabelsError> {
        if nodes.len() != self.inner.len() {
            return Err(ScoreLabelsError::Rows { given: nodes.len(), wanted: self.inner.len() });
        }
        self.sum_up(|index| {
            Ok(move |token: u32| {
                let found = nodes[index].iter().find(|(known, log)| *known == token && *log <= 1e-3);
                found
                    .map(|(_, log)| f64::from(log.min(0.0)))
                    .ok_or(ScoreLabelsError::Missing { index, token })
            })
        })
    }

    /// Sums log-probabilities along the labels. Calls `at` once for each inner node, parents first; it returns a
    /// function from token to log-probability.
    fn sum_up<F: Fn(u32) -> Result<f64, ScoreLabelsError>>(
        &self,
        at: impl Fn(usize) -> Result<F, ScoreLabelsError>,
    ) -> Result<LabelScores, ScoreLabelsError> {
        let mut log_probabilities = vec![0.0f64; self.nodes.len()];
        for (index, node) in self.inner.iter().enumerate() {
            let log_probability = at(index)?;
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
