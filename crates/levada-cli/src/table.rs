//! What people see: columns as wide as what is in them, and colour where a terminal shows it.
//!
//! Colour is only for emphasis: nothing is said by it alone. It is there on a terminal, unless
//! `--no-color`, `NO_COLOR` or `CLICOLOR=0` say otherwise; `CLICOLOR_FORCE` wants it in a pipe too.
//! Programs read `--json`, which never comes through here.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

/// What a cell says beside its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tone {
    /// Nothing.
    Plain,
    /// The head of a column.
    Head,
    /// There is nothing, or nobody knows.
    Dim,
    /// Somebody should look.
    Warn,
    /// Beyond what was allowed.
    Bad,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Head => Style::new().bold(),
            Self::Dim => Style::new().dimmed(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
        }
    }

    /// Text of this tone.
    pub(crate) fn paint(self, text: &str) -> String {
        let style = self.style();
        format!("{style}{text}{style:#}")
    }
}

/// A cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Text of a tone.
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    /// A number that is `?` where nobody knows it, and pale where it is 0.
    pub(crate) fn number(value: Option<u64>) -> Self {
        match value {
            None => Self::new("?", Tone::Dim),
            Some(0) => Self::new("0", Tone::Dim),
            Some(value) => Self::new(value.to_string(), Tone::Plain),
        }
    }

    /// An age that is pale where there is none.
    pub(crate) fn age(ms: Option<u64>) -> Self {
        Self::new(crate::when::age(ms), if ms.is_none() { Tone::Dim } else { Tone::Plain })
    }

    /// The same in another tone, where that is so.
    #[must_use]
    pub(crate) fn tone_if(self, is_so: bool, tone: Tone) -> Self {
        if is_so { Self { tone, ..self } } else { self }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// Where a column is flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Column {
    /// For text.
    Left(&'static str),
    /// For numbers.
    Right(&'static str),
}

/// Rows below heads. All of it is in memory: callers bound what they show.
#[derive(Clone, Debug)]
pub(crate) struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    /// One without rows.
    pub(crate) fn new(columns: [Column; N]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: [Cell; N]) {
        self.rows.push(row);
    }

    /// The lines, with escape sequences for tones.
    pub(crate) fn text(&self) -> String {
        let head = self.columns.map(|column| match column {
            Column::Left(name) | Column::Right(name) => Cell::new(name, Tone::Head),
        });
        let lines = || std::iter::once(&head).chain(&self.rows);
        let mut widths = [0; N];
        for line in lines() {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.text.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for line in lines() {
            for (at, ((cell, column), width)) in
                line.iter().zip(self.columns).zip(widths).enumerate()
            {
                let between = if at == 0 { "" } else { "  " };
                let gap = " ".repeat(width - cell.text.chars().count());
                let cell = cell.tone.paint(&cell.text);
                let _ = match column {
                    Column::Right(_) => write!(text, "{between}{gap}{cell}"),
                    // Nothing behind the last but its end.
                    Column::Left(_) if at + 1 == N => write!(text, "{between}{cell}"),
                    Column::Left(_) => write!(text, "{between}{cell}{gap}"),
                };
            }
            text.push('\n');
        }
        text
    }
}

/// Prints text for people; its escape sequences go where no colour is wanted, or where there is no
/// terminal to show it.
pub(crate) fn print(text: &str, no_color: bool) -> io::Result<()> {
    let choice = if no_color { ColorChoice::Never } else { ColorChoice::Auto };
    let mut out = AutoStream::new(io::stdout(), choice).lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What somebody sees who wants no colour.
    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut table =
            Table::new([Column::Left("STREAM"), Column::Right("LAG"), Column::Left("LAST")]);
        table.push(["orders:caf\u{e9}".to_owned().into(), Cell::number(Some(7)), Cell::age(None)]);
        table.push(["s".to_owned().into(), Cell::number(None), Cell::age(Some(61_000))]);
        assert_eq!(
            plain(&table.text()),
            "STREAM       LAG  LAST\norders:caf\u{e9}    7  -\ns              ?  1m\n"
        );
    }

    #[test]
    fn a_tone_is_colour_and_not_text() {
        let bad = Cell::number(Some(7)).tone_if(true, Tone::Bad);
        let mut table = Table::new([Column::Right("LAG")]);
        table.push([bad]);
        let text = table.text();
        assert!(text.contains("\u{1b}[31m") && text.contains("\u{1b}[0m"), "{text:?}");
        assert_eq!(plain(&text), "LAG\n  7\n");
        assert_eq!(Tone::Plain.paint("x"), "x");
    }
}
