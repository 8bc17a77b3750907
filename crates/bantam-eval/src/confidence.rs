//! Measures how well a student's confidence separates its right answers from its wrong ones.

use bantam_route::Evidence;

/// Returns the largest share of the rows that some confidence threshold accepts with an error rate of at most `error`
/// among the accepted. Rows of equal confidence are accepted together.
pub fn accepted_share(evidence: &[Evidence], error: f64) -> f64 {
    let mut ranked: Vec<(f32, bool)> = evidence
        .iter()
        .filter_map(|row| row.probability.map(|probability| (probability, row.correct)))
        .collect();
    ranked.sort_by(|left, right| right.0.total_cmp(&left.0));
    let (mut wrong, mut best) = (0_usize, 0);
    for (index, (probability, correct)) in ranked.iter().enumerate() {
        wrong += usize::from(!correct);
        let is_last_of_equals = ranked.get(index + 1).is_none_or(|next| next.0 != *probability);
        if is_last_of_equals && wrong as f64 <= error * (index + 1) as f64 {
            best = index + 1;
        }
    }
    best as f64 / evidence.len().max(1) as f64
}

/// Returns the area under the ROC curve: the probability that a right answer is more confident than a wrong one, ties
/// counting half. Returns `None` if all are right or all are wrong. Rows without an answer rank below all others.
pub fn confidence_auc(evidence: &[Evidence]) -> Option<f64> {
    let mut ranked: Vec<(f32, bool)> =
        evidence.iter().map(|row| (row.probability.unwrap_or(-1.0), row.correct)).collect();
    ranked.sort_by(|left, right| left.0.total_cmp(&right.0));
    let right = ranked.iter().filter(|(_, correct)| *correct).count();
    let wrong = ranked.len() - right;
    if right == 0 || wrong == 0 {
        return None;
    }
    let (mut below, mut pairs) = (0, 0.0);
    for equals in ranked.chunk_by(|left, right| left.0 == right.0) {
        let right = equals.iter().filter(|(_, correct)| *correct).count();
        let wrong = equals.len() - right;
        pairs += right as f64 * (below as f64 + wrong as f64 / 2.0);
        below += wrong;
    }
    Some(pairs / (right as f64 * wrong as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(facts: &[(f32, bool)]) -> Vec<Evidence> {
        facts
            .iter()
            .map(|(probability, correct)| Evidence {
                probability: Some(*probability).filter(|probability| *probability >= 0.0),
                correct: *correct,
            })
            .collect()
    }

    #[test]
    fn accepts_as_many_rows_as_the_error_rate_allows() {
        let found = rows(&[(0.9, true), (0.8, true), (0.7, false), (0.6, true), (0.5, false)]);
        assert_eq!(accepted_share(&found, 0.02), 0.4);
        assert_eq!(accepted_share(&found, 0.25), 0.8);
        assert_eq!(accepted_share(&found, 0.4), 1.0);
        // Rows of equal confidence are accepted together, and rows without an answer never are.
        assert_eq!(accepted_share(&rows(&[(0.9, true), (0.9, false), (-1.0, true)]), 0.02), 0.0);
        assert_eq!(accepted_share(&[], 0.02), 0.0);
    }

    #[test]
    fn the_area_is_the_share_of_correctly_ordered_pairs() {
        assert_eq!(confidence_auc(&rows(&[(0.9, true), (0.5, false)])), Some(1.0));
        assert_eq!(confidence_auc(&rows(&[(0.4, true), (0.5, false)])), Some(0.0));
        assert_eq!(confidence_auc(&rows(&[(0.5, true), (0.5, false), (-1.0, false)])), Some(0.75));
        assert_eq!(confidence_auc(&rows(&[(0.5, true)])), None);
    }
}
