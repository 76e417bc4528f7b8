//! What must hold, by the medians of a run.

use super::case::{Figure, NEWEST, Who};
use super::raw::Raw;
use crate::kills::server::Fsync;

/// One promise about speed or size.
#[derive(Debug)]
pub(super) struct Gate {
    case: &'static str,
    what: &'static str,
    ours: Who,
    figure: &'static str,
    against: Against,
    bound: f64,
}

/// Without an engine, without a server, without a log: what we could come to at best.
pub(super) const BOUNDS: [Who; 3] = [Who::Null, Who::Disk, Who::NullSyncs];

/// What ours is divided by.
#[derive(Debug, Clone, Copy)]
enum Against {
    /// The best of the newest peers with one of these promises.
    Best(&'static [Fsync]),
    /// Our own other figure of the same measurement.
    Own(&'static str),
    /// Nothing: the bound is an amount.
    Amount,
}

/// How a gate came out.
#[derive(Debug)]
pub(super) struct Verdict {
    /// The line of the table, without the last column.
    pub(super) words: [String; 8],
    /// `None` where it was not measured.
    pub(super) passes: Option<bool>,
    /// What would not pass either, of [`BOUNDS`].
    pub(super) bound: Option<Who>,
}

impl Gate {
    /// Looks at what was measured.
    pub(super) fn judge(&self, raw: &Raw) -> Verdict {
        let figure = Figure::of(self.figure);
        let ours = raw.median(self.case, &self.ours.name(), self.figure);
        let theirs = self.theirs(raw, figure);
        let alone = |who: Who| raw.median(self.case, &who.name(), self.figure);
        let to_theirs = |ours: Option<f64>| match self.against {
            Against::Amount => None,
            _ => ours.zip(theirs.as_ref()).map(|(ours, (_, theirs))| ours / theirs),
        };
        let judged = |ours: Option<f64>| match self.against {
            Against::Amount => ours,
            _ => to_theirs(ours),
        };
        let passes = |judged| !figure.is_better(self.bound, judged);
        // Who answers before the sync is not held up by the disk.
        let binds = |who: &Who| *who == Who::Null || self.ours == Levada;
        let fails = |who: &Who| judged(alone(*who)).is_some_and(|ratio| !passes(ratio));
        let bound = BOUNDS.into_iter().filter(binds).find(fails);
        let passes = judged(ours).map(passes);
        let shown = |who| alone(who).map_or_else(none, |value| figure.show(value));
        let ratio = to_theirs(ours);
        let sign = if figure.more_is_better { ">=" } else { "<=" };
        let words = [
            format!("{}: {}, {}", self.what, self.ours.name(), figure.title),
            ours.map_or_else(none, |ours| figure.show(ours)),
            theirs.map_or_else(none, |(name, value)| format!("{} ({name})", figure.show(value))),
            shown(Who::Null),
            shown(Who::Disk),
            shown(Who::NullSyncs),
            ratio.map_or_else(none, |ratio| format!("{ratio:.3}")),
            format!("{sign} {}", self.bound),
        ];
        Verdict { words, passes, bound }
    }

    /// What ours is compared with: its name and figure.
    fn theirs(&self, raw: &Raw, figure: &Figure) -> Option<(String, f64)> {
        let promises = match self.against {
            Against::Best(promises) => promises,
            Against::Amount => &[Fsync::Always, Fsync::Everysec][..],
            Against::Own(other) => {
                let value = raw.median(self.case, &self.ours.name(), other)?;
                return Some((Figure::of(other).title.to_owned(), value));
            }
        };
        let mut best: Option<(String, f64)> = None;
        for (fsync, program) in promises.iter().flat_map(|one| NEWEST.map(|peer| (one, peer))) {
            let name = Who::Peer(program, *fsync).name();
            let Some(value) = raw.median(self.case, &name, self.figure) else {
                continue;
            };
            if best.as_ref().is_none_or(|(_, best)| figure.is_better(value, *best)) {
                best = Some((name, value));
            }
        }
        best
    }
}

fn none() -> String {
    "-".to_owned()
}

const ALWAYS: Against = Against::Best(&[Fsync::Always]);
const EVERYSEC: Against = Against::Best(&[Fsync::Everysec]);
const EITHER: Against = Against::Best(&[Fsync::Always, Fsync::Everysec]);

const fn gate(
    case: &'static str,
    what: &'static str,
    ours: Who,
    figure: &'static str,
    against: Against,
    bound: f64,
) -> Gate {
    Gate { case, what, ours, figure, against, bound }
}

use Who::{Interval, Levada};

/// All of them.
#[rustfmt::skip]
pub(super) const GATES: &[Gate] = &[
    gate("xadd-p16", "XADD pipeline 16", Levada, "rate", ALWAYS, 2.0),
    gate("xadd-p128", "XADD pipeline 128", Levada, "rate", ALWAYS, 3.0),
    gate("xadd-p16", "XADD pipeline 16", Levada, "rate", EVERYSEC, 1.5),
    gate("xadd-p128", "XADD pipeline 128", Levada, "rate", EVERYSEC, 3.0),
    gate("xadd-c1", "XADD 1 client", Levada, "rate", ALWAYS, 1.2),
    gate("xadd-c50", "XADD 50 clients", Levada, "rate", ALWAYS, 1.1),
    gate("xadd-c500", "XADD 500 clients", Levada, "rate", ALWAYS, 1.0),
    gate("xadd-c50", "XADD 50 clients", Levada, "rate", EVERYSEC, 0.95),
    gate("xadd-c50", "XADD 50 clients", Interval, "rate", EVERYSEC, 0.95),
    gate("xadd-c50", "XADD 50 clients", Levada, "cpu_us", EVERYSEC, 1.0),
    gate("xadd-c50", "XADD 50 clients", Interval, "cpu_us", EVERYSEC, 0.9),
    gate("slow-sync", "Slow syncs, writes", Levada, "rate", ALWAYS, 1.5),
    gate("slow-sync", "Slow syncs", Levada, "read_p99_us", ALWAYS, 0.1),
    gate("group", "XREADGROUP 100 + XACK 100", Levada, "cpu_us", EVERYSEC, 0.25),
    gate("deliver", "XADD to blocked XREADGROUP", Levada, "p50_us", ALWAYS, 0.8),
    gate("deliver", "XADD to blocked XREADGROUP", Levada, "p99_us", ALWAYS, 0.6),
    gate("deliver", "XADD to blocked XREADGROUP", Levada, "p999_us", ALWAYS, 0.3),
    gate("long-10m", "10 million entries", Levada, "rss_bytes", EITHER, 0.25),
    gate("pending", "1 million pending", Levada, "pending_bytes", Against::Amount, 24.0),
    gate("pending", "1 million pending", Levada, "idle_us", EITHER, 0.01),
    gate("pending", "1 million pending, nothing found", Levada, "pass_us", EITHER, 0.01),
    gate("long-1m", "1 million entries, kill -9", Levada, "restart_ms", Against::Amount, 600.0),
    gate("long-10m", "10 million entries, kill -9", Levada, "restart_ms", Against::Amount, 600.0),
    gate("streams-memory", "10,000 streams", Levada, "growth_bytes", EITHER, 0.2),
    gate("streams", "10,000 streams in turn", Levada, "rate", Against::Own("one_rate"), 0.85),
    gate("streams-p16", "In turn, pipeline 16", Levada, "rate", Against::Own("one_rate"), 0.85),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::case::CASES;
    use crate::kills::server::Program;

    #[test]
    fn every_gate_is_about_a_case_that_measures_its_figure_and_its_servers() {
        for gate in GATES {
            let case = CASES.iter().find(|case| case.name == gate.case).expect(gate.case);
            assert!(case.figures.contains(&gate.figure), "{gate:?}");
            assert!(case.servers.contains(&gate.ours), "{gate:?}");
            match gate.against {
                Against::Own(other) => assert!(case.figures.contains(&other), "{gate:?}"),
                Against::Amount => {}
                Against::Best(promises) => {
                    let is_there =
                        |(fsync, program)| case.servers.contains(&Who::Peer(program, fsync));
                    let mut all =
                        promises.iter().flat_map(|fsync| NEWEST.map(|program| (*fsync, program)));
                    assert!(all.any(is_there), "{gate:?}");
                }
            }
        }
    }

    #[test]
    fn the_best_of_the_newest_counts_and_the_bound_itself_passes() {
        let mut raw = Raw::default();
        let peer = |program| Who::Peer(program, Fsync::Always).name();
        raw.add("xadd-c50", "levada", 1, "rate", &110);
        raw.add("xadd-c50", &peer(Program::Redis86), 1, "rate", &90);
        raw.add("xadd-c50", &peer(Program::Valkey91), 1, "rate", &100);
        raw.add("xadd-c50", &peer(Program::Redis70), 1, "rate", &500);
        let mut gate = gate("xadd-c50", "", Levada, "rate", ALWAYS, 1.1);
        let verdict = gate.judge(&raw);
        assert_eq!(verdict.words[1..3], ["110", "100 (valkey 9.1 always)"]);
        assert_eq!(verdict.words[3..7], ["-", "-", "-", "1.100"]);
        assert_eq!((verdict.passes, verdict.bound), (Some(true), None));
        raw.add("xadd-c50", "null", 1, "rate", &120);
        raw.add("xadd-c50", "disk", 1, "rate", &115);
        raw.add("xadd-c50", "null + disk", 1, "rate", &112);
        for (bound, by) in [
            (1.12, None),
            (1.15, Some(Who::NullSyncs)),
            (1.2, Some(Who::Disk)),
            (1.25, Some(Who::Null)),
        ] {
            gate.bound = bound;
            let verdict = gate.judge(&raw);
            assert_eq!(verdict.words[3..6], ["120", "115", "112"]);
            assert_eq!((verdict.passes, verdict.bound), (Some(false), by));
        }
        raw.add("xadd-c50", "levada INTERVAL", 1, "rate", &110);
        (gate.ours, gate.bound) = (Interval, 1.2);
        assert_eq!(gate.judge(&raw).bound, None, "it waits for no disk");
        gate.case = "xadd-c1";
        assert_eq!(gate.judge(&raw).passes, None);
    }
}
