//! Assigns rows to cross-validation folds.

use std::collections::HashMap;

use super::shuffle::Shuffler;

/// Returns the fold of every row. Each label is spread evenly, and rows with the same text share a fold, because a
/// model is more confident about texts it was trained on than about new ones.
pub(crate) fn assign(texts: &[&str], targets: &[u32], classes: usize, folds: usize, seed: u64) -> Vec<usize> {
    let mut by_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (row, &target) in targets.iter().enumerate() {
        by_class[target as usize].push(row);
    }
    let mut shuffler = Shuffler::new(seed);
    let mut assigned = vec![0; targets.len()];
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut next = 0;
    for rows in &mut by_class {
        shuffler.shuffle(rows);
        for &row in rows.iter() {
            assigned[row] = *known.entry(texts[row].trim()).or_insert_with(|| {
                next += 1;
                next % folds
            });
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_every_label_over_the_folds() {
        let texts: Vec<String> = (0..100).map(|row| row.to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let targets: Vec<u32> = (0..100).map(|row| row % 4).collect();
        let folds = assign(&texts, &targets, 4, 5, 7);
        for class in 0..4 {
            for fold in 0..5 {
                let rows = (0..100).filter(|&row| targets[row] == class && folds[row] == fold).count();
                assert_eq!(rows, 5);
            }
        }
        assert_ne!(folds, assign(&texts, &targets, 4, 5, 8), "the seed decides");
    }

    #[test]
    fn equal_texts_share_a_fold() {
        let folds = assign(&["a", "b", "a ", "c", "a"], &[0, 0, 1, 1, 1], 2, 3, 7);
        assert!(folds[0] == folds[2] && folds[2] == folds[4]);
    }
}
