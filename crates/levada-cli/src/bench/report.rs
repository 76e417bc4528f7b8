//! What was measured, for people, for tables, and as a picture.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;

use super::process::Usage;

/// The result of one case.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) case: String,
    /// Messages, deliveries or replies: what the rate and the CPU are for each of.
    pub(super) count: u64,
    pub(super) elapsed: Duration,
    /// In nanoseconds.
    pub(super) latencies: Histogram<u64>,
    pub(super) before: Usage,
    pub(super) after: Usage,
}

/// The head of the CSV file. Figures that could not be had are empty.
const HEAD: &str = "case,count,seconds,rate,p50_us,p99_us,p999_us,max_us,cpu_us,rss_bytes,\
                    rss_growth_bytes,written_bytes,commits";

#[expect(clippy::cast_precision_loss, reason = "figures to read")]
impl Row {
    fn rate(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    fn quantile_us(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e3
    }

    /// Server CPU for each, in microseconds.
    fn cpu_us(&self) -> Option<f64> {
        let used = self.after.cpu?.saturating_sub(self.before.cpu?);
        Some(used.as_secs_f64() * 1e6 / self.count.max(1) as f64)
    }

    fn growth(&self, figure: impl Fn(&Usage) -> Option<u64>) -> Option<i64> {
        let (after, before) = (figure(&self.after)?, figure(&self.before)?);
        Some(i64::try_from(after).ok()? - i64::try_from(before).ok()?)
    }

    /// A line for people.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{:<11} {:>10.0}/s  p50 {:>9.1} us  p99 {:>9.1} us  p99.9 {:>9.1} us",
            self.case,
            self.rate(),
            self.quantile_us(0.5),
            self.quantile_us(0.99),
            self.quantile_us(0.999)
        );
        if let Some(cpu) = self.cpu_us() {
            write!(text, "  CPU {cpu:.2} us").expect("a string takes all");
        }
        if let Some(rss) = self.after.rss_bytes {
            write!(text, "  RSS {} MiB", rss >> 20).expect("a string takes all");
        }
        if let Some(written) = self.growth(|usage| usage.written_bytes) {
            write!(text, "  written {} MiB", written >> 20).expect("a string takes all");
        }
        if let Some(commits) = self.growth(|usage| usage.commits) {
            write!(text, "  commits {commits}").expect("a string takes all");
        }
        text
    }

    /// An object for programs; figures that could not be had are null.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "case": self.case,
            "count": self.count,
            "seconds": self.elapsed.as_secs_f64(),
            "rate": self.rate(),
            "p50_us": self.quantile_us(0.5),
            "p99_us": self.quantile_us(0.99),
            "p999_us": self.quantile_us(0.999),
            "max_us": self.latencies.max() as f64 / 1e3,
            "cpu_us": self.cpu_us(),
            "rss_bytes": self.after.rss_bytes,
            "rss_growth_bytes": self.growth(|usage| usage.rss_bytes),
            "written_bytes": self.growth(|usage| usage.written_bytes),
            "commits": self.growth(|usage| usage.commits),
        })
    }

    fn csv(&self) -> String {
        fn shown<T: ToString>(figure: Option<T>) -> String {
            figure.map(|figure| figure.to_string()).unwrap_or_default()
        }
        format!(
            "{},{},{:.6},{:.1},{:.3},{:.3},{:.3},{:.3},{},{},{},{},{}",
            self.case,
            self.count,
            self.elapsed.as_secs_f64(),
            self.rate(),
            self.quantile_us(0.5),
            self.quantile_us(0.99),
            self.quantile_us(0.999),
            self.latencies.max() as f64 / 1e3,
            shown(self.cpu_us()),
            shown(self.after.rss_bytes),
            shown(self.growth(|usage| usage.rss_bytes)),
            shown(self.growth(|usage| usage.written_bytes)),
            shown(self.growth(|usage| usage.commits)),
        )
    }
}

/// Writes all rows as CSV.
pub(super) fn write_csv(rows: &[Row], path: &Path) -> Result<()> {
    let head = std::iter::once(HEAD.to_owned());
    let lines: Vec<String> = head.chain(rows.iter().map(Row::csv)).collect();
    let text = lines.join("\n") + "\n";
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Shares of latencies that the picture shows, from left to right.
const SHARES: [(f64, &str); 6] =
    [(0.0, "min"), (0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "max")];
const COLOURS: [&str; 8] =
    ["#1b6ca8", "#d1495b", "#2e8b57", "#e09f3e", "#6a4c93", "#3aa6a6", "#8c564b", "#555555"];

/// Draws the latencies of all rows: shares from left to right, time upwards, ten times per step.
pub(super) fn write_svg(rows: &[Row], path: &Path) -> Result<()> {
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"440\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"720\" height=\"440\" fill=\"white\"/>\n",
    );
    for (place, (_, name)) in (0_u32..).zip(SHARES) {
        writeln!(svg, "<text x=\"{}\" y=\"430\">{name}</text>", 70 + place * 90)?;
    }
    for (step, name) in (0_u32..).zip(["1 us", "10 us", "100 us", "1 ms", "10 ms", "100 ms", "1 s"])
    {
        let y = 400 - step * 60;
        writeln!(svg, "<text x=\"10\" y=\"{y}\">{name}</text>")?;
        writeln!(svg, "<path d=\"M60 {y}H540\" stroke=\"#ddd\"/>")?;
    }
    for ((place, row), colour) in (0_u32..).zip(rows).zip(COLOURS.iter().cycle()) {
        let points: Vec<String> = (0_u32..)
            .zip(SHARES)
            .map(|(at, (share, _))| {
                let height = row.quantile_us(share).max(1.0).log10() * 60.0;
                format!("{},{:.1}", 75 + at * 90, 400.0 - height)
            })
            .collect();
        let points = points.join(" ");
        writeln!(svg, "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\"/>")?;
        let (y, name) = (30 + place * 18, &row.case);
        writeln!(svg, "<text x=\"560\" y=\"{y}\" fill=\"{colour}\">{name}</text>")?;
    }
    svg.push_str("</svg>\n");
    std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))
}
