//! The loop that carries requests and replies of many connections in one thread.
//!
//! A script is asked before every turn what is due, and sees every reply once. While one is in the
//! open loop the thread spins, as the system's timers are too coarse: give it a core of its own.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::wire::{self, Value};

/// Without a reply for so long the server hangs.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// The longest latency that a histogram holds, in nanoseconds; longer ones are counted as this.
const LATENCY_NS_MAX: u64 = 120_000_000_000;
/// Events taken from the system at once.
const EVENTS_MAX: usize = 1024;
const READ_BYTES: usize = 256 * 1024;

/// What a case sends, and what it makes of the replies. `now` counts from the start of the load.
pub(super) trait Script {
    /// Whether the load is over; pushes what is due before that.
    fn tick(&mut self, now: Duration, lines: &mut [Line]) -> Result<bool>;
    /// A reply to line `from`, in order; never an error.
    fn reply(
        &mut self,
        from: usize,
        reply: &Value<'_>,
        now: Duration,
        lines: &mut [Line],
    ) -> Result<()>;
    /// Whether requests are due by the clock rather than by replies.
    fn is_open(&self) -> bool;
}

/// One connection.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    out: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
}

impl Line {
    /// Adds a request to the next write.
    pub(super) fn push<A: AsRef<[u8]>>(&mut self, arguments: &[A]) {
        wire::push(&mut self.out, arguments);
    }

    /// Adds a request whose head [`wire::push_head`] has encoded, and its last argument.
    pub(super) fn push_encoded(&mut self, head: &[u8], last: &[u8]) {
        self.out.extend_from_slice(head);
        self.out.extend_from_slice(last);
        self.out.extend_from_slice(b"\r\n");
    }

    fn write(&mut self) -> Result<()> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("sending"),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// Reads what is there.
    fn read(&mut self, chunk: &mut [u8]) -> Result<()> {
        loop {
            match self.stream.read(chunk) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => {
                    self.input.extend_from_slice(&chunk[..count]);
                    if count < chunk.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("receiving"),
            }
        }
    }
}

/// Runs a script over `count` new connections. Answers how long it took.
pub(super) fn run(address: SocketAddr, count: usize, script: &mut impl Script) -> Result<Duration> {
    let mut poll = Poll::new()?;
    let mut lines = connect(&poll, address, count)?;
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut chunk = vec![0; READ_BYTES];
    let start = Instant::now();
    let mut heard = start;
    let sleep = (!script.is_open()).then_some(Duration::from_millis(5));
    while !script.tick(start.elapsed(), &mut lines)? {
        for line in &mut lines {
            line.write()?;
        }
        match poll.poll(&mut events, Some(sleep.unwrap_or(Duration::ZERO))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in events.iter().filter(|event| event.is_readable()) {
            let Token(from) = event.token();
            lines[from].read(&mut chunk)?;
            heard = Instant::now();
            replies(from, script, heard.duration_since(start), &mut lines)?;
        }
        ensure!(heard.elapsed() < SILENCE_MAX, "no reply within {SILENCE_MAX:?}");
    }
    Ok(start.elapsed())
}

/// Shows a script the replies that are whole.
fn replies(from: usize, script: &mut impl Script, now: Duration, lines: &mut [Line]) -> Result<()> {
    let mut input = std::mem::take(&mut lines[from].input);
    let mut at = 0;
    while at < input.len() {
        let Some((value, length)) = Value::parse(&input[at..])? else {
            break;
        };
        if let Value::Error(text) = value {
            bail!("the server answers {}", String::from_utf8_lossy(text));
        }
        script.reply(from, &value, now, lines)?;
        at += length;
    }
    input.drain(..at);
    lines[from].input = input;
    Ok(())
}

fn connect(poll: &Poll, address: SocketAddr, count: usize) -> Result<Vec<Line>> {
    let mut lines = Vec::with_capacity(count);
    for token in 0..count {
        // Blocking, so that a listener with a short queue is not overrun.
        let stream = std::net::TcpStream::connect(address)
            .with_context(|| format!("connection {} to {address}", token + 1))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(
            &mut stream,
            Token(token),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        lines.push(Line { stream, out: Vec::new(), sent: 0, input: Vec::new() });
    }
    Ok(lines)
}

/// An empty histogram of nanoseconds, good to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are in order")
}

/// Notes `count` latencies that began at `due`.
pub(super) fn note(histogram: &mut Histogram<u64>, due: Duration, now: Duration, count: u64) {
    let nanos = u64::try_from(now.saturating_sub(due).as_nanos()).unwrap_or(u64::MAX);
    histogram.saturating_record_n(nanos.max(1), count);
}
