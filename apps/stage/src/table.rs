//! The end of a demo: what was expected beside what was found.

use std::fmt::{Display, Write as _};

/// Rows of what was expected and what was found, as texts.
#[derive(Default, Debug)]
pub struct Table {
    rows: Vec<(String, String, String)>,
}

impl Table {
    /// Adds a row.
    pub fn row(&mut self, what: &str, expected: impl Display, found: impl Display) {
        self.rows.push((what.to_owned(), expected.to_string(), found.to_string()));
    }

    /// Whether all rows are equal.
    pub fn is_equal(&self) -> bool {
        self.rows.iter().all(|(_, expected, found)| expected == found)
    }

    /// The table as text, with a verdict in each row.
    pub fn text(&self) -> String {
        let mut text = format!("{:<52} {:>14} {:>14}\n", "", "expected", "found");
        for (what, expected, found) in &self.rows {
            let verdict = if expected == found { "equal" } else { "DIFFERENT" };
            // Writing into a text cannot fail.
            let _ = writeln!(text, "{what:<52} {expected:>14} {found:>14} {verdict}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_differs_is_a_difference() {
        let mut table = Table::default();
        table.row("this", 1, "1");
        assert!(table.is_equal() && !table.text().contains("DIFFERENT"));
        table.row("that", 1, 2);
        assert!(!table.is_equal() && table.text().ends_with("2 DIFFERENT\n"));
    }
}
