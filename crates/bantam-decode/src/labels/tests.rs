use proptest::prelude::*;

use super::*;

/// A fake model: `vocabulary` logits for the position after a path, from a hash of path and seed.
fn row(path: &[u32], vocabulary: usize, seed: u64) -> Vec<f32> {
    let start =
        path.iter().fold(seed, |hash, token| (hash ^ u64::from(*token)).wrapping_mul(0x100_0000_01B3));
    let mut random = crate::random::Random::new(start);
    (0..vocabulary).map(|_| (random.unit() * 12.0 - 6.0) as f32).collect()
}

fn score(trie: &LabelTrie, vocabulary: usize, seed: u64) -> LabelScores {
    let rows: Vec<Vec<f32>> =
        trie.inner_nodes().iter().map(|node| row(&node.path, vocabulary, seed)).collect();
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    trie.score(&rows).unwrap()
}

/// The log-probability of a label, computed token by token in plain `f64`.
fn by_hand(label: &[u32], vocabulary: usize, seed: u64) -> f64 {
    let mut sum = 0.0;
    for (index, token) in label.iter().enumerate() {
        let row = row(&label[..index], vocabulary, seed);
        let total: f64 = row.iter().map(|logit| f64::from(*logit).exp()).sum();
        sum += f64::from(row[*token as usize]) - total.ln();
    }
    sum
}

#[test]
fn inner_nodes_list_parents_first_and_share_prefixes() {
    let trie = LabelTrie::new(&[vec![5, 6, 7], vec![5, 6, 8], vec![9], vec![5, 4]], None).unwrap();
    let nodes = trie.inner_nodes();
    let paths: Vec<&[u32]> = nodes.iter().map(|node| node.path.as_slice()).collect();
    assert_eq!(paths, [&[][..], &[5], &[5, 6]]);
    assert_eq!(nodes.iter().map(|node| node.parent).collect::<Vec<_>>(), [None, Some(0), Some(1)]);
    assert_eq!(trie.labels(), 4);
}

#[test]
fn a_terminator_separates_a_label_from_a_longer_one() {
    let labels = [vec![1], vec![1, 2]];
    assert_eq!(LabelTrie::new(&labels, None).unwrap_err(), LabelTrieError::Prefix { short: 0, long: 1 });
    let trie = LabelTrie::new(&labels, Some(0)).unwrap();
    let scores = score(&trie, 4, 9);
    assert!((scores.log_probabilities[0] - by_hand(&[1, 0], 4, 9)).abs() < 1e-5);
    assert!((scores.log_probabilities[1] - by_hand(&[1, 2, 0], 4, 9)).abs() < 1e-5);
}

#[test]
fn shares_margin_entropy_and_mass_match_the_distribution() {
    let trie = LabelTrie::new(&[vec![0], vec![1]], None).unwrap();
    let logits: Vec<f32> = [0.6f32, 0.2, 0.2].iter().map(|p| p.ln()).collect();
    let scores = trie.score(&[&logits]).unwrap();
    assert_eq!(scores.best, 0);
    assert!((scores.probabilities[0] - 0.75).abs() < 1e-6);
    assert!((scores.margin - 0.5).abs() < 1e-6);
    assert!((scores.log_mass - 0.8f64.ln()).abs() < 1e-6);
    assert!((scores.entropy + 0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln()).abs() < 1e-6);
    let one = LabelTrie::new(&[vec![2]], None).unwrap().score(&[&logits]).unwrap();
    assert_eq!((one.margin, one.entropy, one.probabilities), (1.0, 0.0, vec![1.0]));
}

#[test]
fn labels_with_tiny_probabilities_still_get_a_distribution() {
    let trie = LabelTrie::new(&[vec![1; 300], vec![2; 300]], None).unwrap();
    let logits = [0.0f32, -80.0, -80.1];
    let rows = vec![&logits[..]; trie.inner_nodes().len()];
    let scores = trie.score(&rows).unwrap();
    assert!(scores.log_probabilities[0] < -23_000.0);
    assert!((scores.probabilities[0] - 1.0).abs() < 1e-6 && scores.entropy > 0.0);
}

