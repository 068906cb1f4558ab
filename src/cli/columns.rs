//! Tables on standard output: each column as wide as its widest text, two spaces between them.

use unicode_width::UnicodeWidthStr;

use super::error::CommandError;
use super::output::{plain, print_line};

/// A table that is printed in parts, so that one of any length takes little memory. A later part keeps at least the
/// widths of the parts before it.
#[derive(Debug, Default)]
pub(super) struct Columns {
    widths: Vec<usize>,
    /// Those of numbers.
    right: &'static [usize],
}

impl Columns {
    /// A table with columns of numbers, which are aligned at the right.
    pub(super) fn right(columns: &'static [usize]) -> Self {
        Self { right: columns, ..Self::default() }
    }

    /// Prints rows. What turns or breaks the line in a text is written as its number.
    ///
    /// # Errors
    /// [`CommandError`] if standard output cannot be written.
    pub(super) fn print(&mut self, rows: &[Vec<String>]) -> Result<(), CommandError> {
        for line in self.lines(rows) {
            print_line(format_args!("{line}"))?;
        }
        Ok(())
    }

    fn lines(&mut self, rows: &[Vec<String>]) -> Vec<String> {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
        for row in &rows {
            for (column, cell) in row.iter().enumerate() {
                match self.widths.get_mut(column) {
                    Some(width) => *width = cell.width().max(*width),
                    None => self.widths.push(cell.width()),
                }
            }
        }
        let line = |row: &Vec<String>| {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&self.widths).enumerate() {
                let fill = " ".repeat(width - cell.width());
                let (before, after) =
                    if self.right.contains(&column) { (fill.as_str(), "") } else { ("", fill.as_str()) };
                line.extend([before, cell, after, "  "]);
            }
            line.trim_end().to_owned()
        };
        rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn each_column_is_as_wide_as_its_widest_text_whatever_the_script() {
        let mut columns = Columns::default();
        let lines =
            columns.lines(&[row(&["a", "x", "1"]), row(&["日本", "y", ""]), row(&["abc", "zz", "2\n"])]);
        assert_eq!(lines, ["a     x   1", "日本  y", "abc   zz  2\\u{a}"]);
        // A later page is not narrower.
        assert_eq!(columns.lines(&[row(&["b", "", "3"])]), ["b         3"]);
    }

    #[test]
    fn numbers_are_aligned_at_the_right() {
        let lines = Columns::right(&[1]).lines(&[row(&["users", "7"]), row(&["sessions", "1200"])]);
        assert_eq!(lines, ["users        7", "sessions  1200"]);
    }
}
