//! What is measured, of whom, and which figures are shown.

use crate::kills::server::{Fsync, Kind, Program};

/// A server in a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Ours as it is by default: a reply means that the entry is on disk.
    Levada,
    /// Ours, the stream under DURABILITY INTERVAL: as `everysec`.
    Interval,
    /// Ours without an engine: the ceiling.
    Null,
    /// Ours without an engine, but a page is synced before replies leave: the ceiling of who is
    /// durable.
    NullSyncs,
    /// No server: what the device comes to, by our load generator.
    Disk,
    /// Another one.
    Peer(Program, Fsync),
}

impl Who {
    /// The name in tables and in the raw file.
    pub(super) fn name(self) -> String {
        match self {
            Self::Interval => "levada INTERVAL".to_owned(),
            Self::Disk => "disk".to_owned(),
            _ => self.kind().name(),
        }
    }

    /// The program that plays it.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Levada | Self::Interval | Self::Disk => Kind::Levada,
            Self::Null => Kind::Null,
            Self::NullSyncs => Kind::NullSyncs,
            Self::Peer(program, fsync) => Kind::Peer(program, fsync),
        }
    }
}

/// One case.
#[derive(Debug)]
pub(super) struct Case {
    /// The name behind `--only` and in the raw file.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) how: How,
    pub(super) servers: &'static [Who],
    /// Each server is started for it, alone, and measured once: big data sets, and memory.
    pub(super) once: bool,
    /// The columns of its table.
    pub(super) figures: &'static [&'static str],
}

/// How a case is measured.
#[derive(Debug)]
pub(super) enum How {
    /// XADD by redis-benchmark.
    Append { clients: u32, pipeline: u32 },
    /// Runs of `levada bench`, one after the other.
    Bench(&'static [Run]),
    /// The same on servers whose every sync takes 2 ms longer.
    Slow(&'static [Run]),
    /// So many entries in one stream, `kill -9` and a restart.
    Long { entries: u64 },
}

/// One run of `levada bench`.
#[derive(Debug)]
pub(super) struct Run {
    /// What stands behind its options for the server, and the same for `--smoke`.
    pub(super) words: &'static str,
    pub(super) small: &'static str,
    /// Which figures are kept: row and column of its file, and the name in ours.
    pub(super) takes: &'static [(&'static str, &'static str, &'static str)],
}

/// A figure: its name in the raw file and in the page, decimals, and whether more is better.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) decimals: usize,
    /// What it is divided by where it is shown.
    pub(super) unit: f64,
    pub(super) more_is_better: bool,
}

const fn figure(name: &'static str, title: &'static str, decimals: usize) -> Figure {
    Figure { name, title, decimals, unit: 1.0, more_is_better: false }
}

const fn rate(name: &'static str, title: &'static str) -> Figure {
    Figure { name, title, decimals: 0, unit: 1.0, more_is_better: true }
}

const fn mebibytes(name: &'static str, title: &'static str) -> Figure {
    Figure { name, title, decimals: 1, unit: 1_048_576.0, more_is_better: false }
}

const FIGURES: &[Figure] = &[
    rate("rate", "per s"),
    figure("cpu_us", "server CPU us", 2),
    figure("p50_us", "p50 us", 0),
    figure("p99_us", "p99 us", 0),
    figure("p999_us", "p99.9 us", 0),
    rate("one_rate", "one stream, per s"),
    rate("fill_rate", "filled, per s"),
    figure("read_p50_us", "readers p50 us", 0),
    figure("read_p99_us", "readers p99 us", 0),
    mebibytes("rss_bytes", "RSS MiB"),
    mebibytes("growth_bytes", "RSS growth MiB"),
    mebibytes("rss_then_bytes", "RSS after restart MiB"),
    mebibytes("disk_bytes", "disk MiB"),
    figure("restart_ms", "restart ms", 0),
    figure("pending_bytes", "bytes per pending entry", 1),
    figure("idle_us", "XPENDING IDLE us", 0),
    figure("claim_us", "one XAUTOCLAIM us", 0),
    figure("pass_us", "XAUTOCLAIM of all us", 0),
    figure("whole_us", "one XAUTOCLAIM of all us", 0),
];

