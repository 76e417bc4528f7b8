//! One case after the other, each on an empty server.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use super::append::{Append, Plan};
use super::ask::Ask;
use super::beside::{self, Beside};
use super::deliver::Deliver;
use super::disk;
use super::group::Group;
use super::load::{self, Line, Script};
use super::options::{Bench, Case};
use super::pass::Pass;
use super::process::{Process, Usage};
use super::report::{self, Row};
use super::value::Values;
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
    let time = Duration::from_secs_f64(options.seconds);
    let rows = match &options.disk {
        Some(directory) => {
            let rate = options.rate.unwrap_or(DELIVER_RATE);
            let rows = disk::run(directory, time, rate)?;
            rows.iter().for_each(|row| tell(options, row));
            rows.to_vec()
        }
        None => of_server(options, time)?,
    };
    if let Some(path) = &options.csv {
        report::write_csv(&rows, path)?;
    }
    if let Some(path) = &options.svg {
        report::write_svg(&rows, path)?;
    }
    Ok(())
}

/// The chosen cases.
fn of_server(options: &Bench, time: Duration) -> Result<Vec<Row>> {
    let address = options.address()?;
    let mut client = Client::connect(address)?;
    let process = Process::find(options.pid, &mut client)?;
    if process.0.is_none() {
        eprintln!("The server's process is not known: no CPU, memory and written bytes (--pid)");
    }
    let mut rig = Rig { options, address, client, process, time, rows: Vec::new() };
    for case in options.chosen() {
        rig.client.ask(&["FLUSHALL"], |_| ())?;
        rig.case(case)?;
    }
    Ok(rig.rows)
}

fn tell(options: &Bench, row: &Row) {
    println!("{}", if options.json { row.json().to_string() } else { row.text() });
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
            Case::Streams => self.streams(&name, self.options.streams),
            Case::Group => {
                self.filled_group()?;
                self.group(&name, Group::drain(1, BATCH, true), 1)?;
                self.all_were_read()
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
            Case::Beside => self.beside(&name),
            Case::Fill => {
                let plan = self.filling(self.options.entries, 1);
                self.measure_append(&name, FILL.0, plan)
            }
        }
    }

    fn append(&mut self, name: &str, streams: u64) -> Result<()> {
        self.measure_append(name, self.clients(), self.plan(streams))
    }

    /// As append, to many; the growth of the first row's memory is that of streams of one entry.
    fn streams(&mut self, name: &str, streams: u64) -> Result<()> {
        let plan = self.filling(streams, streams);
        self.measure_append(&format!("{name}-fill"), FILL.0, plan)?;
        Process::rest(&mut self.client)?;
        self.append(name, streams)
    }

    fn beside(&mut self, name: &str) -> Result<()> {
        for _ in 0..beside::ENTRIES {
            self.client.ask(&["XADD", beside::KEY, "*", "f", "v"], |_| ())?;
        }
        let clients = self.clients();
        let writers = Append::new(self.plan(1), clients);
        let script = Beside::new(writers, clients, self.time);
        let mut reads = None;
        self.measure(name, clients + beside::READERS, script, |script| {
            reads = Some((script.done, script.latencies));
            (script.writers.done, script.writers.latencies)
        })?;
        if let (Some((count, latencies)), Some(row)) = (reads, self.rows.last()) {
            let row = Row { case: format!("{name}-read"), count, latencies, ..row.clone() };
            self.tell(row);
        }
        Ok(())
    }

    fn measure_append(&mut self, name: &str, lines: usize, plan: Plan) -> Result<()> {
        self.measure(name, lines, Append::new(plan, lines), |script| {
            (script.done, script.latencies)
        })
    }

    /// What a measured append does.
    fn plan(&self, streams: u64) -> Plan {
        Plan {
            streams,
            value_bytes: self.value_bytes(),
            pipeline: u64::from(self.options.pipeline),
            rate: self.options.rate,
            time_max: self.time,
            count_max: u64::MAX,
        }
    }

    /// What appends so many entries and ends.
    fn filling(&self, count_max: u64, streams: u64) -> Plan {
        let (pipeline, time_max) = (FILL.1, Duration::MAX);
        Plan { pipeline, rate: None, time_max, count_max, ..self.plan(streams) }
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
        // What reading alone costs, such as a cache, is not that of the list.
        self.client.ask(&["XGROUP", "CREATE", "s", "other", "0"], |_| ())?;
        load::run(self.address, 1, &mut Group::look("other", 1000))?;
        self.group("pend-read", Group::drain(1, 1000, false), 1)?;
        self.all_were_read()?;
        let idle = ["XPENDING", "s", "g", "IDLE", IDLE_MS, "-", "+", "10"];
        let claim = ["XAUTOCLAIM", "s", "g", "other", IDLE_MS, "0"];
        // Ten entries are visited for each of COUNT: all of them in one call.
        let count = self.options.entries.div_ceil(10).to_string();
        let whole = ["XAUTOCLAIM", "s", "g", "other", IDLE_MS, "0", "COUNT", &count];
        self.ask("pend-idle", 1, move |_, line| line.push(&idle))?;
        self.ask("pend-claim", 1, move |_, line| line.push(&claim))?;
        self.ask("pend-whole", 1, |_, line| line.push(&whole))?;
        let script = Pass::new(IDLE_MS, self.time);
        self.measure("pend-pass", 1, script, |script| (script.done, script.latencies))
    }

    /// Fails if the case that ran last has not got each entry once.
    fn all_were_read(&self) -> Result<()> {
        let (count, entries) = (self.rows.last().map(|row| row.count), self.options.entries);
        ensure!(count == Some(entries), "{count:?} of {entries} entries were read");
        Ok(())
    }

    fn range(&mut self, name: &str) -> Result<()> {
        let entries = self.options.entries;
        let values = Values::new(self.value_bytes());
        for number in 0..entries.div_ceil(FILL.1) {
            // Known ids, so that places can be chosen without asking.
            let from = number * FILL.1;
            let count = FILL.1.min(entries - from);
            self.client.send_all(count, |index, out| {
                let (number, id) = (from + index, format!("{}-0", from + index + 1));
                let (id, value) = (id.as_bytes(), values.of(number));
                super::wire::push(out, &[b"XADD".as_slice(), b"s", id, b"f", value]);
            })?;
        }
        Process::rest(&mut self.client)?;
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
        self.tell(row);
        Ok(())
    }

    fn tell(&mut self, row: Row) {
        tell(self.options, &row);
        self.rows.push(row);
    }

    fn filled_group(&mut self) -> Result<()> {
        self.fill(self.options.entries, 1)?;
        self.create_group()
    }

    fn create_group(&mut self) -> Result<()> {
        self.client.ask(&["XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"], |_| ())
    }

    /// Appends so many entries, unmeasured.
    fn fill(&mut self, count: u64, streams: u64) -> Result<()> {
        load::run(self.address, FILL.0, &mut Append::new(self.filling(count, streams), FILL.0))?;
        Process::rest(&mut self.client)
    }

    fn clients(&self) -> usize {
        self.options.clients as usize
    }

    fn value_bytes(&self) -> usize {
        self.options.value_bytes as usize
    }
}
