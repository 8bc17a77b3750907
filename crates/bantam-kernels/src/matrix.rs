//! Products of f32 matrices in any layout, on the calling thread.
//!
//! Training multiplies by matrices that change at every step, and by their transposes; packing them first, like the
//! layers of a forward pass, would cost more than it saves. The kernels come from the crate `gemm-f32`, which reaches
//! 95 % of MKL's speed on one core. This module makes them safe: every element of a view is within its slice.

use gemm_common::Parallelism;
use gemm_f32::gemm::f32::get_gemm_fn;

/// The layout of a matrix in its slice.
#[derive(Clone, Copy, Debug)]
struct Layout {
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl Layout {
    /// Returns the layout of rows that start `step` elements apart, checked against a slice of `length` elements.
    #[track_caller]
    fn new(length: usize, rows: usize, columns: usize, step: usize) -> Self {
        assert!(columns <= step || rows <= 1, "rows overlap");
        let end = match rows.checked_sub(1) {
            Some(last) if columns > 0 => last.checked_mul(step).and_then(|start| start.checked_add(columns)),
            _ => Some(0),
        };
        assert!(end.is_some_and(|end| end <= length), "the matrix exceeds its slice");
        Self { rows, columns, row_step: step, column_step: 1 }
    }

    fn transposed(self) -> Self {
        let Self { rows, columns, row_step, column_step } = self;
        Self { rows: columns, columns: rows, row_step: column_step, column_step: row_step }
    }
}

/// A view of a matrix for reading.
///
/// **Invariant:** every element of the layout is within the slice.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'m> {
    numbers: &'m [f32],
    layout: Layout,
}

impl<'m> Matrix<'m> {
    /// Returns the view of `rows` consecutive rows of `columns` elements.
    ///
    /// # Panics
    /// If the slice is shorter.
    #[track_caller]
    pub fn new(numbers: &'m [f32], rows: usize, columns: usize) -> Self {
        Self::strided(numbers, rows, columns, columns)
    }

    /// Returns the view of `rows` rows of `columns` elements that start `step` elements apart.
    ///
    /// # Panics
    /// If the slice is shorter, or rows overlap.
    #[track_caller]
    pub fn strided(numbers: &'m [f32], rows: usize, columns: usize, step: usize) -> Self {
        Self { numbers, layout: Layout::new(numbers.len(), rows, columns, step) }
    }

    /// Returns the transposed view, without moving data.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { layout: self.layout.transposed(), ..self }
    }
}

/// A view of a matrix for writing.
///
/// **Invariant:** every element of the layout is within the slice, and no two coincide.
#[derive(Debug)]
pub struct MatrixMut<'m> {
    numbers: &'m mut [f32],
    layout: Layout,
}

impl<'m> MatrixMut<'m> {
    /// Returns the view of `rows` consecutive rows of `columns` elements.
    ///
    /// # Panics
    /// If the slice is shorter.
    #[track_caller]
    pub fn new(numbers: &'m mut [f32], rows: usize, columns: usize) -> Self {
        Self::strided(numbers, rows, columns, columns)
    }

    /// Returns the view of `rows` rows of `columns` elements that start `step` elements apart.
    ///
    /// # Panics
    /// If the slice is shorter, or rows overlap.
    #[track_caller]
    pub fn strided(numbers: &'m mut [f32], rows: usize, columns: usize, step: usize) -> Self {
        let layout = Layout::new(numbers.len(), rows, columns, step);
        Self { numbers, layout }
    }
}

/// What to do with the old content of a product's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Replace it.
    Set,
    /// Add the product to it.
    Add,
}

