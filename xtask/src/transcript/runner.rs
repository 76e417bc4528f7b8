//! Plays transcripts against a live server and reports what differs.
//!
//! Each section starts with FLUSHALL and fresh connections and ends at its first difference; the
//! next section starts clean again. The runner's own connection, `control`, is never one of a
//! transcript's. It assumes that nobody else works on the server.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::connection::Connection;
use super::record;
use super::render::render;
use super::reply::Reply;
use super::script::{Expect, Request, Requires, Script, Section, Step};
use super::words::{Captures, substitute};
use crate::workspace;

/// Longest wait until a client counts as blocked, or stops to.
const BLOCKED_WAIT_MAX: Duration = Duration::from_secs(10);
/// Pause between two looks at `INFO clients`.
const POLL_PAUSE: Duration = Duration::from_millis(2);

/// Where to run, and who answers there.
#[derive(Debug, Clone)]
pub struct Target {
    /// What to call the server in messages.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// How to run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Write the replies that a file does not have yet into it, instead of failing there.
    pub record: bool,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Sections in which every reply was as expected.
    pub passed: usize,
    /// Sections that are not for this peer (too old, or not Levada): file and title.
    pub skipped: Vec<String>,
    /// Sections that Levada is known not to pass yet: file and title.
    pub not_yet: Vec<String>,
    /// One readable report per failed section.
    pub failures: Vec<String>,
    /// Replies that were compared.
    pub replies: usize,
}

/// Runs files against a server. An error is something that kept the run from taking place (a file
/// that does not parse, no server); differences are in the summary.
pub fn run(target: &Target, files: &[PathBuf], options: Options) -> Result<Summary> {
    let scripts = files.iter().map(|file| Script::load(file)).collect::<Result<Vec<_>>>()?;
    let mut summary = Summary::default();
    let mut player = Player::connect(target)?;
    let not_yet = if player.peer.is_levada { not_yet()? } else { Vec::new() };
    for script in &scripts {
        let mut recorded = Vec::new();
        for section in &script.sections {
            let place = format!("{}:{} {}", script.path.display(), section.line, section.title);
            if !player.peer.satisfies(section.requires) {
                summary.skipped.push(place);
                continue;
            }
            let record = options.record.then_some(&mut recorded);
            let listed = not_yet.iter().any(|line| is_section(line, &script.path, &section.title));
            match player.section(section, &script.path, record) {
                Ok(_) if listed => {
                    let how = "passes, but is listed in not-yet.list: take it off the list";
                    summary.failures.push(format!("{place}\n{how}"));
                }
                Err(_) if listed => summary.not_yet.push(place),
                Ok(replies) => {
                    summary.passed += 1;
                    summary.replies += replies;
                }
                Err(error) => summary.failures.push(format!("{place}\n{error:#}")),
            }
        }
        if !recorded.is_empty() {
            record::insert(&script.path, &recorded)?;
        }
    }
    Ok(summary)
}

