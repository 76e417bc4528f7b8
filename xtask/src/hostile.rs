//! `cargo xtask hostile`: attackers by the hundred, with and without a password, and a client that
//! is served all the while.
//!
//! What must hold: the good client's every request is answered rightly, and all attackers together
//! cost no more than [`BYTES_MAX`] of memory, where `maxmemory-clients` is [`CLIENTS_BYTES_MAX`].
//!
//! How long the good client waits is measured three times by turns: alone, while the attackers are
//! at another server of the same kind, and while they are at its own. The second is what the
//! machine costs, whose processors attackers and attacked share; what the third is beyond it the
//! server owes. It is judged with `--apart` alone, where the server has the first processor, before
//! everybody else, and the good client goes before all others on the rest: the p99 at its own is at
//! most [`TIMES_MAX`] times that at the other in the same round, in the median of rounds.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, setpriority_process};
use rustix::thread::{CpuSet, sched_setaffinity};
use xtask::peer::Peer;

/// Memory that all attackers together may cost, in bytes.
const BYTES_MAX: u64 = 64 << 20;
/// What the server is told that all clients may take.
const CLIENTS_BYTES_MAX: &str = "24mb";
/// How many times longer the good client may wait, at its p99, for the sake of attackers.
const TIMES_MAX: f64 = 2.0;
/// Longest wait for a reply: only a failing run waits that long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Threads that attack.
const THREADS: usize = 4;
/// Priority of attackers that stand apart.
const PRIORITY_LEAST: i32 = 19;
const PASSWORD: &str = "a-password-for-this-run";
/// Bytes that stand for a value that never ends.
const FILLING: usize = 32 << 10;

/// What a stranger sends again and again.
const STRANGERS: [&[u8]; 7] = [
    b"*10\r\n$16384\r\nxxxxxxxxxxxxxxxx",
    b"*1000000\r\n$536870912\r\n",
    b"PING\r\nPING\r\nPING\r\nPING\r\nPING\r\nPING\r\n",
    b"\r\n*0\r\n\r\n*-1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"AUTH guess\r\nHELLO 3 AUTH default guess\r\n",
    b"\x16\x03\x01\x02\x00\x01\xff\xfe\x00*$\r",
];
/// What an attacker sends who has a password.
const INSIDERS: [&[u8]; 6] = [
    b"MULTI\r\nSET k v\r\nGET large\r\nGET large\r\n",
    b"GET large\r\nGET large\r\nGET large\r\n",
    b"*1048576\r\n$3\r\nDEL\r\n",
    b"SUBSCRIBE a b c d\r\nPUBLISH a b\r\n",
    b"KEYS a*a*a*a*a*a*a*a*b\r\nXRANGE good - +\r\n",
    b"*3\r\n$4\r\nXLEN\r\n$4\r\nhole\r\n$16777216\r\n",
];

/// Runs the verb with its arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let plan = parse(arguments)?;
    let start = || match &plan.program {
        Some(program) => Peer::program(program),
        None => Peer::levada(),
    };
    let (server, decoy) = (start()?, start()?);
    if plan.apart {
        stand_apart(server.pid(), decoy.pid())?;
    }
    let mut good = Good::prepare(server.address)?;
    let decoy = Good::prepare(decoy.address)?.stream.peer_addr()?;
    let Plan { strangers, insiders, .. } = plan;
    let mut far = Vec::new();
    for (strangers, insiders) in [(strangers, 0), (0, insiders), (strangers, insiders)] {
        println!("{strangers} strangers and {insiders} with the password:");
        let armies = [
            Army { attackers: strangers, weapons: &STRANGERS, password: None },
            Army { attackers: insiders, weapons: &INSIDERS, password: Some(PASSWORD) },
        ];
        let beyond = compare(&mut good, (server.address, decoy), &armies, &plan)?;
        far.extend(beyond.map(|times| format!("{strangers} and {insiders}: {times:.1} times")));
    }
    good.expect(&["PING"], "+PONG\r\n")?;
    let far = far.join(", ");
    ensure!(!plan.apart || far.is_empty(), "the good client waits too long beside {far}");
    Ok(())
}

