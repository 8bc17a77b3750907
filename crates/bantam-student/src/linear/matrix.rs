//! The two shapes training works on: a sparse design matrix, and weights as one dense row per n-gram.

/// Classes are padded to a multiple of this, so that inner loops have no remainder.
pub(crate) const LANES: usize = 16;

/// A sparse matrix by rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sparse {
    /// Where each row starts in `entries`; one more than there are rows.
    pub(crate) offsets: Vec<usize>,
    /// Column and value.
    pub(crate) entries: Vec<(u32, f32)>,
    /// Columns, used or not.
    pub(crate) columns: usize,
}

impl Sparse {
    /// The entries of one row.
    pub(crate) fn row(&self, row: usize) -> &[(u32, f32)] {
        &self.entries[self.offsets[row]..self.offsets[row + 1]]
    }
}

/// Weights: one row of padded classes per n-gram, and a last one for the intercept.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    values: Vec<f32>,
    stride: usize,
}

impl Weights {
    /// All zero.
    pub(crate) fn zero(columns: usize, classes: usize) -> Self {
        let stride = stride(classes);
        Self { values: vec![0.0; (columns + 1) * stride], stride }
    }

    /// The weights of one column; the intercept's is the last.
    pub(crate) fn row(&self, column: usize) -> &[f32] {
        &self.values[column * self.stride..][..self.stride]
    }

    /// Columns, without the intercept.
    pub(crate) fn columns(&self) -> usize {
        self.values.len() / self.stride - 1
    }

    /// Sets `logits` to the product of a sparse row and the weights, intercept included.
    pub(crate) fn logits(&self, row: &[(u32, f32)], logits: &mut [f32]) {
        logits.copy_from_slice(self.row(self.columns()));
        let (quads, rest) = row.as_chunks::<4>();
        for quad in quads {
            let rows = quad.map(|(column, _)| self.row(column as usize));
            add_rows(logits, rows, quad.map(|(_, value)| value));
        }
        for &(column, value) in rest {
            for (logit, weight) in logits.iter_mut().zip(self.row(column as usize)) {
                *logit += value * weight;
            }
        }
    }

    /// Adds `value · change` to the weights of every column of a sparse row, and `change` to the intercept's.
    pub(crate) fn add(&mut self, row: &[(u32, f32)], change: &[f32]) {
        let intercept = (self.columns() as u32, 1.0);
        for &(column, value) in row.iter().chain([&intercept]) {
            let weights = &mut self.values[column as usize * self.stride..][..self.stride];
            for (weight, change) in weights.iter_mut().zip(change) {
                *weight += value * change;
            }
        }
    }
}

/// Four rows at once, so that each logit is loaded and stored once for four.
fn add_rows(logits: &mut [f32], rows: [&[f32]; 4], values: [f32; 4]) {
    let [a, b, c, d] = rows;
    let [va, vb, vc, vd] = values;
    for ((((logit, a), b), c), d) in logits.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *logit += (va * a + vb * b) + (vc * c + vd * d);
    }
}

/// Values from one column's weights to the next's.
pub(crate) fn stride(classes: usize) -> usize {
    classes.div_ceil(LANES) * LANES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_a_row_moves_its_logits_by_its_square() {
        let row: Vec<(u32, f32)> = (0..7).map(|column| (column, column as f32 + 1.0)).collect();
        let square: f32 = 1.0 + row.iter().map(|(_, value)| value * value).sum::<f32>();
        let mut weights = Weights::zero(9, 3);
        let mut change = vec![0.0; stride(3)];
        change[1] = 2.0;
        weights.add(&row, &change);
        let mut logits = vec![5.0; stride(3)];
        weights.logits(&row, &mut logits);
        assert_eq!(logits[..3], [0.0, 2.0 * square, 0.0]);
        weights.logits(&[(8, 1.0)], &mut logits);
        assert_eq!(logits[..3], [0.0, 2.0, 0.0], "only the intercept is shared");
    }
}
