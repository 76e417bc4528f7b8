//! `levada add`, on Levada and on a Redis.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::json;

use crate::rig::{Server, ask, levada, levada_reading, objects, servers};

/// Longest wait for a line: only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn an_entry_is_added_and_its_id_is_told() {
    for server in servers() {
        let url = server.url();
        let add = |more: &[&str], code| levada(&[&["add", "--url", &url], more].concat(), code);
        assert_eq!(add(&["s", "--id", "5-1", "item", "book", "qty", "-2"], 0), "5-1\n");
        let said = objects(&["add", "s", "f", "v", "--json", "--url", &url], 0);
        assert_eq!(said[0]["stream"], "s");
        let lines = levada(&["tail", "s", "--url", &url], 0);
        assert!(lines.starts_with("5-1  item=book  qty=-2\n"), "{lines}");
        assert_eq!(lines.lines().count(), 2);
        for (arguments, code, said) in [
            (&["s", "f"][..], 2, "a field has no value"),
            (&["s", "--id", "7-1"], 2, "FIELD VALUE"),
            (&["s", "--id", "5-1", "f", "v"], 1, "equal or smaller"),
            (&["gone", "--no-create", "f", "v"], 3, "there is no such stream"),
        ] {
            let text = add(arguments, code);
            assert!(text.contains(said), "{arguments:?}: {text}");
        }
        assert_eq!(ask(&mut server.connect(), "EXISTS gone"), redis::Value::Int(0));
    }
    levada(&["add", "s", "f", "v", "--url", "redis://127.0.0.1:1"], 1);
}

#[test]
fn lines_of_stdin_are_entries() {
    for server in servers() {
        let url = server.url();
        let add = |input: &str, more: &[&str], code| {
            levada_reading(&[&["add", "s", "--url", &url], more].concat(), input, code)
        };
        let mut input = String::new();
        for n in 0..5_000 {
            writeln!(input, "{{\"n\":{n},\"text\":\"caf\u{e9}\"}}").expect("a string takes all");
        }
        let ids = add(&input, &["--pipeline", "100"], 0);
        let ids: Vec<_> = ids.lines().collect();
        assert_eq!(ids.len(), 5_000);
        let there = objects(&["replay", "s", "--json", "--url", &url], 0);
        let found: Vec<_> = there.iter().map(|entry| entry["id"].as_str().expect("text")).collect();
        assert_eq!(found, ids, "the ids are those of the entries, in their order");
        assert_eq!(there[4_321]["fields"], json!({"n": "4321", "text": "caf\u{e9}"}));
        // What is no text comes back as it was shown.
        let binary = "{\"b\":{\"hex\":\"ff00\"}}\n\n";
        add(binary, &[], 0);
        let last = objects(&["tail", "s", "-n", "1", "--json", "--url", &url], 0);
        assert_eq!(last[0]["fields"], json!({"b": {"hex": "ff00"}}));
        // What stands before a line that is wrong is added, and nothing behind it.
        let said = add("{\"a\":1}\n[]\n{\"a\":2}\n", &[], 2);
        assert!(said.contains("line 2 is no object of fields"), "{said}");
        assert_eq!(ask(&mut server.connect(), "XLEN s"), redis::Value::Int(5_002));
        ask(&mut server.connect(), "SET text v");
        let wrong = ["add", "text", "--url", &url];
        let said = levada_reading(&wrong, "{\"a\":1}\n{\"a\":2}\n", 1);
        assert!(
            said.contains("line 1 was not added to text") && said.contains("WRONGTYPE"),
            "{said}"
        );
        assert_eq!(add("", &[], 0), "");
    }
}

#[test]
fn a_line_does_not_wait_for_the_next() {
    let server = Server::levada();
    let mut child = Command::new(env!("CARGO_BIN_EXE_levada"))
        .args(["add", "s", "--url", &server.url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("levada runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let (said, heard) = channel();
    std::thread::spawn(move || {
        lines.map_while(Result::ok).for_each(|line| drop(said.send(line)));
    });
    for n in 1..=3 {
        // The beginning of the next line is no reason to wait either.
        let line: &[u8] = if n == 1 { b"{\"a\":1}\n{\"a\"" } else { b":1}\n{\"a\"" };
        stdin.write_all(line).expect("it reads");
        heard.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("line {n} waits"));
    }
    stdin.write_all(b":1}").expect("it reads");
    drop(stdin);
    heard.recv_timeout(PATIENCE).expect("the last line needs no end");
    assert!(child.wait().expect("our child").success());
}