/// Writes `factor · left · right` to `into`, on this thread. The order of every sum depends only on the shapes.
///
/// # Panics
/// If the shapes do not match.
#[track_caller]
pub fn multiply(left: Matrix<'_>, right: Matrix<'_>, factor: f32, into: MatrixMut<'_>, write: Write) {
    let (mut left, mut right, mut layout) = (left, right, into.layout);
    assert_eq!(left.layout.columns, right.layout.rows, "the inner sizes differ");
    assert_eq!(
        (left.layout.rows, right.layout.columns),
        (layout.rows, layout.columns),
        "the outer sizes differ"
    );
    if layout.rows == 0 || layout.columns == 0 {
        return;
    }
    if left.layout.columns == 0 {
        if write == Write::Set {
            (0..layout.rows)
                .for_each(|row| into.numbers[row * layout.row_step..][..layout.columns].fill(0.0));
        }
        return;
    }
    // The kernels want the first dimension of the target to be the contiguous one.
    if layout.column_step < layout.row_step {
        (left, right, layout) = (right.transposed(), left.transposed(), layout.transposed());
    }
    let step = |step: usize| step as isize;
    let (m, n, k) = (layout.rows, layout.columns, left.layout.columns);
    // SAFETY: by the views' invariants, every element read or written is within its slice; the written slice is
    // borrowed mutably, so it overlaps no other; the kernel was chosen for this machine's instructions.
    unsafe {
        get_gemm_fn()(
            m,
            n,
            k,
            into.numbers.as_mut_ptr(),
            step(layout.column_step),
            step(layout.row_step),
            write == Write::Add,
            left.numbers.as_ptr(),
            step(left.layout.column_step),
            step(left.layout.row_step),
            right.numbers.as_ptr(),
            step(right.layout.column_step),
            step(right.layout.row_step),
            1.0,
            factor,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|index| ((index * 37 + seed * 11) % 23) as f32 / 8.0 - 1.0).collect()
    }

    #[track_caller]
    fn check(m: usize, k: usize, n: usize, turned: [bool; 2], write: Write) {
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        let at = |values: &[f32], turned: bool, rows: usize, columns: usize, row: usize, column: usize| {
            if turned { values[column * rows + row] } else { values[row * columns + column] }
        };
        let view = |values, turned, rows, columns| {
            if turned {
                Matrix::new(values, columns, rows).transposed()
            } else {
                Matrix::new(values, rows, columns)
            }
        };
        // Two columns of the target's rows are outside the product.
        let mut found = numbers(m * (n + 2), 3);
        let before = found.clone();
        let into = MatrixMut::strided(&mut found, m, n, n + 2);
        multiply(view(&a, turned[0], m, k), view(&b, turned[1], k, n), 0.5, into, write);
        for row in 0..m {
            for column in 0..n + 2 {
                let old = before[row * (n + 2) + column];
                let product =
                    |inner| at(&a, turned[0], m, k, row, inner) * at(&b, turned[1], k, n, inner, column);
                let sum = if column < n { 0.5 * (0..k).map(product).sum::<f32>() } else { 0.0 };
                let kept = if column >= n || write == Write::Add { old } else { 0.0 };
                let found = found[row * (n + 2) + column];
                assert!((found - kept - sum).abs() < 1e-3, "{m}x{k}x{n} {turned:?} {row} {column}: {found}");
            }
        }
    }

    #[test]
    fn products_match_the_definition_in_every_layout() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 7), (17, 33, 9), (40, 16, 50), (2, 0, 3), (0, 2, 3), (3, 2, 0)] {
            for turned in [[false, false], [false, true], [true, false], [true, true]] {
                check(m, k, n, turned, Write::Set);
                check(m, k, n, turned, Write::Add);
            }
        }
    }

    #[test]
    fn views_beyond_their_slice_are_refused() {
        let refused = |rows, columns, step| {
            std::panic::catch_unwind(|| Matrix::strided(&[0.0; 10], rows, columns, step)).is_err()
        };
        assert!(!refused(3, 2, 4) && !refused(0, 9, 9) && !refused(1, 10, 0));
        assert!(refused(3, 3, 4) && refused(2, 3, 2) && refused(usize::MAX, 2, 8));
    }
}
