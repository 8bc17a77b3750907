//! Tables for terminals.

/// Columns of a terminal that every table fits.
const COLUMNS: usize = 80;
/// Columns that the first column, which names a row, has at least.
const NAME_COLUMNS_MIN: usize = 10;
/// Columns that a column of text is not made narrower than.
const TEXT_COLUMNS_MIN: usize = 6;

/// Returns `rows` as aligned columns in at most 80 columns, the first row being the heading; numbers go to the right.
///
/// Names are never cut: a name that is too long has a line of its own. Other texts are, and `--json` has them whole.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let columns: Vec<Column> = (0..count).map(|at| Column::of(rows, at)).collect();
    let mut widths: Vec<usize> = columns.iter().map(|column| column.width).collect();
    narrow(&columns, &mut widths);
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).zip(&columns).map(|((cell, width), column)| {
            let cell = cut(cell, *width);
            let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
            if column.is_number { format!("{gap}{cell}") } else { format!("{cell}{gap}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = Vec::new();
    for row in rows {
        match row.split_first() {
            Some((name, rest)) if name.chars().count() > widths[0] => {
                lines.push(name.clone());
                lines.push(line(&[&[String::new()], rest].concat()));
            }
            _ => lines.push(line(row)),
        }
    }
    lines
}

/// A column of a table.
struct Column {
    width: usize,
    is_number: bool,
}

impl Column {
    fn of(rows: &[Vec<String>], at: usize) -> Self {
        let cells = || rows.iter().filter_map(|row| row.get(at));
        let starts_as_number =
            |cell: &str| cell.starts_with(|symbol: char| symbol.is_ascii_digit() || "$-+×".contains(symbol));
        let mut filled = cells().skip(1).filter(|cell| !cell.is_empty());
        let is_number = at > 0 && filled.all(|cell| starts_as_number(cell));
        Self { width: cells().map(|cell| cell.chars().count()).max().unwrap_or(0), is_number }
    }
}

/// Makes columns narrower until a line fits: texts first, the widest of them, and names at last.
fn narrow(columns: &[Column], widths: &mut [usize]) {
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
    // Names give way first, down to a usual length: they can have lines of their own.
    let usual = 24.min(widths.first().copied().unwrap_or(0));
    while total(widths) > COLUMNS && widths.first().is_some_and(|width| *width > usual) {
        widths[0] -= 1;
    }
    while total(widths) > COLUMNS {
        let texts = (1..widths.len()).filter(|at| !columns[*at].is_number && widths[*at] > TEXT_COLUMNS_MIN);
        match texts.max_by_key(|at| widths[*at]) {
            Some(widest) => widths[widest] -= 1,
            None if widths.first().is_some_and(|width| *width > NAME_COLUMNS_MIN) => widths[0] -= 1,
            None => return,
        }
    }
}

fn cut(cell: &str, width: usize) -> String {
    match cell.char_indices().nth(width) {
        Some(_) => cell.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        None => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_numbers_stand_to_the_right() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let lines = table(&[row(&["task", "requests"]), row(&["intent", "7"]), row(&["x", "1200"])]);
        assert_eq!(lines, ["task    requests", "intent         7", "x           1200"]);
    }

    #[test]
    fn every_table_fits_a_terminal_and_no_name_is_cut() {
        let name = "an-organisation/a-model-with-a-very-long-name-GGUF:Q4_K_M";
        let rows = [
            vec!["name", "size", "about", "more"],
            vec![
                "short",
                "12 MB",
                "a text that goes on and on until it has more letters than there is room",
                "x",
            ],
            vec![name, "1 GB", "b", "another text that is long but not as long as the other one"],
        ];
        let rows = rows.map(|row| row.into_iter().map(str::to_owned).collect::<Vec<_>>());
        let lines = table(&rows);
        assert!(lines.iter().all(|line| line.chars().count() <= COLUMNS), "{lines:#?}");
        assert!(lines.iter().any(|line| line == name), "{lines:#?}");
        assert!(lines[1].starts_with("short  ") && lines[1].contains('…'), "{lines:#?}");
        assert_eq!(lines.len(), 4);
    }
}
