//! The rates of the main cases as bars, each case to its own scale: docs/bench/rates.svg.

use std::fmt::Write as _;

use super::case::{CASES, Case, Figure, Who};
use super::raw::Raw;
use crate::kills::server::Fsync::Always;
use crate::kills::server::Program::{Redis82, Redis86, Valkey91};

/// Who is shown, and in which colour: those with our promise.
const SHOWN: [(Who, &str); 4] = [
    (Who::Levada, "#d1495b"),
    (Who::Peer(Redis86, Always), "#1b6ca8"),
    (Who::Peer(Redis82, Always), "#7fb3d5"),
    (Who::Peer(Valkey91, Always), "#8f8f8f"),
];
/// The figure that bars show.
const FIGURE: &str = "rate";
/// In pixels: where bars begin, the longest, and how high each is.
const LEFT: u32 = 190;
const LONGEST: f64 = 420.0;
const BAR: u32 = 13;
const WIDTH: u32 = 760;

/// The picture; empty groups are left out.
pub(super) fn svg(raw: &Raw) -> String {
    let mut body = String::new();
    let mut y = 34;
    for case in CASES.iter().filter(|case| case.figures[0] == FIGURE && !case.once) {
        group(&mut body, case, raw, &mut y);
    }
    let height = y + 10;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"14\">Entries a second, acknowledged means on disk \
         for all; each group has its own scale</text>\n{body}</svg>\n"
    )
}

/// The bars of one case; moves `y` below them.
fn group(body: &mut String, case: &Case, raw: &Raw, y: &mut u32) {
    let rate = |who: &Who| raw.median(case.name, &who.name(), FIGURE);
    let rates: Vec<_> = SHOWN.iter().map(|(who, colour)| (who, colour, rate(who))).collect();
    let most = rates.iter().filter_map(|(.., rate)| *rate).fold(0.0, f64::max);
    if most <= 0.0 {
        return;
    }
    writeln!(body, "<text x=\"10\" y=\"{}\" font-weight=\"bold\">{}</text>", *y + 14, case.title)
        .expect("a string takes all");
    *y += 20;
    for (who, colour, rate) in rates {
        let Some(rate) = rate else {
            continue;
        };
        let (length, base, name) = (rate / most * LONGEST, *y + 10, who.name());
        let end = f64::from(LEFT) + length + 6.0;
        let shown = Figure::of(FIGURE).show(rate);
        writeln!(
            body,
            "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\" fill=\"{colour}\"/>\
             <text x=\"{end:.1}\" y=\"{base}\">{shown}</text>",
            LEFT - 8,
            BAR - 2
        )
        .expect("a string takes all");
        *y += BAR;
    }
    *y += 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_is_the_fastest_and_what_was_not_measured_is_left_out() {
        let mut raw = Raw::default();
        raw.add("xadd-p16", "levada", 1, "rate", &200);
        raw.add("xadd-p16", "redis 8.6 always", 1, "rate", &100);
        let picture = svg(&raw);
        assert!(picture.contains("width=\"420.0\" height=\"11\" fill=\"#d1495b\""), "{picture}");
        assert!(picture.contains("width=\"210.0\" height=\"11\" fill=\"#1b6ca8\""), "{picture}");
        assert_eq!(picture.matches("<rect").count(), 3);
    }
}
