//! The text format of Prometheus: a head for each metric, a line for each sample.

use std::fmt::{Display, Write as _};

use super::{Histogram, Kind, Metric};

/// A text being written.
#[derive(Default, Debug)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn into_string(self) -> String {
        self.0
    }

    /// What a metric is; its samples follow at once.
    fn head(&mut self, metric: &Metric) {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let Metric { name, help, .. } = metric;
        write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n").expect("a string");
    }

    /// A metric without labels.
    pub(crate) fn one(&mut self, metric: &Metric, value: impl Display) {
        self.head(metric);
        writeln!(self.0, "{} {value}", metric.name).expect("a string takes all");
    }

    /// A metric with labels, a sample each.
    pub(crate) fn many<'a, V: Display>(
        &mut self,
        metric: &Metric,
        samples: impl Iterator<Item = (Vec<&'a str>, V)>,
    ) {
        self.head(metric);
        for (values, value) in samples {
            self.0.push_str(metric.name);
            for (at, (label, text)) in metric.labels.iter().zip(values).enumerate() {
                self.0.push(if at == 0 { '{' } else { ',' });
                write!(self.0, "{label}=\"{}\"", escaped(text)).expect("a string takes all");
            }
            writeln!(self.0, "}} {value}").expect("a string takes all");
        }
    }

    /// A histogram; `unit` is what one of Prometheus' units is of ours.
    pub(crate) fn histogram<const N: usize>(
        &mut self,
        metric: &Metric,
        histogram: &Histogram<N>,
        unit: u64,
    ) {
        self.head(metric);
        let name = metric.name;
        for (bound, count) in histogram.cumulative() {
            let bound = quotient(bound, unit);
            writeln!(self.0, "{name}_bucket{{le=\"{bound}\"}} {count}").expect("a string");
        }
        let (count, sum) = (histogram.count, quotient(histogram.sum, unit));
        write!(
            self.0,
            "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}\n"
        )
        .expect("a string takes all");
    }
}

/// A number in a larger unit.
#[expect(clippy::cast_precision_loss, reason = "for people and for graphs")]
pub(crate) fn quotient(value: u64, unit: u64) -> f64 {
    value as f64 / unit as f64
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Bytes of a name that is told: longer ones are counted with the others.
const LABEL_BYTES_MAX: usize = 256;

/// The label of a name, another one for every name; `None` for one that is too long. What begins
/// with a bracket is ours.
pub(super) fn label(name: &[u8]) -> Option<String> {
    if name.len() > LABEL_BYTES_MAX {
        return None;
    }
    let plain = |text: &&str| !text.contains(|letter: char| letter.is_control() || letter == '\\');
    Some(match std::str::from_utf8(name).ok().filter(plain) {
        Some(text) if text.starts_with('(') => format!("\\{text}"),
        Some(text) => text.to_owned(),
        None => name.escape_ascii().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_label_of_its_own() {
        let check = |name: &[u8], expect: &str| {
            assert_eq!(label(name).as_deref(), Some(expect));
        };
        check(b"orders", "orders");
        check("caf\u{e9} \"1\"".as_bytes(), "caf\u{e9} \"1\"");
        check(b"a\\n", "a\\\\n");
        check(b"a\n", "a\\n");
        check(b"\xff", "\\xff");
        check(b"\\xff", "\\\\xff");
        check(b"(other)", "\\(other)");
        assert_eq!(label(&[b'x'; 257]), None);
    }

    #[test]
    fn lines_are_those_of_the_format() {
        let metric = |kind, labels| Metric { name: "m", kind, help: "Help.", labels };
        let mut text = Text::default();
        text.one(&metric(Kind::Gauge, &[]), 7);
        let samples = [(vec!["a\"b\\c\nd", "x"], 1)];
        text.many(&metric(Kind::Counter, &["k", "l"]), samples.into_iter());
        let mut histogram = Histogram::new([500, 1_000]);
        [400, 700, 9_000].into_iter().for_each(|value| histogram.note(value));
        text.histogram(&metric(Kind::Histogram, &[]), &histogram, 1_000);
        assert_eq!(
            text.into_string(),
            "# HELP m Help.\n# TYPE m gauge\nm 7\n# HELP m Help.\n# TYPE m counter\n\
             m{k=\"a\\\"b\\\\c\\nd\",l=\"x\"} 1\n# HELP m Help.\n# TYPE m histogram\n\
             m_bucket{le=\"0.5\"} 1\nm_bucket{le=\"1\"} 2\nm_bucket{le=\"+Inf\"} 3\n\
             m_sum 10.1\nm_count 3\n"
        );
    }
}
