//! One case after the other, each on an empty server.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use super::append::{Append, Plan};
use super::ask::Ask;
use super::deliver::Deliver;
use super::group::Group;
use super::load::{self, Line, Script};
use super::options::{Bench, Case};
use super::process::{Process, Usage};
use super::report::{self, Row};
use super::wire::Client;

/// Connections and pipeline that fill a stream before a case.
const FILL: (usize, u64) = (4, 1000);
/// Entries of a read of the group case, and of a range.
const BATCH: u64 = 100;
/// Entries that a connection of the mixed case appends, reads and acknowledges at a time.
const MIXED_BATCH: u64 = 10;
/// Messages a second where nothing is said: see the option.
const DELIVER_RATE: u32 = 10_000;
const FANOUT_RATE: u32 = 20;
/// Nothing is idle for so long: an hour, in milliseconds.
const IDLE_MS: &str = "3600000";

/// Runs the cases, prints what was measured and writes what was asked for.
pub(crate) fn run(options: &Bench) -> Result<()> {
    ensure!(
        options.seconds.is_finite() && (0.0..=86_400.0).contains(&options.seconds),
        "--seconds is {}: it must be between 0 and 86400",
        options.seconds
    );
    let address = options.address()?;
    let mut client = Client::connect(address)?;
    let process = Process::find(options.pid, &mut client)?;
    if process.0.is_none() {
        eprintln!("The server's process is not known: no CPU, memory and written bytes (--pid)");
    }
    let time = Duration::from_secs_f64(options.seconds);
    let mut rig = Rig { options, address, client, process, time, rows: Vec::new() };
    for case in options.chosen() {
        rig.client.ask(&["FLUSHALL"], |_| ())?;
        rig.case(case)?;
    }
    if let Some(path) = &options.csv {
        report::write_csv(&rig.rows, path)?;
    }
    if let Some(path) = &options.svg {
        report::write_svg(&rig.rows, path)?;
    }
    Ok(())
}

/// What all cases need.
struct Rig<'a> {
    options: &'a Bench,
    address: SocketAddr,
    client: Client,
    process: Process,
    time: Duration,
    rows: Vec<Row>,
}

impl Rig<'_> {
    fn case(&mut self, case: Case) -> Result<()> {
        let name = case.name();
        match case {
            Case::Append => self.append(&name, 1),
            Case::Streams => self.append(&name, self.options.streams),
            Case::Group => {
                self.filled_group()?;
                self.group(&name, Group::drain(1, BATCH, true), 1)
            }
            Case::Mixed => {
                self.create_group()?;
                let clients = self.clients();
                let script = Group::mixed(clients, MIXED_BATCH, self.value_bytes(), self.time);
                self.group(&name, script, clients)
            }
            Case::Deliver => {
                self.create_group()?;
                self.deliver(&name, 2, DELIVER_RATE, false)
            }
            Case::Fanout => {
                let lines = self.options.readers as usize + 1;
                self.deliver(&name, lines, FANOUT_RATE, true)
            }
            Case::Pending => self.pending(),
            Case::Range => self.range(&name),
        }
    }

    fn append(&mut self, name: &str, streams: u64) -> Result<()> {
        let plan = Plan {
            streams,
            value_bytes: self.value_bytes(),
            pipeline: u64::from(self.options.pipeline),
            rate: self.options.rate,
            time_max: self.time,
            count_max: u64::MAX,
        };
        if streams > 1 {
            self.fill(streams, streams)?;
        }
        let clients = self.clients();
        self.measure(name, clients, Append::new(plan, clients), |script| {
            (script.done, script.latencies)
        })
    }

    fn group(&mut self, name: &str, script: Group, lines: usize) -> Result<()> {
        self.measure(name, lines, script, |script| (script.done, script.latencies))
    }

    fn deliver(&mut self, name: &str, lines: usize, rate: u32, is_fanout: bool) -> Result<()> {
        let rate = self.options.rate.unwrap_or(rate);
        let script = Deliver::new(lines, rate, self.time, is_fanout, self.value_bytes());
        self.measure(name, lines, script, |script| (script.done, script.latencies))
    }

    /// The growth of the first row's memory is that of the pending list.
    fn pending(&mut self) -> Result<()> {
        self.filled_group()?;
        self.group("pend-read", Group::drain(1, 1000, false), 1)?;
        let idle = ["XPENDING", "s", "g", "IDLE", IDLE_MS, "-", "+", "10"];
        let claim = ["XAUTOCLAIM", "s", "g", "other", IDLE_MS, "0"];
        self.ask("pend-idle", 1, move |_, line| line.push(&idle))?;
        self.ask("pend-claim", 1, move |_, line| line.push(&claim))
    }

    fn range(&mut self, name: &str) -> Result<()> {
        let entries = self.options.entries;
        for number in 0..entries.div_ceil(FILL.1) {
            // Known ids, so that places can be chosen without asking.
            let from = number * FILL.1;
            let count = FILL.1.min(entries - from);
            let value = vec![b'x'; self.value_bytes()];
            self.client.send_all(count, |index, out| {
                let id = format!("{}-0", from + index + 1);
                super::wire::push(out, &[b"XADD".as_slice(), b"s", id.as_bytes(), b"f", &value]);
            })?;
        }
        let lines = self.clients();
        let count = BATCH.to_string();
        self.ask(name, lines, move |number, line| {
            // A Weyl sequence with the golden ratio: places far from each other, evenly spread.
            let place = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % entries;
            line.push(&["XRANGE", "s", &(place + 1).to_string(), "+", "COUNT", &count]);
        })
    }

    fn ask(&mut self, name: &str, lines: usize, make: impl FnMut(u64, &mut Line)) -> Result<()> {
        let script = Ask::new(lines, self.time, make);
        self.measure(name, lines, script, |script| (script.done, script.latencies))
    }

    /// Runs a script between two looks at the server.
    fn measure<S: Script>(
        &mut self,
        name: &str,
        lines: usize,
        mut script: S,
        result: impl FnOnce(S) -> (u64, Histogram<u64>),
    ) -> Result<()> {
        let before: Usage = self.process.usage(&mut self.client)?;
        let elapsed = load::run(self.address, lines, &mut script)?;
        let after = self.process.usage(&mut self.client)?;
        let (count, latencies) = result(script);
        let row = Row { case: name.to_owned(), count, elapsed, latencies, before, after };
        println!("{}", row.text());
        self.rows.push(row);
        Ok(())
    }

    fn filled_group(&mut self) -> Result<()> {
        self.fill(self.options.entries, 1)?;
        self.create_group()
    }

    fn create_group(&mut self) -> Result<()> {
        self.client.ask(&["XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"], |_| ())
    }

    /// Appends so many entries, unmeasured.
    fn fill(&mut self, count_max: u64, streams: u64) -> Result<()> {
        let plan = Plan {
            streams,
            value_bytes: self.value_bytes(),
            pipeline: FILL.1,
            rate: None,
            time_max: Duration::MAX,
            count_max,
        };
        load::run(self.address, FILL.0, &mut Append::new(plan, FILL.0))?;
        Ok(())
    }

    fn clients(&self) -> usize {
        self.options.clients as usize
    }

    fn value_bytes(&self) -> usize {
        self.options.value_bytes as usize
    }
}