#[test]
fn invalid_labels_and_rows_get_their_own_errors() {
    let refused = |labels: &[Vec<u32>], terminator| LabelTrie::new(labels, terminator).unwrap_err();
    assert_eq!(refused(&[], None), LabelTrieError::NoLabels);
    assert_eq!(refused(&[vec![1], vec![]], Some(3)), LabelTrieError::Empty(1));
    assert_eq!(refused(&[vec![1], vec![2], vec![1]], None), LabelTrieError::Same(0, 2));
    assert_eq!(refused(&[vec![1, 2], vec![1]], None), LabelTrieError::Prefix { short: 1, long: 0 });
    assert_eq!(refused(&[vec![1, 3]], Some(3)), LabelTrieError::Terminator { label: 0, token: 3 });
    assert!(matches!(refused(&[vec![1; LABEL_TOKENS_MAX]], None), LabelTrieError::TooLarge(_)));
    let trie = LabelTrie::new(&[vec![1], vec![2]], None).unwrap();
    assert_eq!(trie.score(&[]), Err(ScoreLabelsError::Rows { given: 0, wanted: 1 }));
    assert_eq!(trie.score(&[&[0.0, 0.0]]), Err(ScoreLabelsError::Token { row: 0, length: 2, token: 2 }));
    assert!(matches!(trie.score(&[&[f32::NAN; 3]]), Err(ScoreLabelsError::Row { row: 0, .. })));
    let forbidden = [0.0, f32::NEG_INFINITY, f32::NEG_INFINITY];
    assert_eq!(trie.score(&[&forbidden]), Err(ScoreLabelsError::Impossible));
}

proptest! {
    #[test]
    fn scores_agree_with_brute_force(
        labels in prop::collection::btree_set(prop::collection::vec(1u32..6, 1..6), 1..12),
        seed: u64,
    ) {
        let labels: Vec<Vec<u32>> = labels.into_iter().collect();
        let trie = LabelTrie::new(&labels, Some(0)).unwrap();
        let scores = score(&trie, 6, seed);
        let mut sum = 0.0;
        for (label, found) in labels.iter().zip(&scores.log_probabilities) {
            let whole: Vec<u32> = label.iter().copied().chain([0]).collect();
            let exact = by_hand(&whole, 6, seed);
            prop_assert!((found - exact).abs() < 1e-5, "{} against {}", found, exact);
            sum += exact.exp();
        }
        prop_assert!((scores.log_mass - sum.ln()).abs() < 1e-5);
        prop_assert!((scores.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        let uniform = (labels.len() as f64).ln();
        prop_assert!(scores.entropy <= uniform + 1e-9);
    }

    #[test]
    fn every_inner_node_extends_its_parent_by_one_token(
        labels in prop::collection::btree_set(prop::collection::vec(1u32..4, 1..7), 1..20),
    ) {
        let labels: Vec<Vec<u32>> = labels.into_iter().collect();
        let nodes = LabelTrie::new(&labels, Some(0)).unwrap().inner_nodes();
        for (index, node) in nodes.iter().enumerate() {
            match node.parent {
                None => prop_assert!(index == 0 && node.path.is_empty()),
                Some(parent) => {
                    prop_assert!(parent < index);
                    prop_assert_eq!(&nodes[parent].path[..], &node.path[..node.path.len() - 1]);
                }
            }
        }
    }
}

#[test]
fn log_probabilities_of_the_next_tokens_give_the_same_scores_as_rows() {
    let trie = LabelTrie::new(&[vec![5, 6, 7], vec![5, 6, 8], vec![9], vec![5, 4]], Some(1)).unwrap();
    let nodes = trie.inner_nodes();
    assert_eq!(nodes[0].next, [5, 9]);
    let places: Vec<Vec<(u32, f32)>> = nodes
        .iter()
        .map(|node| {
            let row = row(&node.path, 12, 3);
            let total = row.iter().map(|logit| f64::from(*logit).exp()).sum::<f64>().ln();
            node.next.iter().map(|token| (*token, (f64::from(row[*token as usize]) - total) as f32)).collect()
        })
        .collect();
    let (short, whole) = (trie.score_next(&places).unwrap(), score(&trie, 12, 3));
    assert_eq!(short.best, whole.best);
    for (a, b) in short.log_probabilities.iter().zip(&whole.log_probabilities) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    let mut lacking = places;
    let (token, _) = lacking[1].pop().unwrap();
    assert_eq!(trie.score_next(&lacking).unwrap_err(), ScoreLabelsError::Missing { index: 1, token });
}
