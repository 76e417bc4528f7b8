//! `cargo xtask kills`: a fault at a random moment under load, a restart, and a ledger of all that
//! was acknowledged. `kill -9` finds wiring errors, above all a reply that runs ahead of its
//! commit; the page cache survives it, so that only a power cut finds a missing sync. See
//! [`fault`] for all of them.
//!
//! One data directory serves all rounds, so that later rounds recover from what earlier ones left.
//! Between rounds, while nobody else is connected, old entries are trimmed and acknowledged: their
//! outcome is certain, and the ledger stays small however many rounds there are.

pub(crate) mod client;
mod consume;
pub(crate) mod fault;
mod journal;
mod load;
pub(crate) mod medium;
mod observe;
mod outside;
pub(crate) mod server;
pub(crate) mod value;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use self::client::{Client, Reply};
use self::fault::Fault;
use levada_sim::{history, record};

use self::journal::{
    CONSUMERS, Counter, GROUP, How, Journal, Ledger, Rules, STREAMS, Span, State, Take, Violation,
    show_id,
};
use self::load::Load;
use self::medium::Medium;
use self::server::{Kind, Server};
use self::value::Chance;

/// Longest wait for a recovery.
const RECOVERY_MAX: Duration = Duration::from_secs(20);
/// Load before the kill, in milliseconds: at least this and up to as much again as the second.
const LOAD_MS: (u64, u64) = (150, 300);
/// Between a cut and the end of the process.
const AFTER_CUT: Duration = Duration::from_millis(300);
/// Longest wait for an injection to fire.
const INJECTION_MAX: Duration = Duration::from_secs(10);
/// An injection fires at most at this call of a thread.
const NTH_MAX: u64 = 150;
/// Entries of a stream, deleted ones among them, that the ledger keeps from one round to the next.
const KEEP: usize = 4000;
/// Violations that are printed; the others are counted.
const SHOWN_MAX: usize = 20;
/// Most ids in one XACK.
const ACKS_MAX: usize = 1000;

/// What the command line asks for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    rounds: u32,
    seed: u64,
    kind: Kind,
    fault: Fault,
    canary: bool,
    record: bool,
}

/// What a run has counted.
#[derive(Debug, Default)]
struct Totals {
    rounds: u32,
    faults: u32,
    terminated: u32,
    acknowledged: u64,
    unknown: u64,
    longest_recovery: Duration,
    violations: Vec<Violation>,
}

/// Runs the verb with its arguments. Fails on any violation, or, with `--canary`, on none.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = parse(arguments)?;
    println!(
        "kills: {} rounds of {} against {}, seed {}",
        options.rounds,
        options.fault.name(),
        options.kind.name(),
        options.seed
    );
    options.fault.check()?;
    let start = Instant::now();
    let mut rig = Rig::new(&options)?;
    let mut totals = Totals::default();
    let outcome = rounds(&options, &mut rig, &mut totals);
    println!(
        "{} rounds, {} faults, {} SIGTERM, {} acknowledged, {} unknown, {} violations, {:.1} s, \
         longest recovery {} ms",
        totals.rounds,
        totals.faults,
        totals.terminated,
        totals.acknowledged,
        totals.unknown,
        totals.violations.len(),
        start.elapsed().as_secs_f64(),
        totals.longest_recovery.as_millis()
    );
    for violation in totals.violations.iter().take(SHOWN_MAX) {
        println!("  {violation}");
    }
    let seed = options.seed;
    outcome.with_context(|| format!("seed {seed}"))?;
    if options.record {
        let what = format!("{} under load, {}", options.fault.name(), options.kind.name());
        let (count, violations) = (u64::from(totals.faults), totals.violations.len());
        record::add(&record::Run { what, seed: Some(seed), count, violations })?;
    }
    match (options.canary, totals.violations.is_empty()) {
        (false, true) => Ok(()),
        (true, false) => {
            println!("canary: the checker noticed the entry that was withheld");
            Ok(())
        }
        (true, true) => bail!("canary: an acknowledged entry was withheld and nobody noticed"),
        (false, false) => {
            let kept = rig.server.keep().display();
            bail!("seed {seed}: acknowledged work is not as it was; the data is in {kept}")
        }
    }
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        rounds: 100,
        seed: u64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?,
        kind: Kind::Levada,
        fault: Fault::Kill,
        canary: false,
        record: false,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--rounds" => options.rounds = value()?.parse().context("--rounds")?,
            "--seed" => options.seed = value()?.parse().context("--seed")?,
            "--server" => options.kind = Kind::parse(value()?)?,
            "--fault" => options.fault = Fault::parse(value()?)?,
            "--record" => options.record = true,
            "--canary" => options.canary = true,
            other => bail!("unknown option {other}"),
        }
    }
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    Ok(options)
}