impl Figure {
    /// The figure of this name.
    pub(super) fn of(name: &str) -> &'static Self {
        let found = FIGURES.iter().find(|figure| figure.name == name);
        found.expect("every figure of a case stands in the list; a test sees to it")
    }

    /// As it is shown.
    pub(super) fn show(&self, value: f64) -> String {
        format!("{:.*}", self.decimals, value / self.unit)
    }

    /// Whether `one` beats `other`.
    pub(super) fn is_better(&self, one: f64, other: f64) -> bool {
        if self.more_is_better { one > other } else { one < other }
    }
}

/// The peers that gates are about, the newest ones.
pub(super) const NEWEST: [Program; 3] = [Redis86, Redis82, Valkey91];

use Fsync::{Always, Everysec};
use Program::{Redis70, Redis82, Redis86, Valkey91};
use Who::{Disk, Interval, Levada, Null, NullSyncs, Peer};

const BOTH: &[Who] = &[
    Levada,
    Null,
    Peer(Redis86, Always),
    Peer(Redis82, Always),
    Peer(Valkey91, Always),
    Peer(Redis70, Always),
    Peer(Redis86, Everysec),
    Peer(Redis82, Everysec),
    Peer(Valkey91, Everysec),
    Peer(Redis70, Everysec),
];
const WITH_INTERVAL: &[Who] = &[
    Levada,
    Interval,
    Null,
    NullSyncs,
    Peer(Redis86, Always),
    Peer(Redis82, Always),
    Peer(Valkey91, Always),
    Peer(Redis70, Always),
    Peer(Redis86, Everysec),
    Peer(Redis82, Everysec),
    Peer(Valkey91, Everysec),
    Peer(Redis70, Everysec),
];
const WITH_CEILING: &[Who] = &[
    Levada,
    Null,
    NullSyncs,
    Peer(Redis86, Always),
    Peer(Redis82, Always),
    Peer(Valkey91, Always),
    Peer(Redis70, Always),
];

const WITH_CEILINGS: &[Who] = &[
    Levada,
    Null,
    NullSyncs,
    Disk,
    Peer(Redis86, Always),
    Peer(Redis82, Always),
    Peer(Valkey91, Always),
    Peer(Redis70, Always),
];
const WITH_DISK: &[Who] = &[
    Levada,
    Disk,
    Peer(Redis86, Always),
    Peer(Redis82, Always),
    Peer(Valkey91, Always),
    Peer(Redis70, Always),
];

const BESIDE_ALWAYS: &[Who] = &[
    Levada,
    Peer(Redis86, Always),
    Peer(Redis82, Always),
    Peer(Valkey91, Always),
    Peer(Redis70, Always),
];
const BESIDE_EVERYSEC: &[Who] = &[
    Levada,
    Peer(Redis86, Everysec),
    Peer(Redis82, Everysec),
    Peer(Valkey91, Everysec),
    Peer(Redis70, Everysec),
];
const BESIDE_NEWEST_ALWAYS: &[Who] = &[Levada, Peer(Redis86, Always), Peer(Valkey91, Always)];
const BESIDE_NEWEST: &[Who] =
    &[Levada, Peer(Redis86, Everysec), Peer(Redis82, Everysec), Peer(Valkey91, Everysec)];

const fn append(
    name: &'static str,
    title: &'static str,
    clients: u32,
    pipeline: u32,
    servers: &'static [Who],
) -> Case {
    let how = How::Append { clients, pipeline };
    Case {
        name,
        title,
        how,
        servers,
        once: false,
        figures: &["rate", "cpu_us", "p50_us", "p99_us"],
    }
}

