//! What the suite has printed, counted.

use std::collections::{BTreeMap, BTreeSet};

/// Results by part of the suite.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    parts: BTreeMap<String, Part>,
    failures: Vec<String>,
    skipped: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Part {
    passed: usize,
    failed: usize,
    skipped: usize,
    /// Tests, or groups of them, that this way of running leaves out.
    ignored: usize,
}

impl Outcome {
    /// Reads the output. One part runs after the other.
    pub(super) fn parse(text: &str) -> Self {
        let mut outcome = Self::default();
        let mut current = String::new();
        let text = plain(text);
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("Testing ") {
                name.clone_into(&mut current);
                outcome.parts.entry(current.clone()).or_default();
                continue;
            }
            let Some((status, name)) =
                line.strip_prefix('[').and_then(|rest| rest.split_once("]: "))
            else {
                continue;
            };
            let count: fn(&mut Part) -> &mut usize = match status {
                "ok" => |part| &mut part.passed,
                "ignore" => |part| &mut part.ignored,
                "skip" => |part| &mut part.skipped,
                "err" | "exception" => |part| &mut part.failed,
                _ => continue,
            };
            *count(outcome.parts.entry(current.clone()).or_default()) += 1;
            match status {
                "skip" => drop(outcome.skipped.insert(name.to_owned())),
                "err" | "exception" => outcome.failures.push(name.to_owned()),
                _ => {}
            }
        }
        outcome
    }

    /// Tests that a part has passed.
    pub(super) fn passed(&self, part: &str) -> usize {
        self.parts.get(part).map_or(0, |part| part.passed)
    }

    /// Tests of a part that were left out by name.
    pub(super) fn skipped(&self, part: &str) -> usize {
        self.parts.get(part).map_or(0, |part| part.skipped)
    }

    /// Whether a test of this name was left out.
    pub(super) fn has_skipped(&self, name: &str) -> bool {
        self.skipped.contains(name)
    }

    /// The names of what failed, with their files.
    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// A line for each part.
    pub(super) fn text(&self) -> String {
        let line = |(name, part): (&String, &Part)| {
            let Part { passed, failed, skipped, ignored } = part;
            format!(
                "{name}: {passed} passed, {failed} failed, {skipped} left out, {ignored} not for a \
                 running server"
            )
        };
        self.parts.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// The text without escape sequences for colours.
fn plain(text: &str) -> String {
    let mut pieces = text.split("\x1b[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain.push_str(piece.split_once('m').map_or(piece, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    const OUTPUT: &str = "\
Starting test server at port 21079
[ready]: 24808
Testing unit/type/stream
[\x1b[0;32;49mok\x1b[0m]: One [2] (1 ms)
[ok]: Two (1 ms)
[skip]: Three
[ignore]: Four: Not supported on external server
[1/2 done]: unit/type/stream (45 seconds)
Testing unit/pubsub
[err]: Five in tests/unit/pubsub.tcl
Expected 1 == 2
[ok]: Six (3 ms)
";

    #[test]
    fn results_are_counted_by_part() {
        let outcome = Outcome::parse(OUTPUT);
        assert_eq!(outcome.passed("unit/type/stream"), 2);
        assert_eq!(outcome.skipped("unit/type/stream"), 1);
        assert_eq!(outcome.passed("unit/pubsub"), 1);
        assert_eq!(outcome.passed("unit/other"), 0);
        assert_eq!(outcome.failures(), ["Five in tests/unit/pubsub.tcl"]);
        assert!(outcome.has_skipped("Three") && !outcome.has_skipped("Four"));
        let text = outcome.text();
        assert!(
            text.contains(
                "unit/type/stream: 2 passed, 0 failed, 1 left out, 1 not for a running server"
            ),
            "{text}"
        );
    }
}
