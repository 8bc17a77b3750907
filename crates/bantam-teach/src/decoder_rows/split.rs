//! Rows to learn from, and rows to judge on.

use std::collections::HashMap;

use bantam_student::normalised;
use bantam_train::Key;

use super::DecoderRow;

/// Rows below which nothing can be held out and learnt.
const ROWS_MIN: usize = 20;

/// Rows that cannot be split.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// No rows.
    #[error("there are no rows to learn from")]
    NoRows,
    /// Too few.
    #[error("{rows} rows are too few to hold some out and learn from the rest")]
    TooFew {
        /// How many.
        rows: usize,
    },
    /// Only one question.
    #[error("all rows ask the same, so none can be held out")]
    OneQuestion,
}

impl SplitError {
    /// Returns what to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoRows | Self::TooFew { .. } => {
                format!("at least {ROWS_MIN} are needed, and some hundreds make a student")
            }
            Self::OneQuestion => "add rows that differ in their texts".to_owned(),
        }
    }
}

/// Returns the rows to learn from and those held out, about `share` of them. Rows that ask the same are on one side.
pub(crate) fn split(
    rows: Vec<DecoderRow>,
    share: f64,
    seed: u64,
) -> Result<(Vec<DecoderRow>, Vec<DecoderRow>), SplitError> {
    match rows.len() {
        0 => return Err(SplitError::NoRows),
        few @ ..ROWS_MIN => return Err(SplitError::TooFew { rows: few }),
        _ => {}
    }
    let mut groups: HashMap<String, usize> = HashMap::new();
    let mut sizes: Vec<usize> = Vec::new();
    let group_of_row: Vec<usize> = rows
        .iter()
        .map(|row| {
            let count = groups.len();
            let group = *groups.entry(normalised(&row.content.question())).or_insert(count);
            sizes.resize(sizes.len().max(group + 1), 0);
            sizes[group] += 1;
            group
        })
        .collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    Key::new(seed).part(5).shuffle(&mut order);
    let wanted = ((rows.len() as f64 * share).round() as usize).max(1);
    let (mut is_held, mut held) = (vec![false; sizes.len()], 0);
    for group in order {
        if held + sizes[group] <= wanted && held + sizes[group] < rows.len() {
            is_held[group] = true;
            held += sizes[group];
        }
    }
    if held == 0 {
        return Err(SplitError::OneQuestion);
    }
    let (held_out, learnt): (Vec<_>, Vec<_>) =
        rows.into_iter().zip(group_of_row).partition(|(_, group)| is_held[*group]);
    let rows = |pairs: Vec<(DecoderRow, usize)>| pairs.into_iter().map(|(row, _)| row).collect();
    Ok((rows(learnt), rows(held_out)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder_rows::RowContent;

    fn asked(text: &str, line: usize) -> DecoderRow {
        let content = RowContent::Question { text: text.into(), answer: "x".into(), is_label: false };
        DecoderRow { line, content }
    }

    #[test]
    fn rows_that_ask_the_same_are_never_on_both_sides() {
        let rows: Vec<DecoderRow> =
            (0..200).map(|line| asked(&format!("Order {}!", line % 50), line)).collect();
        let (learnt, held_out) = split(rows.clone(), 0.2, 7).unwrap();
        assert_eq!((learnt.len(), held_out.len()), (160, 40));
        for row in &held_out {
            assert!(learnt.iter().all(|other| other.content.question() != row.content.question()));
        }
        assert_eq!(split(rows.clone(), 0.2, 7).unwrap().1, held_out);
        assert_ne!(split(rows, 0.2, 8).unwrap().1, held_out);
        assert_eq!(split(Vec::new(), 0.2, 7), Err(SplitError::NoRows));
        assert_eq!(split(vec![asked("a", 1); 19], 0.2, 7), Err(SplitError::TooFew { rows: 19 }));
        assert_eq!(split(vec![asked("a", 1); 40], 0.2, 7), Err(SplitError::OneQuestion));
    }
}