/// What Levada does not pass yet, `FILE: TITLE` a line. The list only shrinks: a section on it that
/// passes is a failure.
fn not_yet() -> Result<Vec<String>> {
    let path = workspace::root().join("tests/transcripts/not-yet.list");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

fn is_section(line: &str, path: &Path, title: &str) -> bool {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    line.split_once(": ").is_some_and(|(of, section)| of == file && section == title)
}

impl Summary {
    /// The report of a run, for people.
    pub fn report(&self, target: &Target) -> String {
        let mut text = String::new();
        for failure in &self.failures {
            let _ = writeln!(text, "FAILED {failure}\n");
        }
        for skipped in &self.skipped {
            let _ = writeln!(text, "skipped, not for {}: {skipped}", target.name);
        }
        for not_yet in &self.not_yet {
            let _ = writeln!(text, "not built yet: {not_yet}");
        }
        let _ = write!(
            text,
            "transcripts against {}: {} sections passed ({} replies), {} failed, {} not built yet, \
             {} skipped",
            target.name,
            self.passed,
            self.replies,
            self.failures.len(),
            self.not_yet.len(),
            self.skipped.len(),
        );
        text
    }
}

/// What is known about the server.
struct Peer {
    version: (u32, u32),
    is_levada: bool,
}

impl Peer {
    fn satisfies(&self, requires: Option<Requires>) -> bool {
        match requires {
            None => true,
            Some(Requires::Levada) => self.is_levada,
            Some(Requires::Redis(major, minor)) => self.is_levada || self.version >= (major, minor),
        }
    }
}

struct Player {
    address: SocketAddr,
    control: Connection,
    peer: Peer,
    /// Clients that were blocked before the run began.
    blocked_before: usize,
}

impl Player {
    fn connect(target: &Target) -> Result<Self> {
        let mut control = Connection::open(target.address)?;
        let info = info(&mut control, "server")?;
        let version = field(&info, "redis_version").context("INFO names no redis_version")?;
        let mut numbers = version.split('.').map_while(|part| part.parse().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let peer = Peer { version, is_levada: field(&info, "levada_version").is_some() };
        let blocked_before = blocked_clients(&mut control)?;
        Ok(Self { address: target.address, control, peer, blocked_before })
    }

    /// Plays one section and puts its settings back. Answers how many replies were compared.
    fn section(
        &mut self,
        section: &Section,
        path: &Path,
        record: Option<&mut Vec<record::Recorded>>,
    ) -> Result<usize> {
        self.wait_for_blocked(0).context("clients of an earlier section are still blocked")?;
        self.ok(&["FLUSHALL"])?;
        let mut before = Vec::new();
        for (name, value) in &section.config {
            before.push((name, self.setting(name)?));
            self.ok(&["CONFIG", "SET", name, if value == "\"\"" { "" } else { value }])?;
        }
        let mut stage = Stage {
            player: self,
            path,
            resp3: section.resp3,
            connections: BTreeMap::new(),
            captures: Captures::new(),
            replies: 0,
            record,
        };
        let played = section.steps.iter().try_for_each(|step| stage.step(step));
        let outcome = played.and_then(|()| stage.nothing_is_left());
        let replies = stage.replies;
        for (name, value) in before {
            self.ok(&["CONFIG", "SET", name, &value])?;
        }
        outcome.map(|()| replies)
    }

    fn setting(&mut self, name: &str) -> Result<String> {
        match self.control.call(&["CONFIG", "GET", name])? {
            Reply::Array(pair) if pair.len() == 2 => {
                Ok(String::from_utf8_lossy(pair[1].text().unwrap_or_default()).into_owned())
            }
            other => bail!("CONFIG GET {name} answered {}", render(&other)),
        }
    }

    fn ok(&mut self, words: &[&str]) -> Result<()> {
        let reply = self.control.call(words)?;
        ensure!(
            reply == Reply::Simple(b"OK".to_vec()),
            "{} answered {}",
            words.join(" "),
            render(&reply)
        );
        Ok(())
    }

    /// Waits until the server counts `count` blocked clients, besides those of before the run.
    fn wait_for_blocked(&mut self, count: usize) -> Result<()> {
        let deadline = Instant::now() + BLOCKED_WAIT_MAX;
        loop {
            let blocked = blocked_clients(&mut self.control)?;
            if blocked == count + self.blocked_before {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("INFO counts {blocked} blocked clients, expected {count}");
            }
            std::thread::sleep(POLL_PAUSE);
        }
    }
}

/// One section while it is played.
struct Stage<'a> {
    player: &'a mut Player,
    path: &'a Path,
    resp3: bool,
    connections: BTreeMap<String, Connection>,
    captures: Captures,
    replies: usize,
    record: Option<&'a mut Vec<record::Recorded>>,
}

impl Stage<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        let place = format!("  at {}:{}\n  {}", self.path.display(), step.line, step.text);
        let times = match &step.request {
            Some(Request::Words { times, .. }) => *times,
            _ => 1,
        };
        for _ in 0..times {
            self.send(step).with_context(|| place.clone())?;
            if step.expect.is_none() && matches!(step.request, Some(Request::Raw(_))) {
                // Bytes need not be a request: their replies, if any, have lines of their own.
                continue;
            }
            let Some(expect) = &step.expect else {
                self.record_reply(step).with_context(|| place.clone())?;
                continue;
            };
            self.check(&step.connection, expect).map_err(|error| {
                let expected = match expect {
                    Expect::Reply(_) => self.expected_text(step),
                    Expect::Blocked => "(blocked)".to_owned(),
                    Expect::Nothing => "(nothing)".to_owned(),
                    Expect::Closed => "(closed)".to_owned(),
                };
                anyhow::anyhow!("{place}\n  expected: {expected}\n  got:      {error:#}")
            })?;
            self.replies += 1;
        }
        Ok(())
    }

    /// The expectation as it stands in the file, which is the notation that its reader knows.
    fn expected_text(&self, step: &Step) -> String {
        let text = std::fs::read_to_string(self.path).unwrap_or_default();
        let first = if step.request.is_some() { step.line } else { step.line - 1 };
        let lines: Vec<&str> = text.lines().skip(first).take(step.line_last - first).collect();
        lines.join("\n            ")
    }

    fn send(&mut self, step: &Step) -> Result<()> {
        let Some(request) = &step.request else {
            return Ok(());
        };
        let words = match request {
            Request::Raw(bytes) => return self.connection(&step.connection)?.send_raw(bytes),
            Request::Words { words, .. } => words
                .iter()
                .map(|word| substitute(word, &self.captures))
                .collect::<Result<Vec<_>>>(),
        };
        self.connection(&step.connection)?.send(&words?)
    }

    fn check(&mut self, name: &str, expect: &Expect) -> Result<()> {
        match expect {
            Expect::Reply(pattern) => {
                let reply = self.connection(name)?.receive()?;
                ensure!(
                    pattern.matches(&reply, &mut self.captures),
                    "{}",
                    render(&reply).replace('\n', "\n            ")
                );
                Ok(())
            }
            Expect::Blocked => {
                self.connection(name)?.is_blocked = true;
                let count = self.connections.values().filter(|each| each.is_blocked).count();
                let waited = self.player.wait_for_blocked(count);
                self.nothing(name)?;
                waited
            }
            Expect::Nothing => {
                self.player.control.call(&["PING"])?;
                self.nothing(name)
            }
            Expect::Closed => self.connection(name)?.expect_closed(),
        }
    }

    fn nothing(&mut self, name: &str) -> Result<()> {
        let connection = self.connection(name)?;
        if connection.has_arrived()? {
            bail!("{}", render(&connection.receive()?));
        }
        Ok(())
    }

    /// A reply that no step asked for is a difference too.
    fn nothing_is_left(&mut self) -> Result<()> {
        self.player.control.call(&["PING"])?;
        for (name, connection) in &mut self.connections {
            if connection.has_arrived()? {
                let reply = connection.receive()?;
                bail!("  at the end, {name}< was not expected:\n  got:      {}", render(&reply));
            }
        }
        Ok(())
    }

    fn record_reply(&mut self, step: &Step) -> Result<()> {
        let reply = self.connection(&step.connection)?.receive()?;
        let text = render(&reply);
        match &mut self.record {
            Some(record) => record.push(record::Recorded { line: step.line, text }),
            None => bail!("no reply is recorded for this request\n  got:      {text}"),
        }
        Ok(())
    }

    /// The connection of that name, opened at its first use.
    fn connection(&mut self, name: &str) -> Result<&mut Connection> {
        if !self.connections.contains_key(name) {
            let mut connection = Connection::open(self.player.address)?;
            if self.resp3 {
                let reply = connection.call(&["HELLO", "3"])?;
                ensure!(matches!(reply, Reply::Map(_)), "HELLO 3 answered {}", render(&reply));
            }
            self.connections.insert(name.to_owned(), connection);
        }
        self.connections.get_mut(name).context("the connection was just opened")
    }
}

fn info(control: &mut Connection, section: &str) -> Result<String> {
    let reply = control.call(&["INFO", section])?;
    let text = reply.text().with_context(|| format!("INFO answered {}", render(&reply)))?;
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

fn blocked_clients(control: &mut Connection) -> Result<usize> {
    let info = info(control, "clients")?;
    let count = field(&info, "blocked_clients").context("INFO names no blocked_clients")?;
    count.trim().parse().context("blocked_clients is no number")
}

#[cfg(test)]
mod tests;
