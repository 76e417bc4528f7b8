//! The runner must fail when it should: these tests play transcripts against a tiny server whose
//! every reply is known, for a runner that always passes would prove nothing.

use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use super::*;

/// What the server announces and answers; anything else is answered by its last word.
fn answer(words: &[String]) -> String {
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["INFO", "server"] => bulk("redis_version:7.0.15\r\n"),
        ["INFO", "clients"] => bulk("blocked_clients:0\r\n"),
        ["FLUSHALL"] => "+OK\r\n".to_owned(),
        ["TWICE"] => "+OK\r\n+OK\r\n".to_owned(),
        [.., last] => bulk(last),
        [] => "-ERR empty\r\n".to_owned(),
    }
}

fn serve(stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    while let Ok(Reply::Array(words)) = Reply::read(&mut reader) {
        let words: Vec<String> = words
            .iter()
            .map(|word| String::from_utf8_lossy(word.text().unwrap()).into_owned())
            .collect();
        reader.get_mut().write_all(answer(&words).as_bytes()).unwrap();
    }
}

/// Plays one transcript against a server of its own.
fn play(name: &str, text: &str) -> Summary {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the process: it holds nothing but its socket.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(|| serve(stream.unwrap()));
        }
    });
    let file = std::env::temp_dir().join(format!("levada-{name}-{}.txt", std::process::id()));
    std::fs::write(&file, text).unwrap();
    let target = Target { name: "echo".to_owned(), address };
    let summary = run(&target, std::slice::from_ref(&file), Options::default()).unwrap();
    std::fs::remove_file(&file).unwrap();
    summary
}

#[test]
fn what_agrees_passes() {
    let summary = play(
        "agrees",
        "== a\n> ECHO x\n\"x\"\n> 3 ECHO y\n\"y\"\n\
         == b\nA> ECHO 1-1\n<id:i>\n> ECHO <=i>\n\"1-1\"\n",
    );
    assert_eq!((summary.passed, summary.replies), (2, 6), "{:?}", summary.failures);
    assert!(summary.failures.is_empty());
}

#[test]
fn a_difference_names_place_request_and_both_replies() {
    let summary = play("differs", "== a\n> ECHO x\n\"y\"\n== b\n> ECHO x\n\"x\"\n");
    assert_eq!(summary.passed, 1);
    let [failure] = &summary.failures[..] else { panic!("{:?}", summary.failures) };
    for part in [".txt:2", "> ECHO x", "expected: \"y\"", "got:      \"x\""] {
        assert!(failure.contains(part), "{part} is missing in {failure}");
    }
}

#[test]
fn every_kind_of_disagreement_fails() {
    for (name, text) in [
        ("unrecorded", "== a\n> ECHO x\n"),
        ("left", "== a\n> TWICE\n+OK\n"),
        (
            "arrived",
            "== a\n> ECHO x\n\"x\"\n>! \"*2\\r\\n$4\\r\\nECHO\\r\\n$1\\r\\nx\\r\\n\"\n(closed)\n",
        ),
        ("unknown", "== a\n> ECHO <=nothing>\n\"x\"\n"),
        ("setting", "== a [config name value]\n> ECHO x\n\"x\"\n"),
    ] {
        let summary = play(name, text);
        assert_eq!((summary.passed, summary.failures.len()), (0, 1), "{name}");
    }
}

#[test]
fn sections_for_later_versions_are_skipped_and_named() {
    let summary = play(
        "skips",
        "== old [requires 8.2]\n> ECHO x\n\"y\"\n== new [requires 7.0]\n> ECHO x\n\"x\"\n",
    );
    assert_eq!((summary.passed, summary.skipped.len()), (1, 1));
    assert!(summary.skipped[0].contains("old"));
}