/// All of them, in the order of the page.
pub(super) const CASES: &[Case] = &[
    append("xadd-p16", "XADD, pipeline 16, 50 clients", 50, 16, BOTH),
    append("xadd-p128", "XADD, pipeline 128, 50 clients", 50, 128, BOTH),
    append("xadd-c1", "XADD, no pipeline, 1 client", 1, 1, WITH_CEILINGS),
    append("xadd-c50", "XADD, no pipeline, 50 clients", 50, 1, WITH_INTERVAL),
    append("xadd-c500", "XADD, no pipeline, 500 clients", 500, 1, WITH_CEILING),
    SLOW,
    GROUP,
    DELIVER,
    FANOUT,
    MIXED,
    STREAMS,
    STREAMS_P16,
    STREAMS_MEMORY,
    PENDING,
    long("long-1m", "One stream of 1 million entries", 1_000_000),
    long("long-10m", "One stream of 10 million entries", 10_000_000),
    RANGE,
];

const SLOW: Case = Case {
    name: "slow-sync",
    title: "XADD, 50 clients, beside readers of another stream, each sync 2 ms longer",
    how: How::Slow(&[Run {
        words: "beside --seconds 3",
        small: "beside --seconds 0.3",
        takes: &[
            ("beside", "rate", "rate"),
            ("beside", "p99_us", "p99_us"),
            ("beside-read", "p50_us", "read_p50_us"),
            ("beside-read", "p99_us", "read_p99_us"),
        ],
    }]),
    servers: BESIDE_ALWAYS,
    once: false,
    figures: &["rate", "p99_us", "read_p50_us", "read_p99_us"],
};

const GROUP: Case = Case {
    name: "group",
    title: "XREADGROUP COUNT 100 + XACK 100, one consumer",
    how: How::Bench(&[Run {
        words: "group --entries 300000",
        small: "group --entries 3000",
        takes: &[("group", "cpu_us", "cpu_us"), ("group", "rate", "rate")],
    }]),
    servers: BESIDE_EVERYSEC,
    once: false,
    figures: &["cpu_us", "rate"],
};

const LATENCIES: &[&str] = &["p50_us", "p99_us", "p999_us", "cpu_us"];

const DELIVER: Case = Case {
    name: "deliver",
    title: "XADD to a blocked XREADGROUP, 10,000 a second, open loop",
    how: How::Bench(&[Run {
        words: "deliver --rate 10000 --seconds 5",
        small: "deliver --rate 1000 --seconds 0.3",
        takes: &[
            ("deliver", "p50_us", "p50_us"),
            ("deliver", "p99_us", "p99_us"),
            ("deliver", "p999_us", "p999_us"),
            ("deliver", "cpu_us", "cpu_us"),
        ],
    }]),
    servers: WITH_DISK,
    once: false,
    figures: LATENCIES,
};

const FANOUT: Case = Case {
    name: "fanout",
    title: "XADD to 1,000 blocked XREAD, 20 a second, open loop",
    how: How::Bench(&[Run {
        words: "fanout --seconds 3",
        small: "fanout --readers 20 --seconds 0.3",
        takes: &[
            ("fanout", "p50_us", "p50_us"),
            ("fanout", "p99_us", "p99_us"),
            ("fanout", "p999_us", "p999_us"),
            ("fanout", "cpu_us", "cpu_us"),
        ],
    }]),
    servers: BESIDE_ALWAYS,
    once: false,
    figures: LATENCIES,
};

const MIXED: Case = Case {
    name: "mixed",
    title: "10 XADD, XREADGROUP 10 and XACK 10 in one write, 50 clients",
    how: How::Bench(&[Run {
        words: "mixed --seconds 2",
        small: "mixed --seconds 0.2",
        takes: &[
            ("mixed", "rate", "rate"),
            ("mixed", "cpu_us", "cpu_us"),
            ("mixed", "p50_us", "p50_us"),
            ("mixed", "p99_us", "p99_us"),
        ],
    }]),
    servers: BESIDE_ALWAYS,
    once: false,
    figures: &["rate", "cpu_us", "p50_us", "p99_us"],
};