/// What rounds run on.
#[derive(Debug)]
struct Rig {
    server: Server,
    /// Where the data lie, for power cuts.
    medium: Option<Medium>,
    fault: Fault,
}

impl Drop for Rig {
    /// The server ends, then goes its medium, which is mounted in the server's directory.
    fn drop(&mut self) {
        let _ = self.server.end();
        if !self.server.is_kept() {
            self.medium = None;
        }
    }
}

impl Rig {
    fn new(options: &Options) -> Result<Self> {
        let mut server = Server::new(options.kind, None)?;
        let mut medium = None;
        if options.fault == Fault::PowerCut {
            let new = Medium::new(server.directory())?;
            server.set_data(new.path().join("data"));
            std::fs::create_dir(new.path().join("data"))?;
            medium = Some(new);
        }
        server.restart(RECOVERY_MAX)?;
        Ok(Self { server, medium, fault: options.fault })
    }

    /// Load, fault and restart. Answers what the connections recorded and how long the recovery
    /// took.
    fn round(
        &mut self,
        round: u32,
        relaxed: bool,
        chance: &mut Chance,
        totals: &mut Totals,
    ) -> Result<(Journal, Duration)> {
        let trace = self.server.directory().join("trace");
        let nth = 1 + chance.below(NTH_MAX);
        let wrapper = match self.fault {
            Fault::FewFiles | Fault::LittleMemory => Some(self.limit(chance)?),
            fault => fault.wrapper(nth, &trace),
        };
        let mut ready = true;
        if let Some(wrapper) = wrapper {
            self.server.terminate()?;
            self.server.set_wrapper(wrapper);
            ready = self.server.try_start(RECOVERY_MAX)?;
        }
        if self.medium.is_some() && self.server.kind() == Kind::Levada {
            let delivery = if relaxed { "relaxed" } else { "strict" };
            self.server.client()?.ask(&["CONFIG", "SET", "delivery-sync", delivery])?;
        }
        let load = ready.then(|| Load::start(self.server.address(), round, chance));
        let length = Duration::from_millis(LOAD_MS.0 + chance.below(LOAD_MS.1));
        let brought = self.bring(load.as_ref(), (length, nth, &trace), chance, totals);
        self.server.end()?;
        // Joined in any case: the connections end with the server, however it ended.
        let mut journal = load.map(Load::join).unwrap_or_default();
        if let Some(cut_at) = brought? {
            journal.note_cut(cut_at);
        }
        if let Some(medium) = &mut self.medium {
            medium.restore()?;
        }
        self.server.set_wrapper(Vec::new());
        let recovery = self.server.restart(RECOVERY_MAX)?;
        Ok((journal, recovery))
    }

