//! Products of f32 matrices that lie in any order, on the calling thread.
//!
//! Training multiplies by matrices that change at every step, and by their transposes; packing them ahead, as the
//! layers of a forward pass do, would cost more than it saves. The kernels are those of the crate `gemm-f32`, which
//! reach 95 % of MKL's speed on one core; here is what makes them safe: views whose every number lies in a slice.

use gemm_common::Parallelism;
use gemm_f32::gemm::f32::get_gemm_fn;

/// Where the numbers of a matrix lie in its slice.
#[derive(Clone, Copy, Debug)]
struct Place {
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl Place {
    /// A place whose rows begin `step` numbers apart, once it is known to lie within `length` numbers.
    #[track_caller]
    fn new(length: usize, rows: usize, columns: usize, step: usize) -> Self {
        assert!(columns <= step || rows <= 1, "rows overlap");
        let end = match rows.checked_sub(1) {
            Some(last) if columns > 0 => last.checked_mul(step).and_then(|start| start.checked_add(columns)),
            _ => Some(0),
        };
        assert!(end.is_some_and(|end| end <= length), "the matrix is longer than its slice");
        Self { rows, columns, row_step: step, column_step: 1 }
    }

    fn transposed(self) -> Self {
        let Self { rows, columns, row_step, column_step } = self;
        Self { rows: columns, columns: rows, row_step: column_step, column_step: row_step }
    }
}

/// A matrix that is read.
///
/// **Invariant:** every number of the place lies in the slice.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'m> {
    numbers: &'m [f32],
    place: Place,
}

impl<'m> Matrix<'m> {
    /// Returns the view of `rows` rows of `columns` numbers, one row after the other.
    ///
    /// # Panics
    /// If the slice is shorter.
    #[track_caller]
    pub fn new(numbers: &'m [f32], rows: usize, columns: usize) -> Self {
        Self::strided(numbers, rows, columns, columns)
    }

    /// Returns the view of `rows` rows of `columns` numbers that begin `step` numbers apart.
    ///
    /// # Panics
    /// If the slice is shorter, or rows overlap.
    #[track_caller]
    pub fn strided(numbers: &'m [f32], rows: usize, columns: usize, step: usize) -> Self {
        Self { numbers, place: Place::new(numbers.len(), rows, columns, step) }
    }

    /// Returns the transposed view; nothing is moved.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { place: self.place.transposed(), ..self }
    }
}

/// A matrix that is written.
///
/// **Invariant:** every number of the place lies in the slice, and no two are the same.
#[derive(Debug)]
pub struct MatrixMut<'m> {
    numbers: &'m mut [f32],
    place: Place,
}

impl<'m> MatrixMut<'m> {
    /// Returns the view of `rows` rows of `columns` numbers, one row after the other.
    ///
    /// # Panics
    /// If the slice is shorter.
    #[track_caller]
    pub fn new(numbers: &'m mut [f32], rows: usize, columns: usize) -> Self {
        Self::strided(numbers, rows, columns, columns)
    }

    /// Returns the view of `rows` rows of `columns` numbers that begin `step` numbers apart.
    ///
    /// # Panics
    /// If the slice is shorter, or rows overlap.
    #[track_caller]
    pub fn strided(numbers: &'m mut [f32], rows: usize, columns: usize, step: usize) -> Self {
        let place = Place::new(numbers.len(), rows, columns, step);
        Self { numbers, place }
    }
}

/// What becomes of the numbers that a product is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// They are replaced.
    Set,
    /// The product is added to them.
    Add,
}

/// Writes `factor · left · right` to `into`, on this thread. The order of every sum depends on the shapes alone.
///
/// # Panics
/// If the shapes do not fit each other.
#[track_caller]
pub fn multiply(left: Matrix<'_>, right: Matrix<'_>, factor: f32, into: MatrixMut<'_>, write: Write) {
    let (mut left, mut right, mut place) = (left, right, into.place);
    assert_eq!(left.place.columns, right.place.rows, "the inner sizes differ");
    assert_eq!((left.place.rows, right.place.columns), (place.rows, place.columns), "the outer sizes differ");
    if place.rows == 0 || place.columns == 0 {
        return;
    }
    if left.place.columns == 0 {
        if write == Write::Set {
            (0..place.rows).for_each(|row| into.numbers[row * place.row_step..][..place.columns].fill(0.0));
        }
        return;
    }
    // The kernels want the first dimension of what they write to be the dense one.
    if place.column_step < place.row_step {
        (left, right, place) = (right.transposed(), left.transposed(), place.transposed());
    }
    let step = |step: usize| step as isize;
    let (m, n, k) = (place.rows, place.columns, left.place.columns);
    // SAFETY: the views' invariants say that every number read and written lies in its slice; the slice written is
    // borrowed mutably, so it is none of those read; the kernel was chosen for the instructions of this machine.
    unsafe {
        get_gemm_fn()(
            m,
            n,
            k,
            into.numbers.as_mut_ptr(),
            step(place.column_step),
            step(place.row_step),
            write == Write::Add,
            left.numbers.as_ptr(),
            step(left.place.column_step),
            step(left.place.row_step),
            right.numbers.as_ptr(),
            step(right.place.column_step),
            step(right.place.row_step),
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
        // Two columns of the target's rows are not the product's.
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
    fn products_are_those_of_the_definition_in_every_order() {
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
