//! Divides a matrix product into chunks for the threads.

use std::ops::Range;

/// Columns in a tile of weights, for all instruction sets.
pub(crate) const TILE: usize = 16;
/// Columns are padded to a multiple of this: two of the widest vectors.
pub(crate) const PAIR: usize = 2 * TILE;
/// Most rows of a panel: its inputs stay in the L2 cache while the columns pass.
const PANEL_ROWS: usize = 96;

/// A division into chunks of rows × columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    rows: usize,
    panels: usize,
    pairs: usize,
    pairs_per_chunk: usize,
}

impl Grid {
    /// Divides `rows` × `columns` (a multiple of [`PAIR`]) into chunks of about `work` multiplications, with several
    /// chunks for every thread.
    pub(crate) fn new(rows: usize, columns: usize, inputs: usize, threads: usize, work: usize) -> Self {
        let panels = rows.div_ceil(PANEL_ROWS).max(1);
        let pairs = columns / PAIR;
        let all = rows * columns * inputs;
        let wanted = if threads == 1 { 1 } else { (all / work).max(4 * threads) };
        let pairs_per_chunk = (pairs * panels / wanted).clamp(1, pairs.max(1));
        Self { rows, panels, pairs, pairs_per_chunk }
    }

    pub(crate) fn chunks(&self) -> usize {
        self.panels * self.pairs.div_ceil(self.pairs_per_chunk)
    }

    /// Returns a chunk's rows and columns. Consecutive chunks share their weights.
    pub(crate) fn chunk(&self, index: usize) -> (Range<usize>, Range<usize>) {
        let (group, panel) = (index / self.panels, index % self.panels);
        let rows = even_part(self.rows, self.panels, panel);
        let pairs = group * self.pairs_per_chunk..((group + 1) * self.pairs_per_chunk).min(self.pairs);
        (rows, pairs.start * PAIR..pairs.end * PAIR)
    }
}

/// Returns part `index` of `0..length`, divided into `parts` whose lengths differ by at most one.
pub(crate) fn even_part(length: usize, parts: usize, index: usize) -> Range<usize> {
    let (size, longer) = (length / parts, length % parts);
    let start = index * size + index.min(longer);
    start..start + size + usize::from(index < longer)
}

/// Evaluates `$body` with the constant `$name` equal to `$rows`, which is in `1..=$most` and at most 12. Cases above
/// `$most` are not compiled.
macro_rules! with_rows {
    ($rows:expr, up to $most:expr, $name:ident => $body:expr) => {
        with_rows!(@ $rows, $most, $name, $body, 1 2 3 4 5 6 7 8 9 10 11 12)
    };
    (@ $rows:expr, $most:expr, $name:ident, $body:expr, $($count:literal)*) => {
        match $rows {
            $($count => {
                const $name: usize = $count;
                if const { $name <= $most } {
                    $body
                }
            })*
            _ => {}
        }
    };
}
pub(crate) use with_rows;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_cell_once() {
        for (rows, columns, threads) in [(1, 32, 1), (7, 96, 2), (95, 384, 3), (200, 1152, 2), (97, 64, 16)] {
            let grid = Grid::new(rows, columns, 384, threads, 700_000);
            let mut seen = vec![0_u8; rows * columns];
            for chunk in 0..grid.chunks() {
                let (rows, cells) = grid.chunk(chunk);
                for row in rows {
                    cells.clone().for_each(|column| seen[row * columns + column] += 1);
                }
            }
            assert!(seen.iter().all(|times| *times == 1), "{rows} x {columns} on {threads}");
        }
    }

    #[test]
    fn parts_are_equally_long_and_in_order() {
        let parts: Vec<_> = (0..3).map(|index| even_part(11, 3, index)).collect();
        assert_eq!(parts, [0..4, 4..8, 8..11]);
    }
}