    /// Brings the fault about. Answers the moment from which on nothing may be acknowledged, where
    /// there is one while the server runs.
    fn bring(
        &mut self,
        load: Option<&Load>,
        (length, nth, trace): (Duration, u64, &Path),
        chance: &mut Chance,
        totals: &mut Totals,
    ) -> Result<Option<u64>> {
        let started = || load.context("the server does not start");
        match self.fault {
            Fault::PowerCut => {
                std::thread::sleep(length);
                let medium = self.medium.as_ref().expect("power cuts have a medium");
                medium.cut()?;
                let cut_at = started()?.moment();
                totals.faults += 1;
                // Time for a reply that should never come.
                std::thread::sleep(AFTER_CUT);
                Ok(Some(cut_at))
            }
            Fault::Kill => {
                std::thread::sleep(length);
                end(&mut self.server, chance, totals).map(|()| None)
            }
            Fault::DirectoryRenamed | Fault::DirectoryRemoved => {
                std::thread::sleep(length);
                self.take_directory(started()?, totals).map(Some)
            }
            Fault::FewFiles => {
                let crowded = self.crowd(totals);
                crowded.with_context(|| format!("the server says:\n{}", self.server.said()))?;
                Ok(None)
            }
            Fault::LittleMemory => self.fill_memory(totals).map(|()| None),
            _ => {
                totals.faults += 1;
                let injected = self.injected(load.is_some(), length, trace);
                injected.with_context(|| format!("{} at call {nth}", self.fault.name()))?;
                Ok(None)
            }
        }
    }

    /// Waits for what was injected, ends the server and looks whether it fired.
    fn injected(&mut self, ready: bool, length: Duration, trace: &Path) -> Result<()> {
        let length = if self.fault.ends() { INJECTION_MAX } else { length };
        let by_itself = !ready || self.server.wait(length)?;
        self.server.end()?;
        ensure!(self.fault.fired(trace, by_itself)?, "it did not fire");
        ensure!(by_itself || !self.fault.ends(), "it did not end the server");
        Ok(())
    }
}

/// Runs rounds until one has violations.
fn rounds(options: &Options, rig: &mut Rig, totals: &mut Totals) -> Result<()> {
    let mut chance = Chance::new(options.seed);
    let mut ledger = empty_ledger();
    let withhold_in = options.canary.then(|| chance.index(options.rounds as usize));
    create_groups(&mut rig.server.client()?)?;
    for round in 0..options.rounds {
        // Every other power cut may undo deliveries of which nothing that lasts depends.
        ledger.relaxed = options.fault == Fault::PowerCut && chance.one_in(2);
        let (journal, recovery) = rig.round(round, ledger.relaxed, &mut chance, totals)?;
        totals.rounds += 1;
        totals.acknowledged += journal.acknowledged;
        totals.unknown += journal.unknown;
        totals.longest_recovery = totals.longest_recovery.max(recovery);
        let mut client = rig.server.client()?;
        if options.fault == Fault::DirectoryRemoved {
            // Nothing is left to compare: what counts is that nothing was acknowledged afterwards.
            totals.violations = ledger.absorb(journal);
            ensure!(
                client.ask(&["DBSIZE"])?.integer() == Some(0),
                "a removed directory holds keys"
            );
            if !totals.violations.is_empty() {
                return Ok(());
            }
            ledger = empty_ledger();
            create_groups(&mut client)?;
            continue;
        }
        let mut states = Vec::new();
        for stream in 0..STREAMS.len() {
            states.push(observe::read(&mut client, stream)?);
        }
        totals.violations = ledger.absorb(journal);
        if withhold_in == Some(round as usize) {
            withhold(&ledger, &mut states, &mut chance)?;
        }
        totals.violations.extend(history::check(&ledger, &states));
        if !totals.violations.is_empty() {
            return Ok(());
        }
        ledger.settle(&states);
        retire(&mut client, &mut ledger, &states)?;
    }
    totals.violations = drain(&mut rig.server.client()?, &mut ledger)?;
    Ok(())
}

fn empty_ledger() -> Ledger {
    Ledger::new(&STREAMS.map(|name| (name, Rules::default())))
}

