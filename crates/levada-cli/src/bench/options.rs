//! What the command line of `levada bench` says.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

/// A run: THE SERVER IS FLUSHED before each case.
#[derive(Args, Clone, Debug)]
pub(crate) struct Bench {
    /// What to measure; without it all cases.
    #[arg(value_enum)]
    pub(crate) cases: Vec<Case>,
    /// The server, as redis://HOST:PORT; it is emptied, and so `LEVADA_URL` does not name it.
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    pub(crate) url: String,
    /// Yes, everything on that server may go: every case begins with FLUSHALL.
    #[arg(long, required_unless_present = "disk")]
    pub(crate) flush: bool,
    /// Measures the device below this directory, without a server: syncs of a page one after the
    /// other, and what entries at --rate (10000) would wait for them. What is written goes again.
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["cases", "flush", "url", "pid"])]
    pub(crate) disk: Option<PathBuf>,
    /// Connections that append or consume.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) clients: u32,
    /// Requests in one write of a connection.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) pipeline: u32,
    /// Bytes of an appended value.
    #[arg(
        long,
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(24..=1_048_576)
    )]
    pub(crate) value_bytes: u32,
    /// Messages a second, sent when they are due (open loop). Without it appends are sent as soon
    /// as the server has answered, deliveries are 10000 a second, fan-outs 20.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: Option<u32>,
    /// Seconds that a case is measured for, its filling apart.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Entries that are there before a case that reads, and that are pending.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) entries: u64,
    /// Streams of the case that has many.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) streams: u64,
    /// Readers of the fan-out.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) readers: u32,
    /// The server's process, if INFO does not say it or it is not the one that answers.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Print a JSON object for each case instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    /// Writes the figures into this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Draws the distributions of the latencies into this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

/// See docs/bench.md.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Case {
    /// XADD to one stream.
    Append,
    /// XREADGROUP 100 and XACK 100 until the stream is empty.
    Group,
    /// From XADD to a blocked XREADGROUP.
    Deliver,
    /// From XADD to many blocked XREAD.
    Fanout,
    /// XADD to many streams in turn.
    Streams,
    /// XPENDING IDLE and XAUTOCLAIM that find nothing in a big pending list.
    Pending,
    /// XRANGE of 100 entries at random places.
    Range,
    /// Ten XADD, XREADGROUP 10 and XACK 10 by every connection.
    Mixed,
    /// XADD to one stream, and readers of another one beside.
    Beside,
    /// Entries and nothing else.
    Fill,
}

impl Bench {
    /// Where the server listens.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        let rest = self.url.strip_prefix("redis://").unwrap_or(&self.url);
        let rest = rest.trim_end_matches('/');
        let mut found = rest
            .to_socket_addrs()
            .with_context(|| format!("{} is no address: write redis://HOST:PORT", self.url))?;
        found.next().with_context(|| format!("{} has no address", self.url))
    }

    /// The cases to run, in the order given.
    pub(crate) fn chosen(&self) -> Vec<Case> {
        match self.cases.is_empty() {
            true => Case::value_variants().to_vec(),
            false => self.cases.clone(),
        }
    }
}

impl Case {
    /// The name on the command line and in reports.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}