/// Rounds of a good client alone, beside attackers of the decoy, and beside attackers of its own
/// server, by turns, so that whatever else the machine does meets all three. Prints the medians;
/// how many times longer than beside the decoy's it waited, if that is too long.
fn compare(
    good: &mut Good,
    (server, decoy): (SocketAddr, SocketAddr),
    armies: &[Army<'_>],
    plan: &Plan,
) -> Result<Option<f64>> {
    let before = good.memory()?;
    let (mut alone, mut beside, mut attacked) = (Vec::new(), Vec::new(), Vec::new());
    let (mut most, mut made) = (0, 0);
    for _ in 0..plan.rounds {
        alone.push(good.work(plan.slice)?);
        beside.push(under_attack(decoy, armies, plan.apart, || good.work(plan.slice))?.0);
        let ((latency, bytes), connections) =
            under_attack(server, armies, plan.apart, || good.work_and_watch(plan.slice))?;
        attacked.push(latency);
        (most, made) = (most.max(bytes), made + connections);
    }
    // Of rounds, as a machine that has a bad hour has it in both parts of one.
    let pairs = attacked.iter().zip(&beside);
    let of_round = |(ours, null): (&Latency, &Latency)| {
        ours.at(99).as_secs_f64() / null.at(99).as_secs_f64().max(f64::MIN_POSITIVE)
    };
    let mut times: Vec<_> = pairs.map(of_round).collect();
    times.sort_unstable_by(f64::total_cmp);
    let [alone, beside, attacked] = [alone, beside, attacked].map(|rounds| Medians::of(&rounds));
    let grown = most.saturating_sub(before);
    println!("  alone                        {}", alone.text());
    println!("  attackers at another server  {}", beside.text());
    println!("  attackers at its own server  {}", attacked.text());
    println!("  {made} connections; memory +{:.1} MB at most", mb(grown));
    ensure!(
        grown <= BYTES_MAX,
        "attackers cost {:.1} MB, and may cost {:.1}",
        mb(grown),
        mb(BYTES_MAX)
    );
    let times = times[times.len() / 2];
    println!("  p99 at its own server, of that beside: {times:.2}");
    Ok((times > TIMES_MAX).then_some(times))
}

/// The median of the rounds, of each figure.
struct Medians {
    requests: usize,
    p50: Duration,
    p99: Duration,
    p99_least: Duration,
    p99_most: Duration,
}

impl Medians {
    fn of(rounds: &[Latency]) -> Self {
        let median = |part: usize| {
            let mut of_rounds: Vec<_> = rounds.iter().map(|round| round.at(part)).collect();
            of_rounds.sort_unstable();
            of_rounds[of_rounds.len() / 2]
        };
        let p99 = rounds.iter().map(|round| round.at(99));
        Self {
            requests: rounds.iter().map(|round| round.0.len()).sum(),
            p50: median(50),
            p99: median(99),
            p99_least: p99.clone().min().unwrap_or_default(),
            p99_most: p99.max().unwrap_or_default(),
        }
    }

    fn text(&self) -> String {
        format!(
            "{:7} requests, p50 {:5} us, p99 {:6} us ({} to {})",
            self.requests,
            self.p50.as_micros(),
            self.p99.as_micros(),
            self.p99_least.as_micros(),
            self.p99_most.as_micros()
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mb(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

struct Plan {
    strangers: usize,
    insiders: usize,
    rounds: usize,
    /// How long the good client works in each part of a round.
    slice: Duration,
    /// The server, where it is not to be built.
    program: Option<PathBuf>,
    apart: bool,
}

fn parse(arguments: &[String]) -> Result<Plan> {
    let mut plan = Plan {
        strangers: 1_000,
        insiders: 100,
        rounds: 11,
        slice: Duration::from_secs(1),
        program: None,
        apart: false,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--strangers" => plan.strangers = value()?.parse().context("--strangers")?,
            "--insiders" => plan.insiders = value()?.parse().context("--insiders")?,
            "--rounds" => plan.rounds = value()?.parse().context("--rounds")?,
            "--seconds" => {
                plan.slice = Duration::from_secs(value()?.parse().context("--seconds")?);
            }
            "--program" => plan.program = Some(value()?.into()),
            "--apart" => plan.apart = true,
            other => bail!("unknown option {other}"),
        }
    }
    ensure!(plan.rounds > 0, "--rounds is 0: nothing would be measured");
    Ok(plan)
}

/// Gives the server the first processor, and everybody else the others. The decoy has them when
/// nobody else wants to, as those who attack it.
fn stand_apart(server: u32, decoy: u32) -> Result<()> {
    let count = std::thread::available_parallelism()?.get();
    ensure!(count > 1, "there is one processor");
    let of = |range: std::ops::Range<usize>| {
        let mut set = CpuSet::new();
        range.for_each(|at| set.set(at));
        set
    };
    for (process, set) in [(server, of(0..1)), (decoy, of(1..count))] {
        for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
            let id = Pid::from_raw(task?.file_name().to_string_lossy().parse()?);
            sched_setaffinity(id, &set)?;
        }
    }
    sched_setaffinity(None, &of(1..count))?;
    prefer(server)?;
    prefer(std::process::id())
}

/// Lets a process go before all that are not preferred: what else the machine does would be
/// measured otherwise. Its first thread, the server's loop, comes behind its others: nobody shares
/// a processor in time at this priority, and a busy loop would keep the disk's threads from ending
/// the syncs that it waits for. Threads that begin later are as others.
fn prefer(process: u32) -> Result<()> {
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let id = task?.file_name().to_string_lossy().into_owned();
        let priority = if id == process.to_string() { "1" } else { "2" };
        let chrt = ["--reset-on-fork", "--fifo", "--pid", priority, &id];
        let said = Command::new("chrt").args(chrt).output().context("chrt of util-linux")?;
        let why = String::from_utf8_lossy(&said.stderr).trim().to_owned();
        ensure!(said.status.success(), "--apart needs the right to set priorities: {why}");
    }
    Ok(())
}

/// Attackers of one kind.
struct Army<'a> {
    attackers: usize,
    weapons: &'a [&'a [u8]],
    password: Option<&'a str>,
}