/// Reads all that no consumer has got yet; what is wrong with that, and what nobody ever got.
fn drain(client: &mut Client, ledger: &mut Ledger) -> Result<Vec<Violation>> {
    let (mut journal, counter) = (Journal::default(), Counter::default());
    let mut states = Vec::new();
    for (stream, name) in STREAMS.iter().enumerate() {
        let read =
            ["XREADGROUP", "GROUP", GROUP, CONSUMERS[0], "COUNT", "1000", "STREAMS", name, ">"];
        loop {
            let invoked = counter.next();
            let reply = client.ask(&read)?;
            let Some(of) = reply.items().first() else {
                break;
            };
            let span = Span { invoked, completed: counter.next() };
            for entry in of.items()[1].items() {
                match consume::parse_entry(entry, How::Read) {
                    Ok((id, key)) => {
                        journal.takes.push(Take {
                            stream,
                            id,
                            consumer: 0,
                            how: How::Read,
                            span,
                            key,
                        });
                    }
                    Err(text) => journal.note(history::Kind::Changed, text),
                }
            }
        }
        states.push(observe::read(client, stream)?);
    }
    let mut violations = ledger.absorb(journal);
    violations.extend(history::check(ledger, &states));
    violations.extend(history::check_drained(ledger, &states));
    Ok(violations)
}

fn create_groups(client: &mut Client) -> Result<()> {
    for stream in STREAMS {
        client.ask(&["XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM"])?;
        for consumer in CONSUMERS {
            client.ask(&["XGROUP", "CREATECONSUMER", stream, GROUP, consumer])?;
        }
    }
    Ok(())
}

/// Ends the server: mostly by a kill, at times followed by another within the recovery, now and
/// then by SIGTERM.
fn end(server: &mut Server, chance: &mut Chance, totals: &mut Totals) -> Result<()> {
    if chance.one_in(10) {
        totals.terminated += 1;
        return server.terminate();
    }
    totals.faults += 1;
    server.kill()?;
    if chance.one_in(5) {
        totals.faults += 1;
        server.launch()?;
        std::thread::sleep(Duration::from_millis(chance.below(25)));
        server.kill()?;
    }
    Ok(())
}

/// Takes one acknowledged entry out of what was read back, to see whether the checker misses it.
fn withhold(ledger: &Ledger, states: &mut [State], chance: &mut Chance) -> Result<()> {
    let entries = &mut states[0].entries;
    let acknowledged: Vec<usize> = (0..entries.len())
        .filter(|index| !ledger.streams[0].unknown.contains(&entries[*index].1))
        .collect();
    ensure!(!acknowledged.is_empty(), "nothing to withhold");
    entries.remove(acknowledged[chance.index(acknowledged.len())]);
    Ok(())
}

/// Trims each stream to the newest that the ledger knows of and acknowledges what was pending
/// before them.
fn retire(client: &mut Client, ledger: &mut Ledger, states: &[State]) -> Result<()> {
    for (stream, state) in ledger.streams.iter_mut().zip(states) {
        let Some(floor) = stream.entries.keys().nth_back(KEEP).copied() else {
            continue;
        };
        for ids in stream.pending_below(floor).chunks(ACKS_MAX) {
            let mut command = vec!["XACK".to_owned(), stream.name.clone(), GROUP.to_owned()];
            command.extend(ids.iter().map(|id| show_id(*id)));
            let removed = client.ask(&command)?;
            ensure_removed("XACK", &removed, ids.len())?;
        }
        let trimmed = client.ask(&["XTRIM", &stream.name, "MINID", &show_id(floor)])?;
        let surplus = state.entries.partition_point(|(id, _)| *id < floor);
        ensure_removed("XTRIM", &trimmed, surplus)?;
        stream.retire(floor);
    }
    Ok(())
}

fn ensure_removed(command: &str, reply: &Reply, expected: usize) -> Result<()> {
    let expected = i64::try_from(expected)?;
    ensure!(
        *reply == Reply::Integer(expected),
        "{command} answers {reply:?}, but {expected} were there"
    );
    Ok(())
}
