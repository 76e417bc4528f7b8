//! The log of the program, from its start to its end, in both formats, and the page about it.

use std::io::{BufRead as _, BufReader, Lines, PipeReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use levada_server::LogName;
use serde_json::Value;

use crate::rig::fresh_directory;

/// Longest wait for a reply.
const REPLY_MAX: Duration = Duration::from_secs(20);
/// What a server for one client says from start to stop while a second one comes.
const LIFE: [&str; 6] =
    ["starting", "listening", "ready", "connections_refused", "stopping", "stopped"];

/// A program with its log, ended with the test.
struct Running {
    child: Child,
    lines: Lines<BufReader<PipeReader>>,
    directory: PathBuf,
}

impl Running {
    /// Takes one client. `in_journal` says that its log goes to the journal of systemd.
    fn start(more: &[&str], in_journal: bool) -> Self {
        let directory = fresh_directory("log");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let pipe = rustix::fs::fstat(&writer).expect("it is open");
        let named = match in_journal {
            true => format!("{}:{}", pipe.st_dev, pipe.st_ino),
            // As a program inherits it whose own stderr goes elsewhere.
            false => format!("{}:{}", pipe.st_dev, pipe.st_ino + 1),
        };
        let child = Command::new(env!("CARGO_BIN_EXE_levada"))
            .args(["serve", "--port", "0", "--maxclients", "1", "--dir"])
            .arg(directory.join("data"))
            .args(more)
            .env("JOURNAL_STREAM", named)
            .stdin(Stdio::null())
            .stderr(writer)
            .spawn()
            .expect("levada starts");
        Self { child, lines: BufReader::new(reader).lines(), directory }
    }

    /// A client, one that is refused, and SIGTERM. All lines.
    fn live(mut self) -> Vec<String> {
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.contains("Ready to accept")) {
            said.push(self.lines.next().expect("it goes on").expect("text"));
        }
        let address = said.iter().find_map(|line| line.split_once("Listening on ")).expect("told");
        let end = |letter: char| letter != ':' && letter != '.' && !letter.is_ascii_digit();
        let address = address.1.split(end).next().expect("there is a first part");
        let first = TcpStream::connect(address).expect("it listens");
        let mut second = TcpStream::connect(address).expect("it listens");
        second.write_all(b"PING\r\n").expect("sent");
        second.set_read_timeout(Some(REPLY_MAX)).expect("a limit");
        let mut reply = String::new();
        second.read_to_string(&mut reply).expect("a reply, and the end");
        assert_eq!(reply, "-ERR max number of clients reached\r\n");
        drop(first);
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("runs").success());
        said.extend(self.lines.by_ref().map(|line| line.expect("text")));
        assert_eq!(self.child.wait().expect("our child").code(), Some(0), "{said:#?}");
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn level(event: &str) -> &'static str {
    let name = LogName::ALL.iter().find(|name| name.text() == event);
    name.unwrap_or_else(|| panic!("no event {event}")).level().word()
}

/// Whether a text is a time such as `2026-11-22T11:43:19.123Z`.
fn is_time(text: &str) -> bool {
    let shape = text.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    shape.eq(*b"0000-00-00T00:00:00.000Z")
}

#[test]
fn for_programs_every_line_is_an_object_with_time_level_event_and_message() {
    let lines = Running::start(&["--log-format", "json"], true).live();
    let events: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let names: Vec<_> = events.iter().map(|it| it["event"].as_str().expect("a name")).collect();
    assert_eq!(names, LIFE);
    let times: Vec<_> = events.iter().map(|it| it["time"].as_str().expect("a time")).collect();
    assert!(times.iter().all(|time| is_time(time)) && times.is_sorted(), "{times:?}");
    for event in &events {
        assert_eq!(event["level"], level(event["event"].as_str().expect("a name")));
        assert!(event["message"].as_str().is_some_and(|text| !text.is_empty()), "{event}");
    }
    assert_eq!(events[3]["connections_max"], 1);
    let address = format!("Listening on {}", events[1]["address"].as_str().expect("told"));
    assert_eq!((&events[1]["message"], &events[1]["tls"]), (&address.into(), &"no".into()));
}

#[test]
fn for_people_every_line_has_time_level_and_event_before_the_message() {
    let names: Vec<_> = Running::start(&[], false)
        .live()
        .iter()
        .map(|line| {
            let mut words = line.splitn(4, ' ');
            let mut next = || words.next().unwrap_or_else(|| panic!("{line}"));
            let (time, found, name) = (next(), next(), next());
            let name = name.strip_suffix(':').unwrap_or_else(|| panic!("{line}"));
            assert!(is_time(time) && found == level(name), "{line}");
            name.to_owned()
        })
        .collect();
    assert_eq!(names, LIFE);
}

#[test]
fn in_the_journal_lines_have_no_time_of_their_own() {
    let lines = Running::start(&["--log-format", "text"], true).live();
    assert!(lines[0].starts_with("info starting: Levada "), "{lines:#?}");
    assert_eq!(lines[5], "info stopped: Everything is on disk, bye");
}

#[test]
fn who_cannot_start_says_it_in_the_format_that_was_asked_for() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let status = Command::new(env!("CARGO_BIN_EXE_levada"))
        .args(["serve", "--port", "0", "--bind", "0.0.0.0", "--log-format", "json"])
        .stderr(writer)
        .status()
        .expect("levada runs");
    let mut said = String::new();
    BufReader::new(reader).read_to_string(&mut said).expect("text");
    let event: Value = serde_json::from_str(&said).expect("one object");
    assert_eq!((status.code(), &event["event"]), (Some(1), &"failed".into()));
    assert!(event["error"].as_str().is_some_and(|why| why.contains("no password")), "{said}");
}

#[test]
fn every_event_has_its_line_in_the_guide() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operate/logs.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let listed: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            assert!(cells.len() == 4 && !cells[3].is_empty(), "{line}");
            (cells[0].trim_matches('`').to_owned(), cells[1].to_owned())
        })
        .collect();
    let all = LogName::ALL.iter();
    let expect: Vec<_> =
        all.map(|name| (name.text().to_owned(), name.level().word().to_owned())).collect();
    assert_eq!(listed, expect);
}