/// Does some work while so many attackers are at it. Its result, and how many connections they
/// made.
fn under_attack<T>(
    address: SocketAddr,
    armies: &[Army<'_>],
    apart: bool,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, u64)> {
    let (stop, made, begun) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (stop, made, begun) = (&stop, &made, &begun);
            scope.spawn(move || {
                if apart {
                    // Of this thread; it fails nowhere that it is tried.
                    let _ = setpriority_process(None, PRIORITY_LEAST);
                }
                let mut attackers: Vec<_> =
                    armies.iter().flat_map(|army| army.part(thread)).collect();
                while !stop.load(Ordering::Relaxed) {
                    for attacker in &mut attackers {
                        attacker.attack(address, made);
                    }
                    begun.fetch_add(1, Ordering::Relaxed);
                    // A hostile client is no excuse for a hot machine.
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        // All of them have come by then, most likely: each thread has been round so often.
        let begin = Instant::now();
        while begun.load(Ordering::Relaxed) < THREADS as u64 * 2 && begin.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        let done = work();
        stop.store(true, Ordering::Relaxed);
        Ok((done?, made.load(Ordering::Relaxed)))
    })
}

impl Army<'_> {
    /// Those of one thread.
    fn part(&self, thread: usize) -> impl Iterator<Item = Attacker> + '_ {
        (thread..self.attackers).step_by(THREADS).map(|at| {
            let mut weapon = self.weapons[at % self.weapons.len()].to_vec();
            if weapon.starts_with(b"*3") {
                weapon.resize(FILLING, b'y');
            }
            let greeting = self.password.map(|password| format!("AUTH {password}\r\n"));
            Attacker { stream: None, weapon, greeting: greeting.unwrap_or_default() }
        })
    }
}

/// A connection that sends, never reads, and comes again when it is thrown out.
struct Attacker {
    stream: Option<TcpStream>,
    weapon: Vec<u8>,
    greeting: String,
}