const STREAMS: Case = Case {
    name: "streams",
    title: "XADD to 10,000 streams in turn, 50 clients",
    how: How::Bench(&[
        Run {
            words: "streams --seconds 2",
            small: "streams --streams 50 --seconds 0.2",
            takes: &[("streams", "rate", "rate"), ("streams", "cpu_us", "cpu_us")],
        },
        Run {
            words: "streams --streams 1 --seconds 2",
            small: "streams --streams 1 --seconds 0.2",
            takes: &[("streams", "rate", "one_rate")],
        },
    ]),
    servers: BESIDE_NEWEST_ALWAYS,
    once: false,
    figures: &["rate", "one_rate", "cpu_us"],
};

const STREAMS_P16: Case = Case {
    name: "streams-p16",
    title: "XADD to 10,000 streams in turn, pipeline 16, 50 clients",
    how: How::Bench(&[
        Run {
            words: "streams --pipeline 16 --seconds 2",
            small: "streams --streams 50 --pipeline 16 --seconds 0.2",
            takes: &[("streams", "rate", "rate"), ("streams", "cpu_us", "cpu_us")],
        },
        Run {
            words: "streams --streams 1 --pipeline 16 --seconds 2",
            small: "streams --streams 1 --pipeline 16 --seconds 0.2",
            takes: &[("streams", "rate", "one_rate")],
        },
    ]),
    servers: BESIDE_NEWEST_ALWAYS,
    once: false,
    figures: &["rate", "one_rate", "cpu_us"],
};

const STREAMS_MEMORY: Case = Case {
    name: "streams-memory",
    title: "10,000 streams of one entry",
    how: How::Bench(&[Run {
        words: "streams --seconds 0.2",
        small: "streams --streams 50 --seconds 0.2",
        takes: &[
            ("streams-fill", "rss_growth_bytes", "growth_bytes"),
            ("streams-fill", "rss_bytes", "rss_bytes"),
        ],
    }]),
    servers: BESIDE_NEWEST,
    once: true,
    figures: &["growth_bytes", "rss_bytes"],
};

const PENDING: Case = Case {
    name: "pending",
    title: "1 million pending entries",
    how: How::Bench(&[Run {
        words: "pending --entries 1000000 --seconds 2",
        small: "pending --entries 3000 --seconds 0.2",
        takes: &[
            ("pend-read", "growth_each", "pending_bytes"),
            ("pend-read", "cpu_us", "cpu_us"),
            ("pend-idle", "p50_us", "idle_us"),
            ("pend-claim", "p50_us", "claim_us"),
            ("pend-pass", "p50_us", "pass_us"),
            ("pend-whole", "p50_us", "whole_us"),
        ],
    }]),
    servers: BESIDE_NEWEST,
    once: true,
    figures: &["pending_bytes", "cpu_us", "idle_us", "claim_us", "pass_us", "whole_us"],
};

const fn long(name: &'static str, title: &'static str, entries: u64) -> Case {
    Case {
        name,
        title,
        how: How::Long { entries },
        servers: BESIDE_NEWEST,
        once: true,
        figures: &[
            "rss_bytes",
            "rss_then_bytes",
            "disk_bytes",
            "restart_ms",
            "fill_rate",
            "cpu_us",
        ],
    }
}

const RANGE: Case = Case {
    name: "range",
    title: "XRANGE COUNT 100 at places spread over 3 million entries, 50 clients",
    how: How::Bench(&[Run {
        words: "range --entries 3000000 --seconds 3",
        small: "range --entries 3000 --seconds 0.2",
        takes: &[
            ("range", "rate", "rate"),
            ("range", "cpu_us", "cpu_us"),
            ("range", "p50_us", "p50_us"),
            ("range", "p99_us", "p99_us"),
        ],
    }]),
    servers: BESIDE_NEWEST,
    once: true,
    figures: &["rate", "cpu_us", "p50_us", "p99_us"],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_of_a_case_is_known_and_every_name_is_its_own() {
        for (index, case) in CASES.iter().enumerate() {
            assert!(case.figures.iter().all(|name| Figure::of(name).name == *name));
            assert!(CASES[..index].iter().all(|other| other.name != case.name), "{}", case.name);
        }
    }
}
