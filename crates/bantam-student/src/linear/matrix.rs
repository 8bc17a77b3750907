//! The matrices of training: sparse and dense features of rows, and weights as one dense row per column.

/// The number of classes is padded to a multiple of this, so that inner loops have no remainder.
pub(crate) const LANES: usize = 16;

/// A sparse matrix stored by rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sparse {
    /// Where each row starts in `entries`, and one more entry for the end.
    pub(crate) offsets: Vec<usize>,
    /// Columns and values.
    pub(crate) entries: Vec<(u32, f32)>,
    /// Number of columns, used or not.
    pub(crate) columns: usize,
}

impl Sparse {
    /// Returns the entries of one row.
    pub(crate) fn row(&self, row: usize) -> &[(u32, f32)] {
        &self.entries[self.offsets[row]..self.offsets[row + 1]]
    }
}

/// Dense features, stored by rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dense {
    pub(crate) values: Vec<f32>,
    /// Features per row; 0 if rows have only n-grams.
    pub(crate) width: usize,
}

impl Dense {
    /// Returns the features of one row.
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width..][..self.width]
    }
}

/// The features of one row: n-grams by column, and dense features.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) sparse: &'a [(u32, f32)],
    pub(crate) dense: &'a [f32],
}

impl Row<'_> {
    /// Returns the sum of all squares, including the intercept's 1.
    pub(crate) fn square(&self) -> f32 {
        let dense: f32 = self.dense.iter().map(|value| value * value).sum();
        1.0 + dense + self.sparse.iter().map(|(_, value)| value * value).sum::<f32>()
    }
}

/// Weights: one row of padded classes per n-gram, then one per dense feature, and one for the intercept.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    values: Vec<f32>,
    stride: usize,
    /// Number of n-gram columns.
    sparse: usize,
}

impl Weights {
    /// Returns weights that are all zero.
    pub(crate) fn zero(sparse: usize, dense: usize, classes: usize) -> Self {
        let stride = stride(classes);
        Self { values: vec![0.0; (sparse + dense + 1) * stride], stride, sparse }
    }

    /// Returns the weights of one column; n-grams come first.
    pub(crate) fn row(&self, column: usize) -> &[f32] {
        &self.values[column * self.stride..][..self.stride]
    }

    /// Returns the weights of one dense feature.
    pub(crate) fn dense(&self, number: usize) -> &[f32] {
        self.row(self.sparse + number)
    }

    /// Returns the weights of the intercept.
    pub(crate) fn intercept(&self) -> &[f32] {
        &self.values[self.values.len() - self.stride..]
    }

    /// Sets `logits` to the product of a row and the weights, including the intercept.
    pub(crate) fn logits(&self, row: Row<'_>, logits: &mut [f32]) {
        logits.copy_from_slice(self.intercept());
        let (quads, rest) = row.sparse.as_chunks::<4>();
        for quad in quads {
            let rows = quad.map(|(column, _)| self.row(column as usize));
            add_rows(logits, rows, quad.map(|(_, value)| value));
        }
        for &(column, value) in rest {
            add_row(logits, self.row(column as usize), value);
        }
        add_dense(logits, &self.values[self.sparse * self.stride..], row.dense);
    }

    /// Adds `value · change` to the weights of every column of a row, and `change` to the intercept's.
    pub(crate) fn add(&mut self, row: Row<'_>, change: &[f32]) {
        for &(column, value) in row.sparse {
            add_row(&mut self.values[column as usize * self.stride..][..self.stride], change, value);
        }
        let rest = &mut self.values[self.sparse * self.stride..];
        for (weights, value) in rest.chunks_exact_mut(self.stride).zip(row.dense.iter().chain([&1.0])) {
            add_row(weights, change, *value);
        }
    }
}

/// Adds the product of dense features and their weights, which are stored row by row.
pub(crate) fn add_dense(logits: &mut [f32], weights: &[f32], numbers: &[f32]) {
    let stride = logits.len();
    let (quads, rest) = numbers.as_chunks::<4>();
    for (quad, rows) in quads.iter().zip(weights.chunks_exact(4 * stride)) {
        let row = |index: usize| &rows[index * stride..][..stride];
        add_rows(logits, [row(0), row(1), row(2), row(3)], *quad);
    }
    for (value, row) in rest.iter().zip(weights.chunks_exact(stride).skip(4 * quads.len())) {
        add_row(logits, row, *value);
    }
}

fn add_row(sums: &mut [f32], row: &[f32], value: f32) {
    for (sum, weight) in sums.iter_mut().zip(row) {
        *sum += value * weight;
    }
}

/// Adds four rows at once, so that each logit is loaded and stored once for all four.
fn add_rows(logits: &mut [f32], rows: [&[f32]; 4], values: [f32; 4]) {
    let [a, b, c, d] = rows;
    let [va, vb, vc, vd] = values;
    for ((((logit, a), b), c), d) in logits.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *logit += (va * a + vb * b) + (vc * c + vd * d);
    }
}

/// Returns the distance between the weights of neighbouring columns.
pub(crate) fn stride(classes: usize) -> usize {
    classes.div_ceil(LANES) * LANES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_a_row_changes_its_logits_by_its_square() {
        let sparse: Vec<(u32, f32)> = (0..7).map(|column| (column, column as f32 + 1.0)).collect();
        for width in [0, 3, 6] {
            let numbers: Vec<f32> = (0..width).map(|number| number as f32 - 1.0).collect();
            let row = Row { sparse: &sparse, dense: &numbers };
            let mut weights = Weights::zero(9, width, 3);
            let mut change = vec![0.0; stride(3)];
            change[1] = 2.0;
            weights.add(row, &change);
            let mut logits = vec![5.0; stride(3)];
            weights.logits(row, &mut logits);
            assert_eq!(logits[..3], [0.0, 2.0 * row.square(), 0.0]);
            weights.logits(Row { sparse: &[(8, 1.0)], dense: &vec![0.0; width] }, &mut logits);
            assert_eq!(logits[..3], [0.0, 2.0, 0.0], "only the intercept is shared");
        }
    }
}