impl Attacker {
    fn attack(&mut self, address: SocketAddr, made: &AtomicU64) {
        if self.stream.is_none() {
            let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else {
                return;
            };
            let _ = stream.write_all(self.greeting.as_bytes());
            let _ = stream.set_nonblocking(true);
            made.fetch_add(1, Ordering::Relaxed);
            self.stream = Some(stream);
        }
        let Some(stream) = &mut self.stream else {
            return;
        };
        match stream.write(&self.weapon) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => {
                let _ = stream.shutdown(Shutdown::Both);
                self.stream = None;
            }
        }
    }
}

/// The client that must be served.
struct Good {
    stream: TcpStream,
    process: u32,
    appended: u64,
}

/// How long requests took.
struct Latency(Vec<Duration>);

impl Latency {
    fn at(&self, part: usize) -> Duration {
        self.0.get(self.0.len() * part / 100).copied().unwrap_or_default()
    }
}

impl Good {
    /// Connects to a server and makes it ready to be attacked.
    fn prepare(address: SocketAddr) -> Result<Self> {
        let mut good = Self::connect(address)?;
        let large = "x".repeat(64 << 10);
        good.expect(&["SET", "large", &large], "+OK\r\n")?;
        good.expect(&["CONFIG", "SET", "maxmemory-clients", CLIENTS_BYTES_MAX], "+OK\r\n")?;
        good.expect(&["CLIENT", "NO-EVICT", "ON"], "+OK\r\n")?;
        good.expect(&["CONFIG", "SET", "requirepass", PASSWORD], "+OK\r\n")?;
        Ok(good)
    }

    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut good = Self { stream, process: 0, appended: 0 };
        let info = good.ask(&["INFO", "server"])?;
        let line = info.lines().find_map(|line| line.strip_prefix("process_id:"));
        good.process = line.context("INFO tells no process_id")?.trim().parse()?;
        Ok(good)
    }

    /// Works, and looks at the memory ten times meanwhile: the most that it was.
    fn work_and_watch(&mut self, time: Duration) -> Result<(Latency, u64)> {
        let (mut latency, mut most) = (Latency(Vec::new()), 0);
        for _ in 0..10 {
            latency.0.append(&mut self.work(time / 10)?.0);
            most = most.max(self.memory()?);
        }
        latency.0.sort_unstable();
        Ok((latency, most))
    }

    /// Appends and counts for so long. Every answer is checked.
    fn work(&mut self, time: Duration) -> Result<Latency> {
        let (begin, mut took) = (Instant::now(), Vec::new());
        while begin.elapsed() < time {
            let start = Instant::now();
            self.appended += 1;
            let id = format!("{}-1", self.appended);
            self.expect(&["XADD", "good", &id, "f", "v"], &format!("${}\r\n{id}\r\n", id.len()))?;
            self.expect(&["XLEN", "good"], &format!(":{}\r\n", self.appended))?;
            took.push(start.elapsed() / 2);
        }
        took.sort_unstable();
        Ok(Latency(took))
    }

    /// Bytes of memory that the server's process has.
    fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kb = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(kb.parse::<u64>()? << 10)
    }

    fn expect(&mut self, args: &[&str], reply: &str) -> Result<()> {
        let got = self.ask(args)?;
        ensure!(got == reply, "{}: {got:?} is not {reply:?}", args[0]);
        Ok(())
    }

    /// The whole reply, which is a line or a bulk string.
    fn ask(&mut self, args: &[&str]) -> Result<String> {
        let mut bytes = format!("*{}\r\n", args.len());
        for arg in args {
            let _ = write!(bytes, "${}\r\n{arg}\r\n", arg.len());
        }
        self.stream.write_all(bytes.as_bytes())?;
        let (mut reply, mut chunk) = (Vec::new(), [0; 4096]);
        while !is_whole(&reply) {
            match self.stream.read(&mut chunk)? {
                0 => bail!("the good client was thrown out"),
                count => reply.extend_from_slice(&chunk[..count]),
            }
        }
        Ok(String::from_utf8(reply)?)
    }
}

fn is_whole(reply: &[u8]) -> bool {
    let Some(end) = reply.windows(2).position(|pair| pair == b"\r\n") else {
        return false;
    };
    let line = String::from_utf8_lossy(&reply[..end]);
    match line.strip_prefix('$').and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => reply.len() >= end + 2 + length + 2,
        None => true,
    }
}
