//! What was measured, one figure a line: the file that the page and the picture are made from, and
//! that later runs replace parts of.

use std::path::Path;

use anyhow::{Context as _, Result};

/// The first line of the file.
const HEAD: &str = "case,server,round,figure,value";

/// One figure. Nothing in it holds a comma or a line's end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    case: String,
    server: String,
    /// From 1; 0 is a fact about the whole case.
    round: usize,
    figure: String,
    value: String,
}

/// All rows, those of a case together.
#[derive(Debug, Default)]
pub(super) struct Raw {
    rows: Vec<Row>,
}

impl Raw {
    /// Reads the file; an absent one is empty.
    pub(super) fn load(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        Self::parse(&std::fs::read_to_string(path)?).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let row = |(index, line): (usize, &str)| {
            let parts: Vec<&str> = line.split(',').collect();
            let [case, server, round, figure, value] = parts[..] else {
                anyhow::bail!("line {}: {line:?} has not five parts", index + 1);
            };
            let round = round.parse().with_context(|| format!("line {}: round", index + 1))?;
            let text = str::to_owned;
            let (case, server) = (text(case), text(server));
            Ok(Row { case, server, round, figure: text(figure), value: text(value) })
        };
        let lines = text.lines().enumerate().skip(1);
        Ok(Self { rows: lines.map(row).collect::<Result<_>>()? })
    }

    /// Writes the file.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(path, self.text()).with_context(|| path.display().to_string())
    }

    fn text(&self) -> String {
        let line = |row: &Row| {
            let Row { case, server, round, figure, value } = row;
            format!("{case},{server},{round},{figure},{value}\n")
        };
        HEAD.to_owned() + "\n" + &self.rows.iter().map(line).collect::<String>()
    }

    /// Adds a figure. What would break the file's lines is replaced by a semicolon.
    pub(super) fn add(
        &mut self,
        case: &str,
        server: &str,
        round: usize,
        figure: &str,
        value: &impl ToString,
    ) {
        let clean = |text: &str| text.trim().replace([',', '\n'], ";");
        self.rows.push(Row {
            case: clean(case),
            server: clean(server),
            round,
            figure: clean(figure),
            value: clean(&value.to_string()),
        });
    }

    /// Takes the rows of `newer`, for whole cases: what was here of these goes. The cases come in
    /// the order of `order`.
    pub(super) fn replace(&mut self, newer: Self, order: &[&str]) {
        self.rows.retain(|row| newer.rows.iter().all(|new| new.case != row.case));
        self.rows.extend(newer.rows);
        self.rows.sort_by_key(|row| order.iter().position(|case| *case == row.case));
    }

    /// The servers of a case, in the order of their first figure.
    pub(super) fn servers(&self, case: &str) -> Vec<&str> {
        let mut servers = Vec::new();
        for row in self.rows.iter().filter(|row| row.case == case && row.round > 0) {
            if !servers.contains(&row.server.as_str()) {
                servers.push(&row.server);
            }
        }
        servers
    }

    /// A figure of every round that has it.
    pub(super) fn values(&self, case: &str, server: &str, figure: &str) -> Vec<f64> {
        let is_wanted = |row: &&Row| {
            row.case == case && row.server == server && row.figure == figure && row.round > 0
        };
        self.rows.iter().filter(is_wanted).filter_map(|row| row.value.parse().ok()).collect()
    }

    /// The median of a figure; `None` where it was not measured.
    pub(super) fn median(&self, case: &str, server: &str, figure: &str) -> Option<f64> {
        median(self.values(case, server, figure))
    }

    /// A fact about a case.
    pub(super) fn fact(&self, case: &str, server: &str, figure: &str) -> Option<&str> {
        let mut facts = self.rows.iter().filter(|row| row.round == 0);
        facts
            .find(|row| row.case == case && row.server == server && row.figure == figure)
            .map(|row| row.value.as_str())
    }
}

/// The middle value, or the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 if values.is_empty() => None,
        0 => Some(f64::midpoint(values[middle - 1], values[middle])),
        _ => Some(values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_that_was_measured_again_takes_the_place_of_the_old_one() {
        let mut old = Raw::default();
        old.add("one", "levada", 1, "rate", &5);
        old.add("two", "levada", 1, "rate", &6);
        let mut new = Raw::default();
        new.add("one", "levada", 0, "version", &"1, \n2");
        for (round, rate) in [(1, 9.0), (2, 7.0), (3, 8.5)] {
            new.add("one", "levada", round, "rate", &rate);
        }
        old.replace(new, &["one", "two"]);
        let read = Raw::parse(&old.text()).expect("what was written can be read");
        assert_eq!(read.rows, old.rows);
        assert_eq!(read.fact("one", "levada", "version"), Some("1; ;2"));
        assert_eq!(read.median("one", "levada", "rate"), Some(8.5));
        assert_eq!(read.median("two", "levada", "rate"), Some(6.0));
        assert_eq!(read.median("two", "null", "rate"), None);
        assert_eq!(read.servers("one"), ["levada"]);
    }
}
