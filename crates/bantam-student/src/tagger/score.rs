//! Scores of extracted values.

use super::Field;
use crate::slots::SlotExample;

/// Counts over rows; a value is right if its slot and position are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotScore {
    /// Values that the rows hold.
    pub wanted: u64,
    /// Values that were found.
    pub found: u64,
    /// Values found that are right.
    pub right: u64,
    /// Rows.
    pub rows: u64,
    /// Rows with exactly the right values.
    pub rows_right: u64,
}

impl SlotScore {
    /// Adds the values found in a row.
    pub fn add(&mut self, row: &SlotExample, found: &[Field<'_>]) {
        let is_right = |field: &&Field<'_>| {
            row.spans.iter().any(|span| span.slot == field.name && span.range == (field.start..field.end))
        };
        let right = found.iter().filter(is_right).count() as u64;
        self.wanted += row.spans.len() as u64;
        self.found += found.len() as u64;
        self.right += right;
        self.rows += 1;
        self.rows_right += u64::from(right == row.spans.len() as u64 && right == found.len() as u64);
    }

    /// Returns the share of found values that are right.
    pub fn precision(&self) -> f64 {
        self.right as f64 / self.found.max(1) as f64
    }

    /// Returns the share of the rows' values that were found.
    pub fn recall(&self) -> f64 {
        self.right as f64 / self.wanted.max(1) as f64
    }

    /// Returns the harmonic mean of precision and recall.
    pub fn f1(&self) -> f64 {
        2.0 * self.right as f64 / (self.found + self.wanted).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::SlotSpan;

    #[test]
    fn a_value_is_right_only_if_slot_and_position_are() {
        let span = |slot: &str, range| SlotSpan { slot: slot.into(), range };
        let row = SlotExample {
            text: "one two three".into(),
            context: String::new(),
            spans: vec![span("a", 0..3), span("b", 4..7)],
        };
        let field = |name, start: usize, end: usize| Field { name, value: "", start, end, confidence: 1.0 };
        let mut score = SlotScore::default();
        score.add(&row, &[field("a", 0, 3), field("a", 4, 7), field("b", 4, 6)]);
        assert_eq!((score.right, score.rows_right), (1, 0));
        assert!((score.f1() - 0.4).abs() < 1e-9 && (score.recall() - 0.5).abs() < 1e-9);
        score.add(&row, &[field("a", 0, 3), field("b", 4, 7)]);
        assert_eq!((score.rows, score.rows_right), (2, 1));
    }
}
